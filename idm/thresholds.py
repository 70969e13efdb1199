"""Which confidence is enough: accuracy against the share of frames kept, and the thresholds that reach a stated one.

Keys and camera have a confidence each, on scales of their own. Both thresholds rise together, each through the quantiles of
its own confidence, so one path leads from keeping everything to keeping the surest frames, and a point of it is a pair of
thresholds. Confidence is smoothed, and short lapses are tolerated, exactly as in data/clean_spans.py, which applies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.actions import BUTTONS, ActionTrack
from data.clean_spans import CleanRules, smoothed, tolerated
from idm.events import Bools, Timeline, match_events
from idm.metrics import Predictions
from idm.reliability import KeptPoint, kept_curve

MEASURES = {
    "action": ("action_right", "keys and turn right"),
    "keys": ("keys_right", "all keys right"),
    "camera": ("camera_right", "turn right"),
    "events": ("event_f1", "event F1 within ±1 frame"),
}
"""What accuracy may mean: field of :class:`idm.reliability.KeptPoint`, and in words."""


@dataclass(frozen=True)
class Level:
    """One pair of thresholds and what it keeps, ``kept.confidence`` being its place on the path, 0 to 1."""

    min_buttons: float
    min_camera: float
    kept: KeptPoint

    def accuracy(self, measure: str) -> float | None:
        value: float | None = getattr(self.kept, MEASURES[measure][0])
        return value


def threshold_curve(
    truth: ActionTrack, predictions: Predictions, lengths: Sequence[int], rules: CleanRules, levels: int = 50
) -> tuple[Level, ...]:
    """The path from all frames to the surest two in a hundred, ``levels`` steps or less where confidences repeat.

    T frames of several recordings laid end to end, ``lengths`` of each. Frames of unknown truth are smoothed over and not
    judged. Of the rules only ``smooth`` and ``tolerate`` matter. Raises ValueError where no frame has known truth.
    """
    known = truth.valid
    if not known.any():
        raise ValueError(f"no frame of {len(truth)} has known truth: there is nothing to choose thresholds by")
    scene = np.repeat(np.arange(len(lengths)), lengths)
    heads = [smoothed(c, rules.smooth, scene) for c in (predictions.confidence, predictions.camera_confidence)]
    sorts = [np.sort(head[known]) for head in heads]
    ranks = [np.searchsorted(s, h, "right") / len(s) for s, h in zip(sorts, heads, strict=True)]
    standing = tolerated(np.minimum(*ranks), rules.tolerate, scene)[known]
    steps = np.unique(np.quantile(standing, np.linspace(0, 0.98, levels), method="lower"))
    timeline = Timeline.of(lengths, known, gap=3)
    held, predicted = truth.buttons[known], _held(predictions)[known]
    points = kept_curve(
        standing,
        true=held,
        predicted=predicted,
        changed=timeline.changes(held),
        matches=[match_events(held[:, k], predicted[:, k], timeline, 1) for k in range(len(BUTTONS))],
        camera_true=truth.camera[known].astype(np.float64),
        camera_predicted=np.asarray(predictions.camera, np.float64)[known],
        shares=tuple(float((standing >= step).mean()) for step in steps),
    )
    places = [max(math.ceil(step * len(standing) - 1e-6) - 1, 0) for step in steps]
    keys, camera = sorts
    return tuple(Level(float(keys[n]), float(camera[n]), point) for n, point in zip(places, points, strict=True))


def _held(predictions: Predictions) -> Bools:
    held: Bools = predictions.probabilities >= 0.5 if predictions.held is None else predictions.held
    return held


def choose(curve: Sequence[Level], measure: str, *, accuracy: float | None = None, keep: float | None = None) -> Level:
    """The level that keeps most while it reaches ``accuracy``, or the strictest that still keeps the share ``keep``.

    Raises ValueError where none does, telling the best there is.
    """
    if (accuracy is None) == (keep is None):
        raise ValueError("expected either an accuracy to reach or a share to keep")
    if keep is not None:
        enough = [level for level in curve if level.kept.share >= keep - 1e-9]
        if not enough:
            raise ValueError(f"a share of {keep} cannot be kept; expected 0 to 1")
        return min(enough, key=lambda level: level.kept.share)
    reached = [level for level in curve if (level.accuracy(measure) or 0.0) >= (accuracy or 0.0)]
    if not reached:
        best = max(curve, key=lambda level: level.accuracy(measure) or 0.0)
        raise ValueError(
            f"no threshold reaches {MEASURES[measure][1]} of {accuracy}: the best is {best.accuracy(measure) or 0:.3f}, with "
            f"{best.kept.share:.0%} of the frames kept; ask for less, or train the labeller on more"
        )
    return max(reached, key=lambda level: level.kept.share)


def shuffled(predictions: Predictions, seed: int = 0) -> Predictions:
    """The same predictions with confidences dealt out at random: with them the curve must be flat."""
    order = np.random.default_rng(seed).permutation(len(predictions.confidence))
    return replace(
        predictions, confidence=predictions.confidence[order], camera_confidence=predictions.camera_confidence[order]
    )
