"""Imitation: what a law makes of a term that is missing and acts as the law itself does.

A term that is proportional to a state may be what the law has already: a loss proportional to an
amount is clearance by another name. Then no data tell the two apart, however many they are, and
the latent is off by what is missing. Near a posterior the model is linear, so how far is known.
Sources: Kennedy & O'Hagan (2001); Brynjarsdottir & O'Hagan (2014); Plumlee (2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.admission import usual_sizes
from groundvae.guides.evidence import FLAT
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.residuals.learnedweights import IMITATES
from groundvae.models.residuals.proportional import Proportional
from groundvae.models.residuals.unknown import Unknown

SMALL = 0.1  # of the usual rate, the term that is missing
COLUMNS = ["acts_on", "state", "latent", "moves"]


@torch.no_grad()
def imitations(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> pd.DataFrame:
    """How far each physics latent moves in place of terms proportional to a state.

    Terms on the states that unknown residuals act on; not those that a residual has among its
    features and can tell from the physics.

    Args:
        model: fitted, with at least one residual of unknown shape.
        scores: of its physics latents.
        at: the middles of posteriors (n, latent), normal scores of the physics, then ``z_aux``.
        batch: what they are posteriors of, n observations.

    Returns:
        A row for each state that is acted on, each state it may be proportional to, and each
        latent: by how many of its standard deviations it ``moves``, root mean square, where the
        term is a tenth of the usual rate.

    """
    system = model.system
    assert isinstance(system, Dynamics)
    unknown = [term for term in model.terms if isinstance(term, Unknown)]
    names = tuple(system.states)
    acted = tuple(n for n in names if any(n in term.acts_on for term in unknown))
    missing = Proportional(acted, names)
    wide = GreyBox(system, [*model.terms, missing], model.noise)
    search = Search(
        wide, scores, batch, torch.cat([at, at.new_zeros(len(at), missing.auxiliary)], -1)
    )
    jacobian, count = search.linear(FLAT).jacobian.double(), len(scores)
    known, terms = jacobian.split([at.shape[1], missing.auxiliary], -1)
    sizes, rates = usual_sizes(search, missing)
    weights = SMALL * (rates.unsqueeze(-1) / sizes).flatten().double()
    sd = LinearGaussian(known, terms[..., 0], 0 * at.double()).covariance()
    sd = sd.diagonal(dim1=1, dim2=2)[:, :count].sqrt()
    rows = []
    for k, (name, state) in enumerate((a, s) for a in acted for s in names):
        term = weights[k] * terms[..., k]
        if _learned(unknown, name, state) and _imitated(known, term, count) <= IMITATES:
            continue
        moved = LinearGaussian(known, term, 0 * at.double()).mean[:, :count] / sd
        each = moved[search.alive].square().mean(0).sqrt().tolist()
        rows += [(name, state, z.name, m) for z, m in zip(model.latents, each, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _learned(unknown: Sequence[Unknown], name: str, state: str) -> bool:
    """Whether a residual has the term among its features."""
    return any(name in term.acts_on and state in term.names for term in unknown)


def _imitated(known: Tensor, term: Tensor, count: int) -> float:
    """The share of the information on a term (n, value) that is lost to the ``count`` physics."""
    left = []
    for columns in (known, known[..., count:]):
        at = columns.new_zeros(len(columns), columns.shape[-1])
        taken = (columns @ LinearGaussian(columns, term, at).mean.unsqueeze(-1)).squeeze(-1)
        left.append(float((term * (term - taken)).sum()))
    return 1 - left[0] / max(left[1], 1e-300)
