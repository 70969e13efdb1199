"""Whether probabilities mean what they say, and whether confidence knows where the errors are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idm.events import Bools, EventMatch, Floats, ratio

KEPT_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions with a probability in [low, high): how many, what they said, and how often it was so.

    mean_probability and share_held are None where the bin is empty.
    """

    low: float
    high: float
    count: int
    mean_probability: float | None
    share_held: float | None


@dataclass(frozen=True)
class KeptPoint:
    """Quality of the frames that remain when those with the lowest confidence are dropped.

    share: of the frames, kept. confidence: the lowest confidence that is kept.
    keys_right, camera_right, action_right: share of kept frames with all keys right, the turn right (both axes, see
    :func:`turn_is_right`), and both.
    change_accuracy: share of right key states on kept frames where some key truly changes; change_exact: share of
    those frames with all keys right. event_f1: within +-1 frame, all keys pooled (a match may lie on a dropped frame).
    events_kept: share of the true events that lie on kept frames: events are where a labeller is least sure, so a
    strict filter also throws away what was to be learnt. camera_r2, camera_mae (degrees): pitch, yaw. R2 can fall
    while the error falls too: the surest frames are often those that hardly turn, with little variance to explain.
    """

    share: float
    frames: int
    confidence: float
    keys_right: float
    camera_right: float
    action_right: float
    change_accuracy: float | None
    change_exact: float | None
    event_f1: float | None
    events_kept: float | None
    camera_r2: tuple[float | None, float | None]
    camera_mae: tuple[float, float]


def reliability(probability: Floats, held: Bools, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Equal-width bins of the probability that a key is held. Both arrays of any one shape."""
    flat, truth = np.asarray(probability, np.float64).ravel(), held.ravel()
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, flat, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    said, was = np.bincount(index, flat, bins), np.bincount(index, truth, bins)
    return tuple(
        ReliabilityBin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            count=int(counts[b]),
            mean_probability=ratio(said[b], counts[b]),
            share_held=ratio(was[b], counts[b]),
        )
        for b in range(bins)
    )


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float | None:
    """Expected calibration error: the mean distance between what was said and what was so, weighted by count."""
    total = sum(b.count for b in bins)
    wrong = sum(
        b.count * abs(b.mean_probability - b.share_held)
        for b in bins
        if b.mean_probability is not None and b.share_held is not None
    )
    return ratio(wrong, total)


def r_squared(true: Floats, predicted: Floats) -> float | None:
    """1 - SSE / SST of two (N,) arrays; None where the truth does not vary."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    if len(true) < 2 or np.ptp(true) == 0:
        return None
    return 1.0 - float(np.square(true - predicted).sum() / np.square(true - true.mean()).sum())


def turn_is_right(true: Floats, predicted: Floats) -> Bools:
    """Both (T, 2) degrees -> bool (T,): each axis within half a degree, or a fifth, of the true turn."""
    near = np.abs(predicted - true) <= np.maximum(0.5, 0.2 * np.abs(true))
    right: Bools = near[:, 0] & near[:, 1]
    return right


def kept_curve(
    confidence: Floats,
    *,
    true: Bools,
    predicted: Bools,
    changed: Bools,
    matches: list[EventMatch],
    camera_true: Floats,
    camera_predicted: Floats,
    shares: tuple[float, ...] = KEPT_SHARES,
    seed: int = 0,
) -> tuple[KeptPoint, ...]:
    """Quality of what is kept, for falling shares of kept frames, the least confident dropped first.

    confidence: (T,). true, predicted: bool (T, K) held states. changed: bool (T, K), the true events.
    matches: one a key, matched within +-1 frame. camera_*: (T, 2) degrees. Ties are broken at random by ``seed``.
    """
    frames = len(confidence)
    if frames == 0:
        return ()
    order = np.lexsort((np.random.default_rng(seed).permutation(frames), -np.asarray(confidence, np.float64)))
    right, moving = true == predicted, changed.any(1)
    keys_right, camera_right = right.all(1), turn_is_right(camera_true, camera_predicted)
    true_frames = np.concatenate([m.true_frames for m in matches])
    true_hit = np.concatenate([m.true_matched for m in matches])
    predicted_frames = np.concatenate([m.predicted_frames for m in matches])
    predicted_hit = np.concatenate([m.predicted_matched for m in matches])
    points = []
    for share in shares:
        count = max(1, round(share * frames))
        keep = np.zeros(frames, bool)
        keep[order[:count]] = True
        here = keep & moving
        on_true, on_predicted = keep[true_frames], keep[predicted_frames]
        precision = ratio(_count(predicted_hit & on_predicted), _count(on_predicted))
        recall = ratio(_count(true_hit & on_true), _count(on_true))
        pitch_mae, yaw_mae = np.abs(camera_true[keep] - camera_predicted[keep]).mean(0)
        points.append(
            KeptPoint(
                share=count / frames,
                frames=count,
                confidence=float(confidence[order[count - 1]]),
                keys_right=float(keys_right[keep].mean()),
                camera_right=float(camera_right[keep].mean()),
                action_right=float((keys_right & camera_right)[keep].mean()),
                change_accuracy=float(right[here].mean()) if here.any() else None,
                change_exact=float(right[here].all(1).mean()) if here.any() else None,
                event_f1=_harmonic(precision, recall),
                events_kept=ratio(_count(on_true), len(true_frames)),
                camera_r2=(
                    r_squared(camera_true[keep, 0], camera_predicted[keep, 0]),
                    r_squared(camera_true[keep, 1], camera_predicted[keep, 1]),
                ),
                camera_mae=(float(pitch_mae), float(yaw_mae)),
            )
        )
    return tuple(points)


def _count(mask: Bools) -> int:
    return int(np.count_nonzero(mask))


def _harmonic(precision: float | None, recall: float | None) -> float | None:
    if precision is None and recall is None:
        return None
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)
