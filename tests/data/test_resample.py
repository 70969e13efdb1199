"""Ticks from video of any rate: which frame is on screen, exactly, and what is said about it."""

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from data.resample import ResampleReport, TickFrame, at_rate
from data.video import VideoFrame, VideoReader
from tests.data.clips import frames_at, make_video, number_of

MILLISECONDS = Fraction(1, 1000)


def ticks(
    pts: Sequence[int], time_base: Fraction = MILLISECONDS, rate: int | Fraction = 20
) -> tuple[list[TickFrame], ResampleReport]:
    report = ResampleReport()
    out = list(at_rate(frames_at(pts, time_base), rate, report))
    assert [t.tick for t in out] == list(range(len(out))) and report.ticks == len(out)
    assert report.source_frames == len(pts)
    assert report.dropped == len(pts) - len({t.source_index for t in out})
    assert report.repeated == len(out) - len({t.source_index for t in out})
    assert report.resampled == sum(t.resampled for t in out)
    return out, report


def sources(out: list[TickFrame]) -> list[int]:
    return [t.source_index for t in out]


@pytest.mark.parametrize("first", [0, 137, -450])
def test_the_target_rate_passes_unchanged_wherever_it_begins(first: int) -> None:
    out, report = ticks([first + 50 * n for n in range(100)])
    assert sources(out) == list(range(100)) and report.resampled == report.repeated == report.dropped == 0
    assert [t.pts for t in out] == [first + 50 * n for n in range(100)]


def test_thirty_frames_a_second_lose_every_third() -> None:
    out, report = ticks(range(30), Fraction(1, 30))
    assert sources(out) == [3 * n // 2 for n in range(20)]
    assert report.dropped == 10 and report.repeated == 0 and report.resampled == 20
    assert report.summary() == "30 frames to 20 ticks: 0 repeated, 10 dropped, 20 flagged, 0 jumps in time closed"


def test_sixty_frames_a_second_keep_every_third() -> None:
    out, _ = ticks(range(60), Fraction(1, 60))
    assert sources(out) == list(range(0, 60, 3)) and all(t.resampled for t in out)


def test_ten_frames_a_second_are_repeated() -> None:
    out, report = ticks(range(5), Fraction(1, 10))
    assert sources(out) == [0, 0, 1, 1, 2, 2, 3, 3, 4] and report.repeated == 4 and all(t.resampled for t in out)


def test_a_rate_that_no_clock_divides_does_not_drift() -> None:
    """NTSC film, an hour: floating point would be off by then."""
    count = 3600 * 24
    frames = frames_at(range(0, count * 1001, 1001), Fraction(1, 24000))
    last = deque(at_rate(frames), maxlen=1)[0]
    duration = Fraction((count - 1) * 1001, 24000)
    assert last.tick == duration * 20 // 1 and last.source_index == Fraction(last.tick, 20) / Fraction(1001, 24000) // 1


def test_milliseconds_do_not_flag_a_right_rate_that_they_cannot_hold() -> None:
    pts = [round(n * 1000 / 30) for n in range(60)]
    out, _ = ticks(pts, rate=30)
    assert sources(out) == list(range(60)) and not any(t.resampled for t in out)


def test_random_variable_rates_show_what_was_on_screen() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        base = Fraction(1, int(generator.choice([25, 600, 1000, 90000])))
        rate = Fraction(int(generator.integers(1, 70)), int(generator.integers(1, 3)))
        gaps = generator.integers(
            1, max(2, int(generator.integers(2, 400) / 1000 / base)), int(generator.integers(1, 40))
        )
        pts = (np.cumsum(gaps) + int(generator.integers(-5000, 5000))).tolist()
        out, _ = ticks(pts, base, rate)
        times = [(when - pts[0]) * base for when in pts]
        rounding = base / 2 if base * rate <= Fraction(1, 10) else 0
        assert len(out) == (times[-1] + rounding) * rate // 1 + 1
        for tick in out:
            now = tick.tick / rate
            assert times[tick.source_index] <= now + rounding
            assert tick.source_index + 1 == len(times) or now + rounding < times[tick.source_index + 1]
            assert tick.pts == pts[tick.source_index] and tick.time_base == base
        # A repeat or a gap is always flagged on the tick that shows it.
        for one, two in pairwise(out):
            assert two.resampled or two.source_index == one.source_index + 1


def test_only_the_uneven_stretch_is_flagged() -> None:
    even, pause = [50 * n for n in range(10)], [450 + 200]
    out, report = ticks(even + pause + [650 + 50 * n for n in range(1, 10)])
    flagged = [t.tick for t in out if t.resampled]
    assert flagged == [9, 10, 11, 12] and report.repeated == 3


def test_one_frame_is_one_tick_and_none_is_none() -> None:
    out, _ = ticks([77])
    assert sources(out) == [0] and not out[0].resampled
    assert ticks([])[0] == []


def test_steps_back_and_equal_times_take_the_place_of_the_frame_before() -> None:
    out, report = ticks([0, 50, 100, 95, 150, 150, 200])
    assert sources(out) == [0, 1, 3, 5, 6]
    assert report.dropped == 2 and report.rebased == 0 and report.problems == []


@pytest.mark.parametrize("reset", [-90_000, 7_000_000])
def test_a_reset_clock_goes_on_one_tick_later(reset: int) -> None:
    pts = [100_000 + 50 * n for n in range(10)] + [100_000 + reset + 50 * n for n in range(10)]
    out, report = ticks(pts)
    assert sources(out) == list(range(20)) and report.rebased == 1
    assert "frame 10: its time jumps by" in report.problems[0]


def test_a_long_still_picture_is_kept() -> None:
    out, report = ticks([0, 50, 60_050])
    assert len(out) == 1202 and report.rebased == 0 and report.repeated == 1199


def test_memory_is_bounded_and_reading_is_lazy() -> None:
    taken: list[int] = []

    def endless() -> Iterator[VideoFrame]:
        for index in range(10**9):
            taken.append(index)
            yield frames_at([50 * index], MILLISECONDS)[0]

    stream = at_rate(endless())
    assert [next(stream).tick for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(taken) <= 7


def test_rates_must_be_positive() -> None:
    with pytest.raises(ValueError, match="rate is 0"):
        next(at_rate([], 0))


def test_a_real_variable_rate_file(tmp_path: Path) -> None:
    """Times in 1/600 s: a second at 30 frames/s, one at 10, one at 20."""
    pts = [20 * n for n in range(30)] + [600 + 60 * n for n in range(10)] + [1200 + 30 * n for n in range(20)]
    path = make_video(tmp_path / "vfr.mp4", pts)
    with VideoReader(path) as reader:
        out = list(at_rate(reader))
    assert [number_of(t.rgb) for t in out] == sources(out)
    expected = [3 * n // 2 for n in range(20)] + [30 + n // 2 for n in range(20)] + [40 + n for n in range(20)]
    assert sources(out) == expected
    assert all(t.resampled for t in out[:40]) and not any(t.resampled for t in out[41:])
