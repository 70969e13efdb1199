"""Write which actions were taken in videos that have none: a label table for each video, with confidences.

Any container, codec, size and frame rate that FFmpeg reads. Video at other rates than the model's is resampled by its
exact timestamps, and said so. A video that cannot be read is reported and costs the others nothing. The same command
again resumes: it redoes at most the last minute of the video that was being labelled.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from data.files import sha256_file
from data.label_parts import find_parts, merge_parts
from data.labels import LabelTable, write_contractor
from data.manifest import Manifest, VideoEntry
from data.video import probe
from idm.calibration import Calibration
from idm.checkpoint import load_model, model_hash
from idm.labelling import label_video
from idm.model import InverseDynamicsModel
from prior.nn.precision import Precision, uses_bfloat16
from vpt_pipeline.progress import Bar, progress_bar, say
from vpt_pipeline.train_idm import pick_device

VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".flv", ".ts", ".mpg", ".mpeg", ".wmv"}


@dataclass(frozen=True)
class LabelConfig:
    """Settings of `vpt label`."""

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Video files, or folders to search for them."""
    model: Path = Path("runs/idm")
    """A folder written by `vpt train-idm`, or a published NAME.model with NAME.weights beside it."""
    weights: Path | None = None
    """The .weights file, where its name is not that of the .model."""
    out: Path = Path("runs/labels")
    """Where NAME.parquet and manifest.json go."""
    contractor: bool = False
    """Also write NAME.jsonl, actions in OpenAI's contractor format, which training reads like recorded ones."""
    doubt: float = 0.6
    """Rows less certain than this are flagged low_confidence."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    precision: Precision = "float32"
    """bfloat16 is faster on GPUs that have it (auto: use it there) and changes a few labels; float32 is the published way."""
    threads: int = 2
    """Threads that scale frames and compute optical flow."""


def find_videos(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Label name -> video, in order; videos of the same name get a few letters of their path's hash added."""
    if not paths:
        raise ValueError("no video given; expected video files or folders, as in `vpt label play.mp4 videos/`")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
            if not inside:
                raise ValueError(f"{path}: no video in this folder (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
            found += inside
        else:
            found.append(path)
    named: dict[str, Path] = {}
    for path in dict.fromkeys(found):
        name = path.stem
        if name in named:
            name += "-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:6]
        named[name] = path
    return named


def label_videos(config: LabelConfig) -> Manifest:
    """Label every video that is not labelled yet; returns the manifest, in which failures are told."""
    videos = find_videos(config.videos)
    device = pick_device(config.device)
    model, calibration = load_model(config.model, device, weights=config.weights)
    bfloat16 = uses_bfloat16(config.precision, device)
    model.for_inference(torch.bfloat16 if bfloat16 else torch.float32)
    settings = {"doubt": config.doubt, "rate": model.config.rate, "device": device.split(":")[0]}
    if bfloat16:
        settings["precision"] = "bfloat16"
    path, digest = config.out / "manifest.json", model_hash(config.model, config.weights)
    manifest = Manifest(digest, settings)
    if path.exists():
        manifest = Manifest.load(path)
        try:
            manifest.require_same_job(digest, settings)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    with progress_bar("labelling", _frames(videos, model.config.rate), "frames") as bar:
        for name, video in videos.items():
            entry = manifest.videos.setdefault(name, VideoEntry())
            bar.note(name)
            try:
                _one(name, video, entry, config, digest, settings, model, calibration, bar)
            except ValueError as error:
                entry.status, entry.error = "failed", str(error)
                say(f"[red]not labelled:[/red] {error}")
            manifest.save(path)
    return manifest


def _one(
    name: str,
    video: Path,
    entry: VideoEntry,
    config: LabelConfig,
    model_digest: str,
    settings: dict[str, Any],
    model: InverseDynamicsModel,
    calibration: Calibration,
    bar: Bar,
) -> None:
    if not video.is_file():
        raise ValueError(f"{video}: no such file; expected a video")
    digest = sha256_file(video)
    table, parts = config.out / f"{name}.parquet", config.out / f"{name}.parts"
    if entry.source_sha256 != digest:  # another file under this name: the table there is not of its labels
        table.unlink(missing_ok=True)
    if not (entry.status == "done" and table.exists()):
        entry.source_sha256, entry.status, entry.error = digest, "running", None
        parts.mkdir(parents=True, exist_ok=True)
        _forget_other_sources(parts, f"{digest} {model_digest} {json.dumps(settings, sort_keys=True)}")
        done = label_video(video, name, parts, model, calibration, config.doubt, bar.advance, config.threads)
        merge_parts(find_parts(parts), table)
        shutil.rmtree(parts, ignore_errors=True)
        entry.status, entry.frames = "done", done.frames
        entry.problems = list(done.problems) + list(done.resampling.problems)
        if done.resampling.resampled:
            entry.problems.insert(0, done.resampling.summary())
        for problem in entry.problems:
            say(f"[yellow]{video}:[/yellow] {problem}")
    else:
        bar.skip(entry.frames)
    if config.contractor:
        write_contractor(LabelTable.read(table), config.out / f"{name}.jsonl")


def _forget_other_sources(parts: Path, source: str) -> None:
    """Parts say which file, model and settings they were made from: a killed run may not have written its manifest."""
    note = parts / "source"
    if not note.exists() or note.read_text(encoding="utf-8") != source:
        for part in find_parts(parts):
            part.unlink()
        note.write_text(source, encoding="utf-8")


def _frames(videos: dict[str, Path], rate: int) -> int | None:
    """About how many frames there are to label, for the progress bar."""
    total = 0.0
    for video in videos.values():
        try:
            total += (probe(video).duration_s or 0) * rate
        except (ValueError, OSError):
            continue
    return round(total) or None


def main(config: LabelConfig) -> int:
    """0 if every video was labelled, 1 if some could not be."""
    manifest = label_videos(config)
    names = find_videos(config.videos)
    failed = [name for name in names if manifest.videos[name].status != "done"]
    frames = sum(manifest.videos[name].frames for name in names)
    say(f"{len(names) - len(failed)} of {len(names)} videos labelled, {frames} frames, in {config.out}")
    if failed:
        told = ", ".join(str(names[name]) for name in failed)
        say(f"[red]not labelled:[/red] {told} (reasons above and in {config.out / 'manifest.json'})")
    if len(failed) < len(names):
        example = next(name for name in names if name not in failed)
        say(f"Look at them: vpt inspect {names[example]} --labels {config.out / example}.parquet")
    return 1 if failed else 0
