"""Goals out of videos: the right frames before a second, whatever the video's rate and wherever decoding has to begin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from prior.text.clips import frames_until
from tests.data.clips import make_video, number_of


@pytest.fixture(
    params=["a.mp4", "a.avi"]
)  # one that can be read from the middle, and one that says not when frames are shown
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four seconds at 20 frames a second, each frame showing its number."""
    codec = "mpeg4" if request.param.endswith("avi") else "libx264"
    return make_video(tmp_path / request.param, range(80), time_base=Fraction(1, 20), codec=codec)


def numbers(video: Path, second: float | None, count: int, rate: int) -> list[int]:
    frames = frames_until(video, second, count, rate)
    assert frames.dtype == np.uint8 and frames.shape == (count, 48, 64, 3)
    return [number_of(frame) for frame in frames]


def test_a_goal_is_what_is_seen_before_a_second(video: Path) -> None:
    assert numbers(video, 2.0, 16, 20) == list(range(25, 41))
    assert numbers(video, None, 5, 20) == list(range(75, 80))
    assert numbers(video, 3.95, 1, 20) == [79]
    assert numbers(video, 2.0, 3, 10) == [36, 38, 40]
    assert numbers(video, 0.75, 16, 20) == list(range(16))


def test_what_is_not_there_is_told_of(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a second of at least 0\.75, as a goal is what 16 frames show .* found 0\.7"):
        frames_until(video, 0.7, 16, 20)
    with pytest.raises(ValueError, match=r"it is 4 seconds long; there is no second 4"):
        frames_until(video, 4, 16, 20)
    for second in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"a\.\w+: expected a second of it to take a goal from, found {second}"):
            frames_until(video, second, 16, 20)
    with pytest.raises(ValueError, match=r"80 frames at 20 a second; expected at least 90"):
        frames_until(video, None, 90, 20)
    with pytest.raises(ValueError, match=r"gone\.mp4: expected a video to take a goal from, found no such file"):
        frames_until(tmp_path / "gone.mp4", None, 16, 20)
    (tmp_path / "no.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"no\.mp4: expected a video file"):
        frames_until(tmp_path / "no.mp4", None, 16, 20)
