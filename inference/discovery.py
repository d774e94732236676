"""What an unknown residual turned out to be: terms that survived, and a push's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from groundvae.data.errors import InputError
from groundvae.inference.run import Run
from groundvae.models.residuals.unknown import Unknown

ALIVE = 0.01  # of the largest effect on a rate, below which a term counts as absent


@dataclass(frozen=True)
class Discovery:
    """What one unknown residual found, in the population.

    Attributes:
        terms: a row for each state that is acted on and each feature of the states: its ``mean``
            and ``scale`` in the units of the rate (the feature at its usual size), ``imitated``:
            the share of what it does that the physics could do, and whether it is ``alive``.
        spectrum: a row for each state acted on and each frequency (Hz): the standard deviation
            ``amplitude`` of a cosine's weight, in the units of the rate.
        own_spread: standard deviation of the log of how much stronger one observation's push is
            than another's.

    """

    terms: pd.DataFrame
    spectrum: pd.DataFrame
    own_spread: float

    def __str__(self) -> str:
        alive = self.terms[self.terms["alive"]]
        lines = [
            f"{row.acts_on}: {row.mean:+.3g} +- {row.scale:.2g} times {row.feature}"
            for row in alive.itertuples()
        ] or ["no function of the states"]
        for name, part in self.spectrum.groupby("acts_on"):
            if not len(part):
                continue
            power = part["amplitude"].to_numpy() ** 2
            share = np.cumsum(power) / max(power.sum(), 1e-300)
            low, high = (
                part["frequency"].to_numpy()[np.searchsorted(share, q)] for q in (0.05, 0.95)
            )
            lines.append(f"{name}: a push, nine tenths of it from {low:.2g} to {high:.2g} Hz")
        return "\n".join(lines)


def discovered(run: Run) -> Discovery:
    """What the run's unknown residual turned out to be.

    Raises:
        InputError: the run has no residual of unknown shape.

    """
    found = [r for r in run.model.terms if isinstance(r, Unknown)]
    if not found:
        raise InputError(f"{run.config.system} was fitted without an unknown residual")
    terms, spectra = zip(*(_found(residual) for residual in found), strict=True)
    spread = float(found[0].own_spread.detach())
    return Discovery(pd.concat(terms), pd.concat(spectra), spread)


def _found(residual: Unknown) -> tuple[pd.DataFrame, pd.DataFrame]:
    variance = residual.variance.detach().double().numpy()
    mean = residual.mean.detach().double().numpy()
    timed = residual.timed
    scale = np.sqrt(variance[:, timed:])
    size = np.hypot(mean, scale)
    rows = [
        {
            "acts_on": name,
            "feature": feature,
            "mean": mean[i, j],
            "scale": scale[i, j],
            "imitated": float(residual.imitated[i, j]),
            "alive": bool(size[i, j] > ALIVE * max(size.max(), 1e-300)),
        }
        for i, name in enumerate(residual.acts_on)
        for j, feature in enumerate(residual.names)
    ]
    assert residual.frequencies is not None
    assert residual.span is not None
    frequency = np.arange(1, residual.frequencies + 1) / residual.span
    spectra = [
        pd.DataFrame(
            {
                "acts_on": name,
                "frequency": frequency,
                "amplitude": np.sqrt(variance[i, 1 : 1 + residual.frequencies]),
            }
        )
        for i, name in enumerate(residual.acts_on)
    ]
    return pd.DataFrame(rows), pd.concat(spectra)
