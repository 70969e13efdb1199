"""Recorded actions meet label rows at any frame rate without losing a degree of turn."""

from __future__ import annotations

import numpy as np
import pytest

from data.actions import ActionTrack
from vpt_pipeline.truth_at import truth_at


def track(frames: int = 12, broken: int | None = None) -> ActionTrack:
    buttons = np.zeros((frames, 20), bool)
    buttons[4:8, 2] = True
    camera = np.stack([np.arange(frames), -np.ones(frames)], 1).astype(np.float32)
    valid = np.ones(frames, bool)
    if broken is not None:
        valid[broken] = False
    return ActionTrack(buttons, camera, valid=valid)


def test_at_the_same_rate_it_is_the_truth_itself() -> None:
    truth = track(broken=3)
    same = truth_at(truth, np.arange(12))
    assert (same.buttons == truth.buttons).all() and (same.valid == truth.valid).all()
    assert (same.camera[same.valid] == truth.camera[truth.valid]).all()


@pytest.mark.parametrize("source", [[0, 2, 4, 6, 8, 10], [0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11], [0, 3, 6, 9]])
def test_every_degree_is_counted_once_and_keys_are_those_of_the_frame(source: list[int]) -> None:
    truth = track()
    rows = truth_at(truth, np.array(source))
    assert rows.valid.all()
    assert rows.camera.sum(0) == pytest.approx(truth.camera.sum(0))
    assert (rows.buttons == truth.buttons[source]).all()
    for row in np.flatnonzero(np.diff(source) == 0):
        assert (rows.camera[row] == 0).all()  # the picture has not changed yet


def test_rows_without_a_whole_record_are_not_judged() -> None:
    assert truth_at(track(), np.arange(14)).valid.tolist() == [True] * 12 + [False] * 2
    assert truth_at(track(broken=5), np.array([0, 2, 4, 6])).valid.tolist() == [True, True, False, True]
    assert len(truth_at(track(), np.zeros(0, int))) == 0
    with pytest.raises(ValueError, match="in order"):
        truth_at(track(), np.array([0, 2, 1]))
    with pytest.raises(ValueError, match="no record"):
        truth_at(track(0), np.array([0]))
