"""Frames decoded while they are used are those that a cache would hold, in whatever order they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.frame_inputs import InputShape
from data.input_cache import cached_inputs
from data.streamed_inputs import OpenVideos, StreamedInputs
from data.video import VideoError
from tests.pipeline.cluster_jobs import encode, make_video

SHAPES = {
    "motion": InputShape((36, 64), "area", 20, (72, 128), (9, 16)),
    "fovea": InputShape((36, 64), "area", 20, (72, 128), (9, 16), fovea=True),
    "image": InputShape((32, 32), "bilinear", 20),
}


def same(video: Path, shape: InputShape, cache: Path, videos: OpenVideos) -> None:
    kept, streamed = cached_inputs(video, shape, cache), StreamedInputs(video, shape, videos)
    assert len(kept) == len(streamed)
    rng = np.random.default_rng(0)
    places = [0, 16, 32, 5, 6, 22, len(kept) - 16, 40, 0]
    for start in places:
        rows = np.arange(start, start + 16)
        if start % 2:
            rows = rows[np.sort(rng.permutation(16)[:9])]  # some frames were dropped
        first = np.zeros(len(rows), bool)
        first[0] = start in (0, 40)
        first[3] = start == 16
        one, other = kept.views(rows, first), streamed.views(rows, first)
        assert np.array_equal(one.images, other.images), start
        assert np.array_equal(one.motion, other.motion), start


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_frames_are_those_of_a_cache(shape: InputShape, tmp_path: Path) -> None:
    same(make_video(tmp_path / "a.mp4", 90, 1), shape, tmp_path / "cache", OpenVideos())
    same(make_video(tmp_path / "b.mp4", 180, 2, rate=30), replace(shape, rate=10), tmp_path / "cache", OpenVideos())
    same(encode(tmp_path / "c.mkv", 80, "libvpx-vp9"), shape, tmp_path / "cache", OpenVideos())


def test_going_on_opens_nothing_and_few_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = OpenVideos(most=2)
    films = [StreamedInputs(make_video(tmp_path / f"{n}.mp4", 64, n), SHAPES["image"], videos) for n in range(3)]
    opened: list[int] = []
    for number, film in enumerate(films):
        begin = film._open

        def told(start: int, number: int = number, begin: Any = begin) -> Any:
            opened.append(number)
            return begin(start)

        monkeypatch.setattr(film, "_open", told)
    none = np.zeros(16, bool)
    for start in (0, 16, 32):
        for film in films[:2]:
            film.views(np.arange(start, start + 16), none)
    assert opened == [0, 1]
    for start in (0, 16):
        films[2].views(np.arange(start, start + 16), none)
    assert opened == [0, 1, 2] and len(videos._readers) == 2
    films[0].views(np.arange(48, 64), none)  # was the one used longest ago
    assert opened == [0, 1, 2, 0] and len(videos._readers) == 2  # at its end it is closed


def test_what_cannot_be_read_is_told_of_at_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        StreamedInputs(broken, SHAPES["image"], OpenVideos())
