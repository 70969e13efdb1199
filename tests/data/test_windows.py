"""Every frame is predicted once, from a window that sees well past it."""

from itertools import pairwise

import numpy as np
import pytest

from data.windows import Window, stream_windows, windows


def test_the_published_scheme_keeps_the_middle_half() -> None:
    assert windows(256) == [Window(0, 128, 0, 96), Window(64, 192, 96, 160), Window(128, 256, 160, 256)]
    assert windows(256)[1].kept == slice(32, 96)


def test_the_last_window_is_shifted_back_and_short_videos_make_one() -> None:
    assert windows(200) == [Window(0, 128, 0, 96), Window(64, 192, 96, 132), Window(72, 200, 132, 200)]
    assert windows(128) == [Window(0, 128, 0, 128)] and windows(129)[1] == Window(1, 129, 64, 129)
    assert windows(5) == [Window(0, 5, 0, 5)] and windows(1) == [Window(0, 1, 0, 1)] and windows(0) == []


def cases() -> list[tuple[int, int, int]]:
    generator = np.random.default_rng(0)
    small = [
        (frames, length, stride) for frames in range(30) for length in range(1, 9) for stride in range(1, length + 1)
    ]
    lengths = generator.integers(1, 200, 300)
    large = [(int(generator.integers(0, 3000)), int(n), int(generator.integers(1, n + 1))) for n in lengths]
    return small + large


def test_every_frame_is_kept_exactly_once_inside_its_window() -> None:
    for frames, length, stride in cases():
        found = windows(frames, length, stride)
        kept = [frame for w in found for frame in range(w.keep_start, w.keep_stop)]
        assert kept == list(range(frames)), (frames, length, stride)
        for w in found:
            assert w.start <= w.keep_start < w.keep_stop <= w.stop
            assert len(w) == min(length, frames)
            inside = list(range(w.start, w.stop))[w.kept]
            assert inside == list(range(w.keep_start, w.keep_stop))
        assert all(0 < b.start - a.start <= stride for a, b in pairwise(found))


def test_kept_frames_lie_away_from_inner_ends() -> None:
    for frames, length, stride in cases():
        margin = (length - stride) // 2
        for w in windows(frames, length, stride):
            assert w.keep_start - w.start >= margin or w.start == 0
            assert w.stop - w.keep_stop >= margin or w.stop == frames


def test_a_stream_gives_the_same_windows_with_their_items() -> None:
    for frames, length, stride in cases():
        streamed = list(stream_windows(iter(range(frames)), length, stride))
        assert [w for w, _ in streamed] == windows(frames, length, stride), (frames, length, stride)
        assert all(items == list(range(w.start, w.stop)) for w, items in streamed)


def test_a_stream_is_read_no_further_than_needed() -> None:
    taken = []

    def source():  # type: ignore[no-untyped-def]
        for index in range(10**9):
            taken.append(index)
            yield index

    stream = stream_windows(source(), 128, 64)
    for _ in range(5):
        window, _ = next(stream)
    assert len(taken) == window.start + 128 + 64


@pytest.mark.parametrize(("frames", "length", "stride"), [(-1, 8, 4), (10, 8, 0), (10, 8, 9), (10, 0, 0)])
def test_impossible_windows_are_refused(frames: int, length: int, stride: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        windows(frames, length, stride)
