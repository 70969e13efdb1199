"""Write which actions were taken in videos that have none: a label table for each video, with confidences.

Any container, codec, size and frame rate that FFmpeg reads. Video at other rates than the model's is resampled by its
exact timestamps, and said so. A video that cannot be read is reported and costs the others nothing. The same command
again resumes: it redoes at most the last minute of the video that was being labelled.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from data.files import sha256_file
from data.label_parts import find_parts, merge_parts
from data.labels import LabelTable, write_contractor
from data.manifest import Manifest, VideoEntry
from data.scratch import Scratch
from data.sources import Source, find_sources, unique_name
from data.video import probe
from idm.calibration import Calibration
from idm.checkpoint import load_model, model_hash
from idm.labelling import BLOCKS_A_PART, label_video
from idm.model import InverseDynamicsModel
from idm.threads import model_threads
from prior.nn.precision import Precision, uses_bfloat16
from vpt_pipeline.progress import Bar, progress_bar, say
from vpt_pipeline.train_idm import pick_device


@dataclass(frozen=True)
class ClusterConfig:
    """With --cluster:"""

    workers: int = 0
    """Copies of the model. 0: as many as the cluster has room for, also when it grows."""
    cpus: float = 2
    """CPUs that each takes, for decoding and, without a GPU, for the model."""
    gpus: float | None = None
    """GPUs that each takes; half a GPU is possible. Default: 1 if --device is cuda or a GPU is there, else 0."""
    decoders: int = 0
    """Decoding processes for each. 0: one more than its CPUs."""
    span_minutes: float = 7.0
    """Longer videos are shared by several workers, in spans of about this length. 0: never."""
    patience: float = 120.0
    """Seconds that decoding may stand still before it is given up."""
    memory_gb: float = 4.0
    """Memory that one decoding process may take."""
    price: float = 0.0
    """Of a worker's GPU for an hour, to tell what is left to pay."""
    books: Path | None = None
    """Local folder in which the job keeps its books. Default: --out; for URLs, a folder under runs/ named after it."""
    retry_quarantined: bool = False
    """Try videos again that were given up."""
    repair: bool = False
    """Label videos again whose tables are missing or have changed, as `vpt label --verify` says it."""


