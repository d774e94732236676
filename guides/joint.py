"""The joint guide: q(z_P, z_aux | x) in one family, with correlations if the family has any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyro
from torch import Tensor

from groundvae.guides.amortized import AmortizedGuide
from groundvae.guides.circle import around
from groundvae.guides.encoder import Encoder
from groundvae.guides.family import Family
from groundvae.guides.options import GuideOptions
from groundvae.models.latent import LatentSpec

JOINT = "joint_unconstrained"


class JointGuide(AmortizedGuide):
    """All latents of an observation from one distribution in unconstrained space."""

    def __init__(
        self,
        encoder: Encoder,
        spec: LatentSpec,
        auxiliary: int,
        family: type[Family],
        options: GuideOptions,
    ) -> None:
        super().__init__(encoder, spec, auxiliary)
        if len(spec) + auxiliary:
            deep = replace(options, blocks=options.pick("blocks", 3))
            line = family(encoder.features, len(spec) + auxiliary, deep)
            self.family = around(line, encoder.features, spec, encoder.axis)

    def draw(self, canonical: Tensor) -> None:
        if not len(self.latents) + self.auxiliary:
            return
        joint = self.family(self.encoder.describe(canonical))
        self.place(pyro.sample(JOINT, joint, infer={"is_auxiliary": True}))

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {JOINT: self.flat(latents)}
