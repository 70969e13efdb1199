"""The numbers of an IDM evaluation, as dataclasses: what each is, and when it is None (undefined, never NaN)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from idm.events import EventScore
from idm.reliability import KeptPoint, ReliabilityBin


@dataclass(frozen=True)
class KeyScore:
    """One key. ``counted``: whether it has enough true events to enter the means. prevalence: share of frames held."""

    key: str
    counted: bool
    true_events: int
    events: tuple[EventScore, ...]
    events_delayed_truth: tuple[EventScore, ...]
    random_presses_f1: tuple[float | None, ...]
    average_precision: float | None
    prevalence: float
    accuracy: float
    accuracy_always_released: float
    accuracy_previous_frame: float
    calibration_error: float | None

    def f1(self, tolerance: int) -> float | None:
        return next(score.f1 for score in self.events if score.tolerance == tolerance)


@dataclass(frozen=True)
class AxisScore:
    """One camera axis. slope: of predicted on true degrees. mae_no_turn: the error of always predicting 0 degrees.

    interval_r2: bootstrap 95 % over recordings, None with fewer than three.
    """

    axis: str
    r2: float | None
    interval_r2: tuple[float, float] | None
    pearson: float | None
    scale_ratio: float | None
    slope: float | None
    mae_degrees: float
    mae_no_turn: float


@dataclass(frozen=True)
class MeanEvents:
    """Means over the counted keys, within ``tolerance`` frames; None where no key is counted.

    interval: bootstrap 95 % of f1 over recordings, None with fewer than three recordings.
    """

    tolerance: int
    f1: float | None
    interval: tuple[float, float] | None
    precision: float | None
    recall: float | None
    always_released_f1: float | None
    delayed_truth_f1: float | None
    random_presses_f1: float | None


@dataclass(frozen=True)
class MeanScore:
    """Means over the counted keys, except frame accuracies and the pooled calibration error: those over all 20 keys."""

    counted_keys: tuple[str, ...]
    events: tuple[MeanEvents, ...]
    average_precision: float | None
    prevalence: float | None
    calibration_error: float | None
    calibration_error_pooled: float | None
    accuracy: float
    accuracy_always_released: float
    accuracy_previous_frame: float

    def f1(self, tolerance: int) -> float | None:
        return next(score.f1 for score in self.events if score.tolerance == tolerance)


@dataclass(frozen=True)
class IdmScores:
    """Everything that an evaluation says.

    frames: judged; frames_unknown: left out for lack of truth. threshold: from which probability on a key counted as
    held, None where the labels themselves say what is held.
    """

    recordings: int
    frames: int
    frames_unknown: int
    threshold: float | None
    min_events: int
    mean: MeanScore
    keys: tuple[KeyScore, ...]
    camera: tuple[AxisScore, ...]
    reliability: tuple[ReliabilityBin, ...]
    kept_by_button_confidence: tuple[KeptPoint, ...]
    kept_by_camera_confidence: tuple[KeptPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and None: ready for JSON."""
        return asdict(self)
