"""Writing OpenAI's contractor format, with every field that its readers expect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from data.actions import DEGREES_PER_COUNT, Action
from data.contractor_names import KEYS, MOUSE_BUTTONS, WINDOW_CENTRE
from data.files import atomic_path

_KEY_OF = {button: key for key, button in KEYS.items()}
_MILLISECONDS_PER_TICK = 50
_OURS = frozenset({"mouse", "keyboard", "isGuiOpen", "hotbar"})


class ContractorWriter:
    """Write a recording's actions, one call a frame; the file appears when the block ends well::

        with ContractorWriter("play.jsonl") as writer:
            writer.write(Action({"forward"}, (0.0, 1.5)))

    What is written reads back as the same actions (:func:`data.contractor.read_contractor`), in anyone's reader.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.records_written = 0
        self._stack = ExitStack()
        self._file: IO[str] | None = None
        self._mouse_before: frozenset[int] = frozenset()
        self._keys_before: frozenset[str] = frozenset()

    def __enter__(self) -> ContractorWriter:
        part = self._stack.enter_context(atomic_path(self.path))
        try:
            self._file = self._stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
        except OSError as error:
            if not self._stack.__exit__(type(error), error, error.__traceback__):
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file = None
        self._stack.__exit__(kind, error, trace)

    def write(
        self,
        action: Action,
        cursor: tuple[float, float] = WINDOW_CENTRE,
        gui_open: bool = False,
        hotbar: int = 0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Append the action taken on seeing the next frame.

        cursor: window pixels at a height of 720. hotbar: the selected slot from 0, after this action. extra: further
        fields, such as yaw, pitch, xpos, ypos, zpos, inventory, or tick and milli (which else count from 0 at 20 a
        second). Raises ValueError for a hotbar outside 0 to 8 and for extra fields that this writer fills itself.
        """
        if self._file is None:
            raise ValueError(f"{self.path}: not open; use it as `with ContractorWriter(...) as writer:`")
        if not 0 <= hotbar <= 8:
            raise ValueError(f"{self.path}: record {self.records_written}: hotbar is {hotbar}, expected 0 to 8")
        extra = dict(extra or {})
        if taken := sorted(_OURS & extra.keys()):
            raise ValueError(f"{self.path}: extra holds {taken}, which the arguments give; leave them out of extra")
        record = {
            "mouse": self._mouse(action, cursor),
            "keyboard": self._keyboard(action),
            "isGuiOpen": bool(gui_open),
            "isGuiInventory": False,
            "hotbar": int(hotbar),
            "tick": self.records_written,
            "milli": self.records_written * _MILLISECONDS_PER_TICK,
            "inventory": [],
            **extra,
        }
        self._file.write(json.dumps(record, allow_nan=False, default=_plain) + "\n")
        self.records_written += 1

    def _mouse(self, action: Action, cursor: tuple[float, float]) -> dict[str, Any]:
        x, y = (float(value) for value in cursor)
        pitch, yaw = action.camera
        held = frozenset(number for number, button in enumerate(MOUSE_BUTTONS) if button in action.buttons)
        # Readers take a first record with newButtons [0] for a click that started the recording and drop the attack
        # until the next press. What the first frame holds was held before, so it is not new.
        new = held - self._mouse_before if self.records_written else frozenset()
        self._mouse_before = held
        return {
            "x": x,
            "y": y,
            "dx": _counts(yaw),
            "dy": _counts(pitch),
            "scaledX": x - WINDOW_CENTRE[0],
            "scaledY": y - WINDOW_CENTRE[1],
            "dwheel": 0.0,
            "buttons": sorted(held),
            "newButtons": sorted(new),
        }

    def _keyboard(self, action: Action) -> dict[str, Any]:
        held = frozenset(_KEY_OF[button] for button in action.buttons if button in _KEY_OF)
        new = sorted(held - self._keys_before)
        self._keys_before = held
        return {"keys": sorted(held), "newKeys": new, "chars": "".join(_typed(key) for key in new)}


def _counts(degrees: float) -> float:
    """Mouse counts of a turn; rounded far below any mouse's step, so that whole counts are written whole."""
    return round(degrees / DEGREES_PER_COUNT, 9)


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as JSON's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"extra holds a {type(value).__name__}, which JSON cannot hold")


def _typed(key: str) -> str:
    """The character that a key types in a chat window, or nothing."""
    name = key.removeprefix("key.keyboard.")
    return name if len(name) == 1 else " " if name == "space" else ""
