"""Charts are PNGs that show something, are the same each time, and survive labels with nothing to show."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from data.actions import ActionTrack
from idm.metrics import Predictions, evaluate
from idm.scores import IdmScores

pytest.importorskip("matplotlib")
from idm import plots


def scored(frames: int, *, busy: bool) -> tuple[ActionTrack, Predictions, IdmScores]:
    rng = np.random.default_rng(0)
    buttons = np.zeros((frames, 20), bool)
    if busy:
        buttons[:, :4] = (np.arange(frames)[:, None] // np.array([4, 6, 9, 15])) % 2 == 1
    camera = rng.normal(size=(frames, 2)).astype(np.float32) * busy
    track = ActionTrack(buttons, camera)
    said = np.clip(buttons * 0.8 + rng.uniform(0, 0.3, buttons.shape), 0, 1)
    predictions = Predictions(said, camera * 0.9, rng.uniform(size=frames), rng.uniform(size=frames))
    return track, predictions, evaluate(track, predictions, (frames,))


CHARTS: dict[str, Callable[[ActionTrack, Predictions, IdmScores], bytes]] = {
    "bars": lambda t, p, s: plots.event_f1_bars(s),
    "reliability": lambda t, p, s: plots.reliability_diagram(s),
    "kept": lambda t, p, s: plots.kept_share_curves(s),
    "scatter": lambda t, p, s: plots.camera_scatter(t.camera, p.camera),
    "trace": lambda t, p, s: plots.camera_trace(t.camera, p.camera),
    "roll": lambda t, p, s: plots.key_roll(t.buttons, p.probabilities),
    "efficiency": lambda t, p, s: plots.data_efficiency_curve(
        [1, 5, 20], {"F1": [None, 0.5, 0.7], "R²": [0.1, 0.2, 0.3]}
    ),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_shows_something_and_is_reproducible(name: str) -> None:
    picture = CHARTS[name](*scored(300, busy=True))
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape[1] >= 800
    assert (np.ptp(image.astype(int), axis=2) > 60).mean() > 0.001  # coloured marks, not only axes
    if name == "bars":
        assert picture == CHARTS[name](*scored(300, busy=True))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("frames", [1, 200])
@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_of_nothing_is_still_a_chart(name: str, frames: int) -> None:
    assert CHARTS[name](*scored(frames, busy=False)).startswith(b"\x89PNG")
