"""How good labels are: every number of an IDM evaluation, beside what trivial labellers would score.

Frame accuracy alone misleads (a key that is held for long makes "same as before" right 99 % of the time), so it is
never given without its baselines, and the number to look at is event F1 (see idm/events.py). Three baselines go
with the events:

* always released: predicts no event, scores 0 wherever there are events.
* delayed truth: the true state of the previous frame. It is what frame accuracy rewards; its events are all one
  frame late, so its F1 is about 0 within 0 frames and 1 within +-1. **No labeller has it**, for it reads the truth;
  it stands here to show what a tolerance forgives.
* random presses: a key's own habits (rate and length of presses) without looking at the video. This is the chance
  level to beat, and the only baseline that could really be deployed.

An undefined value (no events, a camera that never moves) is None, never NaN, and means leave such values out.
Frames whose truth is unknown are taken out, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score

from data.actions import BUTTONS, ActionTrack
from idm.events import Bools, EventMatch, Floats, Ints, Timeline, match_events, random_presses, ratio
from idm.reliability import calibration_error, kept_curve, r_squared, reliability
from idm.scores import AxisScore, IdmScores, KeyScore, MeanEvents, MeanScore

TOLERANCES = (0, 1, 2)
MIN_EVENTS = 50
"""A key enters the means only with at least so many true events: below that, F1 is mostly noise."""

AXES = ("pitch", "yaw")


@dataclass(frozen=True)
class Predictions:
    """What a labeller says about T frames.

    probabilities: (T, 20), that each key is held, in the order of BUTTONS. camera: (T, 2), expected degrees, pitch
    then yaw. confidence, camera_confidence: (T,), higher is surer; any scale. held: bool (T, 20), the keys' states
    where the labeller decides them itself (a decoder over time); by default, those with enough probability.
    """

    probabilities: Floats
    camera: Floats
    confidence: Floats
    camera_confidence: Floats
    held: Bools | None = None

    def __post_init__(self) -> None:
        frames = len(self.probabilities)
        shapes: dict[str, tuple[int, ...]] = {"probabilities": (frames, len(BUTTONS)), "camera": (frames, 2)}
        shapes |= {"confidence": (frames,), "camera_confidence": (frames,)}
        shapes |= {} if self.held is None else {"held": (frames, len(BUTTONS))}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name))
            if value.shape != shape:
                raise ValueError(f"Predictions.{name} has shape {value.shape}, expected {shape}")
            if not np.isfinite(value).all():
                bad = int(np.flatnonzero(~np.isfinite(value).reshape(frames, -1).all(1))[0])
                raise ValueError(f"Predictions.{name} is not finite at frame {bad}: leave unlabelled frames out")
        if frames and (np.min(self.probabilities) < 0 or np.max(self.probabilities) > 1):
            raise ValueError("Predictions.probabilities must lie within 0 and 1")


def evaluate(
    truth: ActionTrack,
    predictions: Predictions,
    lengths: Sequence[int],
    *,
    threshold: float = 0.5,
    min_events: int = MIN_EVENTS,
    tolerances: tuple[int, ...] = TOLERANCES,
    seed: int = 0,
) -> IdmScores:
    """Judge predictions for T frames of several recordings laid end to end.

    lengths: frames of each recording, summing to T. threshold: a key counts as held from this probability on (where
    the predictions do not say what is held).
    Raises ValueError where truth, predictions and lengths do not fit, or no frame has known truth.
    """
    if len(truth) != len(predictions.probabilities) or len(truth) != sum(lengths):
        raise ValueError(
            f"{len(truth)} frames of truth, {len(predictions.probabilities)} predicted, recordings of {sum(lengths)} "
            "in all: the three must agree; cut or pair the recordings before judging them"
        )
    known = truth.valid
    if not known.any():
        raise ValueError(f"no frame of {len(truth)} has known truth: there is nothing to judge the labels against")
    timeline = Timeline.of(lengths, known, gap=2 * max(*tolerances, 1) + 1)
    held, probability = truth.buttons[known], np.asarray(predictions.probabilities, np.float64)[known]
    turned, expected = truth.camera[known].astype(np.float64), np.asarray(predictions.camera, np.float64)[known]
    predicted = probability >= threshold if predictions.held is None else predictions.held[known]
    rng = np.random.default_rng(seed)

    matches = {
        tolerance: [match_events(held[:, k], predicted[:, k], timeline, tolerance) for k in range(len(BUTTONS))]
        for tolerance in {*tolerances, 1}
    }
    keys = tuple(
        _score_key(k, held[:, k], predicted[:, k], probability[:, k], [(t, matches[t][k]) for t in tolerances],
                   timeline, min_events, rng)
        for k in range(len(BUTTONS))
    )  # fmt: skip
    bins = reliability(probability, held)
    draws = _bootstrap_draws(timeline.recording, len(lengths), rng)
    kept = partial(
        kept_curve,
        true=held,
        predicted=predicted,
        changed=timeline.changes(held),
        matches=matches[1],
        camera_true=turned,
        camera_predicted=expected,
        seed=seed,
    )
    return IdmScores(
        recordings=len(lengths),
        frames=len(timeline),
        frames_unknown=int(np.count_nonzero(~known)),
        threshold=threshold if predictions.held is None else None,
        min_events=min_events,
        mean=_mean(keys, {t: matches[t] for t in tolerances}, calibration_error(bins), timeline, draws),
        keys=keys,
        camera=tuple(_score_axis(axis, turned[:, a], expected[:, a], timeline, draws) for a, axis in enumerate(AXES)),
        reliability=bins,
        kept_by_button_confidence=kept(predictions.confidence[known]),
        kept_by_camera_confidence=kept(predictions.camera_confidence[known]),
    )


def _score_key(
    index: int,
    held: Bools,
    predicted: Bools,
    probability: Floats,
    matches: Sequence[tuple[int, EventMatch]],
    timeline: Timeline,
    min_events: int,
    rng: np.random.Generator,
) -> KeyScore:
    late = timeline.delayed(held)
    events = int(np.count_nonzero(timeline.changes(held)))
    return KeyScore(
        key=BUTTONS[index],
        counted=events >= max(min_events, 1),
        true_events=events,
        events=tuple(match.score(tolerance) for tolerance, match in matches),
        events_delayed_truth=tuple(match_events(held, late, timeline, t).score(t) for t, _ in matches),
        random_presses_f1=_chance_f1(held, timeline, [t for t, _ in matches], rng),
        average_precision=float(average_precision_score(held, probability)) if held.any() else None,
        prevalence=float(held.mean()),
        accuracy=float((predicted == held).mean()),
        accuracy_always_released=float((~held).mean()),
        accuracy_previous_frame=float((late == held).mean()),
        calibration_error=calibration_error(reliability(probability, held)),
    )


def _chance_f1(
    held: Bools, timeline: Timeline, tolerances: Sequence[int], rng: np.random.Generator
) -> tuple[float | None, ...]:
    """The mean event F1 of random presses over a few draws: more where there are few events to average over."""
    events = int(np.count_nonzero(timeline.changes(held)))
    if events == 0:
        return tuple(None for _ in tolerances)
    scores: dict[int, list[float]] = {t: [] for t in tolerances}
    for _ in range(min(50, max(1, 4000 // events))):
        guess = random_presses(held, timeline, rng)
        for t in tolerances:
            scores[t].append(match_events(held, guess, timeline, t).score(t).f1 or 0.0)
    return tuple(float(np.mean(scores[t])) for t in tolerances)


def _score_axis(axis: str, true: Floats, predicted: Floats, timeline: Timeline, draws: Floats | None) -> AxisScore:
    # The standard deviation of equal numbers is not exactly zero in floats; their range is.
    true_std, predicted_std = (float(x.std()) if np.ptp(x) > 0 else 0.0 for x in (true, predicted))
    covariance = float(np.mean((true - true.mean()) * (predicted - predicted.mean())))
    interval = None
    if draws is not None:
        # R2 from sums that add up over recordings, so that a bootstrap draw is one matrix product.
        per_recording = np.stack([
            np.bincount(timeline.recording, value, draws.shape[1])
            for value in (np.ones_like(true), true, true**2, (true - predicted) ** 2)
        ])  # fmt: skip
        count, total, squares, wrong = per_recording @ draws.T
        spread = squares - total**2 / np.maximum(count, 1)
        interval = _interval(1 - wrong[spread > 0] / spread[spread > 0])
    return AxisScore(
        axis=axis,
        r2=r_squared(true, predicted),
        interval_r2=interval,
        pearson=ratio(covariance, true_std * predicted_std),
        scale_ratio=ratio(predicted_std, true_std),
        slope=ratio(covariance, true_std**2),
        mae_degrees=float(np.abs(true - predicted).mean()),
        mae_no_turn=float(np.abs(true).mean()),
    )


def _mean(
    keys: tuple[KeyScore, ...],
    matches: dict[int, list[EventMatch]],
    pooled: float | None,
    timeline: Timeline,
    draws: Floats | None,
) -> MeanScore:
    counted = [k for k, key in enumerate(keys) if key.counted]
    chosen = [keys[k] for k in counted]
    events = tuple(
        MeanEvents(
            tolerance,
            f1=_average([key.events[n].f1 for key in chosen]),
            interval=_f1_interval([matches[tolerance][k] for k in counted], timeline, draws),
            precision=_average([key.events[n].precision for key in chosen]),
            recall=_average([key.events[n].recall for key in chosen]),
            always_released_f1=0.0 if chosen else None,
            delayed_truth_f1=_average([key.events_delayed_truth[n].f1 for key in chosen]),
            random_presses_f1=_average([key.random_presses_f1[n] for key in chosen]),
        )
        for n, tolerance in enumerate(matches)
    )
    return MeanScore(
        counted_keys=tuple(key.key for key in chosen),
        events=events,
        average_precision=_average([key.average_precision for key in chosen]),
        prevalence=_average([key.prevalence for key in chosen]),
        calibration_error=_average([key.calibration_error for key in chosen]),
        calibration_error_pooled=pooled,
        accuracy=float(np.mean([key.accuracy for key in keys])),
        accuracy_always_released=float(np.mean([key.accuracy_always_released for key in keys])),
        accuracy_previous_frame=float(np.mean([key.accuracy_previous_frame for key in keys])),
    )


def _bootstrap_draws(recording: Ints, recordings: int, rng: np.random.Generator, draws: int = 1000) -> Floats | None:
    """(draws, recordings): how often each recording is drawn. None with too few recordings to say anything."""
    present = np.bincount(recording, minlength=recordings) > 0
    if np.count_nonzero(present) < 3:
        return None
    counts = np.zeros((draws, recordings))
    counts[:, present] = rng.multinomial(present.sum(), np.full(present.sum(), 1 / present.sum()), draws)
    return counts


def _f1_interval(matches: list[EventMatch], timeline: Timeline, draws: Floats | None) -> tuple[float, float] | None:
    if draws is None or not matches:
        return None
    size = draws.shape[1]
    counts = np.stack([
        np.stack([np.bincount(timeline.recording[m.true_frames], m.true_matched, size),
                  np.bincount(timeline.recording[np.concatenate([m.true_frames, m.predicted_frames])], None, size)])
        for m in matches
    ])  # fmt: skip
    matched, both = np.einsum("kcr,dr->ckd", counts, draws)
    # A key that a draw leaves without any event has no F1 in it, and is left out of that draw's mean.
    scores = np.where(both > 0, 2 * matched / np.maximum(both, 1), np.nan)
    return _interval(np.nanmean(scores[:, (both > 0).any(0)], axis=0))


def _interval(values: Floats) -> tuple[float, float] | None:
    if len(values) == 0:
        return None
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
