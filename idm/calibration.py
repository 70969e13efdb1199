"""From raw probabilities to ones that can be trusted, and from probabilities to key presses.

Fitted on recordings that the model was not trained on: for each button a logistic map of its log-odds (Platt 1999), for
each camera axis a temperature (Guo et al. 2017), and for each button the price of a change of state at which the most
likely sequence of held and released frames (Viterbi) has the most true presses and releases. A flickering probability
near one half otherwise turns into many presses that nobody made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, ActionTrack

Floats = NDArray[np.floating[Any]]


def log_odds(logprobs: Floats) -> Floats:
    """(..., 2) log-probabilities -> (...) log-odds of the second."""
    odds: Floats = logprobs[..., 1] - logprobs[..., 0]
    return odds


def sigmoid(x: Floats) -> Floats:
    out: Floats = 0.5 * (1 + np.tanh(x / 2))
    return out


@dataclass(frozen=True)
class Calibration:
    """The fitted numbers; the defaults leave everything as it is."""

    slope: tuple[float, ...] = (1.0,) * len(BUTTONS)
    offset: tuple[float, ...] = (0.0,) * len(BUTTONS)
    camera_temperature: tuple[float, float] = (1.0, 1.0)
    switch_price: tuple[float, ...] = field(default=(0.0,) * len(BUTTONS))
    """In nats; 0 decodes each frame for itself (held where the probability is above one half)."""

    def probabilities(self, odds: Floats) -> Floats:
        """Raw log-odds (T, 20) -> calibrated probabilities of held (T, 20)."""
        return sigmoid(odds * np.asarray(self.slope) + np.asarray(self.offset))

    def camera(self, logprobs: Floats) -> Floats:
        """(T, 2, 11) raw log-probabilities -> calibrated probabilities (T, 2, 11)."""
        scaled = logprobs / np.asarray(self.camera_temperature)[:, None]
        scaled = np.exp(scaled - scaled.max(-1, keepdims=True))
        out: Floats = scaled / scaled.sum(-1, keepdims=True)
        return out

    def to_dict(self) -> dict[str, Any]:
        return {name: [float(x) for x in getattr(self, name)] for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        return cls(**{name: tuple(v) for name, v in values.items()})


def decode_held(
    probabilities: Floats, switch_price: Floats, before: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """The most likely sequence of held and released for each key on its own.

    probabilities (T, K), switch_price (K,) in nats a change -> bool (T, K). before: bool (K,), the states in the frame
    before the first, if they are known.
    """
    frames, keys = probabilities.shape
    p = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    gain = np.stack([np.log1p(-p), np.log(p)], -1)  # (T, K, 2)
    price = np.asarray(switch_price, np.float64)
    score = np.zeros((keys, 2))
    if before is not None:
        score[np.arange(keys), 1 - before.astype(int)] = -1e9
    switched = np.zeros((frames, keys, 2), bool)
    for t in range(frames):
        change = score[:, ::-1] - price[:, None]
        switched[t] = change > score
        score = np.where(switched[t], change, score) + gain[t]
    held = np.zeros((frames, keys), bool)
    state = score[:, 1] > score[:, 0]
    for t in range(frames - 1, -1, -1):
        held[t] = state
        state = state ^ np.take_along_axis(switched[t], state[:, None].astype(int), 1)[:, 0]
    return held


_PRICES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def _event_f1(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """F1 of presses and releases within one frame, by counting each event's nearest counterpart."""
    hits, total = 0.0, 0
    for kind in (1, -1):
        a = np.flatnonzero(np.diff(true.astype(int)) == kind)
        b = np.flatnonzero(np.diff(predicted.astype(int)) == kind)
        total += len(a) + len(b)
        if len(a) and len(b):
            hits += sum(np.abs(b - x).min() <= 1 for x in a) + sum(np.abs(a - x).min() <= 1 for x in b)
    return hits / total if total else 0.0


def fit(odds: Floats, camera_logprobs: Floats, track: ActionTrack) -> Calibration:
    """Fit on one stretch of held-out frames: odds (T, 20), camera_logprobs (T, 2, 11), the truth (T).

    A button with fewer than 10 frames of either kind keeps its raw probabilities.
    """
    from sklearn.linear_model import LogisticRegression

    from idm.model import QUANTIZER

    slope, offset, price = [1.0] * len(BUTTONS), [0.0] * len(BUTTONS), [1.0] * len(BUTTONS)
    for index in range(len(BUTTONS)):
        held = track.buttons[:, index]
        if min(held.sum(), (~held).sum()) >= 10:
            line = LogisticRegression(C=10.0).fit(odds[:, index : index + 1], held)
            if line.coef_[0, 0] > 0.05:  # a head that learned nothing keeps its prior, not an inverted guess
                slope[index], offset[index] = float(line.coef_[0, 0]), float(line.intercept_[0])
    bins = QUANTIZER.discretize(track.camera)
    temperatures = np.geomspace(0.5, 3, 40)
    best = []
    for axis in (0, 1):
        losses = []
        for temperature in temperatures:
            scaled = camera_logprobs[:, axis] / temperature
            picked = np.take_along_axis(scaled, bins[:, axis, None], 1)[:, 0]
            losses.append(float(np.mean(np.logaddexp.reduce(scaled, axis=1) - picked)))
        best.append(float(temperatures[int(np.argmin(losses))]))
    found = Calibration(tuple(slope), tuple(offset), (best[0], best[1]))
    # All keys at all prices in one pass over time: (T, 20 * prices).
    probabilities = np.repeat(found.probabilities(odds), len(_PRICES), axis=1)
    held_at = decode_held(probabilities, np.tile(_PRICES, len(BUTTONS))).reshape(len(odds), len(BUTTONS), len(_PRICES))
    for index in range(len(BUTTONS)):
        scores = [_event_f1(track.buttons[:, index], held_at[:, index, n]) for n in range(len(_PRICES))]
        if max(scores) > 0:
            price[index] = _PRICES[int(np.argmax(scores))]
    return Calibration(found.slope, found.offset, found.camera_temperature, tuple(price))
