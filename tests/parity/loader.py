"""Contractor recordings against the published data loader: actions, frames, cursors, and where it breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contractor_frames import RecordedSamples, Sample
from data.contractor_record import FIELD_ERRORS, BrokenRecordError, read_raw_records
from data.contractor_rules import AS_PUBLISHED
from data.contractor_steps import Interpreter
from data.cursor import Cursor
from data.joint_actions import JointActions
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over, vpt_folder

VIDEO_TOLERANCE = 3.0
"""Decoders and colour conversions of other builds may differ by so much."""

Golden = Mapping[str, NDArray[Any]]


def check(folder: Path) -> Iterator[Finding]:
    """Every case of loader.npz, its cursors, and the video of loader_mp4."""
    folder = vpt_folder(folder)
    path = folder / "loader.npz"
    if not path.exists():
        return
    with np.load(path) as arrays:
        golden = Seen(dict(arrays))
    meta = json.loads(path.with_suffix(".json").read_text())
    cursor = _published_cursor(golden)
    for name, case in meta["cases"].items():
        records = folder / "loader" / f"{name}.jsonl"
        yield from guarded(f"loader {name}", _case(name, case, golden, records, cursor, meta["button_names"]))
    if "composite_base" in golden:
        yield from guarded("loader cursors", _composites(golden, meta["composite_errors"], cursor))
    yield left_over("loader", golden.unseen)
    if (folder / "loader_mp4.npz").exists():
        yield from guarded("loader_mp4", _video(folder, cursor))


def _published_cursor(golden: Golden) -> Cursor:
    return Cursor(golden["cursor_bgra"][..., [2, 1, 0, 3]])


def made_up_frame(seed: int, index: int, height: int, width: int) -> NDArray[np.uint8]:
    """The recipe's video frame, as a reader of BGR returns it."""
    shape = (-(-height // 8), -(-width // 8), 3)
    small = np.random.default_rng([seed, 31, index]).integers(0, 256, size=shape).astype(np.uint8)
    return small.repeat(8, 0).repeat(8, 1)[:height, :width]


PARTS = ("is_null", "raw_buttons", "raw_camera", "emit_index", "emit_buttons", "emit_camera", "joint",
         "frame_mean", "crop_pos", "crops")  # fmt: skip


def _case(
    name: str, case: Mapping[str, Any], golden: Golden, records: Path, cursor: Cursor, buttons: list[str]
) -> Iterator[Finding]:
    """One recording; the error is the largest of all arrays, or infinite where something else differs."""
    frames = (made_up_frame(case["frame_seed"], index, *case["size"]) for index in range(case["n_video"]))
    found, samples, problems = _run(records, frames, cursor)
    ended = found.row if found else None
    ours = _conversions(records, ended, buttons) | _emitted(samples, buttons)
    places = golden[f"{name}/crop_pos"]
    ours["crop_pos"] = places
    crops = [samples[at].frame[y : y + 16, x : x + 16] for at, y, x in places if at < len(samples)]
    ours["crops"] = np.array(crops, np.uint8).reshape(-1, 16, 16, 3)
    errors = {part: largest_error(ours[part], golden[f"{name}/{part}"]) for part in PARTS}
    facts: dict[str, Any] = {
        "jsonl_sha": hashlib.sha256(records.read_bytes()).hexdigest()[:16],
        "error": found.kind if found else None,
        "ended_with_none": found is None,
        "n_emitted": len(samples),
        "n_null": int(ours["is_null"].sum()),
        "records_processed": len(ours["is_null"]),
        "camera_dtype": str(samples[0].action["camera"].dtype) if samples else None,
        "prints": _without_frame(problems),
        "frame_sha": [_sha(sample.frame) for sample in samples],
    }
    errors |= {fact: float("inf") for fact, value in facts.items() if fact in case and case[fact] != value}
    note = ", ".join(part for part, error in errors.items() if error)
    yield Finding(f"loader {name}", max(errors.values()), 0.0, note)


def _run(
    records: Path, frames: Iterator[NDArray[np.uint8]], cursor: Cursor
) -> tuple[BrokenRecordError | None, list[Sample], list[str]]:
    samples: list[Sample] = []
    try:
        reader = RecordedSamples(records, frames, AS_PUBLISHED, channels="bgr", cursor=cursor)
    except BrokenRecordError as error:
        return error, samples, []
    try:
        for sample in reader:
            samples.append(sample)
    except BrokenRecordError as error:
        return error, samples, reader.problems
    return None, samples, reader.problems


def _without_frame(problems: Sequence[str]) -> int:
    """Records that no frame came with; the decoder's own remarks stand among the problems, too."""
    return sum(problem.endswith("no video frame for this record") for problem in problems)


def _conversions(records: Path, ended: int | None, buttons: list[str]) -> dict[str, NDArray[Any]]:
    """What the published loader converted before the slot's rule, up to the record that ended it."""
    interpreter, steps = Interpreter(AS_PUBLISHED), []
    try:
        for row, record in enumerate(read_raw_records(records)):
            if ended is not None and row > ended:
                break
            steps.append(interpreter.convert(record))
            interpreter.select_slot(record, steps[-1])
    except FIELD_ERRORS:
        pass
    return {
        "is_null": np.array([step.null for step in steps], bool),
        "raw_buttons": np.array([[name in step.held for name in buttons] for step in steps]).reshape(-1, len(buttons)),
        "raw_camera": np.array([step.camera for step in steps]).reshape(-1, 2),
    }


def _emitted(samples: list[Sample], buttons: list[str]) -> dict[str, NDArray[Any]]:
    joint = [np.concatenate(JointActions().from_env(sample.action)) for sample in samples]
    return {
        "emit_index": np.array([sample.row for sample in samples], np.int64),
        "emit_buttons": np.array([[s.action[name] for name in buttons] for s in samples]).reshape(-1, len(buttons)),
        "emit_camera": np.array([sample.action["camera"] for sample in samples]).reshape(-1, 2),
        "joint": np.array(joint, np.int64).reshape(-1, 2),
        "frame_mean": np.array([sample.frame.mean((0, 1)) for sample in samples]).reshape(-1, 3),
    }


def _sha(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _composites(golden: Golden, errors: list[str], cursor: Cursor) -> Iterator[Finding]:
    """Cursors laid over one picture, which is BGR: colours are turned round going in and coming out."""
    worst, missed = 0.0, []
    for index, (x, y) in enumerate(golden["composite_pos"].tolist()):
        picture = golden["composite_base"][..., ::-1].copy()
        kind = ""
        try:
            cursor.draw(picture, x, y, wraps=True)
        except ValueError as error:
            kind = type(error).__name__
        if kind != errors[index]:
            missed.append(f"{kind or 'no error'} at ({x}, {y})")
        worst = max(worst, largest_error(picture[..., ::-1], golden["composite_out"][index]))
    yield Finding("loader cursors", float("inf") if missed else worst, 0.0, ", ".join(missed))


def _video(folder: Path, cursor: Cursor) -> Iterator[Finding]:
    with np.load(folder / "loader_mp4.npz") as arrays:
        golden = dict(arrays)
    meta = json.loads((folder / "loader_mp4.json").read_text())
    reader = RecordedSamples.of_video(folder / "loader" / "clip.mp4", rules=AS_PUBLISHED, cursor=cursor)
    samples = list(reader)
    ours = _emitted(samples, meta["button_names"])
    actions = [largest_error(ours[f"emit_{part}"], golden[part]) for part in ("buttons", "camera")]
    records, missing = len(reader.records), _without_frame(reader.problems)
    counts = {"n_json": records, "n_emitted": len(samples), "prints": missing, "used": records - missing}
    theirs = {**meta, "used": min(meta["n_json"], meta["n_video"])}  # frames beyond the records are not looked at
    note = ", ".join(
        f"{what} is {count}, not {theirs[what]}" for what, count in counts.items() if count != theirs[what]
    )
    yield Finding("loader_mp4 actions", float("inf") if note else max(actions), 0.0, note)
    pictures = np.array([sample.frame for sample in samples])[:: int(golden["frame_step"])]
    exact = sum(_sha(sample.frame) == sha for sample, sha in zip(samples, meta["frame_sha"], strict=False))
    note = f"{exact} of {len(meta['frame_sha'])} frames equal in every bit"
    yield Finding("loader_mp4 frames", largest_error(pictures, golden["frames"]), VIDEO_TOLERANCE, note)
    yield Finding("loader_mp4 means", largest_error(ours["frame_mean"], golden["means"]), VIDEO_TOLERANCE)
