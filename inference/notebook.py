"""How far a fit is, in a notebook: a bar for each phase, in the cell that fits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from typing import Any

from groundvae.guides.phase import Phase
from groundvae.inference.optimize import Report

KERNEL = "ZMQInteractiveShell"  # what IPython calls a shell whose front end shows HTML


def bars() -> Report | None:
    """What a fit calls after every validation; None outside of a notebook."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    if python is None or type(shell).__name__ != KERNEL:
        return None
    from IPython.display import HTML, display

    shown: dict[str, Any] = {}  # the handle of each phase's bar

    def report(phase: Phase, step: int, terms: dict[str, float]) -> None:
        made = HTML(bar(phase.name, step, phase.steps, terms))
        if phase.name in shown:
            shown[phase.name].update(made)
        else:
            shown[phase.name] = display(made, display_id=True)

    return report


def bar(name: str, step: int, steps: int, terms: Mapping[str, float]) -> str:
    """One line of HTML.

    >>> bar("evidence", 3, 60, {"seconds": 2.0, "noise": 0.1})
    '<progress value="3" max="60"></progress> evidence 3/60, 2 s, noise 0.1'
    """
    told = [f"{escape(k)} {v:.4g}" for k, v in terms.items() if k not in ("step", "seconds")]
    seconds = [f"{terms['seconds']:.0f} s"] if "seconds" in terms else []
    text = ", ".join([f"{escape(name)} {step}/{steps}", *seconds, *told])
    return f'<progress value="{step}" max="{steps}"></progress> {text}'
