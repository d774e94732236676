"""The paper's structured guide: q(z_aux | x) q(z_P | unmix(x, z_aux)).

Source: Takeishi & Kalousis (2021), section 2.3: the second factor first removes from the
observation what z_aux explains, so that what is left looks like physics alone.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.amortized import AmortizedGuide
from groundvae.guides.circle import around
from groundvae.guides.encoder import Encoder
from groundvae.guides.family import Family
from groundvae.guides.guide import UNMIXED
from groundvae.guides.options import GuideOptions
from groundvae.models.greybox import AUXILIARY
from groundvae.models.latent import LatentSpec
from groundvae.models.network import ResidualMLP


class StructuredGuide(AmortizedGuide):
    """z_aux first, then the physics latents given the unmixed observation."""

    offers = frozenset({"unmixed", "physics_factor"})

    def __init__(
        self,
        encoder: Encoder,
        spec: LatentSpec,
        auxiliary: int,
        family: type[Family],
        options: GuideOptions,
    ) -> None:
        super().__init__(encoder, spec, auxiliary)
        n = encoder.canonical
        if auxiliary:
            self.auxiliary_family = family(encoder.features, auxiliary, options)
        if len(spec):
            line = family(encoder.features, len(spec), options)
            self.physics_family = around(line, encoder.features, spec, encoder.axis)
        if auxiliary and len(spec):
            width = options.pick("width", 128)
            self.unmixer = ResidualMLP(n + auxiliary, n, width=width, blocks=1)
            with torch.no_grad():  # at first, what is left after unmixing is almost x itself
                self.unmixer.head.weight.mul_(0.1)

    def draw(self, canonical: Tensor) -> None:
        unmixed = canonical
        if self.auxiliary:
            z = pyro.sample(AUXILIARY, self.auxiliary_family(self.encoder.describe(canonical)))
            if len(self.latents):
                unmixed = self.unmix(canonical, z)
        if len(self.latents):
            pyro.deterministic(UNMIXED, unmixed, event_dim=1)
            self.draw_physics(self.physics_family(self.encoder.describe(unmixed)))

    def unmix(self, canonical: Tensor, auxiliary: Tensor) -> Tensor:
        """The observation without what ``auxiliary`` (..., auxiliary) explains, (..., canonical).

        Draws may come with axes in front of the observations'.
        """
        seen = canonical.expand(*auxiliary.shape[:-1], -1)
        left: Tensor = seen + self.unmixer(torch.cat([seen, auxiliary], -1))
        return left

    @torch.no_grad()
    def centre(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and sd (observation, latent) of all latents, unconstrained, physics first.

        Those of the physics given the mean of z_aux; of a family that has both in closed form.
        """
        canonical = unmixed = self.encoder.read(batch)
        answers = []
        if self.auxiliary:
            answers.append(self.auxiliary_family(self.encoder.describe(canonical)))
            if len(self.latents):
                unmixed = self.unmix(canonical, answers[0].mean)
        if len(self.latents):
            answers.insert(0, self.physics_family(self.encoder.describe(unmixed)))
        mean, sd = ([getattr(a, name) for a in answers] for name in ("mean", "stddev"))
        return torch.cat(mean, -1), torch.cat(sd, -1)

    def physics_factor(self, batch: Batch) -> dist.TorchDistribution | None:
        """q(z_P | x) for an observation of physics alone, which needs no unmixing."""
        if not len(self.latents):
            return None
        described = self.encoder.describe(self.encoder.read(batch))
        factor: dist.TorchDistribution = self.physics_family(described)
        return factor
