"""The loss and its named terms, the training loop, the saved run, the posterior."""

from groundvae.data.cache import ensure_cache

ensure_cache()  # before ArviZ is imported
