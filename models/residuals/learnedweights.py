"""The population of weights of one's own, learned by fixed points of the evidence.

Variances, means and own scales from what observations say of whitened weights; functions of time
that the data do not ask for are left out.
Sources: MacKay (1992), Bayesian interpolation; Tipping (2001), Sparse Bayesian learning.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from groundvae.models.residuals.fixedpoint import gains, likened, log_ratio, means, own_variances
from groundvae.models.residuals.ownweights import OwnWeights
from groundvae.models.residuals.population import Statistics

START = 0.1  # of the data's spread, the effect of each feature at first
SILENT = -40.0  # log variance of features that are not let in yet
WIDE = 3.0  # times the usual rate, the first prior of a mean
IMITATES = 0.97  # share of what a feature does, above which it is the physics by another name
DIFFERS = 0.5  # of its mean, by which a feature's weight differs where the data do not tell it
WORTH = 4.0  # observations, what this prior is worth
HELD = 0.02  # of the observations, what holds the physics by another name to small scales is worth
GONE, FELT = 0.01, 0.05  # nats an observation, below which a group of functions does not matter
RISING = 3.0  # standard deviations, by which what grows still differs from chance
CHANCE = 4.0  # nats in all that chance may bring, which are no reason to keep one
SPREADS = (-3.0, 1.5)  # least and largest log spread of these logs


class LearnedWeights(OwnWeights):
    """Weights of features of time and of the states, whose population is learned."""

    scale_of: Tensor  # (seen,), usual sizes of the states seen
    asked: Tensor  # (group,) of functions of time that the data ask for: constant, knots
    imitated: Tensor  # (state, feature), the share of what each does that the physics could do
    admitted: Tensor  # whether features of states are let in
    mean_variance: nn.Parameter  # (state, feature), of the means' own priors

    def build(self) -> None:
        """Parameters of the population; their sizes are known now."""
        if hasattr(self, "log_power"):
            return
        targets, knots = len(self.acts_on), self.waves.knots
        self.register_buffer("asked", torch.ones(1 + knots, dtype=torch.bool))
        self.register_buffer("scale_of", torch.ones(len(self.sees)))
        # Silent, until a fit has learned them: the log of variances, of the spectrum at its knots.
        self.log_power = nn.Parameter(torch.full((targets, knots), SILENT))
        self.log_own_spread = nn.Parameter(torch.tensor(0.0))
        self.log_constant = nn.Parameter(torch.full((targets,), SILENT))
        self.log_variance = nn.Parameter(torch.full((targets, len(self.names)), SILENT))
        self.mean = nn.Parameter(torch.zeros(targets, len(self.names)))
        self.mean_variance = nn.Parameter(torch.ones(targets, len(self.names)))
        self.register_buffer("imitated", torch.ones(targets, len(self.names)))
        self.register_buffer("admitted", torch.tensor(0.0))
        self.register_buffer("settled", torch.tensor(0.0))
        size = targets * len(self.names)
        self.register_buffer("uncertainty", torch.zeros(size, size))  # covariance of the means
        self.resize()

    def resize(self) -> None:
        """Take the functions of time that are asked for, and as many numbers of ``z_aux``."""
        self.chosen = (self.groups[:, self.asked.cpu()] > 0).any(1).nonzero().squeeze(-1)
        self.auxiliary = 1 + len(self.acts_on) * self.count

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Of a run that was fitted before any were dropped, none are."""
        if hasattr(self, "asked"):
            state.setdefault(f"{prefix}asked", torch.ones_like(self.asked))
            state.pop(f"{prefix}released", None)  # of fits that let features in late
        super()._load_from_state_dict(state, prefix, *rest)
        if hasattr(self, "asked"):
            self.resize()

    def blank(self) -> None:
        for parameter in (self.log_power, self.log_constant, self.log_variance, self.mean):
            parameter.data.zero_()
        for flag in (self.admitted, self.settled, self.uncertainty):
            flag.zero_()
        self.asked.fill_(value=True)  # also of what another fit has left out
        self.resize()

    def settle(self, *, known: bool = True) -> None:
        self.settled.fill_(float(known))

    def begin(self, effects: Tensor, spread: float) -> None:
        square = effects.view(len(self.acts_on), self.count).square()
        wanted = (START * spread) ** 2
        if self.timed:
            level = self.waves.level(square[:, : self.timed])
            self.log_power.data.copy_(math.log(wanted) + level)
            self.log_constant.data.copy_(torch.log(wanted / square[:, 0]))
        self.log_variance.data.fill_(SILENT)

    def admit(self, scales: Tensor, rates: Tensor) -> None:
        if not self.admitted:  # learned functions lie in units of these
            self.scale_of.copy_(scales)
        for each in (self.log_variance, self.mean):
            each.data.zero_()
        self.mean_variance.data.copy_((WIDE * rates.unsqueeze(-1)).square().expand_as(self.mean))
        self.admitted.fill_(1.0)

    def enter(self, effects: Tensor, spread: float) -> None:
        square = effects.view(len(self.acts_on), self.count)[:, self.timed :].square()
        self.log_variance.data.copy_(torch.log((START * spread) ** 2 / square.clamp(min=1e-300)))

    @property
    def held(self) -> Tensor:
        """Which are the physics by another name: mean zero, a small scale; (state, feature)."""
        return self.imitated > IMITATES

    def refit(self, statistics: Statistics, *, own: bool) -> Tensor:
        usual, shape = statistics.usual, (-1, len(self.acts_on), self.count)
        mean, told = statistics.mean.view(shape), statistics.told.view(shape)
        if statistics.imitation is not None:
            found = statistics.imitation.view(shape[1:])[:, self.timed :]
            self.imitated.copy_(found)
        scales = self.scales(statistics.auxiliary)
        if self.admitted:
            self._refit_means(statistics, scales)
        sums = (mean**2)[usual].sum(0), told[usual].sum(0)
        self._refit_variances(*sums, int(usual.sum()))
        if not own:
            return self.own(statistics.auxiliary)
        found, uncertain = self.refit_own(statistics)
        if self.admitted:
            square = (torch.log(found) ** 2 + uncertain)[usual].mean()
            self.log_own_spread.data.copy_(0.5 * torch.log(square)).clamp_(*SPREADS)
        return found

    def refit_own(self, statistics: Statistics) -> tuple[Tensor, Tensor]:
        shape = (-1, len(self.acts_on), self.count)
        square = statistics.mean.view(shape)[..., : self.timed].square().sum((1, 2))
        told = statistics.told.view(shape)[..., : self.timed].sum((1, 2))
        return own_variances(self.own(statistics.auxiliary), square, told, self.own_spread)

    def _refit_variances(self, square: Tensor, told: Tensor, n: int) -> None:
        """``variance *= sum mean^2 / sum told`` of (state, weight), frequencies pooled at knots.

        Where the data hardly tell how a feature's weight differs, its likeliest spread is often
        none, and the latents would be taken to be as sure as if all observations missed the same:
        an inverse gamma prior about ``(DIFFERS mean)^2`` speaks against less, not against more.
        """
        (up, states), (down, told_states) = self._pooled(square), self._pooled(told)
        self.log_constant.data.add_(log_ratio(up[:, 0], down[:, 0])).clamp_(-40, 20)
        moved = log_ratio(*self._likened(up[:, 1:], down[:, 1:]))
        self.log_power.data.add_(moved).clamp_(-40, 20)
        if self.admitted:
            usual = (DIFFERS * self.mean.data) ** 2 / self.log_variance.data.exp()
            held = HELD * n * self.held
            free = WORTH * ~self.held
            moved = log_ratio(states + free * usual.clamp(min=1.0), told_states + free + held)
            self.log_variance.data.add_(moved).clamp_(-25, 10)

    def _likened(self, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the spectrum's knots (state, knot), under what is known of it beforehand."""
        return likened(up, down, self.log_power.data)

    def _pooled(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over weights of each group of functions of time, and features of states."""
        timed, states = sums.split([self.timed, len(self.names)], -1)
        return timed @ self.groups[self.chosen].to(sums), states

    def trim(self, statistics: Statistics) -> Tensor:
        usual, shape = statistics.usual, (-1, len(self.acts_on), self.count)
        square, told = statistics.mean[usual] ** 2, statistics.told[usual]

        def pooled(each: Tensor) -> Tensor:
            return self._pooled(each.sum(0).view(shape[1:]))[0].sum(0)

        rising = pooled(square - told) > RISING * pooled(2 * told**2).sqrt()
        before = self.chosen.clone()
        n = int(usual.sum())
        self.asked &= rising | (pooled(gains(square, told)) > min(max(GONE * n, CHANCE), FELT * n))
        if not self.names:  # it has to push by something
            self.asked[0] = True
        self.resize()
        timed = torch.isin(before, self.chosen)
        weights = torch.cat([timed, timed.new_ones(len(self.names))]).repeat(len(self.acts_on))
        return torch.cat([weights.new_ones(1), weights])

    def _refit_means(self, statistics: Statistics, scales: Tensor) -> None:
        """Means under priors of learned variance; those that the physics could be stay zero."""
        free = (~self.held).flatten()
        self.mean.data.masked_fill_(~free.view_as(self.mean), 0.0)
        if not free.any():
            return
        places = torch.arange(len(self.acts_on)).unsqueeze(-1) * self.count + self.timed
        columns = (places + torch.arange(len(self.names))).flatten().to(free.device)[free]
        size = scales[0, columns]
        pull, gram = self._told(statistics, columns)
        pull, gram = pull / size, gram / torch.outer(size, size)
        now = self.mean.data.flatten()[free]
        variance = self.mean_variance.data.flatten()[free]
        new, variance, covariance = means(pull, gram, now, variance)
        where = free.view_as(self.mean)
        self.mean.data[where], self.mean_variance.data[where] = new, variance
        self.uncertainty.zero_()
        self.uncertainty[torch.outer(free, free)] = covariance.flatten()

    def _told(self, statistics: Statistics, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (weight,) and information (weight, weight) of whitened means of ``columns``."""
        usual = statistics.usual
        pull = statistics.mean[usual][:, columns].sum(0)
        return pull, statistics.information(columns)[usual].sum(0)
