"""The quality of labels as tables and as sections of a report. What is shown is chosen by the truth, never by success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, ActionTrack
from idm import plots
from idm.metrics import MIN_EVENTS, Predictions, evaluate
from idm.scores import IdmScores
from vpt_pipeline.report import Cell, Number, Report

RATE = 20.0
"""Frames a second of labels, as everywhere in VPT."""


@dataclass(frozen=True)
class Case:
    """One recording to judge: what was done and what the labels say, frame by frame, of equal length T."""

    name: str
    truth: ActionTrack
    predictions: Predictions


def judge(cases: Sequence[Case], *, threshold: float = 0.5, min_events: int = MIN_EVENTS) -> IdmScores:
    """All cases together; means are over keys, not over recordings. Raises ValueError where there is no case."""
    if not cases:
        raise ValueError("no recording to judge: expected at least one label table with a recorded truth")
    truth, predictions = joined(cases)
    return evaluate(truth, predictions, [len(case.truth) for case in cases], threshold=threshold, min_events=min_events)


def joined(cases: Sequence[Case]) -> tuple[ActionTrack, Predictions]:
    """The cases laid end to end."""
    tracks = [case.truth for case in cases]
    said = [case.predictions for case in cases]
    decided = [p.held for p in said if p.held is not None]
    if len(decided) not in (0, len(said)):
        raise ValueError("some cases come with decided key states and others do not; expected all or none")
    truth = ActionTrack.join(tracks)
    predictions = Predictions(
        np.concatenate([p.probabilities for p in said]),
        np.concatenate([p.camera for p in said]),
        np.concatenate([p.confidence for p in said]),
        np.concatenate([p.camera_confidence for p in said]),
        np.concatenate(decided) if decided else None,
    )
    return truth, predictions


def headline(scores: IdmScores) -> list[Number]:
    """The few numbers to look at first, each beside what it must be compared with."""
    within = {score.tolerance: score for score in scores.mean.events}
    one = within.get(1, scores.mean.events[-1])
    interval = "" if one.interval is None else f", 95 % interval {one.interval[0]:.2f} to {one.interval[1]:.2f}"
    mean = scores.mean
    numbers = [
        Number(show(one.f1), f"event F1 within ±{one.tolerance} frame, mean of {len(mean.counted_keys)} keys",
               f"random presses {show(one.random_presses_f1)}, always released 0{interval}"),
        Number(show(mean.average_precision), "average precision of held keys", f"prevalence {show(mean.prevalence)}"),
        Number(show(mean.accuracy, 4), "frame accuracy, mean of 20 keys",
               f"always released {show(mean.accuracy_always_released, 4)}, previous frame's truth "
               f"{show(mean.accuracy_previous_frame, 4)}"),
    ]  # fmt: skip
    numbers += [
        Number(show(axis.r2), f"camera R², {axis.axis}",
               f"mean error {axis.mae_degrees:.2f}°, without turning {axis.mae_no_turn:.2f}°")
        for axis in scores.camera
    ]  # fmt: skip
    pooled = f"pooled over 20 keys: {show(mean.calibration_error_pooled, 4)}"
    return [*numbers, Number(show(mean.calibration_error, 3), "calibration error (ECE) of a key", pooled)]


def key_rows(scores: IdmScores) -> list[dict[str, Cell]]:
    """The metrics table: the mean over counted keys, then every key that was pressed or that has predicted events."""
    rows: list[dict[str, Cell]] = [{"key": f"mean of {len(scores.mean.counted_keys)}", "events": None}]
    for event in scores.mean.events:
        rows[0][_within(event.tolerance)] = event.f1
    one = next((n for n, event in enumerate(scores.mean.events) if event.tolerance == 1), -1)
    mean, of_one = scores.mean, scores.mean.events[one]
    rows[0] |= {
        "random ±1": of_one.random_presses_f1, "precision ±1": of_one.precision, "recall ±1": of_one.recall,
        "AP": mean.average_precision, "prevalence": mean.prevalence, "accuracy": mean.accuracy,
        "always released": mean.accuracy_always_released, "previous frame": mean.accuracy_previous_frame,
        "ECE": mean.calibration_error,
    }  # fmt: skip
    for key in scores.keys:
        if not any(event.true_events or event.predicted_events for event in key.events) and not key.prevalence:
            continue
        row: dict[str, Cell] = {"key": key.key if key.counted else f"{key.key} *", "events": key.true_events}
        row |= {_within(event.tolerance): event.f1 for event in key.events}
        row |= {
            "random ±1": key.random_presses_f1[one], "precision ±1": key.events[one].precision,
            "recall ±1": key.events[one].recall, "AP": key.average_precision, "prevalence": key.prevalence,
            "accuracy": key.accuracy, "always released": key.accuracy_always_released,
            "previous frame": key.accuracy_previous_frame, "ECE": key.calibration_error,
        }  # fmt: skip
        rows.append(row)
    return rows


def camera_rows(scores: IdmScores) -> list[dict[str, Cell]]:
    return [
        {
            "axis": axis.axis, "R²": axis.r2,
            "95 % interval": None if axis.interval_r2 is None else f"{axis.interval_r2[0]:.3f} to {axis.interval_r2[1]:.3f}",
            "Pearson r": axis.pearson, "scale ratio": axis.scale_ratio, "slope": axis.slope,
            "mean error °": axis.mae_degrees, "without turning °": axis.mae_no_turn,
        }
        for axis in scores.camera
    ]  # fmt: skip


def baseline_rows(scores: IdmScores) -> list[dict[str, Cell]]:
    """Event F1 of the labels and of three trivial labellers, means over the counted keys."""
    labellers = (
        ("these labels", "f1", "the video"),
        ("always released", "always_released_f1", "nothing"),
        ("random presses", "random_presses_f1", "a key's habits"),
        ("previous frame's truth", "delayed_truth_f1", "the truth itself"),
    )
    return [
        {"labeller": name, **{_within(e.tolerance): getattr(e, field) for e in scores.mean.events}, "looks at": looks}
        for name, field, looks in labellers
    ]


def data_rows(groups: Mapping[str, Sequence[ActionTrack]]) -> list[dict[str, Cell]]:
    """What was recorded: a row for each named group of recordings, with its minutes and the presses of each used key."""
    tracks = [track for group in groups.values() for track in group]
    used = [k for k in range(len(BUTTONS)) if any(track.buttons[:, k].any() for track in tracks)]
    rows = []
    for name, group in groups.items():
        row: dict[str, Cell] = {"part": name, "recordings": len(group)}
        row["minutes"] = f"{sum(map(len, group)) / RATE / 60:.1f}"
        presses = sum((np.count_nonzero(t.buttons[1:] & ~t.buttons[:-1], axis=0) for t in group), np.zeros(20, int))
        rows.append(row | {BUTTONS[k]: int(presses[k]) for k in used})
    return rows


def add_quality(report: Report, scores: IdmScores, cases: Sequence[Case]) -> None:
    """Sections on keys, camera, calibration and what confidence is good for, with charts."""
    truth, predictions = joined(cases)
    counted = scores.min_events
    report.section(
        "Keys",
        "An event is a press or a release; it is found when the labels have the same change within so many frames, one to "
        "one. Frame accuracy is shown beside its trivial baselines, because a key that is held for long makes “same as "
        "before” right almost always.",
    )
    report.table(
        baseline_rows(scores),
        "Means of event F1. The previous frame's truth is no labeller: it reads the answer, one frame late, and is here to "
        "show what a tolerance of ±1 forgives. Random presses know a key's rate and length of presses; they are chance.",
        faint=(1, 2, 3),
    )
    report.image(plots.event_f1_bars(scores), "Event F1 by key; the upright mark is chance.")
    report.table(key_rows(scores), f"Keys marked * have fewer than {counted} true events and stay out of the means.")
    start = busiest(np.abs(np.diff(truth.buttons.astype(int), axis=0)).sum(1), cases)
    held = slice(start, start + SPAN)
    report.image(plots.key_roll(truth.buttons[held], predictions.probabilities[held], rate=RATE),
                 f"The {SPAN / RATE:.0f} seconds with the most true events.")  # fmt: skip

    report.section("Camera", "Degrees a frame. Scale ratio: spread of predicted over spread of true turns.")
    report.table(camera_rows(scores)).image(plots.camera_scatter(truth.camera, predictions.camera), "Every frame.")
    start = busiest(np.abs(truth.camera).sum(1), cases)
    turned = slice(start, start + SPAN)
    report.image(plots.camera_trace(truth.camera[turned], predictions.camera[turned], rate=RATE),
                 f"The {SPAN / RATE:.0f} seconds with the most true turning.")  # fmt: skip

    report.section("Can the confidence be trusted?")
    report.image(
        plots.reliability_diagram(scores), "On the line, a key said to be held with 70 % is held 70 times in 100."
    )
    report.image(
        plots.kept_share_curves(scores),
        "Dropping the least sure frames. Events lie where a labeller is least sure, so the dashed line shows how many are "
        "lost. R² can fall while the error falls: the surest frames hardly turn, which leaves little to explain.",
    )


SPAN = 300
"""Frames of the excerpts over time."""


def busiest(activity: NDArray[Any], cases: Sequence[Case], span: int = SPAN) -> int:
    """The first frame, counted over all cases end to end, of the ``span`` frames of one case with the most activity.

    activity: a number a frame of all cases end to end.
    """
    best, best_sum, begin = 0, -1.0, 0
    for case in cases:
        part = activity[begin : begin + len(case.truth)]
        sums = np.convolve(part, np.ones(min(span, len(part))), "valid") if len(part) else np.zeros(1)
        if sums.max() > best_sum:
            best, best_sum = begin + int(sums.argmax()), float(sums.max())
        begin += len(case.truth)
    return best


def show(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _within(tolerance: int) -> str:
    return f"F1\u00a0±{tolerance}" if tolerance else "F1\u00a00"
