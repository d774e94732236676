"""The trial of a law: what is wrong with it is told in one sentence, before anything is fitted.

A law is asked once for a few observations of the data, at latents that its own priors drew. It must
give every state and no other, as a tensor or a number of the right shape, finite, and leave what it
was given as it was. A solver that asks a thousand times a second would tell none of this so well.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.latent import LatentSpec
from groundvae.models.place import place_of
from groundvae.models.precision import like
from groundvae.models.values import Values

OBSERVATIONS = 16
"""So many are asked for, each at a draw of its own."""
FLOATS = (torch.float32, torch.float64)  # others lose digits, or all gradients
NUMPY = "Can't call numpy()"  # how torch begins to say so


class Trial:
    """What a law is asked with, and what is said where its answer will not do.

    Args:
        latents: of the law, and their priors.
        batch: observations, of which the first few are taken.
        dtype: the precision of the model.

    """

    def __init__(self, latents: LatentSpec, batch: Batch, dtype: torch.dtype) -> None:
        few = batch[:OBSERVATIONS]
        self.lead, self.event = few.x.shape[:1], few.x.shape[1:]
        self.inputs = Values({k: v.to(dtype) for k, v in few.inputs.items()}, "input")
        self.z = Values(drawn(latents, few.x.to(dtype)), "latent")
        self.spread = spread_of(batch).to(dtype)

    def ask(self, law: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of a law to its arguments, which it must not change.

        Raises:
            InputError: it fails, or changes a tensor in place; with its file and line.

        """
        given = {k: v for each in arguments if isinstance(each, Values) for k, v in each.items()}
        before = {name: value._version for name, value in given.items()}
        failure: Exception | None = None
        answer = None
        try:
            with warnings.catch_warnings():  # what is worth one is an error below
                warnings.simplefilter("ignore")
                answer = law(*arguments)
        except Exception as error:  # somebody else's law can fail in any way
            failure = error
        changed = [name for name, value in given.items() if value._version != before[name]]
        if changed:  # first: it may be what the failure comes from
            raise wrong(law, f"changes {changed[0]} in place, expected new tensors") from failure
        if failure is not None:
            raise _failed(law, failure) from failure
        return answer

    def states(
        self, law: Callable[..., Any], shapes: Mapping[str, torch.Size], *arguments: Any
    ) -> dict[str, Tensor]:
        """The states that a law gives, each of its shape.

        Raises:
            InputError: it gives other states, or one that is none of numbers, of another shape or
                not finite; with file, line, state and latents.

        """
        answer = self.ask(law, *arguments)
        if not isinstance(answer, Mapping):
            expected = f"a mapping of {', '.join(shapes)}"
            raise wrong(law, f"gives {_kind(answer)}, expected {expected}")
        if answer.keys() != shapes.keys():
            given = ", ".join(map(str, answer)) or "nothing"
            raise wrong(law, f"gives {given}, expected the states {', '.join(shapes)}")
        return {k: self.shaped(law, answer[k], shape, k) for k, shape in shapes.items()}

    def shaped(
        self,
        law: Callable[..., Any],
        value: Any,
        shape: torch.Size,
        name: str = "",
        *,
        exact: bool = False,
    ) -> Tensor:
        """A value that a law gave as a tensor of a shape, (observation, ...).

        Args:
            law: what gave it.
            value: a tensor or a number, that broadcasts to the shape or, ``exact``, is of it.
            shape: what is expected.
            name: of the state.
            exact: whether a number, or fewer axes, will not do.

        Raises:
            InputError: as for ``states``.

        """
        of = f" for {name}" if name else ""
        if isinstance(value, int | float):
            value = torch.tensor(float(value))
        if not isinstance(value, Tensor):
            raise wrong(law, f"gives {_kind(value)}{of}, expected a tensor or a number")
        if not (value.shape == shape if exact else _fits(value.shape, shape)):
            told = f"gives the shape {tuple(value.shape)}{of}, expected {tuple(shape)}"
            raise wrong(law, told)
        if value.dim() and value.dtype not in FLOATS:
            raise wrong(law, f"gives {value.dtype}{of}, expected float32 or float64")
        whole = value.expand(shape).clone()
        bad = ~torch.isfinite(whole.detach())
        if bad.any():
            row, number = int(bad.nonzero()[0, 0]), float(whole.detach()[bad][0])
            where = f" at {in_words(self.z, row)}" if self.z else ""
            raise wrong(law, f"gives {number}{of}{where}, expected a finite number")
        return whole


def drawn(latents: LatentSpec, x: Tensor) -> dict[str, Tensor]:
    """A draw of each latent from its prior for each observation, (observation,).

    They ask for gradients, as those of a guide do; the caller's random numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        hyper = {name: like(prior, x).sample(x.shape[:1]) for name, prior in latents.hyper.items()}
        values = {z.name: z.prior_like(x, hyper).expand(x.shape[:1]).sample() for z in latents}
    return {name: value.requires_grad_().clone() for name, value in values.items()}


def spread_of(batch: Batch) -> Tensor:
    """Standard deviation of all samples, (); where there are channels, of each, (channel,)."""
    x = batch.x if batch.observed is None else batch.x.masked_fill(~batch.observed, torch.nan)
    each = x.flatten() if x.dim() != 3 else x.flatten(0, 1)
    off = each - each.nanmean(0)
    return off.square().nanmean(0).sqrt().nan_to_num(nan=1.0).clamp(min=1e-9)


def in_words(z: Mapping[str, Tensor], row: int) -> str:
    """The latents of one observation, (observation,) each.

    >>> in_words({"omega": torch.tensor([1.0, 2.5])}, 1)
    'omega = 2.5'
    """
    return ", ".join(f"{name} = {float(value[row].detach()):.4g}" for name, value in z.items())


def wrong(law: Callable[..., Any], told: str) -> InputError:
    """What is wrong with the answer of a law, after its file, line and name."""
    return InputError(f"{place_of(law)} {told}")


def _failed(law: Callable[..., Any], error: Exception) -> InputError:
    """What an exception of a law says, with the line at which it arose."""
    place = place_of(law, error)
    if str(error).startswith(NUMPY):
        return InputError(f"{place} uses numpy, expected functions of torch")
    text = " ".join(str(error).split())
    if not isinstance(error, InputError):
        text = f"{type(error).__name__}: {text}"
    return InputError(f"{place} fails, {text}")


def _fits(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether a tensor of one shape can stand for one of another."""
    missing = len(wanted) - len(shape)
    return missing >= 0 and all(a in (1, b) for a, b in zip(shape, wanted[missing:], strict=True))


def _kind(value: object) -> str:
    """What a value is, where it is no tensor."""
    if type(value).__module__ == "numpy":
        return f"numpy's {type(value).__name__}"
    return f"a {type(value).__name__}"
