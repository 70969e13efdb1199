"""What the measures of tasks make of a game's truth."""

from __future__ import annotations

from typing import Any, cast

from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.tasks import Stacked


def truth(feet: tuple[float, float, float], *events: tuple[str, tuple[int, int, int]]) -> GameTruth:
    told: dict[str, Any] = {"position": feet, "events": [{"type": kind, "pos": list(pos)} for kind, pos in events]}
    return cast(GameTruth, told)


def test_a_pillar_is_what_was_put_below_ones_own_feet() -> None:
    stacked = Stacked()
    assert stacked.update(truth((3.2, 8.5, -2.1))) == 0
    assert stacked.update(truth((3.2, 10.2, -2.1), ("place", (3, 9, -2)))) == 0  # still in the air
    assert stacked.update(truth((3.2, 9.5, -2.1))) == 1
    assert stacked.update(truth((3.2, 10.5, -2.1), ("place", (3, 10, -2)))) == 2
    assert stacked.update(truth((4.2, 8.5, -2.1))) == 2  # the most there was


def test_jumps_hills_and_blocks_elsewhere_are_no_pillar() -> None:
    stacked = Stacked()
    assert stacked.update(truth((0, 8.5, 0), ("place", (2, 9, 0)), ("place", (5, 9, 5)), ("punch", (0, 8, 0)))) == 0
    for height in (9.3, 9.8, 9.9, 9.2, 12.5):
        assert stacked.update(truth((0, height, 0))) == 0


def test_what_is_dug_away_does_not_count() -> None:
    stacked = Stacked()
    stacked.update(truth((4, 8.5, 4), ("place", (0, 9, 0)), ("place", (0, 10, 0)), ("dig", (0, 9, 0))))
    assert stacked.update(truth((0, 10.5, 0))) == 1
