"""Where a policy that follows texts lies; nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path

ABOUT, GOAL_PRIOR = "text.json", "goal_prior.safetensors"


def is_follower(folder: Path) -> bool:
    """Whether a folder is one of `vpt train-text`, complete."""
    return (folder / ABOUT).is_file()
