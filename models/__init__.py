"""The generative side: one Pyro program, one short file per system, residuals, noise."""
