"""The label table: what an inverse dynamics model says about each frame of videos, and how far to trust it.

One row a frame, in Parquet. Videos are named, never copied. These are raw predictions; a choice of clean spans is
another table, made from this one. The same rows always give the same bytes, whether they were written at once or in
parts, so that a resumed job can be compared with an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from data.actions import BUTTONS, HOTBAR_SLOTS, UNKNOWN_SLOT, Action, ActionTrack, CameraQuantizer
from data.contractor import ContractorWriter

FORMAT_VERSION = "3"

FLAGS = ("null", "gui", "resampled", "low_confidence", "cut")
_P_COLUMNS = tuple(f"p_{button}" for button in BUTTONS)
_HELD_COLUMNS = tuple(f"held_{button}" for button in BUTTONS)

SCHEMA: pa.Schema = pa.schema(
    [
        ("video", pa.string()),
        ("frame", pa.int32()),
        ("source_frame", pa.int32()),
        ("pts", pa.int64()),
        ("time_base_num", pa.int32()),
        ("time_base_den", pa.int32()),
        *((name, pa.float32()) for name in _P_COLUMNS),
        *((name, pa.bool_()) for name in _HELD_COLUMNS),
        ("camera_pitch", pa.float32()),
        ("camera_yaw", pa.float32()),
        ("camera_pitch_bin", pa.int8()),
        ("camera_yaw_bin", pa.int8()),
        ("conf_buttons", pa.float32()),
        ("conf_camera", pa.float32()),
        *((name, pa.bool_()) for name in FLAGS),
        ("hotbar", pa.int8()),
    ],
    metadata={"vpt_labels": FORMAT_VERSION},
)
"""The columns; a reader may rely on their names, types and order."""

_ADDED: dict[str, bool | int] = {"cut": False, "hotbar": UNKNOWN_SLOT}
"""Columns that earlier versions had not, and what they hold for rows of such files: no cuts, slots that are not known."""


def _schema_without(version: str, *columns: str) -> pa.Schema:
    return pa.schema([f for f in SCHEMA if f.name not in columns], metadata={"vpt_labels": version})


_SCHEMAS: dict[str, pa.Schema] = {
    FORMAT_VERSION: SCHEMA,
    "2": _schema_without("2", "hotbar"),
    "1": _schema_without("1", "cut", "hotbar"),
}
"""The versions that are read."""


@dataclass(frozen=True, eq=False)
class LabelTable:
    """N labelled frames as arrays, all with N rows, in the order of the file.

    video: object (N,) of str. frame: int32, the tick in its video from 0. source_frame: int32, the decoded frame that
    the tick shows. pts: int64, its timestamp in units of time_base: int32 (N, 2), numerator and denominator.
    buttons: float32 (N, 20), the calibrated probability that each is held. held: bool (N, 20), which are said to be
    held, decided over time, so that a probability that flickers about one half is not many presses. camera: float32
    (N, 2), expected degrees, pitch then yaw. camera_bin: int8 (N, 2), the likeliest bins. conf_buttons: float32, the
    least over buttons of max(p, 1 - p). conf_camera: float32, probability of the likeliest bin, the lesser axis. null:
    bool, nothing done. gui: bool, a GUI is open. resampled: bool, see data.resample. low_confidence: bool, below the
    job's threshold. cut: bool, a new scene begins here (idm.cuts), so no action leads here from the frame before. hotbar:
    int8, the hotbar's slot that is selected once the action is done, from 0; -1 where the model does not say or is unsure.
    """

    video: NDArray[np.object_]
    frame: NDArray[np.int32]
    source_frame: NDArray[np.int32]
    pts: NDArray[np.int64]
    time_base: NDArray[np.int32]
    buttons: NDArray[np.float32]
    held: NDArray[np.bool_]
    camera: NDArray[np.float32]
    camera_bin: NDArray[np.int8]
    conf_buttons: NDArray[np.float32]
    conf_camera: NDArray[np.float32]
    null: NDArray[np.bool_]
    gui: NDArray[np.bool_]
    resampled: NDArray[np.bool_]
    low_confidence: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    hotbar: NDArray[np.int8]

    def __post_init__(self) -> None:
        rows = len(self.video)
        wide = {"buttons": len(BUTTONS), "held": len(BUTTONS), "camera": 2, "camera_bin": 2, "time_base": 2}
        for item in fields(self):
            value = getattr(self, item.name)
            shape = (rows, wide[item.name]) if item.name in wide else (rows,)
            if value.shape != shape or value.dtype != _DTYPES[item.name]:
                raise ValueError(
                    f"LabelTable.{item.name} is {value.dtype} {value.shape}, expected {_DTYPES[item.name]} {shape}"
                )
        for name in ("buttons", "conf_buttons", "conf_camera"):
            value = getattr(self, name)
            if not ((value >= 0) & (value <= 1)).all():
                raise ValueError(f"LabelTable.{name} holds values that are no probabilities; expected 0 to 1")
        if not np.isfinite(self.camera).all():
            raise ValueError("LabelTable.camera holds values that are not finite; expected degrees")
        if not ((self.hotbar >= UNKNOWN_SLOT) & (self.hotbar < HOTBAR_SLOTS)).all():
            raise ValueError(
                f"LabelTable.hotbar holds other values than the slots 0 to {HOTBAR_SLOTS - 1}, or -1 for unknown"
            )

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, rows: slice | NDArray[Any]) -> LabelTable:
        """The rows of a slice, a boolean mask or an index array."""
        return LabelTable(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    @property
    def videos(self) -> list[str]:
        """The videos in order of first appearance."""
        return list(dict.fromkeys(self.video.tolist()))

    def of_video(self, video: str) -> LabelTable:
        """The rows of one video. Raises ValueError when it has none."""
        rows = self[self.video == video]
        if not len(rows):
            raise ValueError(f"no label of video {video!r}; this table has {', '.join(self.videos[:5]) or 'no rows'}")
        return rows

    @classmethod
    def from_predictions(
        cls,
        video: str,
        *,
        first_frame: int,
        source_frame: ArrayLike,
        pts: ArrayLike,
        time_base: Fraction,
        buttons: ArrayLike,
        camera: ArrayLike,
        camera_bin: ArrayLike,
        conf_camera: ArrayLike,
        gui: ArrayLike,
        resampled: ArrayLike,
        held: ArrayLike | None = None,
        cut: ArrayLike | None = None,
        hotbar: ArrayLike | None = None,
        low_confidence_below: float = 0.6,
        quantizer: CameraQuantizer | None = None,
    ) -> LabelTable:
        """Rows for consecutive ticks of one video from a model's outputs; confidence of buttons and flags follow.

        held: by default the buttons with a probability of one half or more. cut: by default no frame is one. hotbar: by default
        not known.
        """
        p = np.asarray(buttons, np.float32)
        down = p >= 0.5 if held is None else np.asarray(held, bool)
        rows = len(p)
        bins = np.asarray(camera_bin, np.int8)
        conf_buttons = np.maximum(p, 1 - p).min(1) if rows else np.zeros(0, np.float32)
        conf_camera = np.asarray(conf_camera, np.float32)
        still = (bins == (quantizer or CameraQuantizer()).null_bin).all(1)
        return cls(
            video=np.full(rows, video, object),
            frame=np.arange(first_frame, first_frame + rows, dtype=np.int32),
            source_frame=np.asarray(source_frame, np.int32),
            pts=np.asarray(pts, np.int64),
            time_base=np.tile(np.array([time_base.numerator, time_base.denominator], np.int32), (rows, 1)),
            buttons=p,
            held=down,
            camera=np.asarray(camera, np.float32),
            camera_bin=bins,
            conf_buttons=conf_buttons,
            conf_camera=conf_camera,
            null=still & ~down.any(1),
            gui=np.asarray(gui, bool),
            resampled=np.asarray(resampled, bool),
            low_confidence=np.minimum(conf_buttons, conf_camera) < low_confidence_below,
            cut=np.zeros(rows, bool) if cut is None else np.asarray(cut, bool),
            hotbar=np.full(rows, UNKNOWN_SLOT, np.int8) if hotbar is None else np.asarray(hotbar, np.int8),
        )

    def to_actions(self, threshold: float | None = None, quantizer: CameraQuantizer | None = None) -> ActionTrack:
        """The rows as actions: the buttons that are said to be held, or those of probability ``threshold`` or more.

        An axis whose likeliest bin is "no turn" gets exactly 0 degrees: an expectation is never quite 0, and frames in
        which nothing happens must stay recognisable. The other axes keep the expected degrees.
        """
        still = self.camera_bin == (quantizer or CameraQuantizer()).null_bin
        camera = np.where(still, np.float32(0), self.camera)
        down = self.held.copy() if threshold is None else self.buttons >= threshold
        return ActionTrack(down, camera, self.gui.copy(), np.ones(len(self), bool))

    def to_arrow(self) -> pa.Table:
        columns: dict[str, Any] = {
            "time_base_num": self.time_base[:, 0],
            "time_base_den": self.time_base[:, 1],
            "camera_pitch": self.camera[:, 0],
            "camera_yaw": self.camera[:, 1],
            "camera_pitch_bin": self.camera_bin[:, 0],
            "camera_yaw_bin": self.camera_bin[:, 1],
            **{name: self.buttons[:, index] for index, name in enumerate(_P_COLUMNS)},
            **{name: self.held[:, index] for index, name in enumerate(_HELD_COLUMNS)},
        }
        arrays = [
            pa.array(columns[name] if name in columns else getattr(self, name), SCHEMA.field(name).type)
            for name in SCHEMA.names
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> LabelTable:
        def column(name: str) -> NDArray[Any]:
            values: NDArray[Any] = table.column(name).to_numpy()
            return values

        def columns(*names: str) -> NDArray[Any]:
            return np.stack([column(name) for name in names], axis=1)

        wide = {
            "time_base": columns("time_base_num", "time_base_den"),
            "buttons": columns(*_P_COLUMNS),
            "held": columns(*_HELD_COLUMNS),
            "camera": columns("camera_pitch", "camera_yaw"),
            "camera_bin": columns("camera_pitch_bin", "camera_yaw_bin"),
            "video": column("video").astype(object),
        }
        names = (item.name for item in fields(cls))
        return cls(**{name: wide[name] if name in wide else column(name) for name in names})

    @classmethod
    def read(cls, path: Path | str, video: str | None = None) -> LabelTable:
        """Read a label file, or one video's rows of it. Raises ValueError for any other kind of file."""
        check_schema(path)
        table = pq.read_table(path, filters=None if video is None else [("video", "=", video)])
        try:
            return cls.from_arrow(of_this_version(table))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; label the video again") from error


