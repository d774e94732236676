"""Guides by name: a structure and a family, such as ``structured-normal``, or your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from groundvae.data.errors import InputError
from groundvae.guides.encoder import Encoder, FieldEncoder, SeriesEncoder
from groundvae.guides.family import FAMILIES
from groundvae.guides.guide import Guide
from groundvae.guides.imageencoder import FINEST, ImageEncoder
from groundvae.guides.joint import JointGuide
from groundvae.guides.laplace import LaplaceGuide
from groundvae.guides.modes import ModeGuide
from groundvae.guides.options import GuideOptions, check_options
from groundvae.guides.searching import SearchingGuide
from groundvae.guides.structured import StructuredGuide
from groundvae.models.greybox import GreyBox
from groundvae.models.registry import Registry
from groundvae.models.system import System

GuideFactory = Callable[[GreyBox, int, GuideOptions], Guide]
"""Takes a model, the number of samples of an observation, and options."""
GUIDES: Registry[GuideFactory] = Registry("guide", "groundvae.guides")
STRUCTURES: Mapping[str, type[StructuredGuide | JointGuide | LaplaceGuide]] = {
    "structured": StructuredGuide,
    "joint": JointGuide,
    "laplace": LaplaceGuide,
}


def _factory(structure: str, family: str) -> GuideFactory:
    kind, shape = STRUCTURES[structure], FAMILIES[family]
    known = kind.OPTIONS + shape.OPTIONS

    def build(model: GreyBox, length: int, options: GuideOptions) -> Guide:
        check_options(f"{structure}-{family}", options, known)
        return kind(
            encoder_of(model.system, length), model.latents, model.auxiliary, shape, options
        )

    return build


for _structure in STRUCTURES:
    for _family in FAMILIES:
        GUIDES.register(f"{_structure}-{_family}")(_factory(_structure, _family))


@GUIDES.register("modes")
def _modes(model: GreyBox, length: int, options: GuideOptions) -> Guide:
    check_options("modes", options, ())
    return ModeGuide(encoder_of(model.system, length), model.latents, model.auxiliary)


@GUIDES.register("modes-structured")
def _modes_structured(model: GreyBox, length: int, options: GuideOptions) -> Guide:
    check_options("modes-structured", options, SearchingGuide.OPTIONS)
    encoder = encoder_of(model.system, length)
    return SearchingGuide(encoder, model.latents, model.auxiliary, options)


def build_guide(
    guide: str | GuideFactory, model: GreyBox, length: int, options: GuideOptions | None = None
) -> Guide:
    """A fresh guide for ``model``, whose encoder reads observations of ``length`` samples.

    Raises:
        InputError: no such guide, an option that it does not have, or a model it cannot do.

    """
    factory = GUIDES[guide] if isinstance(guide, str) else guide
    built = factory(model, length, options or GuideOptions())
    if not isinstance(built, Guide):
        raise InputError(f"a guide factory gave a {type(built).__name__}, expected a Guide")
    built.attach(model)
    return built


def encoder_of(system: System, length: int) -> Encoder:
    """What reads the observations of a system: series, fields or images."""
    if system.event_dim == 1:
        return SeriesEncoder(length)
    if system.event_dim == 3:
        return ImageEncoder(system.channels, side=min(FINEST, length))
    return FieldEncoder(length, system.channels)
