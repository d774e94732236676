"""Probabilistic models in which part of the latent space is grounded by physics.

Whoever knows a law writes the law and nothing else, and gets a posterior that is right:

    import groundvae as gv

    class Spring(gv.Dynamics):
        omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
        start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where it is let go")
        states = ("position", "velocity")
        observed = "position"

        def initial(self, z, inputs):
            return {"position": z.start, "velocity": 0.0}

        def rate(self, t, state, z, inputs):
            return {"position": state.velocity, "velocity": -z.omega**2 * state.position}

    model = gv.GreyBox(Spring(), gv.Unknown("velocity"), gv.Gaussian())
    run = gv.fit(model, gv.read("spring.csv"))

Names are imported when they are first used, so that ``import groundvae`` costs nothing and changes
nothing; ``__init__.pyi`` lists them.
"""

from __future__ import annotations

import ast
import importlib
import warnings
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_LISTED = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_WHERE = {
    alias.name: str(node.module)
    for node in _LISTED.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_WHERE)

RENAMED = {
    "GaussianNoise": "Gaussian",
    "HarmonicResidual": "Waves",
    "NeuralResidual": "Network",
    "PhysicsLatent": "Latent",
}
"""Names of the version before, which still work for this one and say what they are called now."""


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name in RENAMED:
        said = f"groundvae.{name} is called {RENAMED[name]} and goes with the next minor version"
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        name = RENAMED[name]
    if name not in _WHERE:
        raise AttributeError(f"groundvae has no {name!r}, known: {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