@dataclass(frozen=True)
class LabelConfig:
    """Settings of `vpt label`."""

    videos: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Videos: files, folders to search, patterns ("videos/**/*.mp4"), lists (.csv, .jsonl or .parquet with a column `video`,
    `path` or `url`), and URLs of any of these (s3://, gs://, hf://, https://)."""
    model: Path = Path("runs/idm")
    """A folder written by `vpt train-idm`, or a published NAME.model with NAME.weights beside it."""
    weights: Path | None = None
    """The .weights file, where its name is not that of the .model."""
    out: str = "runs/labels"
    """Where NAME.parquet and manifest.json go. With --cluster a folder or a URL, in which each model and each choice of
    settings has a version of its own (v1, v2 ...)."""
    contractor: bool = False
    """Also write NAME.jsonl, actions in OpenAI's contractor format, which training reads like recorded ones."""
    doubt: float = 0.6
    """Rows less certain than this are flagged low_confidence."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    precision: Precision = "float32"
    """bfloat16 is faster on GPUs that have it (auto: use it there) and changes a few labels; float32 is the published way."""
    threads: int = 2
    """Threads that scale frames and compute optical flow (without --cluster)."""
    reader: str = "pyav"
    """Who decodes: pyav, decord, ffmpeg, or package.module:function of your own, called with the path."""
    scratch: str = ""
    """Folder for local copies of remote videos, on every machine. Default: a folder in its temporary folder."""
    scratch_gb: float = 50.0
    """What that folder may take."""
    cluster: str | None = None
    """Label on a Ray cluster: local (this machine), auto (the cluster this machine belongs to) or HOST:PORT of its head."""
    on: tyro.conf.OmitArgPrefixes[ClusterConfig] = field(default_factory=ClusterConfig)
    verify: str | None = None
    """Instead of labelling, prove that the labels of a --cluster job in this folder are complete and as they were written."""


def find_videos(given: Sequence[str | Path]) -> dict[str, Source]:
    """Label name -> video, in order; videos of the same name get a few letters of their URL's hash added."""
    named: dict[str, Source] = {}
    for source in find_sources([str(item) for item in given]):
        named[unique_name(source.url, named.__contains__, source.name)] = source
    return named


def label_videos(config: LabelConfig) -> Manifest:
    """Label every video that is not labelled yet; returns the manifest, in which failures are told."""
    videos, out = find_videos(config.videos), Path(config.out)
    scratch = Scratch(scratch_folder(config), int(config.scratch_gb * 2**30))
    device = pick_device(config.device)
    model, calibration = load_model(config.model, device, weights=config.weights)
    bfloat16 = uses_bfloat16(config.precision, device)
    model.for_inference(torch.bfloat16 if bfloat16 else torch.float32)
    settings = {"doubt": config.doubt, "rate": model.config.rate, "device": device.split(":")[0]}
    if bfloat16:
        settings["precision"] = "bfloat16"
    if config.reader != "pyav":
        settings["reader"] = config.reader
    path, digest = out / "manifest.json", model_hash(config.model, config.weights)
    manifest = Manifest(digest, settings)
    if path.exists():
        manifest = Manifest.load(path)
        try:
            manifest.require_same_job(digest, settings)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    with progress_bar("labelling", _frames(videos, model.config.rate), "frames") as bar:
        for name, source in videos.items():
            entry = manifest.videos.setdefault(name, VideoEntry())
            bar.note(name)
            try:
                with scratch.local(source.url, source.stamp) as video:
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
    table, parts = Path(config.out) / f"{name}.parquet", Path(config.out) / f"{name}.parts"
    if entry.source_sha256 != digest:  # another file under this name: the table there is not of its labels
        table.unlink(missing_ok=True)
    if not (entry.status == "done" and table.exists()):
        entry.source_sha256, entry.status, entry.error = digest, "running", None
        parts.mkdir(parents=True, exist_ok=True)
        _forget_other_sources(parts, f"{digest} {model_digest} {json.dumps(settings, sort_keys=True)}")
        done = label_video(
            video, name, parts, model, calibration, config.doubt, bar.advance, config.threads, config.reader
        )
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
        write_contractor(LabelTable.read(table), table.with_suffix(".jsonl"))


def _forget_other_sources(parts: Path, source: str) -> None:
    """Parts say which file, model and settings they were made from: a killed run may not have written its manifest."""
    note = parts / "source"
    if not note.exists() or note.read_text(encoding="utf-8") != source:
        for part in find_parts(parts):
            part.unlink()
        note.write_text(source, encoding="utf-8")


def scratch_folder(config: LabelConfig) -> Path:
    return Path(config.scratch or Path(tempfile.gettempdir()) / f"vpt-scratch-{os.getuid()}")


def _frames(videos: dict[str, Source], rate: int) -> int | None:
    """About how many frames there are to label, for the progress bar."""
    total = 0.0
    for source in videos.values():
        if "://" in source.url:
            return None  # not to be fetched for this
        try:
            total += (probe(source.url).duration_s or 0) * rate
        except (ValueError, OSError):
            continue
    return round(total) or None


def main(config: LabelConfig) -> int:
    """0 if every video was labelled, 1 if some could not be."""
    if config.verify is not None:
        from vpt_pipeline.cluster.verify import main as verify

        return verify(config.verify, config.on.books)
    if config.cluster is not None:
        return _on_cluster(config)
    if "://" in config.out:
        raise ValueError(f"--out {config.out}: a URL; labels go there with --cluster (--cluster local on one machine)")
    manifest = label_videos(config)
    names = find_videos(config.videos)
    failed = [name for name in names if manifest.videos[name].status != "done"]
    frames = sum(manifest.videos[name].frames for name in names)
    say(f"{len(names) - len(failed)} of {len(names)} videos labelled, {frames} frames, in {config.out}")
    if failed:
        told = ", ".join(names[name].url for name in failed)
        say(f"[red]not labelled:[/red] {told} (reasons above and in {Path(config.out) / 'manifest.json'})")
    if len(failed) < len(names):
        example = next(name for name in names if name not in failed)
        say(f"Look at them: vpt inspect {names[example].url} --labels {Path(config.out) / example}.parquet")
    return 1 if failed else 0


def _on_cluster(config: LabelConfig) -> int:
    from vpt_pipeline.cluster.decode_link import DecodeSettings
    from vpt_pipeline.cluster.driver import ClusterRun, run
    from vpt_pipeline.cluster.fleet import FleetSettings, decoders_for
    from vpt_pipeline.cluster.job import JobSettings, state_folder
    from vpt_pipeline.cluster.worker import WorkerSettings

    on, device = config.on, pick_device(config.device)
    if config.contractor:
        raise ValueError("--contractor writes beside the tables of one machine; label without --cluster for that")
    # The model is loaded by the workers; here its settings are enough, but a wrong path should be told at once.
    model, calibration = load_model(config.model, "cpu", weights=config.weights)
    bfloat16 = uses_bfloat16(config.precision, device)
    block = model.config.window // 2
    part_minutes = BLOCKS_A_PART * block / model.config.rate / 60
    parts = max(1, round(on.span_minutes / part_minutes)) if on.span_minutes else 0
    job = JobSettings(
        model_sha256=model_hash(config.model, config.weights),
        doubt=config.doubt,
        rate=model.config.rate,
        block=block,
        halo=model.config.halo,
        span_parts=parts,
        backend=config.reader,
        device=device.split(":")[0],
        precision="bfloat16" if bfloat16 else "float32",
    )
    gpus = on.gpus if on.gpus is not None else float(device.startswith("cuda"))
    decoders = on.decoders or decoders_for(on.cpus)
    worker = WorkerSettings(
        model=str(config.model.resolve()) if config.model.exists() else str(config.model),
        weights=None if config.weights is None else str(config.weights.resolve()),
        device="cuda" if gpus else "cpu",
        bfloat16=bfloat16,
        torch_threads=min(2, model_threads(model.config, round(on.cpus))),
        backend=config.reader,
        span_parts=parts,
        decode=DecodeSettings(
            patience_s=on.patience,
            memory_bytes=int(on.memory_gb * 2**30),
            scratch=str(scratch_folder(config)),
            scratch_bytes=int(config.scratch_gb * 2**30),
        ),
        ahead=decoders,
    )
    del model
    result = run(
        ClusterRun(
            [str(video) for video in config.videos],
            config.out,
            state_folder(config.out, on.books),
            config.cluster or "local",
            job,
            calibration,
            worker,
            FleetSettings(on.workers, on.cpus, gpus, decoders),
            on.price,
            on.retry_quarantined,
            on.repair,
        )
    )
    counts = result.counts
    ended = sum(counts[state] for state in ("open", "done", "quarantined"))
    say(f"{counts['done']:,} of {ended:,} videos labelled, {counts['rows']:,} frames, in {result.out}")
    if counts["quarantined"]:
        say(
            f"[red]{counts['quarantined']:,} videos were given up:[/red] each with its error in {result.out}/summary.html"
        )
    say(f"Prove them: vpt label --verify {config.out}      Clean them: vpt filter {result.out}/labels")
    return 1 if counts["quarantined"] or counts["open"] else 0
