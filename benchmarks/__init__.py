"""Measurements, each a script: `python -m benchmarks.NAME` prints a table; `--quick` runs a small version of it."""

from vpt_pipeline.waiting_threads import threads_wait_asleep

threads_wait_asleep()  # as the command `vpt` does; this runs before any script loads torch
