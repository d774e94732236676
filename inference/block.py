"""Blocks: the observations that are drawn for together, from a seed of their own."""

from __future__ import annotations

import numpy as np

from groundvae.inference.options import PosteriorOptions

VALUES, MOST = 4_000_000, 1000  # decoded samples, and observations, held at once


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
