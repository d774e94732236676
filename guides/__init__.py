"""Amortized posteriors: encoders, families, and the structures that join them."""
