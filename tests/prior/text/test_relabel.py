"""Hindsight relabelling: where goals lie, how long segments are, and how episodes are cut."""

from __future__ import annotations

import numpy as np
import pytest

from prior.text.relabel import FIRST_FRAME, NO_GOAL, Relabelling, goals_at, stretches

ALWAYS = Relabelling(unconditional=0.0)


def test_a_goal_lies_never_behind_and_as_published_once_in_a_segment() -> None:
    late = Relabelling(unconditional=0.0, as_published=True)
    for seed in range(20):
        ends = ALWAYS.segment_ends(1000, np.random.RandomState(seed))
        ahead, behind = (
            rules.goal_frames(1000, 0, 1000, np.random.RandomState(seed)) - np.arange(1000) for rules in (ALWAYS, late)
        )
        assert ahead.min() == 0 and (ahead == 0).sum() == len(ends)
        assert behind.min() == -1 and (behind == -1).sum() == len(ends) - 1  # nothing comes after the last


def test_segments_are_as_long_as_asked_for_and_end_with_the_episode() -> None:
    lengths = []
    for seed in range(200):
        ends = Relabelling(10, 20).segment_ends(500, np.random.RandomState(seed))
        assert ends[-1] == 499
        lengths += np.diff(ends)[:-1].tolist()
    assert min(lengths) == 10 and max(lengths) == 20
    assert Relabelling(10, 20).segment_ends(5, np.random.RandomState(0)).tolist() == [4]
    assert Relabelling(1, 1).segment_ends(4, np.random.RandomState(0)).tolist() == [1, 2, 3]
    assert Relabelling().segment_ends(1, np.random.RandomState(0)).tolist() == [0]


def test_a_share_of_stretches_has_no_goal_at_all() -> None:
    rng, rules = np.random.RandomState(0), Relabelling(unconditional=0.1)
    without = [rules.goal_frames(100, 15, 100, rng) == NO_GOAL for _ in range(2000)]
    assert all(row.all() or not row.any() for row in without)
    assert np.mean(without) == pytest.approx(0.1, abs=0.02)


def test_a_stretch_has_the_goals_of_the_whole_episode() -> None:
    whole, part = (
        ALWAYS.goal_frames(600, start, end, np.random.RandomState(4)) for start, end in ((0, 600), (77, 333))
    )
    np.testing.assert_array_equal(part, whole[77:333])


def test_goals_are_looked_up_and_nothing_is_zero() -> None:
    embeddings = np.arange(40, dtype=np.float32)[:, None].repeat(3, 1)
    np.testing.assert_array_equal(goals_at(embeddings, np.array([20, 20, 39]))[:, 0], [20, 20, 39])
    assert not goals_at(embeddings, np.full(4, NO_GOAL)).any()
    for wrong in (FIRST_FRAME - 1, 40):
        with pytest.raises(ValueError, match=r"expected goals from frame 15.*up to 39"):
            goals_at(embeddings, np.array([wrong, 20]))


@pytest.mark.parametrize("frames", [15, 16, 655, 656, 1935, 1936])
def test_every_frame_with_an_embedding_is_seen_once(frames: int) -> None:
    seen = [t for start, end in stretches(frames, 640) for t in range(start, end)]
    assert seen == list(range(15, frames))


def test_as_published_the_last_stretch_is_shifted_back() -> None:
    assert stretches(654, 640, as_published=True) == []
    assert stretches(655, 640, as_published=True) == [(15, 655)]
    assert stretches(656, 640, as_published=True) == [(15, 655), (16, 656)]
    assert stretches(29, 10, as_published=True) == []  # the goals' segments have 15 frames at least
    assert stretches(30, 10, as_published=True) == [(15, 25), (20, 30)]
    assert stretches(114, 10, as_published=True, shortest=100) == []


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 <= shortest <= longest.*got 20 and 10"):
        Relabelling(20, 10)
    with pytest.raises(ValueError, match="from 0 to 1; got 2"):
        Relabelling(unconditional=2)
    with pytest.raises(ValueError, match="the episode's 100 frames, got 50 up to 101"):
        ALWAYS.goal_frames(100, 50, 101, np.random.RandomState(0))
    with pytest.raises(ValueError, match="got length 0"):
        stretches(100, 0)
