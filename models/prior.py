"""Priors as text: ``LogNormal(0.5, 0.4)`` to a distribution and back; parsed, never evaluated."""

from __future__ import annotations

import ast
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pyro.distributions as dist
import torch

from groundvae.data.errors import InputError
from groundvae.models.axial import AxialVonMises
from groundvae.models.hierarchy import Hierarchical, Make
from groundvae.models.mixture import Mixture
from groundvae.models.narrowed import Narrowed
from groundvae.models.truncated import Truncated

KNOWN = (
    AxialVonMises,
    dist.Beta,
    dist.Cauchy,
    dist.Exponential,
    dist.Gamma,
    dist.Gumbel,
    dist.HalfCauchy,
    dist.HalfNormal,
    dist.InverseGamma,
    dist.Kumaraswamy,
    dist.Laplace,
    dist.LogNormal,
    dist.Logistic,
    dist.Normal,
    dist.StudentT,
    dist.Uniform,
    dist.VonMises,
    dist.Weibull,
)
DISTRIBUTIONS: dict[str, Callable[..., dist.TorchDistribution]] = {d.__name__: d for d in KNOWN}


COMPOSED = ("Truncated", "Narrowed", "Mixture")
FORM = "expected NAME(NUMBER, ...), such as LogNormal(0.5, 0.4)"


@dataclass(frozen=True)
class Reading:
    """What a text says: a distribution once the hyperparameters it names have values."""

    make: Make
    text: str
    names: frozenset[str] = frozenset()


def parse_prior(text: str) -> dist.TorchDistribution:
    """Build a distribution from a name and numbers.

    >>> parse_prior("LogNormal(0.5, scale=0.4)")
    LogNormal()
    >>> format_prior(parse_prior("Truncated(Normal(1, 0.5), low=0)"))
    'Truncated(Normal(loc=1.0, scale=0.5), low=0.0)'
    >>> format_prior(parse_prior("Mixture(1, Normal(-1, 0.1), 3, Normal(1, 0.1))"))
    'Mixture(1.0, Normal(loc=-1.0, scale=0.1), 3.0, Normal(loc=1.0, scale=0.1))'

    Raises:
        InputError: not of this form, an unknown distribution or argument, or a bad value.

    """
    return _read(_call(text), text, frozenset()).make({})


def parse_priors(texts: Mapping[str, str]) -> dict[str, dist.TorchDistribution]:
    """Priors by name. A prior may name others of the texts as arguments: hyperparameters.

    >>> found = parse_priors({"omega": "LogNormal(mu, 0.3)", "mu": "Normal(0, 1)"})
    >>> list(found), list(found["omega"].hyper)
    (['omega'], ['mu'])

    Raises:
        InputError: as ``parse_prior``; a name without a prior; a prior of more than two levels.

    """
    known = frozenset(texts)
    read = {name: _read(_call(text), text, known - {name}) for name, text in texts.items()}
    used = frozenset[str]().union(*(reading.names for reading in read.values()))
    for name in sorted(used):
        if read[name].names:
            raise InputError(f"hyperparameter {name!r} has a prior with hyperparameters of its own")
    plain = {name: reading.make({}) for name, reading in read.items() if not reading.names}
    for name, reading in read.items():
        if reading.names:
            hyper = {each: plain[each] for each in sorted(reading.names)}
            plain[name] = Hierarchical(reading.text, reading.make, hyper)
    return {name: plain[name] for name in read if name not in used}


