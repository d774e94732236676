"""Residuals: what the physics leaves out. They declare where they act and what they may see."""

from groundvae.models.residuals.deeponet import DeepONet
from groundvae.models.residuals.network import Network
from groundvae.models.residuals.offset import Offset
from groundvae.models.residuals.painting import FreeImage, FreeProfile, Painting
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.residuals.stencil import Stencil
from groundvae.models.residuals.unknown import Unknown
from groundvae.models.residuals.unknownfield import UnknownField
from groundvae.models.residuals.waveform import Waveform
from groundvae.models.residuals.waves import Waves

__all__ = [
    "RESIDUALS",
    "DeepONet",
    "FreeImage",
    "FreeProfile",
    "Network",
    "Offset",
    "Painting",
    "Residual",
    "Seen",
    "Stencil",
    "Unknown",
    "UnknownField",
    "Waveform",
    "Waves",
]
