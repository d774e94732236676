"""Encoders: from a batch to what a guide's networks read.

An encoder turns a batch into *canonical* observations (a fixed grid, gaps filled, of order
one), and canonical observations into features. A structured guide unmixes in between.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.resample import ENTRIES, on_grid, resample


class Encoder(nn.Module):
    """What guides ask of an encoder; ``spread`` is the unit of canonical values in the data's."""

    spread: Tensor

    @abstractmethod
    def prepare(self, batch: Batch) -> None:
        """Take the grid and the scale of the data from the training batch."""

    @property
    @abstractmethod
    def canonical(self) -> int:
        """Number of canonical values of one observation."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Number of features of one observation."""

    @property
    def axis(self) -> tuple[int, int] | None:
        """Places among the features of the cosine and sine of twice an axis, if it sees one."""
        return None

    @abstractmethod
    def read(self, batch: Batch) -> Tensor:
        """Canonical observations (observation, canonical)."""

    def knows(self, batch: Batch) -> Tensor:
        """Whose times are those of the grid, (observation,) bool; what has no times is known."""
        times, grid = batch.inputs.get("t"), getattr(self, "grid", None)
        if times is None or grid is None:
            return torch.ones(len(batch), dtype=torch.bool, device=batch.x.device)
        return on_grid(times, grid).expand(len(batch))

    @abstractmethod
    def describe(self, canonical: Tensor) -> Tensor:
        """Features (..., features) of canonical observations (..., canonical)."""


class SeriesEncoder(Encoder):
    """Series on a uniform grid, and the log power spectrum of their second differences.

    The spectrum shows fast forcing that a slow, larger motion hides from a network of raw
    samples. The grid covers the times of the data it was prepared with: later samples are not
    read, however long a series is.
    """

    grid: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("grid", torch.linspace(0, 1, length))
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def prepare(self, batch: Batch) -> None:
        """Take the grid and the scale of the data from the training batch."""
        times = batch.inputs["t"]
        ends = (times[..., 0].min(), times[..., -1].max())
        self.grid = torch.linspace(float(ends[0]), float(ends[1]), self.length).to(times)
        values = batch.x if batch.observed is None else batch.x[batch.observed]
        self.centre, self.spread = values.mean(), values.std() + 1e-12

    @property
    def canonical(self) -> int:
        """Number of canonical values of one observation."""
        return self.length

    @property
    def features(self) -> int:
        return self.length + self._bins

    @property
    def _bins(self) -> int:
        return max(self.length - 2, 1)

    def read(self, batch: Batch) -> Tensor:
        """Canonical observations (observation, canonical)."""
        series = (batch.x - self.centre) / self.spread
        if batch.observed is not None:
            series = series.masked_fill(~batch.observed, 0.0)
        return resample(series, batch.inputs["t"], self.grid, batch.observed)

    def describe(self, canonical: Tensor) -> Tensor:
        """Features (..., features) of canonical observations (..., canonical)."""
        if self.length < 3:
            return torch.cat([canonical, torch.zeros_like(canonical[..., :1])], -1)
        bent = torch.diff(canonical, n=2, dim=-1)
        window = torch.hann_window(bent.shape[-1] + 2, periodic=False).to(bent)[1:-1]
        spectrum = torch.fft.rfft(bent * window, n=2 * self._bins)[..., 1 : self._bins + 1]
        power = torch.log(spectrum.real**2 + spectrum.imag**2 + 1e-3)
        return torch.cat([canonical, power], -1)


