"""Observation noise: one object each, by name; the likelihood of data given their decoding.

White noise counts samples as independent; ``Correlated`` (images), ``Matern`` and ``Spectral``
(series) know that neighbours share what the model misses. All of them give a Pyro distribution, a
whitened residual for the search, draws, the density of each sample, and a fixed point of evidence.
"""

from __future__ import annotations

from groundvae.models.noises.correlated import Correlated
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.noises.matern import Matern
from groundvae.models.noises.noise import Linearized, Noise
from groundvae.models.noises.perchannel import PerChannel
from groundvae.models.noises.poisson import Poisson
from groundvae.models.noises.spectral import Spectral
from groundvae.models.noises.studentt import StudentT
from groundvae.models.registry import Registry

NOISES: Registry[type[Noise]] = Registry("noise", "groundvae.noises")
for _name, _kind in (
    ("gaussian", Gaussian),
    ("per_channel", PerChannel),
    ("student_t", StudentT),
    ("poisson", Poisson),
    ("correlated", Correlated),
    ("matern", Matern),
    ("spectral", Spectral),
):
    NOISES.register(_name)(_kind)

__all__ = [
    "NOISES",
    "Correlated",
    "Gaussian",
    "Linearized",
    "Matern",
    "Noise",
    "PerChannel",
    "Poisson",
    "Spectral",
    "StudentT",
]
