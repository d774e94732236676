"""Guides by name: a structure and a family, such as ``structured-normal``."""

from __future__ import annotations

from collections.abc import Mapping

from groundvae.data.errors import InputError
from groundvae.guides.encoder import Encoder, FieldEncoder, SeriesEncoder
from groundvae.guides.family import FAMILIES
from groundvae.guides.guide import Guide
from groundvae.guides.imageencoder import ImageEncoder
from groundvae.guides.joint import JointGuide
from groundvae.guides.laplace import LaplaceGuide
from groundvae.guides.options import GuideOptions, check_options
from groundvae.guides.structured import StructuredGuide
from groundvae.models.greybox import GreyBox
from groundvae.models.system import System

STRUCTURES: Mapping[str, type[StructuredGuide | JointGuide | LaplaceGuide]] = {
    "structured": StructuredGuide,
    "joint": JointGuide,
    "laplace": LaplaceGuide,
}
GUIDES = tuple(f"{structure}-{family}" for structure in STRUCTURES for family in FAMILIES)


def build_guide(
    name: str, model: GreyBox, length: int, options: GuideOptions | None = None
) -> Guide:
    """A fresh guide for ``model``, whose encoder reads series of ``length`` samples."""
    options = options or GuideOptions()
    check_guide(name, options)
    structure, family = name.split("-")
    system = model.system
    encoder = _encoder(system, length)
    guide = STRUCTURES[structure](
        encoder, system.latents, system.auxiliary, FAMILIES[family], options
    )
    guide.attach(model)
    return guide


def check_guide(name: str, options: GuideOptions) -> None:
    """Refuse a guide that does not exist, or options that it does not have."""
    if name not in GUIDES:
        raise InputError(f"no guide {name!r}, known: {', '.join(GUIDES)}")
    structure, family = name.split("-")
    check_options(name, options, STRUCTURES[structure].OPTIONS + FAMILIES[family].OPTIONS)


def _encoder(system: System, length: int) -> Encoder:
    if system.event_dim == 1:
        return SeriesEncoder(length)
    if system.event_dim == 3:
        return ImageEncoder(system.channels)
    return FieldEncoder(length, system.channels)
