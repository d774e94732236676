"""A declared system as commands know it: its usual variants, from one residual and one noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from groundvae.data.dataset import Dataset
from groundvae.data.source import Source
from groundvae.models.catalogue import SYSTEMS, Entry, Variant
from groundvae.models.greybox import GreyBox
from groundvae.models.noises import Noise
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import EVIDENCE, USUAL, Recipe
from groundvae.models.residuals import Network, Residual, Unknown
from groundvae.models.system import OBSERVATION, System
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
    given = residual or default_residual(system)
    told = given if given.recipe is not EVIDENCE else _network(given)
    exact = replace(USUAL, loss="exact")

    def model(*residuals: Residual) -> GreyBox:
        return GreyBox(system(), [again(r) for r in residuals], again(noise or Gaussian(0.1)))

    variants = {
        "physics-only": Variant(lambda: model(), exact),
        "hybrid": Variant(lambda: model(told), exact),
        "hybrid-reg": Variant(lambda: model(told), recipe or USUAL),
    }
    usual = "hybrid-reg"
    if given.recipe is EVIDENCE:
        usual = "hybrid-evidence"
        variants[usual] = Variant(lambda: model(given), EVIDENCE)
    model(given)  # what cannot be put together is refused by the line that says it
    return Entry(
        name,
        summary or doc,
        system,
        variants,
        source or Source(),
        usual,
        str(Path(inspect.getsourcefile(system) or "").resolve()),
    )


def default_residual(system: type[System]) -> Residual:
    """Something of unknown shape on the last state, a velocity most often; else a network."""
    inner = [name for name in system().pushable() if name != OBSERVATION]
    if not inner or system.on_grid:
        return Network(inner[-1] if inner else OBSERVATION, ("t",))
    return Unknown(inner[-1])


def _network(unknown: Residual) -> Network:
    """The paper's residual, where the unknown acts: it sees what it acts on, and the time."""
    return Network(unknown.acts_on, (*unknown.inside, "t"))
