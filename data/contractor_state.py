"""What contractor records tell of the player beside the actions: how far the view looks down, and what is in the hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contractor_record import record_lines


@dataclass(frozen=True, eq=False)
class PlayerState:
    """pitch: float32 (T,), degrees, downwards, NaN where a record does not tell. holds: T names of the game, "" likewise, and
    for the empty hand."""

    pitch: NDArray[np.float32]
    holds: tuple[str, ...]


def read_state(path: Path | str) -> PlayerState:
    """A row a record; what is missing or broken there is unknown. Raises ValueError where the file cannot be read."""
    told = [_told(line) for line in record_lines(path)]
    return PlayerState(np.array([pitch for pitch, _ in told], np.float32), tuple(item for _, item in told))


def _told(line: bytes) -> tuple[float, str]:
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError):
        return float("nan"), ""
    if not isinstance(content, dict):
        return float("nan"), ""
    pitch, slot, slots = content.get("pitch"), content.get("hotbar"), content.get("inventory")
    looks = float(pitch) if isinstance(pitch, (int, float)) and abs(pitch) <= 90 else float("nan")
    if not isinstance(slots, list):
        return looks, ""
    held = (item.get("type") for item in slots if isinstance(item, dict) and item.get("slot") == slot)
    return looks, next((item for item in held if isinstance(item, str)), "")
