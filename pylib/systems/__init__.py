"""One file per system; the parents of a system are configurations of it."""
