"""The four systems of the paper, each in one file; importing them makes them known by name."""

from groundvae.models.catalogue import SYSTEMS
from groundvae.models.systems import advection_diffusion, gait, galaxy, pendulum

__all__ = ["SYSTEMS", "advection_diffusion", "gait", "galaxy", "pendulum"]
