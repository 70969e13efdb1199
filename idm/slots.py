"""What the selected hotbar slot says of the keys that select it.

Which slot is selected is seen in every frame, so a model learns it well from little play (``IDMConfig.slot_head``), while the
keys are pressed a few times a minute. A change of the slot tells the key and its frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTON_INDEX

SLOTS = 9
SLOT_KEYS = [BUTTON_INDEX[f"hotbar.{slot}"] for slot in range(1, SLOTS + 1)]
_FLOOR = 1e-4  # a model is never surer than this


def change_odds(slot_logprobs: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Log-probabilities (T, 9) of the slot that each frame's action leaves selected -> log-odds (T, 9) of a change to it.

    The first frame, before which nothing is known, counts as a change to no slot.
    """
    now = np.exp(slot_logprobs)
    before = np.concatenate([now[:1], now[:-1]])
    change = np.clip(now * (1 - before), _FLOOR, 1 - _FLOOR)
    change[0] = _FLOOR
    odds: NDArray[np.floating[Any]] = np.log(change / (1 - change))
    return odds
