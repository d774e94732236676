"""One file per shape that data come in: arrays, tables (long and wide), labelled arrays."""
