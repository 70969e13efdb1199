"""Events: the moments at which a key goes down or comes up, and how well predicted events meet true ones.

Keys are held for long, so nearly every frame repeats the one before it, and frame accuracy mostly measures that.
What a labeller must get right is *when* something changes. An event is a change of a key's held state between
two consecutive frames of one recording; it lies on the later frame. A recording's first frame is never an event.

Matching is one-to-one within a tolerance and never pairs a press with a release. On a line, walking through both
sorted lists and pairing greedily gives a largest possible matching, so no assignment solver is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Timeline:
    """Which frames follow which, for T frames of several recordings laid end to end.

    recording: int64 (T,), the index of the recording that a frame belongs to.
    starts: bool (T,), True where a frame has no known predecessor: the first of a recording, or after a gap.
    positions: int64 (T,), frame numbers with wide gaps between spans, so that no match crosses from one to another.
    """

    recording: Ints
    starts: Bools
    positions: Ints

    def __len__(self) -> int:
        return len(self.recording)

    @classmethod
    def of(cls, lengths: Sequence[int], known: Bools, gap: int) -> Timeline:
        """The timeline of the known frames only.

        lengths: frames of each recording. known: bool (sum of lengths,), False where the truth is missing.
        gap: more than the widest tolerance.
        """
        recording = np.repeat(np.arange(len(lengths)), lengths)[known]
        frames = np.flatnonzero(known)
        starts = np.ones(len(frames), bool)
        starts[1:] = (np.diff(frames) != 1) | (np.diff(recording) != 0)
        return cls(recording, starts, frames + gap * np.cumsum(starts))

    def delayed(self, held: Bools) -> Bools:
        """held (T,) or (T, K), one frame late; released where there is no predecessor."""
        late = np.zeros_like(held)
        late[1:] = held[:-1]
        late[self.starts] = False
        return late

    def changes(self, held: Bools) -> Bools:
        """bool like held, (T,) or (T, K): True where the state differs from the frame before."""
        changed = np.zeros_like(held)
        changed[1:] = held[1:] != held[:-1]
        changed[self.starts] = False
        return changed


@dataclass(frozen=True)
class EventScore:
    """How the predicted events of one key meet the true ones within ``tolerance`` frames.

    precision and recall are None where nothing was predicted or nothing happened; f1 is None only where both hold.
    """

    tolerance: int
    true_events: int
    predicted_events: int
    matched: int
    precision: float | None
    recall: float | None
    f1: float | None

    @classmethod
    def of(cls, tolerance: int, true_events: int, predicted_events: int, matched: int) -> EventScore:
        return cls(
            tolerance,
            true_events,
            predicted_events,
            matched,
            ratio(matched, predicted_events),
            ratio(matched, true_events),
            ratio(2 * matched, true_events + predicted_events),
        )


@dataclass(frozen=True)
class EventMatch:
    """The events of one key on both sides: the frames on which they lie, and whether each found a partner."""

    true_frames: Ints
    true_matched: Bools
    predicted_frames: Ints
    predicted_matched: Bools

    def score(self, tolerance: int) -> EventScore:
        return EventScore.of(
            tolerance, len(self.true_frames), len(self.predicted_frames), int(np.count_nonzero(self.true_matched))
        )


def ratio(part: float, whole: float) -> float | None:
    """part / whole, or None where the whole is nothing."""
    return None if whole == 0 else float(part / whole)


def match_sorted(true: Ints, predicted: Ints, tolerance: int) -> tuple[Bools, Bools]:
    """A largest one-to-one matching of two sorted lists of positions, at most ``tolerance`` apart.

    Returns two masks, shaped like the lists: which of their entries found a partner.
    """
    true_matched, predicted_matched = np.zeros(len(true), bool), np.zeros(len(predicted), bool)
    a, b = true.tolist(), predicted.tolist()
    i = j = 0
    while i < len(a) and j < len(b):
        apart = b[j] - a[i]
        if abs(apart) <= tolerance:
            true_matched[i] = predicted_matched[j] = True
            i, j = i + 1, j + 1
        elif apart > 0:
            i += 1
        else:
            j += 1
    return true_matched, predicted_matched


def match_events(true: Bools, predicted: Bools, timeline: Timeline, tolerance: int) -> EventMatch:
    """Match the presses and, apart from them, the releases of one key.

    true, predicted: bool (T,), the held state.
    """
    frames: dict[str, list[Ints]] = {"true": [], "predicted": []}
    matched: dict[str, list[Bools]] = {"true": [], "predicted": []}
    true_changes, predicted_changes = timeline.changes(true), timeline.changes(predicted)
    for pressed in (True, False):
        on_true = np.flatnonzero(true_changes & (true == pressed))
        on_predicted = np.flatnonzero(predicted_changes & (predicted == pressed))
        pair = match_sorted(timeline.positions[on_true], timeline.positions[on_predicted], tolerance)
        for side, where, hit in zip(("true", "predicted"), (on_true, on_predicted), pair, strict=True):
            frames[side].append(where)
            matched[side].append(hit)
    return EventMatch(
        np.concatenate(frames["true"]),
        np.concatenate(matched["true"]),
        np.concatenate(frames["predicted"]),
        np.concatenate(matched["predicted"]),
    )


def random_presses(true: Bools, timeline: Timeline, rng: np.random.Generator) -> Bools:
    """bool (T,): a key pressed and released at random, about as often and for about as long as in truth.

    A two-state Markov chain with the truth's own rates: what a labeller could do that knows a key's habits
    but never looks at the video. It is the chance level of event F1.
    """
    changed = timeline.changes(true)
    presses, releases = int(np.count_nonzero(changed & true)), int(np.count_nonzero(changed & ~true))
    up, down = int(np.count_nonzero(~true)), int(np.count_nonzero(true))
    if presses == 0 and releases == 0:
        return np.full(len(true), down > up)
    # One dwell time at least on each side, so that a key which is only ever released still has a chain to run.
    rates = (min(1.0, max(presses, 1) / max(up, 1)), min(1.0, max(releases, 1) / max(down, 1)))
    cycle = 1 / rates[0] + 1 / rates[1]
    state, spans, filled = bool(rng.random() < down / len(true)), [], 0
    while filled < len(true):
        pairs = int((len(true) - filled) / cycle) + 16
        first, second = (rng.geometric(rates[int(side)], pairs) for side in (state, not state))
        dwell = np.stack([first, second], 1).ravel()
        spans.append(np.repeat(np.tile([state, not state], pairs), dwell))
        filled += int(dwell.sum())
    return np.concatenate(spans)[: len(true)]