class FieldEncoder(Encoder):
    """Fields (time, channel), read as their weights on the main patterns of the training data.

    The patterns are the leading right singular vectors of the training data, uncentred, so
    weights scale with the field. Each weight comes in units of its own spread, but of no less
    than ``FLOOR`` of the largest: the faint ones are mostly noise. The features are the weights,
    the same of the field scaled to unit size (its shape), and the log of that size.

    Missing samples are no samples: the weights are then the posterior mean under
    probabilistic PCA given those that are there. Other times are read by interpolating the
    patterns; times beyond the training data's are not read. Where times are of each observation's
    own, the grid is even over all of them, and the patterns are those of fields carried to it.
    Source: Tipping & Bishop (1999), Probabilistic principal component analysis.
    """

    FLOOR = 0.1

    grid: Tensor
    patterns: Tensor
    scale: Tensor
    variance: Tensor
    rest: Tensor
    size: Tensor
    spread: Tensor

    def __init__(self, length: int, channels: int, *, patterns: int = 32) -> None:
        super().__init__()
        self.length, self.channels = length, channels
        self.count = min(patterns, length * channels)
        self.register_buffer("grid", torch.linspace(0, 1, length))
        self.register_buffer("patterns", torch.zeros(length, channels, self.count))
        self.register_buffer("scale", torch.ones(self.count))
        self.register_buffer("variance", torch.ones(self.count))
        self.register_buffer("rest", torch.tensor(1.0))  # variance of a sample off the patterns
        self.register_buffer("size", torch.tensor(1.0))
        self.register_buffer("spread", torch.tensor(1.0))

    @property
    def canonical(self) -> int:
        return self.count

    @property
    def features(self) -> int:
        return 2 * self.count + 1

    def prepare(self, batch: Batch) -> None:
        if batch.own_times:
            return self._prepare_own(batch)
        self.grid = batch.inputs["t"].clone()
        if batch.observed is None:
            return self._learn(batch.x)
        # Channel by channel at first, then a few rounds of expectation and maximization.
        filled = _fill(batch.x, self.grid, self.grid, batch.observed)
        for _ in range(4):
            self._learn(torch.where(batch.observed, batch.x, filled))
            filled = torch.einsum("nk,tck->ntc", self._weights(batch), self.patterns)
        return None

    def _prepare_own(self, batch: Batch) -> None:
        """Learn from fields at times of their own, channel by channel carried to an even grid."""
        times = batch.inputs["t"]
        ends = (float(times[:, 0].min()), float(times[:, -1].max()))
        self.grid = torch.linspace(*ends, self.length).to(times)
        there = torch.ones_like(batch.x, dtype=torch.bool)
        there = there if batch.observed is None else batch.observed
        self._learn(_fill(batch.x, times, self.grid, there))

    def _learn(self, x: Tensor) -> None:
        rows = x.reshape(len(x), -1)
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
        k = self.count
        self.patterns = vectors[:, :k].reshape(self.length, self.channels, k)
        self.variance = values[:k] + 1e-12
        self.rest = values[k:].sum() / max(len(values) - k, 1) + 1e-12
        weights = rows @ vectors[:, :k]
        deviation = weights.std(0)
        self.scale = deviation.clamp(min=self.FLOOR * float(deviation.max())) + 1e-12
        self.size = weights.norm(dim=1).mean()
        self.spread = self.scale.pow(2).mean().sqrt()

    def read(self, batch: Batch) -> Tensor:
        return self._weights(batch) / self.scale

    def _weights(self, batch: Batch) -> Tensor:
        """Weights of the patterns, in the units of the data, (observation, pattern)."""
        if batch.own_times:
            return self._own_weights(batch)
        times = batch.inputs["t"]
        patterns, seen = self._patterns_at(times)
        x = batch.x[:, seen]
        if batch.observed is None and len(times) == self.length and bool(seen.all()):
            return torch.einsum("ntc,tck->nk", x, patterns)
        there = torch.ones_like(x) if batch.observed is None else batch.observed[:, seen].to(x)
        flat = patterns.reshape(-1, self.count)
        there = there.reshape(len(x), -1)
        gram = torch.einsum("nd,dj,dk->njk", there, flat, flat)
        gram = gram + torch.diag(self.rest / self.variance)
        projected = (there * x.reshape(len(x), -1)) @ flat
        weights: Tensor = torch.linalg.solve(gram, projected)
        return weights

    def _own_weights(self, batch: Batch) -> Tensor:
        """The same for times (observation, time), a few observations at once."""
        times = batch.inputs["t"].contiguous()
        there = torch.ones_like(batch.x) if batch.observed is None else batch.observed.to(batch.x)
        slack = self._slack
        seen = (times >= self.grid[0] - slack) & (times <= self.grid[-1] + slack)
        there = there * seen.unsqueeze(-1)
        prior = torch.diag(self.rest / self.variance)
        rows = max(1, ENTRIES // (batch.x[0].numel() * self.count))
        found = []
        for x, at, mask in zip(*(v.split(rows) for v in (batch.x, times, there)), strict=True):
            flat = self._between(at).flatten(1, 2)  # (observation, time * channel, pattern)
            gram = prior + (flat * mask.flatten(1).unsqueeze(-1)).mT @ flat
            projected = flat.mT @ (mask * x).flatten(1).unsqueeze(-1)
            found.append(torch.linalg.solve(gram, projected).squeeze(-1))
        return torch.cat(found)

    @property
    def _slack(self) -> float:
        return 1e-3 * float(self.grid[-1] - self.grid[0]) / max(self.length - 1, 1)

    def _between(self, times: Tensor) -> Tensor:
        """The patterns at ``times`` (...), s, (..., channel, pattern)."""
        if self.length == 1:
            return self.patterns[0].expand(*times.shape, -1, -1)
        after = torch.searchsorted(self.grid, times.contiguous()).clamp(1, self.length - 1)
        start, end = self.grid[after - 1], self.grid[after]
        share = ((times - start) / (end - start)).clamp(0, 1)[..., None, None]
        return torch.lerp(self.patterns[after - 1], self.patterns[after], share)

    def _patterns_at(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """The patterns at those ``times`` that lie on the grid's span, and which those are."""
        slack = self._slack
        seen = (times >= self.grid[0] - slack) & (times <= self.grid[-1] + slack)
        if len(times) == self.length and bool((times - self.grid).abs().max() <= slack):
            return self.patterns, seen
        return self._between(times[seen]), seen

    def describe(self, canonical: Tensor) -> Tensor:
        size = (canonical * self.scale).norm(dim=-1, keepdim=True) / self.size + 1e-6
        return torch.cat([canonical, canonical / size, torch.log(size)], -1)


def _fill(x: Tensor, times: Tensor, grid: Tensor, observed: Tensor) -> Tensor:
    """Fields (observation, time, channel) on ``grid``, each channel's gaps filled along time."""
    centre, spread = x[observed].mean(), x[observed].std() + 1e-12
    series = ((x - centre) / spread).transpose(1, 2).flatten(0, 1)
    there = observed.transpose(1, 2).flatten(0, 1)
    if times.dim() == 2:  # of an observation's own, and the same for each of its channels
        times = times.repeat_interleave(x.shape[-1], 0)
    filled = resample(series.masked_fill(~there, 0.0), times, grid, there)
    return centre + spread * filled.unflatten(0, (len(x), -1)).transpose(1, 2)
