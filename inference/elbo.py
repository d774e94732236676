"""The loss: the ELBO and named penalties, from one guide pass and one decode a step."""

from __future__ import annotations

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
from groundvae.guides.descent import finite
from groundvae.guides.guide import Guide, log_prob_of, shared_log_prob_of
from groundvae.guides.phase import SLEEP, Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.penalty import Penalty, Step
from groundvae.models.greybox import OBSERVATION, GreyBox
from groundvae.physics.errors import NonFiniteError


class RegularizedELBO(ELBO):
    """-ELBO + sum of weight * penalty, all per observation; works with ``pyro.infer.SVI``.

    With no penalties and a ``kl_weight`` of 1 it is the exact (single-sample) negative ELBO. Its
    terms are ``nll`` (``-E log p(x|z)``), ``kl`` (``E log q(z|x) - log p(z)``, and each
    observation's share of that of hyperparameters and of the log prior of learned weights), the
    penalties (unweighted), and ``loss``.

    Args:
        penalties: by name; those that do not apply to a model and guide are left out.
        weights: by the same names; a weight of 0 switches a penalty off, without cost.

    Raises:
        InputError: a weight of a penalty that is not there.

    """

    def __init__(
        self,
        penalties: Mapping[str, Penalty] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.penalties = dict(penalties or {})
        self.weights = dict.fromkeys(self.penalties, 1.0) | dict(weights or {})
        unknown = sorted(set(self.weights) - set(self.penalties))
        if unknown:
            raise InputError(f"no penalty {unknown[0]!r}, known: {', '.join(self.penalties)}")

    def prepare(self, model: GreyBox) -> None:
        """Called once before a fit; here it leaves the model as it is."""

    def active(self, model: GreyBox, guide: Guide) -> dict[str, Penalty]:
        """The penalties that have a weight and apply to this model and guide."""
        return {
            name: penalty
            for name, penalty in self.penalties.items()
            if self.weights[name] and penalty.applies(model, guide)
        }

    def terms(
        self,
        model: GreyBox,
        guide: Guide,
        batch: Batch,
        *,
        simulator: Simulator | None = None,
        observations: int | None = None,
        found: object = None,
    ) -> dict[str, Tensor]:
        """All terms by name, unweighted, mean over the batch's observations.

        ``simulator`` serves simulations (default: anew); ``observations`` are fitted in all
        (default: those of the batch); ``found``: by the guide when it examined the batch.
        """
        active = self.active(model, guide)
        step = _step(model, guide, batch, simulator, reduced=bool(active), found=found)
        with _naming("nll"):
            log_joint = log_prob_of(step.model_trace, batch)
        log_q = log_prob_of(step.guide_trace, batch)
        log_likelihood = step.model_trace.nodes[OBSERVATION]["log_prob"]
        terms = {
            "nll": -log_likelihood.mean(),
            "kl": (log_q - (log_joint - log_likelihood)).mean()
            + shared_kl(step)
            - model.log_prior() / (observations or len(batch)),
        }
        for name, penalty in active.items():
            with _naming(name):
                terms[name] = penalty(step)
        return terms

    def weigh(self, terms: Mapping[str, Tensor], model: GreyBox, kl_weight: float = 1.0) -> Tensor:
        """The loss, as the weighted sum of its terms.

        ``kl_weight`` multiplies all but the reconstruction: a model that is first an autoencoder
        finds a use for z_aux; one that is asked at once for a posterior as wide as the prior may
        never.
        """
        return terms["nll"] + kl_weight * (terms["kl"] + self.penalty(terms))

    def penalty(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the penalties."""
        weighted = [self.weights[k] * v for k, v in terms.items() if k in self.penalties]
        return sum(weighted, torch.zeros_like(terms["nll"]))

    def joint(
        self,
        fitting: Fitting,
        guide: Guide,
        batch: Batch,
        kl_weight: float = 1.0,
        found: object = None,
    ) -> dict[str, Tensor]:
        """All terms of a fit, and their weighted sum ``loss``."""
        terms = self.terms(
            fitting.model,
            guide,
            batch,
            simulator=fitting.simulator,
            observations=len(fitting.train),
            found=found,
        )
        return terms | {"loss": self.weigh(terms, fitting.model, kl_weight)}

    def asleep(self, fitting: Fitting, guide: Guide, batch: Batch) -> dict[str, Tensor]:
        """The loss of a guide alone: ``hybrid_simulation``, unweighted."""
        with _naming(SLEEP):
            step = _step(fitting.model, guide, batch, fitting.simulator, reduced=True)
            loss = self.penalties[SLEEP](step)
        return {SLEEP: loss, "loss": loss}

    def sleeps(self, model: GreyBox, guide: Guide) -> bool:
        """Whether the guide can be trained on the model's simulations alone."""
        return SLEEP in self.active(model, guide)

    def sleep_weight(self) -> float:
        """The weight of simulations in the joint loss."""
        return self.weights[SLEEP]

    def differentiable_loss(
        self, model: GreyBox, guide: Guide, batch: Batch, found: object = None
    ) -> Tensor:
        """The loss of one batch, to be differentiated.

        Raises:
            NonFiniteError: naming the term that is not finite.

        """
        terms = self.terms(model, guide, batch, found=found)
        loss = self.weigh(terms, model)
        finite({**terms, "loss": loss})
        return loss

    def loss(self, model: GreyBox, guide: Guide, batch: Batch, found: object = None) -> float:
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, batch, found))

    def loss_and_grads(self, model: GreyBox, guide: Guide, batch: Batch) -> float:
        """What ``pyro.infer.SVI`` calls: the gradients, and the parameters to be updated."""
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        _announce(model, "model")
        _announce(guide, "guide")
        return float(loss.detach())

    def _get_trace(
        self, model: GreyBox, guide: Guide, args: tuple[Batch], kwargs: dict[str, bool]
    ) -> tuple[poutine.Trace, poutine.Trace]:
        """What Pyro asks of every ELBO."""
        step = _step(model, guide, *args, None, reduced=kwargs.get("reduced", True))
        return step.model_trace, step.guide_trace


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
        model.noise.hold(self.sigma)

    def weigh(self, terms: Mapping[str, Tensor], model: GreyBox, kl_weight: float = 1.0) -> Tensor:
        variance = model.noise.scale.detach() ** 2
        kl = (1 + self.weights.get("ppc", 0.0)) * variance * terms["kl"]
        return 2 * variance * terms["nll"] + kl_weight * (kl + self.penalty(terms))


def _step(
    model: GreyBox,
    guide: Guide,
    batch: Batch,
    simulator: Simulator | None,
    *,
    reduced: bool,
    found: object = None,
) -> Step:
    known = simulator or Simulator(model, ahead=1, population=guide.population)
    return Step(model, guide, batch, known, reduced, found)


def shared_kl(step: Step) -> Tensor | float:
    """KL of the hyperparameters, a share of it for each of the observations fitted (nats).

    A loss is per observation: summed over the whole data set it holds this KL once.
    """
    population = step.guide.population
    if not population.hyper:
        return 0.0
    log_q, log_p = shared_log_prob_of(step.guide_trace), shared_log_prob_of(step.model_trace)
    return (log_q - log_p) / population.size


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
