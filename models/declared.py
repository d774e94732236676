"""A declared system as commands know it: its usual variants, from one residual and one noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from groundvae.data.dataset import Dataset
from groundvae.models.catalogue import SYSTEMS, Entry, Source, Variant
from groundvae.models.greybox import GreyBox
from groundvae.models.noises import Noise
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import USUAL, Recipe
from groundvae.models.residuals import Network, Residual
from groundvae.models.system import System
from groundvae.models.written import again

Simulate = Callable[[int, int], Dataset]


def register(
    name: str,
    system: type[System],
    *,
    residual: Residual | None = None,
    noise: Noise | None = None,
    simulate: Simulate | None = None,
    references: tuple[str, ...] = (),
    recipe: Recipe | None = None,
    summary: str = "",
) -> Entry:
    """Make a declared system known by a name, to commands and saved runs alike.

    Args:
        name: on the command line.
        system: its class.
        residual: what may be missing, and where it acts.
        noise: of what is observed; Gaussian, learned, where nothing is said.
        simulate: ``(n, seed)`` -> a data set, where there is a simulator.
        references: latents and others that data files may carry, to compare with.
        recipe: how ``hybrid-reg`` is fitted.
        summary: one line; the first of the class's docstring where nothing is said.

    Raises:
        InputError: the name is taken by another system.

    """
    entry = entry_of(
        name,
        system,
        residual=residual,
        noise=noise,
        recipe=recipe,
        source=Source(simulate, references or tuple(system.declared)),
        summary=summary,
    )
    return SYSTEMS.register(name)(entry)


def entry_of(
    name: str,
    system: type[System],
    *,
    residual: Residual | None = None,
    noise: Noise | None = None,
    recipe: Recipe | None = None,
    source: Source | None = None,
    summary: str = "",
) -> Entry:
    """The variants that any declared system has."""
    doc = (inspect.getdoc(system) or name).splitlines()[0]
    used = residual or default_residual(system)

    def model(*residuals: Residual) -> GreyBox:
        return GreyBox(system(), [again(r) for r in residuals], again(noise or Gaussian(0.1)))

    exact = replace(USUAL, loss="exact")
    variants = {
        "physics-only": Variant(lambda: model(), exact),
        "hybrid": Variant(lambda: model(used), exact),
        "hybrid-reg": Variant(lambda: model(used), recipe or USUAL),
    }
    file = inspect.getsourcefile(system) or ""
    own = str(Path(file).resolve()) if file else ""
    return Entry(name, summary or doc, system, variants, source or Source(), file=own)


def default_residual(system: type[System]) -> Residual:
    """A network on the last state (a velocity, most often), which sees it and the time."""
    inner = [name for name in system().pushable() if name != "observation"]
    if not inner:
        return Network("observation", ("t",))
    return Network(inner[-1], (inner[-1], "t"))