def format_prior(prior: dist.TorchDistribution) -> str:
    """The text that ``parse_prior`` (of a hierarchical one ``parse_priors``) reads back.

    >>> format_prior(dist.Uniform(0.392, 3.53))
    'Uniform(low=0.392, high=3.53)'
    """
    if isinstance(prior, Hierarchical):
        return prior.text
    if isinstance(prior, Truncated):
        ends = {"low": prior.low, "high": prior.high}
        given = "".join(f", {k}={v!r}" for k, v in ends.items() if math.isfinite(v))
        return f"Truncated({format_prior(prior.base)}{given})"
    if isinstance(prior, Narrowed):
        return f"Narrowed({format_prior(prior.base)}, {prior.shift!r}, {prior.scale!r})"
    if isinstance(prior, Mixture):
        pairs = zip(prior.given, prior.components, strict=True)
        return f"Mixture({', '.join(f'{w!r}, {format_prior(c)}' for w, c in pairs)})"
    name = type(prior).__name__
    if DISTRIBUTIONS.get(name) is not type(prior):
        raise InputError(f"a prior of type {name} cannot be saved, known: {list(DISTRIBUTIONS)}")
    values = {key: getattr(prior, key) for key in _arguments(name) if hasattr(prior, key)}
    return f"{name}({', '.join(f'{k}={_shortest(v)}' for k, v in values.items())})"


def format_priors(priors: Mapping[str, dist.TorchDistribution]) -> dict[str, str]:
    """The texts that ``parse_priors`` reads back, with those of the hyperparameters."""
    texts = {name: format_prior(prior) for name, prior in priors.items()}
    for prior in priors.values():
        if isinstance(prior, Hierarchical):
            texts |= {name: format_prior(each) for name, each in prior.hyper.items()}
    return texts


def _call(text: str) -> ast.Call:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parser, on text such as '1if 2'
            call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"prior {text!r} cannot be read, {FORM}") from error
    return _as_call(call, text)


def _as_call(node: ast.expr, text: str) -> ast.Call:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise InputError(f"prior {text!r} cannot be read, {FORM}")
    return node


def _name(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Name)
    return call.func.id


def _read(call: ast.Call, text: str, known: frozenset[str], *, inner: bool = False) -> Reading:
    """A distribution; within another (``inner``) not a mixture."""
    name = _name(call)
    if name == "Truncated":
        return _truncated(call, text, known)
    if name == "Narrowed":
        return _narrowed(call, text, known)
    if name == "Mixture" and not inner:
        return _mixture(call, text, known)
    return _plain(call, text, known)


def _plain(call: ast.Call, text: str, known: frozenset[str]) -> Reading:
    name = _name(call)
    if name not in DISTRIBUTIONS:
        listed = ", ".join([*DISTRIBUTIONS, *COMPOSED])
        raise InputError(f"prior {text!r}: no distribution {name!r}, known: {listed}")
    positional = [_argument(argument, text, known) for argument in call.args]
    named = {str(k.arg): _argument(k.value, text, known) for k in call.keywords}
    arguments = _arguments(name)
    wrong = f"{name} takes {', '.join(arguments)}"
    if len(positional) > len(arguments) or set(arguments[: len(positional)]) & set(named):
        raise InputError(f"prior {text!r}: {wrong}")
    given = dict(zip(arguments, positional, strict=False)) | named

    def make(values: Mapping[str, torch.Tensor]) -> dist.TorchDistribution:
        numbers = {k: values[v] if isinstance(v, str) else v for k, v in given.items()}
        try:
            return DISTRIBUTIONS[name](**numbers, validate_args=True)
        except (TypeError, ValueError) as error:
            why = "" if isinstance(error, TypeError) else "values out of range; "
            raise InputError(f"prior {text!r}: {why}{wrong}") from error

    names = frozenset(v for v in given.values() if isinstance(v, str))
    parts = (f"{k}={v if isinstance(v, str) else _shortest(v)}" for k, v in given.items())
    return Reading(make, f"{name}({', '.join(parts)})", names)


