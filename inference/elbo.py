"""The loss: the ELBO and named penalties, from one guide pass and one decode a step."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.poutine.runtime import effectful
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.inference.penalty import Penalty, Step
from groundvae.inference.simulation import Simulator
from groundvae.models.greybox import OBSERVATION, GreyBox
from groundvae.physics.solver import NonFiniteError


class RegularizedELBO(ELBO):
    """-ELBO + sum of weight * penalty, all per observation; works with ``pyro.infer.SVI``.

    With no penalties and ``warmth=1`` it is the exact (single-sample) negative ELBO.
    Every term of the last evaluation stands in ``record`` under its own name: ``nll``
    (``-E log p(x|z)``), ``kl`` (``E log q(z|x) - log p(z)``), the penalties (unweighted), and
    ``loss``.

    Args:
        penalties: by name; those that do not apply to a model and guide are left out.
        weights: by the same names; a weight of 0 switches a penalty off, without cost.
        warmth: multiplies the KL and the penalties; the training loop raises it to 1. A model
            that is first an autoencoder finds a use for z_aux; one that is asked at once for a
            posterior as wide as the prior may never.

    """

    def __init__(
        self,
        penalties: Mapping[str, Penalty] | None = None,
        weights: Mapping[str, float] | None = None,
        warmth: float = 1.0,
    ) -> None:
        super().__init__()
        self.penalties = dict(penalties or {})
        self.weights = dict.fromkeys(self.penalties, 1.0) | dict(weights or {})
        unknown = sorted(set(self.weights) - set(self.penalties))
        if unknown:
            raise InputError(f"no penalty {unknown[0]!r}, known: {', '.join(self.penalties)}")
        self.warmth = warmth
        self.record: dict[str, float] = {}
        self._simulator: Simulator | None = None

    def prepare(self, model: GreyBox) -> None:
        """Called once before a fit; here it leaves the model as it is."""

    def active(self, model: GreyBox, guide: Guide) -> dict[str, Penalty]:
        """The penalties that have a weight and apply to this model and guide."""
        return {
            name: penalty
            for name, penalty in self.penalties.items()
            if self.weights[name] and penalty.applies(model, guide)
        }

    def terms(self, model: GreyBox, guide: Guide, batch: Batch) -> dict[str, Tensor]:
        """All terms by name, unweighted, mean over the batch's observations."""
        active = self.active(model, guide)
        with _naming("nll"):
            model_trace, guide_trace = self._get_trace(
                model, guide, (batch,), {"reduced": bool(active)}
            )
        log_q = log_prob_of(guide_trace, batch)
        log_joint = log_prob_of(model_trace, batch)
        log_likelihood = model_trace.nodes[OBSERVATION]["log_prob"]
        terms = {
            "nll": -log_likelihood.mean(),
            "kl": (log_q - (log_joint - log_likelihood)).mean(),
        }
        step = Step(model, guide, batch, guide_trace, model_trace, self._simulations(model))
        for name, penalty in active.items():
            with _naming(name):
                terms[name] = penalty(step)
        return terms

    def _get_trace(
        self, model: GreyBox, guide: Guide, args: tuple[Batch], kwargs: dict[str, bool]
    ) -> tuple[poutine.Trace, poutine.Trace]:
        guide_trace = poutine.trace(guide).get_trace(*args)
        replayed = poutine.replay(model, trace=guide_trace)
        return poutine.trace(replayed).get_trace(*args, **kwargs), guide_trace

    def weigh(self, terms: Mapping[str, Tensor], model: GreyBox) -> Tensor:
        """The loss, as the weighted sum of its terms."""
        return terms["nll"] + self.warmth * (terms["kl"] + self.penalty(terms))

    def penalty(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the penalties."""
        weighted = [self.weights[k] * v for k, v in terms.items() if k in self.penalties]
        return sum(weighted, torch.zeros_like(terms["nll"]))

    def differentiable_loss(self, model: GreyBox, guide: Guide, batch: Batch) -> Tensor:
        """The loss, to be differentiated; leaves its terms in ``record``.

        Raises:
            NonFiniteError: naming the term that is not finite.

        """
        terms = self.terms(model, guide, batch)
        loss = self.weigh(terms, model)
        self.record = {name: float(value.detach()) for name, value in terms.items()}
        self.record["loss"] = float(loss.detach())
        for name, value in self.record.items():
            if not math.isfinite(value):
                raise NonFiniteError(f"term {name!r} of the loss is {value}")
        return loss

    def loss(self, model: GreyBox, guide: Guide, batch: Batch) -> float:
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, batch))

    def loss_and_grads(self, model: GreyBox, guide: Guide, batch: Batch) -> float:
        """What ``pyro.infer.SVI`` calls: the gradients, and the parameters to be updated."""
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        _announce(model, "model")
        _announce(guide, "guide")
        return float(loss.detach())

    def _simulations(self, model: GreyBox) -> Simulator:
        if self._simulator is None or self._simulator.model is not model:
            self._simulator = Simulator(model)
        return self._simulator


class PaperELBO(RegularizedELBO):
    """The weighting of the paper's experiments: ``SSE + (1 + alpha) sigma^2 KL + penalties``.

    ``alpha`` is the weight of ``ppc``, which bounds the posterior predictives' divergence
    together with the extra KL. Against the exact ELBO (times 2 sigma^2) the KL weighs half.
    The noise scale ``sigma`` (in units of the data) is a fixed number, not learned.
    """

    def __init__(
        self, penalties: Mapping[str, Penalty], weights: Mapping[str, float], sigma: float
    ) -> None:
        super().__init__(penalties, weights)
        self.sigma = sigma

    def prepare(self, model: GreyBox) -> None:
        model.noise.log_scale.requires_grad_(False).fill_(math.log(self.sigma))

    def weigh(self, terms: Mapping[str, Tensor], model: GreyBox) -> Tensor:
        variance = model.noise.scale.detach() ** 2
        kl = (1 + self.weights.get("ppc", 0.0)) * variance * terms["kl"]
        return 2 * variance * terms["nll"] + self.warmth * (kl + self.penalty(terms))


@contextmanager
def _naming(term: str) -> Iterator[None]:
    """Say which term of the loss a failed solve was for."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"term {term!r} of the loss: {error}") from error


def _announce(module: nn.Module, prefix: str) -> None:
    """Tell an enclosing SVI of parameters, as module-local ``pyro.param`` statements would."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.unconstrained = weakref.ref(parameter)  # type: ignore[attr-defined]
            statement = effectful(type="param")(lambda *_, p=parameter, **__: p)
            statement(name=f"{prefix}.{name}")
