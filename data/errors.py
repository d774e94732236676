"""The error a user can meet: bad input, told in one sentence."""

from __future__ import annotations

from groundvae.physics.errors import InputError as InputError
from groundvae.physics.errors import meant as meant
