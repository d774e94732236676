"""Options of a posterior: how much is drawn. A command reads them without what draws."""

from __future__ import annotations

from dataclasses import dataclass

from groundvae.data.errors import InputError


@dataclass(frozen=True)
class PosteriorOptions:
    """How much to draw.

    Raises:
        InputError: a number out of its range.

    """

    draws: int = 500
    """Draws of the latents for each observation."""
    predictive_draws: int = 100
    """Of these, how many are decoded: predictions, log-likelihoods, importance weights."""
    seed: int = 0
    """Of the draws."""
    block: int | None = None
    """Observations that are drawn for together, from a seed of their own; default as many as bound
    the memory."""

    anneal: bool = False
    """Carry draws that k-hat doubts on to the exact posterior under the fitted population, by
    annealing. What is not known of that population then counts for less: intervals of physics told
    nothing of what is missing came out too narrow (docs/unknown.md)."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.predictive_draws < 1:
            raise InputError("draws and predictive_draws must be 1 or more")
        if self.block is not None and self.block < 1:
            raise InputError(f"block is {self.block}, expected 1 or more")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected 0 or more, below 2**63")
