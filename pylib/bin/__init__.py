"""Argument parsing, one file per verb: `python -m pylib.bin.<verb>`."""
