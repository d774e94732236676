"""Before a fit: what is wrong with a law, its priors or its data, and what to do about it.

What is judged: draws of the prior, as they run and beside the data; how long the law takes, against
the data; the solver's step; which latents, or which combination of them, the data could tell, by
the information of a search near the data; and the share of it that the unknown takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.finding import BAD as BAD
from groundvae.diagnostics.finding import DOUBTFUL as DOUBTFUL
from groundvae.diagnostics.finding import GOOD
from groundvae.diagnostics.finding import Finding as Finding
from groundvae.diagnostics.pace import fineness, late, pace
from groundvae.guides.admission import begin
from groundvae.guides.follow import Part, parts_of
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.inference.run import Run
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.normalscore import NormalScore
from groundvae.models.trial import Trial, in_words
from groundvae.physics.errors import tolerant

FEW = 16  # observations that are looked at
MOVES, STILL = 15, 0.1  # of a search near the data; nats that are worth no further step
LEARNERS = 200  # observations, of which networks learn at least
LEFT = 0.2  # of the observations, that may still move
SOME = 0.25  # of the draws, that may run away before a fit is in danger
NOISE = 0.05  # of the data's spread, at which latents are to be told
TOLD = 0.5  # of the prior's variance, that is left of what the data tell
PART = 0.3  # of a combination, that a latent has which is named in it
TAKES = 0.9  # of the information, beyond which little is left to the physics
FAR = 3.0  # times the data's reach, that a prior should not leave by


def beforehand(run: Run, data: Dataset) -> list[Finding]:
    """What is to be said of an unfitted run and the data that it is for.

    Args:
        run: as ``prepare`` made it, on these data: a law that fails is refused there.
        data: what will be fitted.

    """
    batch = run.batch(data)
    found = [_shapes(run, data)]
    model = run.model
    if run.guide.learns and len(data) < LEARNERS:
        found.append(
            Finding(
                DOUBTFUL,
                f"{len(data)} observations are few for a guide and a residual that are networks: "
                f"with fewer than {LEARNERS} their intervals can be far too narrow; in a law of "
                "motion take gv.Unknown, beside a formula no residual but noise=gv.Matern(None), "
                "or look at the report's calibration before use",
            )
        )
    if model.system.physics and len(model.latents):
        trial = Trial(model.latents, batch, model.noise.log_scale.dtype)
        if isinstance(model.system, Dynamics):
            found += late(model.system, batch.inputs["t"])
        found += _draws(run, trial, batch)
        if isinstance(model.system, Dynamics):
            found += pace(model.system, trial)
            found += fineness(model.system, trial)
            found += _driven(model.system, parts_of(model))
        found += _told(model, batch[:FEW], len(batch))
        search = run.guide.start(batch[:FEW]) if parts_of(model) else None
        if search is not None:
            kept = deepcopy(model.state_dict())
            found += _taken(search)
            model.load_state_dict(kept)  # the run is as it was
    return found


def _shapes(run: Run, data: Dataset) -> Finding:
    axes = ", ".join(map(str, data.x.shape[1:]))
    told = f"{len(data)} observations of ({axes}) {'x'.join(run.model.system.axes)} samples"
    if "t" in data.coordinates:
        times = data.coordinates["t"]
        told += f", t from {np.nanmin(times):.4g} to {np.nanmax(times):.4g}"
        told += ", times of each one's own" if data.own_times else ""
    missing = float(np.isnan(data.x).mean())
    told += f", {100 * missing:.0f} % missing" if missing else ""
    return Finding(GOOD, told)


def _draws(run: Run, trial: Trial, batch: Batch) -> Iterator[Finding]:
    """Whether draws of the prior run through, and reach about as far as the data."""
    system = run.model.system
    with tolerant(), torch.no_grad():
        x = system.outcomes(trial.z, trial.inputs, (), trial.lead, 1)[0].observed
    whole = torch.isfinite(x).flatten(1).all(1)
    if not whole.all():
        lost = ~whole
        yield Finding(
            BAD if float(lost.double().mean()) > SOME else DOUBTFUL,
            f"{int(lost.sum())} of {len(whole)} draws of the prior leave the finite numbers, the "
            f"first at {in_words(trial.z, int(lost.nonzero()[0]))}: narrow the priors, bound what "
            "the law multiplies, or keep what is under a root or a logarithm above zero",
        )
    if not whole.any():
        return
    seen = batch.x if batch.observed is None else batch.x[batch.observed]
    low, high = float(seen.min()), float(seen.max())
    wide = max(high - low, 1e-12)
    drawn = x[whole].detach()
    off = torch.maximum(low - drawn, drawn - high).flatten(1).amax(1) / wide
    if float(off.median()) > FAR:
        yield Finding(
            DOUBTFUL,
            f"half of the draws of the prior leave the data's range ({low:.3g} to {high:.3g} "
            f"{system.unit}) by more than {FAR:g} times its width: look at units, narrow priors",
        )
    still = (drawn - drawn.flatten(1).mean(1).view(-1, *[1] * (drawn.dim() - 1))).abs()
    if float(still.flatten(1).amax(1).median()) < 1e-6 * wide:
        yield Finding(DOUBTFUL, "draws of the prior hardly move at all: look at units of time")


def _told(model: GreyBox, batch: Batch, count: int) -> Iterator[Finding]:
    """Which latents, or combinations, the data could not tell with nothing unknown at all.

    What is shared all ``count`` observations tell.
    """
    linear = _near(model, batch)
    if linear is None:
        yield Finding(BAD, "the law runs away from the middle of the prior: move it, or narrow it")
        return
    names = list(model.latents.names)
    for name, silent in zip(names, _silent(linear), strict=True):
        if silent:
            yield Finding(BAD, f"nothing observed depends on {name}: leave it out, or observe more")
    told = linear.jacobian.mT @ linear.jacobian
    shared = torch.tensor([z.shared for z in model.latents])
    if shared.any():
        told[:, shared[:, None] & shared] += _agreed(told, shared, count - 1)
    values, vectors = torch.linalg.eigh(told)  # ascending: what the data tell least comes first
    row = int(values[:, 0].argsort()[len(values) // 2])
    for value, vector in zip(values[row], vectors[row].unbind(-1), strict=True):
        left = float(1 / (1 + value))  # of the prior's variance of this combination
        parts = [i for i in vector.square().argsort(descending=True).tolist() if _has(vector, i)]
        if left < TOLD:
            break
        if len(parts) > 1:
            sign = 1 if vector[parts[0]] > 0 else -1
            mix = " ".join(f"{sign * float(vector[i]):+.2f} {names[i]}" for i in parts)
            yield Finding(
                DOUBTFUL,
                f"{', '.join(names[i] for i in parts)} cannot be told apart: the data leave "
                f"{100 * left**0.5:.0f} % of the prior's width of {mix} (in widths of the priors): "
                "fix one, give it a narrower prior, share what is the same in all observations, or "
                "observe what depends on one alone",
            )
        elif not _silent(linear)[parts[0]]:
            yield Finding(
                DOUBTFUL,
                f"the data leave {100 * left**0.5:.0f} % of the prior's width of "
                f"{names[parts[0]]}: its posterior will be about its prior",
            )


def _agreed(told: Tensor, shared: Tensor, others: int) -> Tensor:
    """What so many ``others`` tell of the ``shared`` latents, as a row, their own being unknown.

    From the information (n, latent, latent) of some observations, on average.
    """
    own = ~shared
    unit = torch.eye(int(own.sum())).to(told)
    cross = told[:, own][:, :, shared]
    taken = cross.mT @ torch.linalg.solve(unit + told[:, own][:, :, own], cross)
    return others * (told[:, shared][:, :, shared] - taken).mean(0).flatten()


def _has(vector: Tensor, place: int) -> bool:
    return abs(float(vector[place])) > PART


def _silent(linear: LinearGaussian) -> list[bool]:
    """Which latents nothing that is observed moves with."""
    moved = linear.jacobian.abs().amax(dim=(0, 1))
    return (moved <= 1e-9).tolist()


def _near(model: GreyBox, batch: Batch) -> LinearGaussian | None:
    """The law alone near the data, where a few steps of a search from its prior come, if any do."""
    alone = GreyBox(model.system, (), Gaussian()).double()
    scores = [NormalScore(z.prior_like(batch.x.double(), _centres(model))) for z in model.latents]
    search = _search(alone, scores, batch)
    _settle(search)
    model.system.to(model.noise.log_scale.dtype)
    return search.linear() if search.alive.any() else None


def _search(model: GreyBox, scores: list[NormalScore], batch: Batch) -> Search:
    double = Batch(
        batch.x.double(),
        {k: v.double() for k, v in batch.inputs.items()},
        batch.observed,
        batch.own,
        signals=batch.signals,
    )
    size = len(scores) + model.auxiliary
    with torch.no_grad():
        spread = max(float(double.x.std()), 1e-12)
        model.noise.hold(NOISE * spread)
    return Search(model, scores, double, torch.zeros(len(batch), size, dtype=torch.double))


def _settle(search: Search) -> None:
    """A few steps of those that gain by them, until most do not: what is told is the usual."""
    for _ in range(MOVES):
        moving = ~search.alive | (search.linear().gain() >= STILL)
        if float(moving.double().mean()) <= LEFT:
            return
        rows = moving.nonzero().squeeze(-1)
        some = search.pick(rows)
        some.move()
        search.put(some, rows)


def _centres(model: GreyBox) -> dict[str, Tensor]:
    """Hyperparameters in the middle of their priors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            name: prior.sample(torch.Size([501])).median()
            for name, prior in model.latents.hyper.items()
        }


