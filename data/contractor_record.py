"""One line of a contractor file, nothing interpreted: checked as a whole (mended), or not at all (as published)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data.contractor_names import KEYS, MOUSE_BUTTONS
from data.contractor_rules import ContractorRules

_LARGEST = 1e30

FIELD_ERRORS = (KeyError, TypeError, ValueError, OverflowError)
"""What a :class:`RawRecord` raises for a field that is missing or of a wrong type."""


class BrokenRecordError(ValueError):
    """A record that ends its recording, under rules that let it.

    row: counted from 0. kind: the exception's name, as the published loader dies of it.
    """

    def __init__(self, path: Path, row: int, error: Exception) -> None:
        self.row, self.kind = row, type(error).__name__
        said = f"no field {error}" if isinstance(error, KeyError) else str(error)
        super().__init__(
            f"{path}:{row + 1}: broken record ({self.kind}: {said}), where the published loader ends; "
            "read it with the mended rules to lose this record only"
        )


class AnyRecord(Protocol):
    """What interpreting asks of a record."""

    @property
    def starts_stuck(self) -> bool:
        """Whether the left mouse button, and no other, was new: at a recording's start, the click that began it."""

    @property
    def clicks(self) -> bool:
        """Whether the left mouse button was new."""

    @property
    def counts(self) -> tuple[float, float]:
        """How far the mouse went, right and down."""

    @property
    def gui_open(self) -> bool: ...

    @property
    def hotbar(self) -> int:
        """The selected slot, from 0."""

    @property
    def cursor(self) -> tuple[float, float]:
        """x and y, in pixels of a window 720 high."""

    def held(self, stuck: bool) -> frozenset[str]:
        """The buttons of keyboard and mouse, without the left mouse button where it is stuck."""


@dataclass(frozen=True)
class Record:
    """A well-formed line, names as in the file."""

    cursor: tuple[float, float]
    counts: tuple[float, float]
    mouse_buttons: frozenset[int]
    new_mouse_buttons: tuple[int, ...]
    keys: frozenset[str]
    gui_open: bool
    hotbar: int

    @property
    def starts_stuck(self) -> bool:
        return self.new_mouse_buttons == (0,)

    @property
    def clicks(self) -> bool:
        return 0 in self.new_mouse_buttons

    def held(self, stuck: bool) -> frozenset[str]:
        return _held(self.keys, self.mouse_buttons - {0} if stuck else self.mouse_buttons)


@dataclass(frozen=True)
class RawRecord:
    """A line whose fields are looked at when they are needed, in the published order, and fail then (FIELD_ERRORS)."""

    content: Any

    @property
    def starts_stuck(self) -> bool:
        return bool(self.content["mouse"]["newButtons"] == [0])

    @property
    def clicks(self) -> bool:
        return 0 in self.content["mouse"]["newButtons"]

    @property
    def counts(self) -> tuple[float, float]:
        return self.content["mouse"]["dx"], self.content["mouse"]["dy"]

    @property
    def gui_open(self) -> bool:
        return bool(self.content["isGuiOpen"])

    @property
    def hotbar(self) -> int:
        slot: int = self.content["hotbar"]
        return slot

    @property
    def cursor(self) -> tuple[float, float]:
        return self.content["mouse"]["x"], self.content["mouse"]["y"]

    def held(self, stuck: bool) -> frozenset[str]:
        buttons = [b for b in self.content["mouse"]["buttons"] if b != 0] if stuck else None
        keys = self.content["keyboard"]["keys"]
        return _held(keys, self.content["mouse"]["buttons"] if buttons is None else buttons)


def _held(keys: Iterable[str], mouse_buttons: Any) -> frozenset[str]:
    held = {KEYS[key] for key in keys if key in KEYS}
    held |= {button for number, button in enumerate(MOUSE_BUTTONS) if number in mouse_buttons}
    return frozenset(held)


def read_any(path: Path, rules: ContractorRules) -> tuple[Sequence[AnyRecord | None], list[str]]:
    """The records of a file, read as strictly as the rules say, and the problems by line."""
    return (read_raw_records(path), []) if rules.broken_record_ends else read_records(path)


def read_records(path: Path | str) -> tuple[list[Record | None], list[str]]:
    """The records of a file in order, None for each broken one, and the problems by line."""
    lines = record_lines(path)
    records: list[Record | None] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(parse_record(line))
        except ValueError as error:
            records.append(None)
            problems.append(f"{path}:{number}: {error}; this frame's action is unknown")
    return records, problems


def record_lines(path: Path | str) -> list[bytes]:
    """The lines of a file, unread, up to the last that holds anything. Raises ValueError where it cannot be read."""
    lines = _lines(Path(path))
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_raw_records(path: Path | str) -> list[RawRecord]:
    """The lines of a file, unchecked. Raises BrokenRecordError for a line that is not JSON, be it a blank one."""
    path = Path(path)
    lines = _lines(path, mark=b"")
    if not lines[-1]:
        lines.pop()  # behind the last line's end
    try:
        # All at once, as published: a file of one blank line is then a recording without records.
        return [RawRecord(content) for content in json.loads(b"[" + b",".join(lines) + b"]")]
    except (ValueError, RecursionError) as error:
        raise BrokenRecordError(path, _first_broken(lines), error) from error


def _first_broken(lines: Sequence[bytes]) -> int:
    for row, line in enumerate(lines):
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return row
    return 0


def _lines(path: Path, mark: bytes = b"\xef\xbb\xbf") -> list[bytes]:
    try:
        return path.read_bytes().removeprefix(mark).split(b"\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as contractor records: {error.strerror}; check the path") from error


def parse_record(line: bytes | str) -> Record:
    """Read one line. Raises ValueError saying which field was expected to be what."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # also undecodable bytes
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
    # Tracks are float32; whatever does not fit there is damage.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"field mouse.{name} is {value!r:.40}, expected a finite number")
    return float(value)
