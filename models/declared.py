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
from groundvae.models.noises import Gaussian, Matern, Noise
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
        noise: of what is observed; Gaussian, learned, where nothing is said. A formula without a
            residual is fitted by evidence: over time its noise is then ``Matern``, which knows
            its neighbours and takes up what is missing.
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
    alone = residual is None and not system.sizes  # a formula, and nothing beside it but noise
    given = residual or default_residual(system)
    by_evidence = given is not None and given.recipe is EVIDENCE
    told = _network(given) if given is not None and by_evidence else given
    missed = noise or (default_noise(system) if alone else Gaussian(0.1))
    exact = replace(USUAL, loss="exact")

    def model(beside: Residual | None = None) -> GreyBox:
        residuals = [] if beside is None else [again(beside)]
        return GreyBox(system(), residuals, again(missed))

    variants, usual = {"physics-only": Variant(model, exact)}, "hybrid-reg"
    if told is not None:
        variants["hybrid"] = Variant(lambda: model(told), exact)
        variants["hybrid-reg"] = Variant(lambda: model(told), recipe or USUAL)
    if by_evidence:
        usual = "hybrid-evidence"
        variants[usual] = Variant(lambda: model(given), EVIDENCE)
    elif alone:
        usual = "physics-evidence"
        variants[usual] = Variant(model, EVIDENCE)
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


def default_residual(system: type[System]) -> Residual | None:
    """Something of unknown shape on the last state, a velocity most often; else a network of time.

    A formula without time has none.
    """
    if not system.sizes:
        return Network(OBSERVATION, ("t",)) if "t" in system.coordinates else None
    last = list(system.sizes)[-1]
    return Network(last, ("t",)) if system.on_grid else Unknown(last)


def default_noise(system: type[System]) -> Noise:
    """Of a formula with nothing beside it: over time, noise that knows its neighbours."""
    first, *rest = system.axes
    if first != "time" or any(axis not in system.labels for axis in rest):
        return Gaussian(0.1)
    return Matern(len(system.labels[rest[0]]) if rest else None)


def _network(unknown: Residual) -> Network:
    """The paper's residual, where the unknown acts: it sees what it acts on, and the time."""
    return Network(unknown.acts_on, (*unknown.inside, "t"))
