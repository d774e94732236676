"""The commands: each a typed dataclass whose fields are its options."""
