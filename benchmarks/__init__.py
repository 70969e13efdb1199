"""Measurements, each a script: `python benchmarks/NAME.py` prints a table; `--quick` runs a small version of it."""
