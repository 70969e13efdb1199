"""OpenAI's contractor format: one JSON record a frame, beside the video, read from anyone's recorder and written by ours.

Record i holds the action that was taken on seeing frame i. The rules of reading are VPT's, mended where its published
loader goes wrong (:mod:`data.contractor_rules`): camera degrees stay fractions (it cuts them to integers), a broken
record costs that record only (there it ends the recording), a slot chosen with the mouse wheel is never lost, and
starting on a slot other than the first is no key press. Frames with their actions: :mod:`data.contractor_frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, UNMODELLED_BUTTONS, ActionTrack
from data.contractor_names import WINDOW_CENTRE
from data.contractor_record import (
    FIELD_ERRORS,
    AnyRecord,
    BrokenRecordError,
    Record,
    parse_record,
    read_any,
    read_records,
)
from data.contractor_rules import AS_PUBLISHED, MENDED, ContractorRules, gui_scale
from data.contractor_steps import Interpreter, Step
from data.contractor_writer import ContractorWriter

__all__ = [
    "AS_PUBLISHED",
    "MENDED",
    "ContractorRules",
    "ContractorTrack",
    "ContractorWriter",
    "Record",
    "parse_record",
    "read_contractor",
    "read_records",
    "track_of",
]

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class ContractorTrack:
    """A recording's actions, a row a record, broken ones included (all released, ``actions.valid`` False).

    actions: what the 20 buttons and the camera did. unmodelled: bool (T, 3), the buttons that no model predicts, in the
    order of UNMODELLED_BUTTONS. cursor: float32 (T, 2), x and y in pixels of a window 720 high. hotbar: int8 (T,), the
    selected slot from 0 (of a broken record, the last one known). problems: one line each, beginning "file:line:".
    null: bool (T,), where there is nothing to learn from, as the rules define it (broken records are not null).
    """

    actions: ActionTrack
    unmodelled: NDArray[np.bool_]
    cursor: NDArray[np.float32]
    hotbar: NDArray[np.int8]
    problems: list[str]
    null: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.actions)


def read_contractor(
    path: Path | str, rules: ContractorRules = MENDED, recorder_version: str | None = None
) -> ContractorTrack:
    """Read a ``.jsonl``; row i belongs to video frame i. Raises ValueError when not one record can be used.

    Under rules by which a broken record ends the recording, the rows end before it and ``problems`` says so.
    recorder_version: such as "6.13"; None to take it from the path (:func:`data.contractor_rules.recorder_version`).
    """
    path = Path(path)
    records, problems = read_any(path, rules)
    if not any(records):
        found = f"{len(records)} lines, none of them a record ({problems[0]})" if records else "no line"
        raise ValueError(
            f"{path}: expected contractor records, one JSON object a line, found {found}; "
            "check that this file belongs to a recording"
        )
    return track_of(records, problems, rules, gui_scale(path, rules, recorder_version), path)


def track_of(
    records: Sequence[AnyRecord | None],
    problems: list[str],
    rules: ContractorRules = MENDED,
    gui_scale: float = 1.0,
    path: Path | str = "records",
) -> ContractorTrack:
    """Interpret records as actions.

    gui_scale: what mouse counts are multiplied by where a GUI is open. path: where a broken record is said to be.
    """
    interpreter = Interpreter(rules, gui_scale)
    steps: list[Step | None] = []
    gui_open: list[bool] = []
    cursor: list[tuple[float, float]] = []
    slots: list[int | None] = []
    for row, record in enumerate(records):
        if record is None:
            interpreter.skip()
            step, gui, place = None, False, WINDOW_CENTRE
        else:
            try:
                step = interpreter.step(record)
                gui, place = _gui_and_cursor(record, step)
            except FIELD_ERRORS as error:
                broken = BrokenRecordError(Path(path), row, error)
                if row == 0:
                    raise broken from error
                problems = [*problems, str(broken)]
                break
        steps.append(step)
        gui_open.append(gui)
        cursor.append(place)
        slots.append(interpreter.slot)
    return _track(steps, gui_open, cursor, slots, problems)


def _gui_and_cursor(record: AnyRecord, step: Step) -> tuple[bool, tuple[float, float]]:
    """The published loader asks for the GUI only where the action is not null, and for the cursor only in a GUI."""
    if step.null:
        return _or(lambda: record.gui_open, False), _or(lambda: _place(record), WINDOW_CENTRE)
    gui = record.gui_open
    return gui, _place(record) if gui else _or(lambda: _place(record), WINDOW_CENTRE)


def _place(record: AnyRecord) -> tuple[float, float]:
    x, y = record.cursor
    return float(x), float(y)


def _or(read: Callable[[], _Value], otherwise: _Value) -> _Value:
    try:
        return read()
    except FIELD_ERRORS:
        return otherwise


def _track(
    steps: Sequence[Step | None],
    gui_open: Sequence[bool],
    cursor: Sequence[tuple[float, float]],
    slots: Sequence[int | None],
    problems: list[str],
) -> ContractorTrack:
    """Rows to arrays."""
    total = len(steps)
    held = np.zeros((total, len(BUTTONS) + len(UNMODELLED_BUTTONS)), bool)
    camera = np.zeros((total, 2), np.float32)
    hotbar = np.zeros(total, np.int8)
    columns = {name: column for column, name in enumerate((*BUTTONS, *UNMODELLED_BUTTONS))}
    known = [slot if slot in range(9) else None for slot in slots]  # unchecked records may hold anything
    slot = next((slot for slot in known if slot is not None), 0)  # before the first record, that record's
    for row, step in enumerate(steps):
        now = known[row]
        hotbar[row] = slot = slot if now is None else now
        if step is not None:
            held[row, [columns[name] for name in step.held]] = True
            camera[row] = _float32(step.camera)
    valid = np.array([step is not None for step in steps], bool)
    null = np.array([step is not None and step.null for step in steps], bool)
    actions = ActionTrack(held[:, : len(BUTTONS)], camera, np.array(gui_open, bool), valid)
    places = _float32(np.array(cursor)).reshape(-1, 2)
    return ContractorTrack(actions, held[:, len(BUTTONS) :], places, hotbar, problems, null)


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Unchecked records may hold more than fits: infinite then."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
