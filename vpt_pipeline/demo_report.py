"""The demo's report: what was recorded, how good the labels are, labelled play to look at, and how long it all took."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.actions import ActionTrack
from data.files import write_json_atomic
from data.recording import Recording
from idm.scores import IdmScores
from vpt_pipeline.demo_agents import LABELLED, TRUE, Plays
from vpt_pipeline.eval_idm import overlay_clips, pair_by_name, read_cases
from vpt_pipeline.evaluate import scores_of
from vpt_pipeline.inspect import write_clip
from vpt_pipeline.label_view import RECORDS, TABLE, find_labels
from vpt_pipeline.prompts_page import add_side_by_side
from vpt_pipeline.quality import RATE, add_quality, data_rows, headline, judge
from vpt_pipeline.report import Report
from vpt_pipeline.rollout import Rollout

if TYPE_CHECKING:
    from vpt_pipeline.demo import DemoConfig

CLIP_SECONDS = 8


@dataclass
class Timings:
    """Seconds that each stage took, summed over the runs that it needed."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Timings:
        return cls(path, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0) + time.monotonic() - begun, 1)
            write_json_atomic(self.path, self.seconds)


def write_report(
    out: Path,
    config: DemoConfig,
    game: str,
    train_set: Sequence[Recording],
    held_out: Sequence[Recording],
    clips: Sequence[Path],
    played: Plays,
    timings: Timings,
) -> dict[str, Any]:
    """Judge the hidden recordings' labels, write ``report.html`` and ``metrics.json``, return the headline numbers."""
    labels = find_labels([out / "hidden" / "labels"], (TABLE,))
    truth = [file.path for file in find_labels([out / "play" / "held_out"], (RECORDS,))]
    pairs, _ = pair_by_name(labels, truth)
    cases, problems = read_cases(pairs)
    scores = judge(cases)
    write_json_atomic(out / "metrics.json", {**scores.to_dict(), "problems": problems})
    players = sorted({str(r.load_meta().get("player")) for r in held_out})
    report = Report(
        "From game video to actions",
        f"An inverse dynamics model trained in {game}, judged on a player it never saw, in worlds it never saw",
    )
    report.section("In short").numbers(*headline(scores))
    report.text(f"Held-out player: **{', '.join(players)}**. Model: `{config.preset}`. Machine: {_machine()}.")
    report.section(
        "Look at it", "The seconds of each recording with the most presses; red marks what differs from the truth."
    )
    for path in overlay_clips(out / "overlays", cases, pairs, most=2, seconds=CLIP_SECONDS):
        report.video(path, f"{path.stem}: predicted and true actions")
    report.section("Data", "Presses of each key. The held-out actions were hidden until the labels were written.")
    report.table(data_rows({"training": _tracks(train_set), "held out": _tracks(held_out)}))
    add_quality(report, scores, cases)
    _rollouts(report, out, played.priors)
    _copied(report, played)
    _asked(report, game, out, played.asked)
    _real_clips(report, out, clips)
    report.section("Time").table([{"stage": stage, "seconds": seconds} for stage, seconds in timings.seconds.items()])
    report.section("How to go on").code(
        f"vpt label YOUR_VIDEO.mp4 --model {out / 'idm'}\nvpt inspect YOUR_VIDEO.mp4 --labels runs/labels/YOUR_VIDEO.parquet\n"
        f"vpt train-prior YOUR_VIDEOS --labels runs/labels --out runs/prior\nvpt play {out / LABELLED} --task explore\n"
        f"vpt index YOUR_RECORDINGS --out runs/set --model {out / LABELLED}\nvpt play runs/set --inspect\n"
        "vpt demo --budget 90m --out runs/long    # more play, more training"
    )
    report.write(out / "report.html")
    return _summary(scores, timings)


def _tracks(recordings: Sequence[Recording]) -> list[ActionTrack]:
    return [recording.load_actions().actions for recording in recordings]


def _rollouts(report: Report, out: Path, played: Sequence[Rollout]) -> None:
    """The priors at play, and how they compare."""
    names = {
        str(out / LABELLED): "prior, trained on labels",
        str(out / TRUE): "prior, trained on the hidden actions",
        "random": "random actions",
    }
    report.section(
        "The prior plays",
        "A behavioural prior cloned from the **labelled** video, without any true action, beside one cloned from the hidden "
        "actions of the same video. A demo's minutes of video and of training show that it runs, not how good it gets.",
    )
    for rollout in played:
        if rollout.video is not None and rollout.agent != "random":
            report.video(Path(rollout.video), f"{names[rollout.agent]}, its first episode")
    rows: list[dict[str, Any]] = []
    for agent, name in names.items():
        scores = scores_of([rollout for rollout in played if rollout.agent == agent])
        rows.append({"agent": name} | {f"{one.measure} ({one.unit})": one.mean for one in scores})
    ran = sum(rollout.result is not None for rollout in played)
    report.table(
        rows, f"Means of freeplay; {ran} of {len(played)} episodes of {played[0].frames / RATE:.0f} seconds ran."
    )


def _copied(report: Report, played: Plays) -> None:
    """The search agent, and what it copied."""
    report.section(
        "An agent without training",
        "It searches the labelled video for the situation most like its own, copies what was done there until the two part, "
        "and searches again. On the left its own view, on the right the moment that it copies, below how unlike the two are.",
    )
    if played.copied_view is None:
        report.text(f"It could not play: {played.copied.error}.")
    else:
        report.video(played.copied_view, "Its first episode, and what it copied")


def _asked(report: Report, game: str, out: Path, played: Sequence[Rollout]) -> None:
    """What follows texts, one start with several of them."""
    if played:
        report.section(
            "Asked in words",
            "The prior, taught in hindsight on the same labelled video to reach goals, and which goals texts ask for. After a "
            "few minutes of training it shows that this runs; how well it follows after an hour is told in `docs/numbers.md`.",
        )
        add_side_by_side(report, played, game, out / "rollouts" / "side-by-side")


def _real_clips(report: Report, out: Path, clips: Sequence[Path]) -> None:
    shown = [clip for clip in clips if (out / "clips" / f"{clip.stem}.parquet").exists()]
    if not clips:
        return
    report.section(
        "Real Minecraft video",
        "Labelled by the same model, which was trained on nothing but the embedded game: the overlay at work, no claim of "
        "accuracy.",
    )
    for clip in shown[:2]:
        path = out / "overlays" / f"{clip.stem}.mp4"
        write_clip(clip, out / "clips" / f"{clip.stem}.parquet", None, path, frames=round(6 * RATE))
        report.video(path, clip.name)
    for clip in clips:
        if clip not in shown:
            report.text(f"`{clip.name}` could not be labelled; see `clips/manifest.json` for why.")


def _machine() -> str:
    import os

    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _summary(scores: IdmScores, timings: Timings) -> dict[str, Any]:
    one = next(event for event in scores.mean.events if event.tolerance == 1)
    return {
        "event_f1_within_1": one.f1,
        "event_f1_random_presses": one.random_presses_f1,
        "keys_counted": len(scores.mean.counted_keys),
        "camera_r2": {axis.axis: axis.r2 for axis in scores.camera},
        "seconds": timings.seconds,
    }
