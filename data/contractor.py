"""OpenAI's contractor format: one JSON record a frame, beside the video, read from anyone's recorder and written by ours.

Record i holds the action that was taken on seeing frame i. The rules of reading are VPT's, mended where its published
loader goes wrong: camera degrees stay fractions (it truncates them to integers), a broken record costs that record
only (there it ends the recording), a slot chosen with the mouse wheel is never lost, and starting on a slot other than
the first is no key press.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTON_INDEX, BUTTONS, DEGREES_PER_COUNT, UNMODELLED_BUTTONS, ActionTrack
from data.contractor_names import KEYS, MOUSE_BUTTONS, WINDOW_CENTRE
from data.contractor_writer import ContractorWriter

__all__ = [
    "ContractorTrack",
    "ContractorWriter",
    "Record",
    "parse_record",
    "read_contractor",
    "read_records",
    "track_of",
]


@dataclass(frozen=True)
class Record:
    """One well-formed line, nothing interpreted: names as in the file, mouse numbers in counts and window pixels."""

    cursor: tuple[float, float]
    counts: tuple[float, float]
    mouse_buttons: frozenset[int]
    new_mouse_buttons: tuple[int, ...]
    keys: frozenset[str]
    gui_open: bool
    hotbar: int


@dataclass(frozen=True, eq=False)
class ContractorTrack:
    """A recording's actions, a row a record, broken ones included (all released, ``actions.valid`` False).

    actions: what the 20 buttons and the camera did. unmodelled: bool (T, 3), the buttons that no model predicts, in the
    order of UNMODELLED_BUTTONS. cursor: float32 (T, 2), x and y in pixels of a window 720 high. hotbar: int8 (T,), the
    selected slot from 0 (of a broken record, the last one known). problems: one line each, beginning "file:line:".
    """

    actions: ActionTrack
    unmodelled: NDArray[np.bool_]
    cursor: NDArray[np.float32]
    hotbar: NDArray[np.int8]
    problems: list[str]

    def __len__(self) -> int:
        return len(self.actions)


def read_contractor(path: Path | str) -> ContractorTrack:
    """Read a ``.jsonl``; row i belongs to video frame i. Raises ValueError when not one record can be used."""
    records, problems = read_records(path)
    if not any(records):
        found = f"{len(records)} lines, none of them a record ({problems[0]})" if records else "no line"
        raise ValueError(
            f"{path}: expected contractor records, one JSON object a line, found {found}; "
            "check that this file belongs to a recording"
        )
    return track_of(records, problems)


def read_records(path: Path | str) -> tuple[list[Record | None], list[str]]:
    """The records of a file in order, None for each broken one, and the problems by line."""
    path = Path(path)
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as contractor records: {error.strerror}; check the path") from error
    while lines and not lines[-1].strip():
        lines.pop()
    records: list[Record | None] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(parse_record(line))
        except ValueError as error:
            records.append(None)
            problems.append(f"{path}:{number}: {error}; this frame's action is unknown")
    return records, problems


def parse_record(line: bytes | str) -> Record:
    """Read one line. Raises ValueError saying which field was expected to be what."""
    try:
        content = json.loads(line)
    except ValueError as error:  # also undecodable bytes
        raise ValueError(f"not a whole JSON object ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, found {type(content).__name__}")
    mouse = _field(content, "mouse", dict)
    keyboard = _field(content, "keyboard", dict)
    hotbar = _field(content, "hotbar", int)
    if not 0 <= hotbar <= 8:
        raise ValueError(f"field hotbar is {hotbar}, expected 0 to 8")
    new_buttons = mouse.get("newButtons")  # needed only to know a stuck button, so it may be missing
    return Record(
        cursor=(_number(mouse, "x"), _number(mouse, "y")),
        counts=(_number(mouse, "dx"), _number(mouse, "dy")),
        mouse_buttons=frozenset(b for b in _field(mouse, "buttons", list) if type(b) is int),
        new_mouse_buttons=tuple(b for b in new_buttons if type(b) is int) if isinstance(new_buttons, list) else (),
        keys=frozenset(key for key in _field(keyboard, "keys", list) if isinstance(key, str)),
        gui_open=_field(content, "isGuiOpen", bool),
        hotbar=hotbar,
    )


def _field(content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = "null or missing" if value is None else type(value).__name__
        raise ValueError(f"field {name} is {found}, expected {kind.__name__}")
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"field mouse.{name} is {value!r}, expected a finite number")
    return float(value)


def track_of(records: Sequence[Record | None], problems: list[str]) -> ContractorTrack:
    """Interpret records as actions."""
    total = len(records)
    buttons = np.zeros((total, len(BUTTONS)), bool)
    unmodelled = np.zeros((total, len(UNMODELLED_BUTTONS)), bool)
    camera = np.zeros((total, 2), np.float32)
    gui_open = np.zeros(total, bool)
    cursor = np.tile(np.asarray(WINDOW_CENTRE, np.float32), (total, 1))
    hotbar = np.zeros(total, np.int8)
    slot = next((record.hotbar for record in records if record is not None), 0)
    # A click that started the recording is sometimes never seen released: attack then counts from its next press.
    stuck = bool(records) and records[0] is not None and records[0].new_mouse_buttons == (0,)
    for row, record in enumerate(records):
        hotbar[row] = slot
        if record is None:
            continue
        if row > 0 and 0 in record.new_mouse_buttons:
            stuck = False
        clicked = record.mouse_buttons - {0} if stuck else record.mouse_buttons
        held = {KEYS[key] for key in record.keys if key in KEYS}
        held |= {button for number, button in enumerate(MOUSE_BUTTONS) if number in clicked}
        if record.hotbar != slot:
            held.add(f"hotbar.{record.hotbar + 1}")  # also when the mouse wheel chose it
            hotbar[row] = slot = record.hotbar
        for name in held:
            if name in BUTTON_INDEX:
                buttons[row, BUTTON_INDEX[name]] = True
            else:
                unmodelled[row, UNMODELLED_BUTTONS.index(name)] = True
        dx, dy = record.counts
        camera[row] = dy * DEGREES_PER_COUNT, dx * DEGREES_PER_COUNT
        gui_open[row] = record.gui_open
        cursor[row] = record.cursor
    valid = np.array([record is not None for record in records], bool)
    return ContractorTrack(ActionTrack(buttons, camera, gui_open, valid), unmodelled, cursor, hotbar, problems)