_DTYPES: dict[str, np.dtype[Any]] = {
    "video": np.dtype(object),
    **{name: np.dtype(np.int32) for name in ("frame", "source_frame", "time_base")},
    "pts": np.dtype(np.int64),
    **{name: np.dtype(np.int8) for name in ("camera_bin", "hotbar")},
    **{name: np.dtype(np.float32) for name in ("buttons", "camera", "conf_buttons", "conf_camera")},
    **{name: np.dtype(bool) for name in ("held", *FLAGS)},
}


def check_schema(path: Path | str) -> int:
    """The number of rows of a label file; ValueError, naming it, for a file that is none or of another version."""
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: expected a label table (Parquet), found none ({error}); check the path") from error
    version = (schema.metadata or {}).get(b"vpt_labels", b"none").decode()
    if version not in _SCHEMAS or not schema.equals(_SCHEMAS[version]):
        raise ValueError(
            f"{path}: expected a label table of version {FORMAT_VERSION}, found version {version} with columns "
            f"{', '.join(schema.names[:6])}, ...; write it again with this version"
        )
    return rows


def of_this_version(table: pa.Table) -> pa.Table:
    """Rows of a file that :func:`check_schema` knows, in the columns of this version."""
    for name, value in _ADDED.items():
        if name not in table.schema.names:
            table = table.append_column(SCHEMA.field(name), pa.array(np.full(len(table), value, _DTYPES[name])))
    return table.select(SCHEMA.names).replace_schema_metadata(SCHEMA.metadata)


def write_contractor(table: LabelTable, path: Path | str, threshold: float | None = None) -> None:
    """Write one video's labels as a contractor ``.jsonl``, so that one loader serves true and predicted actions.

    Row i becomes record i, so resampled labels fit the video only at the ticks' rate. Raises ValueError for labels of
    several videos or with frames missing. The slot of the hotbar follows from the keys, as readers of such files take it.
    """
    if len(table.videos) != 1 or not np.array_equal(table.frame, np.arange(len(table))):
        raise ValueError(
            f"{path}: expected the labels of one whole video, frames 0 to {len(table) - 1}, found "
            f"{len(table.videos)} videos; choose one with LabelTable.of_video"
        )
    track = table.to_actions(threshold)
    slot = 0
    with ContractorWriter(path) as writer:
        for row in range(len(track)):
            action: Action = track.action(row)
            pressed = [number for number in range(9) if f"hotbar.{number + 1}" in action.buttons]
            slot = pressed[-1] if pressed else slot
            writer.write(action, gui_open=bool(track.gui_open[row]), hotbar=slot)
