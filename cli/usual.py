"""The options of a fit that nobody typed: in their place stand those of the recipe."""

from __future__ import annotations

from dataclasses import fields, replace

from groundvae.models.recipe import FitOptions


class Usual:
    """Marks the default of an option, which a typed value of the same size does not carry."""


class UsualInt(int, Usual):
    """A whole number that nobody typed."""


class UsualFloat(float, Usual):
    """A number that nobody typed."""


def usual_options() -> FitOptions:
    """The options of a fit as they come, marked so that ``tuned`` can tell."""
    options = FitOptions()
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    marked = {k: (UsualInt if isinstance(v, int) else UsualFloat)(v) for k, v in values.items()}
    return FitOptions(**marked)  # type: ignore[arg-type]


def tuned(usual: FitOptions, options: FitOptions) -> FitOptions:
    """A recipe's options of a fit wherever ``options`` are still those that come."""
    own = {f.name: getattr(usual, f.name) for f in fields(usual)}
    return replace(
        options, **{k: v for k, v in own.items() if isinstance(getattr(options, k), Usual)}
    )