def _truncated(call: ast.Call, text: str, known: frozenset[str]) -> Reading:
    form = "expected Truncated(DISTRIBUTION, low=NUMBER, high=NUMBER)"
    ends = dict(zip(("low", "high"), call.args[1:], strict=False))
    named = {str(k.arg): k.value for k in call.keywords}
    wrong = set(named) - {"low", "high"} or set(named) & set(ends)
    if wrong or not 1 <= len(call.args) <= 3 or not named | ends:
        raise InputError(f"prior {text!r} cannot be read, {form}")
    inner = _as_call(call.args[0], text)
    if _name(inner) in COMPOSED:
        raise InputError(f"prior {text!r}: {_name(inner)} cannot be Truncated")
    base = _plain(inner, text, known)
    at = {key: float(_number(node, text)) for key, node in (ends | named).items()}
    fixed = not base.names  # else checked for draws of the hyperparameters

    def make(values: Mapping[str, torch.Tensor]) -> dist.TorchDistribution:
        with _told_of(text):
            return Truncated(base.make(values), **at, check=fixed)

    shown = "".join(f", {k}={at[k]!r}" for k in ("low", "high") if k in at)
    return Reading(make, f"Truncated({base.text}{shown})", base.names)


def _narrowed(call: ast.Call, text: str, known: frozenset[str]) -> Reading:
    if call.keywords or len(call.args) != 3:
        raise InputError(
            f"prior {text!r} cannot be read, expected Narrowed(DISTRIBUTION, SHIFT, SCALE)"
        )
    base = _read(_as_call(call.args[0], text), text, known, inner=True)
    shift, scale = (float(_shortest(_number(node, text))) for node in call.args[1:])

    def make(values: Mapping[str, torch.Tensor]) -> dist.TorchDistribution:
        with _told_of(text):
            return Narrowed(base.make(values), shift, scale)

    return Reading(make, f"Narrowed({base.text}, {shift!r}, {scale!r})", base.names)


def _mixture(call: ast.Call, text: str, known: frozenset[str]) -> Reading:
    if call.keywords or len(call.args) % 2:
        raise InputError(
            f"prior {text!r} cannot be read, expected Mixture(WEIGHT, DISTRIBUTION, WEIGHT, ...)"
        )
    weights = [float(_number(node, text)) for node in call.args[::2]]
    parts = [_read(_as_call(node, text), text, known, inner=True) for node in call.args[1::2]]

    def make(values: Mapping[str, torch.Tensor]) -> dist.TorchDistribution:
        with _told_of(text):
            return Mixture(weights, [part.make(values) for part in parts])

    shown = ", ".join(f"{w!r}, {part.text}" for w, part in zip(weights, parts, strict=True))
    names = frozenset[str]().union(*(part.names for part in parts))
    return Reading(make, f"Mixture({shown})", names)


@contextmanager
def _told_of(text: str) -> Iterator[None]:
    """Say which prior is wrong."""
    try:
        yield
    except InputError as error:
        if str(error).startswith("prior "):
            raise
        raise InputError(f"prior {text!r}: {error}") from None


def _argument(node: ast.expr, text: str, known: frozenset[str]) -> torch.Tensor | str:
    if isinstance(node, ast.Name) and known:
        if node.id in known:
            return node.id
        raise InputError(f"prior {text!r} names {node.id!r}, which has no prior")
    return _number(node, text)


def split_assignment(text: str) -> tuple[str, str]:
    """Cut ``NAME=TEXT`` in two.

    >>> split_assignment("omega=Normal(1, 2)")
    ('omega', 'Normal(1, 2)')
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise InputError(f"{text!r} cannot be read, expected NAME=DISTRIBUTION(NUMBER, ...)")
    return name.strip(), value.strip()


def _shortest(value: torch.Tensor) -> str:
    return str(torch.as_tensor(value).detach().cpu().numpy()[()])


def _arguments(name: str) -> list[str]:
    signature = inspect.signature(DISTRIBUTIONS[name])
    return [k for k in signature.parameters if k != "validate_args"]


def _number(node: ast.expr, text: str) -> torch.Tensor:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        node = node.operand
    value = getattr(node, "value", None)
    if not isinstance(node, ast.Constant) or isinstance(value, bool):
        raise InputError(f"prior {text!r}: arguments must be plain numbers")
    if not isinstance(value, int | float) or not abs(value) < 1e30:
        raise InputError(f"prior {text!r}: arguments must be finite numbers")
    return torch.tensor(sign * float(value))
