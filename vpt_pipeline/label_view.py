"""Predicted and recorded actions seen in the same way, whatever file they came in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
import pyarrow.parquet as pq

from data.actions import BUTTONS, ActionTrack
from data.contractor import read_contractor
from data.labels import LabelTable, check_schema
from data.recording import VIDEO_SUFFIXES
from idm.events import Bools, Floats
from idm.metrics import Predictions
from vpt_pipeline.overlay import Panel
from vpt_pipeline.truth_at import truth_at

TABLE, RECORDS = ".parquet", ".jsonl"


@dataclass(frozen=True)
class LabelFile:
    """The labels of one video: a file, and which video of it where it is a table of several."""

    path: Path
    video: str

    @property
    def name(self) -> str:
        """What labels, recorded actions and video have in common: the video's file name without its ending."""
        video = PurePath(self.video)
        return video.stem if video.suffix.lower() in VIDEO_SUFFIXES else video.name


def find_labels(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[LabelFile]:
    """Every labelled video in files and folders (searched through, sorted), of the given kinds of file.

    In a folder, NAME.jsonl beside NAME.parquet is a copy of it and not taken, nor are hidden files and the parts of
    labels that are still being written. Raises ValueError for a path that does not exist or a file of another kind.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in suffixes and p.is_file())
            files += [p for p in inside if not _passed_over(p.relative_to(path), suffixes, path)]
        elif path.is_file() and path.suffix in suffixes:
            files.append(path)
        else:
            found = "nothing there" if not path.exists() else f"a {path.suffix or 'nameless'} file"
            raise ValueError(f"{path}: expected a folder or a file that ends in {' or '.join(suffixes)}, found {found}")
    return [LabelFile(path, video) for path in files for video in _videos(path)]


def _passed_over(inside: Path, suffixes: tuple[str, ...], folder: Path) -> bool:
    copied = inside.suffix == RECORDS and TABLE in suffixes and (folder / inside).with_suffix(TABLE).is_file()
    return copied or any(part.startswith(".") or part.endswith(".parts") for part in inside.parts)


def _videos(path: Path) -> list[str]:
    if path.suffix != TABLE:
        return [path.stem]
    check_schema(path)
    return list(dict.fromkeys(pq.read_table(path, columns=["video"]).column("video").to_pylist()))


@dataclass(frozen=True)
class LabelView:
    """T rows of actions.

    probabilities: (T, 20). held: bool (T, 20). camera: (T, 2) degrees. known: bool (T,). confidence: (T, 2), of the keys
    and of the camera, or None. flags: name -> bool (T,). ticks: whether a row is a tick of 20 Hz, or else a frame of
    the video: they differ where the video has another rate.
    """

    title: str
    probabilities: Floats
    held: Bools
    camera: Floats
    known: Bools
    ticks: bool
    confidence: Floats | None = None
    flags: dict[str, Bools] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.held)

    def row(self, tick: int, source_index: int) -> int | None:
        """The row that belongs to a frame, None where the file has none."""
        index = tick if self.ticks else source_index
        return index if index < len(self) else None

    def panel(self, title: str, row: int | None) -> Panel:
        if row is None or not self.known[row]:
            return Panel(title, np.zeros(len(BUTTONS)), np.zeros(len(BUTTONS), bool), (0.0, 0.0), known=False)
        sure = None if self.confidence is None else (float(self.confidence[row, 0]), float(self.confidence[row, 1]))
        flags = tuple(name for name, on in self.flags.items() if on[row])
        turn = (float(self.camera[row, 0]), float(self.camera[row, 1]))
        return Panel(title, self.probabilities[row], self.held[row], turn, sure, flags)


def read_view(labels: LabelFile | Path, name: str | None = None) -> LabelView:
    """Read labels (a table) or recorded actions (contractor records).

    name: which video of a table of several, by its file name without ending; not needed for one. Raises ValueError
    naming the file where it cannot be read or the choice is open.
    """
    if isinstance(labels, Path):
        found = find_labels([labels], (TABLE, RECORDS))
        chosen = found if len(found) == 1 else [one for one in found if one.name == name]
        if len(chosen) != 1:
            names = ", ".join(one.name for one in found[:5]) or "none"
            raise ValueError(f"{labels}: expected labels of one video named {name!r}, found those of {names}")
        labels = chosen[0]
    if labels.path.suffix == TABLE:
        return _view_of_table(LabelTable.read(labels.path, labels.video))
    actions = read_contractor(labels.path).actions
    nothing = actions.valid & actions.is_null
    return LabelView(
        title="actions",
        probabilities=actions.buttons.astype(np.float32),
        held=actions.buttons,
        camera=actions.camera,
        known=actions.valid,
        ticks=False,
        flags={"null": nothing, "gui": actions.gui_open},
    )


def _view_of_table(table: LabelTable) -> LabelView:
    return LabelView(
        title="labels",
        probabilities=table.buttons,
        held=table.held,
        camera=table.camera,
        known=np.ones(len(table), bool),
        ticks=True,
        confidence=np.stack([table.conf_buttons, table.conf_camera], 1),
        flags={
            "null": table.null,
            "gui": table.gui,
            "resampled": table.resampled,
            "low confidence": table.low_confidence,
            "cut": table.cut,
        },
    )


def read_case(
    labels: LabelFile, truth: Path, threshold: float | None = None
) -> tuple[ActionTrack, Predictions, list[str]]:
    """One video's truth and predictions, row by row, and a line for each thing that was wrong with its files.

    threshold: call keys held by their probability, and not as the table says.
    """
    recorded = read_contractor(truth)
    problems = list(recorded.problems)
    if labels.path.suffix == TABLE:
        table = LabelTable.read(labels.path, labels.video)
        if not np.array_equal(table.frame, np.arange(len(table))):
            raise ValueError(f"{labels.path}: the labels of {labels.video} have gaps; expected every frame from 0 on")
        known = truth_at(recorded.actions, table.source_frame)
        held = table.held if threshold is None else table.buttons >= threshold
        predictions = Predictions(table.buttons, table.camera, table.conf_buttons, table.conf_camera, held)
        shown = int(table.source_frame[-1]) + 1 if len(table) else 0
    else:
        said = read_contractor(labels.path)
        problems += said.problems
        shown = len(said)
        known = truth_at(recorded.actions, np.arange(shown))
        # A record that cannot be read says nothing: not judged, rather than counted as "all released".
        known = ActionTrack(known.buttons, known.camera, known.gui_open, known.valid & said.actions.valid)
        sure = np.ones(shown)
        held = said.actions.buttons
        predictions = Predictions(said.actions.buttons.astype(np.float32), said.actions.camera, sure, sure, held)
    if shown != len(recorded):
        problems.append(
            f"{labels.path}: labels show {shown} frames of {labels.name}, {truth} has {len(recorded)} records"
        )
    return known, predictions, problems
