"""One file per system: its simulator and/or loader, and the Dataset they return."""
