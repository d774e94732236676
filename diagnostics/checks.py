"""The checks of a report, in its order: ours as they stand here, then those of others."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from groundvae.diagnostics.check import CHECKS, Check, validate

ORDER = (
    "standin", "observations", "reconstruction", "recovery", "coverage", "rank", "zscore",
    "outofdistribution", "contraction", "discrepancy", "precision", "against", "calibration",
    "tarp", "weights", "guide_vs_nuts", "evidence", "predictive", "pvalue", "loo_pit", "forecast",
    "priorpredictive", "decomposition", "independence", "physics_only_refit", "discovery",
    "leaning", "correlatedeffects", "energy", "power_scaling", "whiteness", "generation",
    "population",
)  # fmt: skip
"""Names of our checks; each is its module's as well, and registers itself there."""

for name in ORDER:
    import_module(f"groundvae.diagnostics.{name}")


def checks_of_report(further: Iterable[Check] = ()) -> list[Check]:
    """Ours, then those that others registered, then ``further`` ones.

    One of a name that is there already takes that one's place.

    Raises:
        InputError: a check lacks words, or an installed package's cannot be loaded.

    """
    found = {name: CHECKS[name]() for name in dict.fromkeys((*ORDER, *CHECKS))}
    found |= {check.name: check for check in further}
    for check in found.values():
        validate(check)
    return list(found.values())
