"""Options of a posterior: how much is drawn. A command reads them without what draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundvae.data.errors import InputError

VALUES, MOST = 4_000_000, 1000  # decoded samples, and observations, held at once


@dataclass(frozen=True)
class PosteriorOptions:
    """How much to draw."""

    draws: int = 500
    """Draws of the latents for each observation."""
    predictive_draws: int = 100
    """Of these, how many are decoded: predictions, log-likelihoods, importance weights."""
    seed: int = 0
    """Of the draws."""
    block: int | None = None
    """Observations that are drawn for together, from a seed of their own; default as many as bound
    the memory."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.predictive_draws < 1:
            raise InputError("draws and predictive_draws must be 1 or more")
        if self.block is not None and self.block < 1:
            raise InputError(f"block is {self.block}, expected 1 or more")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected 0 or more, below 2**63")


def block_size(values: int, options: PosteriorOptions) -> int:
    """How many observations of so many ``values`` are drawn for together.

    >>> block_size(50, PosteriorOptions())
    640
    """
    if options.block is not None:
        return options.block
    decoded = values * max(options.draws // 4, options.predictive_draws)
    return min(MOST, max(1, VALUES // decoded))


def block_seed(seed: int, first: int) -> int:
    """The seed of the block that begins with observation ``first`` of all.

    >>> block_seed(0, 0) == block_seed(0, 320)
    False
    """
    return int(np.random.SeedSequence([seed, first]).generate_state(1, np.uint64)[0] >> 1)
