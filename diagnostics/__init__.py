"""What a posterior is worth: metrics, figures and the report that embeds them."""

from groundvae.data.cache import ensure_cache

ensure_cache()  # before ArviZ is imported
