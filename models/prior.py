"""Priors as text: ``LogNormal(0.5, 0.4)`` to a distribution and back; parsed, never evaluated."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable

import pyro.distributions as dist
import torch

from groundvae.data.errors import InputError
from groundvae.models.axial import AxialVonMises

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


def parse_prior(text: str) -> dist.TorchDistribution:
    """Build a distribution from a name and numbers.

    >>> parse_prior("LogNormal(0.5, scale=0.4)")
    LogNormal()

    Raises:
        InputError: not of this form, an unknown distribution or argument, or a bad value.

    """
    expected = "expected NAME(NUMBER, ...), such as LogNormal(0.5, 0.4)"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parser, on text such as '1if 2'
            call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"prior {text!r} cannot be read, {expected}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise InputError(f"prior {text!r} cannot be read, {expected}")
    name = call.func.id
    if name not in DISTRIBUTIONS:
        raise InputError(
            f"prior {text!r}: no distribution {name!r}, known: {', '.join(DISTRIBUTIONS)}"
        )
    positional = [_number(argument, text) for argument in call.args]
    named = {str(k.arg): _number(k.value, text) for k in call.keywords}
    try:
        return DISTRIBUTIONS[name](*positional, **named, validate_args=True)
    except (TypeError, ValueError) as error:
        arguments = ", ".join(_arguments(name))
        why = "" if isinstance(error, TypeError) else "values out of range; "
        raise InputError(f"prior {text!r}: {why}{name} takes {arguments}") from error


def format_prior(prior: dist.TorchDistribution) -> str:
    """The text that ``parse_prior`` reads back as the same distribution.

    >>> format_prior(dist.Uniform(0.392, 3.53))
    'Uniform(low=0.392, high=3.53)'
    """
    name = type(prior).__name__
    if DISTRIBUTIONS.get(name) is not type(prior):
        raise InputError(f"a prior of type {name} cannot be saved, known: {list(DISTRIBUTIONS)}")
    values = {key: getattr(prior, key) for key in _arguments(name) if hasattr(prior, key)}
    return f"{name}({', '.join(f'{k}={_shortest(v)}' for k, v in values.items())})"


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
