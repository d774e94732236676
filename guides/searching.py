"""The searching guide: the paper's structured answer, carried to the mode by the model itself.

``q(z_aux | x) q(z_P | unmix(x, z_aux))`` is where a search on the decoder begins; the posterior is
the normal about the mode, with the full covariance of the curvature there. The model is fitted by
SVI under that normal: whatever the networks are by then, the ELBO is nearly log p(x), and asks a
residual for no more than the data do. An encoder's own answer is looser than that, by most where
latents of both kinds explain the same motion, and physics are lost in the gap. The answer learns
from draws of the posteriors, and from the paper's regularizers.
Source: Park, Kim & Kim (2019), Variational Laplace autoencoders.
"""

from __future__ import annotations

from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.guides.awake import AwakeAtModes
from groundvae.guides.encoder import Encoder
from groundvae.guides.family import NormalFamily
from groundvae.guides.follow import parts_of
from groundvae.guides.guide import UNMIXED
from groundvae.guides.mode import Mode, about
from groundvae.guides.modes import MODE, ModeGuide
from groundvae.guides.options import GuideOptions
from groundvae.guides.phase import Fitting, Phase
from groundvae.guides.population import Population
from groundvae.guides.search import Search
from groundvae.guides.structured import StructuredGuide
from groundvae.models.greybox import site_value
from groundvae.models.latent import LatentSpec

WITHIN = 3.0  # standard deviations of the prior, that a first answer may be from its middle


class SearchingGuide(ModeGuide):
    """A normal about the mode that a search finds from a structured answer."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("width", "blocks")
    offers = frozenset({"unmixed", "physics_factor"})
    learns = True
    spreads = False

    def __init__(
        self, encoder: Encoder, spec: LatentSpec, auxiliary: int, options: GuideOptions
    ) -> None:
        wrapping = [z.name for z in spec if z.circular]
        if wrapping:
            raise InputError(
                f"{wrapping[0]} lives on a circle, which a guide that begins at an answer cannot "
                "go round, expected a guide of modes, a structured or a joint guide"
            )
        nn.Module.__init__(self)  # its encoder and population are those of its first answer
        self.first = StructuredGuide(encoder, spec, auxiliary, NormalFamily, options)
        self.latents, self.auxiliary, self.circular = spec, auxiliary, []

    @property
    def encoder(self) -> Encoder:
        return self.first.encoder

    @property
    def population(self) -> Population:
        return self.first.population

    def phases(self, fitting: Fitting) -> tuple[Phase, ...]:
        """One: model and first answer together, each observation at its mode."""
        return (Phase("wake", fitting.options.steps, self, lambda f: AwakeAtModes(f, self)),)

    def mode_of(self, search: Search) -> Mode:
        """The posteriors about where a search has ended."""
        return about(search, parts_of(self._model[0]))

    def drawn(self, mode: Mode, batch: Batch) -> dict[str, Tensor]:
        """One draw of all latents of a batch, by name."""
        with torch.no_grad():
            trace = poutine.trace(self).get_trace(batch, mode)
        return {name: site_value(trace, name) for name in self._model[0].latent_names}

    def physics_factor(self, batch: Batch) -> dist.TorchDistribution | None:
        return self.first.physics_factor(batch)

    def forward(self, batch: Batch, found: object = None) -> None:
        """Beside the latents, what is left once ``z_aux`` is taken away, where a loss may ask."""
        with poutine.trace() as told:
            super().forward(batch, found)
        if torch.is_grad_enabled() and self.auxiliary and len(self.latents):
            z = site_value(told.trace, MODE)[..., len(self.latents) :]
            unmixed = self.first.unmix(self.encoder.read(batch), z)
            pyro.deterministic(UNMIXED, unmixed, event_dim=1)

    def start(self, batch: Batch, places: Tensor | None = None) -> Search:
        """The same; in place of the middle of the prior, at the structured answer."""
        search = super().start(batch, places)
        answer, _ = self.first.centre(batch)
        values, _ = self.latents.constrain(answer[:, : len(self.latents)])
        physics = [
            score.score(values[name])
            for score, name in zip(search.scores, self.latents.names, strict=True)
        ]
        first = [torch.stack(physics, -1)] if physics else []
        answer = torch.cat([*first, answer[:, len(self.latents) :]], -1)
        answer = answer.nan_to_num(nan=0.0).clamp(-WITHIN, WITHIN)
        middle = torch.ones(len(batch), dtype=torch.bool) if places is None else places == 0
        search.at = torch.where(middle.to(answer.device).unsqueeze(-1), answer, search.at)
        return search
