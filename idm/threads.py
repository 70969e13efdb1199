"""How many threads a model labels with on CPUs: the last bits of large matrix products depend on it."""

from __future__ import annotations

from idm.config import IDMConfig


def model_threads(config: IDMConfig, cpus: int) -> int:
    """One for motion stems, on every machine: decoding and optical flow are the larger work there and would be held up by a
    second one, and so a video's labels have the same bits however many cores label it. Image stems take all they may."""
    return 1 if config.stem == "motion" else max(1, cpus)
