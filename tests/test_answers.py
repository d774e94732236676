"""The five answers on posteriors that are known exactly, as they are and wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.diagnostics import context as contexts
from groundvae.diagnostics import loo_pit
from groundvae.diagnostics.answers import QUESTIONS, Answer, Ground, answer
from groundvae.diagnostics.check import CHECKS, LeftOutError
from groundvae.diagnostics.checks import ORDER
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.observations import observe
from groundvae.diagnostics.verdict import Verdict
from groundvae.guides.guide import Guide
from groundvae.guides.population import Population
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig
from groundvae.models.function import Function
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import Recipe
from groundvae.models.residuals import Residual, Seen
from groundvae.models.values import Values

TIMES = np.arange(40) * 0.05
T = torch.as_tensor(TIMES, dtype=torch.float32)
PHYSICS = torch.stack([2 * torch.cos(1.5 * T), T], -1)
MISSING = 0.2 * torch.stack([torch.sin(6 * T), torch.cos(9 * T)], -1)
NOISE = 0.2
N = 200
WRONG: Mapping[str, str] = {
    "narrow": "intervals",
    "wide": "intervals",
    "shifted": "intervals",
    "prior": "estimates",
    "law": "intervals",
    "quiet noise": "intervals",
    "loud noise": "intervals",
    "corrupted": "inside",
}
"""What is wrong, and which answer must turn bad."""

pytestmark = pytest.mark.usefixtures("one_thread")


class Swing(Function):
    """A sum of two known curves."""

    axes = ("time",)
    coordinates: ClassVar[dict[str, str]] = {"t": "time"}
    size, slope = (Latent(dist.Normal(0.0, 1.0), meaning="a number") for _ in range(2))

    def predict(self, z: Values, inputs: Values) -> Tensor:
        return z.size * PHYSICS[:, 0] + z.slope * PHYSICS[:, 1]


class Curves(Residual):
    """Two more curves, of unknown weights."""

    def __init__(self) -> None:
        super().__init__("observation", (), auxiliary=2)

    def add(self, seen: Seen, states: Values) -> Tensor:
        return seen.auxiliary @ MISSING.T


class Exact(Guide):
    """The exact posterior; or it, times a width and with a shift (sd); or the prior."""

    population = Population({})

    def __init__(self, spec: LatentSpec, noise: float, how: str) -> None:
        torch.nn.Module.__init__(self)
        self.latents, self.auxiliary, self.noise, self.how = spec, 2, noise, how

    def forward(self, batch: Batch, found: object = None) -> None:
        design = torch.cat([PHYSICS, MISSING], -1) / self.noise
        seen = torch.ones_like(batch.x) if batch.observed is None else batch.observed.float()
        rows = design * seen.unsqueeze(-1)
        precision = torch.eye(4) + rows.mT @ rows
        covariance = torch.linalg.inv(precision)
        data = (batch.x * seen).nan_to_num() / self.noise
        mean = (covariance @ (rows.mT @ data.unsqueeze(-1))).squeeze(-1)
        factor = torch.linalg.cholesky(covariance)
        spread = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        if self.how == "prior":
            mean, factor = torch.zeros_like(mean), torch.eye(4).expand_as(factor)
        mean = mean + (0.5 * spread if self.how == "shifted" else 0.0)
        factor = factor * {"narrow": 0.5, "wide": 2.0}.get(self.how, 1.0)
        with pyro.plate("observation", len(batch), dim=-1):
            drawn = pyro.sample(
                "drawn",
                dist.MultivariateNormal(mean, scale_tril=factor),
                infer={"is_auxiliary": True},
            )
            for i, name in enumerate(self.latents.names):
                pyro.sample(name, dist.Delta(drawn[..., i]))
            pyro.sample(AUXILIARY, dist.Delta(drawn[..., 2:], event_dim=1))

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        first = torch.stack([latents[name] for name in self.latents.names], -1)
        return {"drawn": torch.cat([first, latents[AUXILIARY]], -1)}


def case(how: str, seed: int, *, truth: bool) -> tuple[Context, np.ndarray]:
    """A run on fresh data, and which of the observations were corrupted."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, 4))
    x = z @ torch.cat([PHYSICS, MISSING], -1).numpy().T + NOISE * rng.normal(size=(N, len(TIMES)))
    if how == "law":
        x += 0.3 * rng.normal(size=(N, 1)) * np.sin(2 * TIMES + rng.uniform(0, 6, (N, 1)))
    corrupted = np.zeros(N, dtype=bool)
    if how == "corrupted":
        corrupted[rng.permutation(N)[: N // 10]] = True
        x[corrupted] += 1.5 * (rng.uniform(0.5, 1.5, (corrupted.sum(), 1)) < TIMES)
    factor = {"quiet noise": 0.5, "loud noise": 2.0}.get(how, 1.0)
    model = GreyBox(Swing(), Curves(), Gaussian(factor * NOISE))
    run = Run(
        RunConfig("swing", len(TIMES), recipe=Recipe()),
        model,
        Exact(model.latents, factor * NOISE, how),
    )
    known = {"size": z[:, 0], "slope": z[:, 1]} if truth else {}
    data = Dataset(x.astype(np.float32), {"t": TIMES}, known)
    drawn = posterior(run, data, PosteriorOptions(200, 60, seed))
    return Context(run, drawn), corrupted


def answers_of(context: Context) -> dict[str, Answer]:
    """What a report would say, without its figures."""
    verdicts: list[Verdict] = []
    left_out = {}
    for name in ORDER:
        check = CHECKS[name]()
        if not any(g.check == name for q in QUESTIONS.values() for g in grounds(q)):
            continue
        try:
            for condition in check.needs:
                if not condition.holds(context):
                    raise LeftOutError(condition.reason)
            found = [v for result in check.results(context) for v in check.verdicts(result)]
            verdicts += [replace(v, check=name) for v in found]
        except LeftOutError as reason:
            left_out |= {name: check.title} if str(reason) else {}
    return answer(verdicts, left_out)


def grounds(question: object) -> tuple[Ground, ...]:
    return (*question.always, *question.direct, *question.indirect)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "SIMULATIONS", 300)
    monkeypatch.setattr(loo_pit, "SAMPLES", 1000)


def is_right(how: str, seed: int, *, truth: bool) -> bool:
    """Whether the answers are those that they should be."""
    context, corrupted = case(how, seed, truth=truth)
    found = answers_of(context)
    if how == "right":
        return {a.level for a in found.values()} == {"good"}
    if how == "corrupted":
        bad = (context.once(observe)["verdict"] == "bad").values
        precision = (bad & corrupted).sum() / max(bad.sum(), 1)
        recall = (bad & corrupted).sum() / corrupted.sum()
        if min(precision, recall) < 0.9:
            return False
    return found[WRONG[how]].level == "bad"


CASES = ["right", *WRONG]


@pytest.mark.parametrize("how", CASES)
def test_the_answers_tell_right_from_wrong(how: str) -> None:
    assert is_right(how, 0, truth=how in ("narrow", "shifted"))


@pytest.mark.slow
@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("how", CASES)
def test_the_answers_tell_right_from_wrong_twenty_times(how: str, *, truth: bool) -> None:
    right = [is_right(how, seed, truth=truth) for seed in range(20)]
    assert sum(right) >= (19 if how == "right" else 20)
