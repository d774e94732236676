"""What is known: pure functions of named state and named parameters, with units and sources."""
