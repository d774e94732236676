"""Blocks: the observations that are drawn for together, from a seed of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from groundvae.inference.options import PosteriorOptions

Groups = dict[str, dict[str, Tensor]]
"""Arrays (draw, observation, ...) by group and name."""
VALUES, MOST = 8_000_000, 250  # decoded samples, and observations, held at once


def block_size(values: int, options: PosteriorOptions) -> int:
    """How many observations of so many ``values`` are drawn for together.

    >>> block_size(50, PosteriorOptions())
    250
    """
    if options.block is not None:
        return options.block
    decoded = values * max(options.draws // 4, options.predictive_draws)
    return min(MOST, max(1, VALUES // decoded))


def block_seed(seed: int, first: int) -> int:
    """The seed of the block that begins with observation ``first`` of all.

    >>> block_seed(0, 0) == block_seed(0, 500)
    False
    """
    return int(np.random.SeedSequence([seed, first]).generate_state(1, np.uint64)[0] >> 1)


def joined(chunks: Sequence[Groups]) -> Groups:
    """Groups of arrays (draw, observation, ...) of all chunks, one observation after the other."""
    return {
        group: {name: torch.cat([c[group][name] for c in chunks], dim=1) for name in names}
        for group, names in chunks[0].items()
    }
