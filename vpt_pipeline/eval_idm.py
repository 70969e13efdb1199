"""Judge labels against recorded actions: a table here, and metrics.json, charts and report.html in --out.

Labels are tables from `vpt label` (or actions as .jsonl) and are paired with recorded actions by name: play1.parquet with
play1.jsonl. Or give --model and --data: the recordings are then labelled first. Judge on recordings, and better on
players, that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.files import atomic_path, write_json_atomic
from data.recording import VIDEO_SUFFIXES, find_recordings
from idm import plots
from idm.metrics import MIN_EVENTS
from idm.scores import IdmScores
from vpt_pipeline.inspect import write_clip
from vpt_pipeline.label_view import RECORDS, TABLE, LabelFile, find_labels, read_case
from vpt_pipeline.progress import say
from vpt_pipeline.quality import RATE, Case, add_quality, busiest, data_rows, headline, joined, judge, key_rows
from vpt_pipeline.report import Report


@dataclass(frozen=True)
class EvalIdmConfig:
    """Settings of `vpt eval-idm`."""

    labels: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Label tables (.parquet), or folders of them."""
    truth: tuple[Path, ...] = ()
    """Recorded actions (.jsonl), or folders of recordings."""
    model: Path | None = None
    """Instead of reading labels, label --data with this model."""
    data: tuple[Path, ...] = ()
    """With --model: folders of recordings to label, as if they had no actions, and to judge."""
    out: Path = Path("runs/eval-idm")
    """Where metrics.json, the charts and report.html go."""
    threshold: float | None = None
    """Count a key as held from this probability on. Default: as the labels say, which decide it over time."""
    min_events: int = MIN_EVENTS
    """A key enters the means only with so many true events."""
    clips: int = 2
    """How many overlay clips the report shows, each from another recording."""
    clip_seconds: float = 8.0
    """How long a clip is."""


@dataclass(frozen=True)
class Pair:
    """The labels of a video and the actions that were recorded with it."""

    labels: LabelFile
    truth: Path


def pair_by_name(labels: Iterable[LabelFile], truth: Iterable[Path]) -> tuple[list[Pair], list[str]]:
    """Pairs of equal names, and a line for each labelled video that has no truth.

    Raises ValueError where two files share a name, or nothing can be paired.
    """
    by_name: dict[str, Path] = {}
    for path in truth:
        if by_name.setdefault(path.stem, path) != path:
            raise ValueError(f"{by_name[path.stem]} and {path} have one name: give the right one of them as --truth")
    pairs: dict[str, Pair] = {}
    alone = []
    for file in labels:
        if file.name in pairs:
            both = f"{pairs[file.name].labels.path} and {file.path}"
            raise ValueError(f"{both} both hold labels of {file.name}: give one of them")
        if file.name in by_name:
            pairs[file.name] = Pair(file, by_name[file.name])
        else:
            alone.append(f"{file.path}: no {file.name}.jsonl among the recorded actions")
    if not pairs:
        few = ", ".join(sorted(by_name)[:5]) or "none"
        raise ValueError(
            f"no labels could be paired with recorded actions: {'; '.join(alone[:3]) or 'no labels were given'}. "
            f"Names with recorded actions: {few}. Labels of NAME.mp4 are judged against NAME.jsonl (--truth FOLDER)"
        )
    return list(pairs.values()), alone


def read_cases(pairs: Sequence[Pair], threshold: float | None = None) -> tuple[list[Case], list[str]]:
    """The pairs that can be judged, and what was wrong with single files or frames."""
    cases, problems = [], []
    for pair in pairs:
        truth, predictions, found = read_case(pair.labels, pair.truth, threshold)
        problems += found
        if truth.valid.any():
            cases.append(Case(pair.labels.name, truth, predictions))
        else:
            problems.append(f"{pair.labels.path}: left out, none of its frames has known truth in {pair.truth}")
    return cases, problems


_HEADERS = {
    "random ±1": "random\n±1", "prevalence": "share\nheld", "accuracy": "frame\nacc.",
    "always released": "always\nup", "previous frame": "prev.\nframe",
}  # fmt: skip
"""Of the columns whose names are too long for a terminal of 80 columns."""


def print_scores(scores: IdmScores, console: Console) -> None:
    """The table of keys and the camera's lines."""
    rows = key_rows(scores)
    shown = [c for c in rows[0] if c not in ("precision ±1", "recall ±1", "ECE")]
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for column in shown:
        text = column == "key"
        table.add_column(_HEADERS.get(column, column), justify="left" if text else "right", no_wrap=text)
    for n, row in enumerate(rows):
        cells = (
            "-" if row[c] is None else f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in shown
        )
        table.add_row(*cells, style="bold" if n == 0 else None, end_section=n == 0)
    console.print(table)
    console.print(f"* fewer than {scores.min_events} true events: not in the means", style="dim", highlight=False)
    for number in headline(scores)[3:]:
        console.print(f"{number.label}: [bold]{number.value}[/bold] ({number.compare})", highlight=False)