def _driven(system: Dynamics, parts: Sequence[Part]) -> Iterator[Finding]:
    """Signals that drive the law and that the unknown does not see."""
    for residual in (part.residual for part in parts):
        unseen = [name for name in system.signals if name not in residual.sees]
        if unseen:
            sees = ", ".join(map(repr, (*residual.sees, *unseen)))
            yield Finding(
                GOOD,
                f"the unknown on {', '.join(residual.acts_on)} does not see {', '.join(unseen)}, "
                "which the law is driven by: if what is missing goes with it, the latents make up "
                f"for that; fit with sees=({sees},) too, and compare the evidence",
            )


def _taken(search: Search) -> Iterator[Finding]:
    """The share of the information on each latent that a push takes away, of a tenth's effect."""
    parts = parts_of(search.model)
    search.renew()
    if not search.alive.any():
        return
    begin(search, parts)
    search.renew()
    _settle(search)
    kappa = search.linear().taken(len(search.scores))[search.alive]
    if not len(kappa):
        return
    acts = ", ".join(name for part in parts for name in part.residual.acts_on)
    for latent, share in zip(search.model.latents, kappa.median(0).values.tolist(), strict=True):
        name, alone = latent.name, "" if latent.shared else "share the latent, "
        if share > TAKES:
            yield Finding(
                DOUBTFUL,
                f"a push on {acts} takes {100 * share:.1f} % of the information on {name} "
                f"(information_taken = {share:.3f}): if it does all it may, {name} is told by its "
                f"prior; let the unknown act on fewer states or see fewer, {alone}or measure part "
                "of what pushes and declare it a gv.Input",
            )
        else:
            yield Finding(GOOD, f"a push on {acts} leaves {100 - 100 * share:.0f} % of {name}")