def write_results(
    out: Path, scores: IdmScores, cases: Sequence[Case], pairs: Sequence[Pair], problems: Sequence[str], *,
    clips: int, clip_seconds: float,
) -> Report:  # fmt: skip
    """Write metrics.json, charts/*.png, clips/*.mp4 and report.html into ``out``; returns the report."""
    write_json_atomic(out / "metrics.json", {
        **scores.to_dict(),
        "files": [{"labels": str(pair.labels.path), "video": pair.labels.video, "truth": str(pair.truth)} for pair in pairs],
        "problems": list(problems),
    })  # fmt: skip
    truth, predictions = joined(cases)
    for name, chart in (
        ("event_f1", plots.event_f1_bars(scores)),
        ("reliability", plots.reliability_diagram(scores)),
        ("kept_share", plots.kept_share_curves(scores)),
        ("camera", plots.camera_scatter(truth.camera, predictions.camera)),
    ):
        with atomic_path(out / "charts" / f"{name}.png") as part:
            part.write_bytes(chart)
    minutes = scores.frames / RATE / 60
    report = Report(
        "How good are these labels?", f"{scores.recordings} recordings, {minutes:.1f} minutes with known actions"
    )
    report.section("In short").numbers(*headline(scores))
    if problems:
        report.text("**Left out or incomplete:** " + "; ".join(f"`{problem}`" for problem in problems))
    report.section("Data").table(
        data_rows({"judged": [case.truth for case in cases]}), "Presses of each key that was used."
    )
    add_quality(report, scores, cases)
    shown = overlay_clips(out / "clips", cases, pairs, clips, clip_seconds)
    if shown:
        report.section("Look at them", "The seconds of a recording with the most true events; red marks what differs.")
        for path in shown:
            report.video(path, path.stem)
    report.section("How to go on").code(
        "vpt inspect VIDEO --labels LABELS --truth TRUTH\nvpt eval-idm LABELS --truth FOLDER"
    )
    report.write(out / "report.html")
    return report


def overlay_clips(folder: Path, cases: Sequence[Case], pairs: Sequence[Pair], most: int, seconds: float) -> list[Path]:
    """Overlay clips, of the busiest seconds, of the first recordings whose video lies beside their recorded actions."""
    shown: list[Path] = []
    frames = max(1, round(seconds * RATE))
    for case in cases:
        pair = next(pair for pair in pairs if pair.labels.name == case.name)
        video = _video_of(pair.truth)
        if len(shown) < most and video is not None:
            changes = np.abs(np.diff(case.truth.buttons.astype(int), axis=0)).sum(1)
            out = folder / f"{case.name}.mp4"
            write_clip(video, pair.labels.path, pair.truth, out, start=busiest(changes, [case], frames), frames=frames)
            shown.append(out)
    return shown


def _video_of(truth: Path) -> Path | None:
    beside = (path for path in sorted(truth.parent.iterdir()) if path.stem == truth.stem)
    return next((path for path in beside if path.suffix.lower() in VIDEO_SUFFIXES), None)


def _label_first(config: EvalIdmConfig) -> tuple[list[LabelFile], list[Path]]:
    """Label the recordings in --data with --model, as if they had no actions."""
    if config.model is None or config.labels or config.truth:
        raise ValueError("give labels with --truth, or --data with --model: --data is labelled first")
    recordings = [r for folder in config.data for r in find_recordings(folder) if r.actions is not None]
    if not recordings:
        looked = ", ".join(map(str, config.data)) or "--data, which is empty"
        raise ValueError(f"no recordings in {looked}: expected NAME.mp4 beside NAME.jsonl")
    from vpt_pipeline.label import LabelConfig, label_videos

    out = config.out / "labels"
    label_videos(LabelConfig(videos=tuple(str(r.video) for r in recordings), model=config.model, out=str(out)))
    return find_labels([out], (TABLE,)), [r.actions for r in recordings if r.actions is not None]


def main(config: EvalIdmConfig) -> int:
    """Returns 1 where some labels had no truth, or some of --data got no labels."""
    if config.data or config.model:
        labels, truth = _label_first(config)
    else:
        labels = find_labels(config.labels, (TABLE, RECORDS))
        truth = [file.path for file in find_labels(config.truth, (RECORDS,))]
    pairs, alone = pair_by_name(labels, truth)
    cases, problems = read_cases(pairs, config.threshold)
    scores = judge(cases, min_events=config.min_events)
    judged = {pair.truth for pair in pairs}
    unlabelled = [f"{path}: not judged, its video could not be labelled" for path in truth if path not in judged]
    notes = [*alone, *(unlabelled if config.data else []), *problems]
    for note in notes:
        say(f"[yellow]note:[/yellow] {escape(note)}")
    print_scores(scores, Console())
    write_results(config.out, scores, cases, pairs, notes, clips=config.clips, clip_seconds=config.clip_seconds)
    say(f"numbers: {config.out / 'metrics.json'}")
    say(f"report:  {config.out / 'report.html'}")
    return 1 if alone or (config.data and unlabelled) else 0
