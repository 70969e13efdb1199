"""Each of the mended rules, in a situation in which the agent would do something else without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.actions import BUTTON_INDEX
from search_agent.agent import SearchRules, SearchSettings, describe
from search_agent.demos import Demo
from search_agent.nearest import DemoSearcher
from tests.search_agent.lines import at, line, rules


def key_of(player: SearchRules, demo: int) -> str:
    held = player.demos[demo].track.buttons[0]
    return next(name for name, column in BUTTON_INDEX.items() if held[column])


# Voting


def test_of_near_situations_the_one_that_most_agree_with_is_copied() -> None:
    many = [line(f"same{n}", 0.1 + 0.01 * n, 40, "forward") for n in range(4)]
    odd = line("odd", 0.0, 40, "back")
    assert rules(odd, *many, neighbours=1).step(at(20)).demo == 0
    assert rules(odd, *many, neighbours=5, usual=1.0).step(at(20)).demo != 0


def test_a_majority_that_is_far_away_has_no_say() -> None:
    many = [line(f"same{n}", 0.4 + 0.01 * n, 40, "forward") for n in range(4)]
    odd = line("odd", 0.0, 40, "back")
    assert rules(odd, *many, neighbours=5, usual=4.0).step(at(20)).demo != 0
    assert rules(odd, *many, neighbours=5, usual=0.2).step(at(20)).demo == 0


def test_turns_are_voted_on_too() -> None:
    """All hold the same key; three look down while they do, one up."""
    many = [line(f"down{n}", 0.1 + 0.01 * n, 40, pitch=8.0) for n in range(3)]
    odd = line("up", 0.0, 40, pitch=-8.0)
    assert rules(odd, *many, neighbours=4, usual=1.0).step(at(20)).demo != 0


# What led nowhere


def test_what_led_nowhere_is_avoided_for_a_while() -> None:
    player = rules(
        line("a", 0, 60), line("b", 0.3, 60, "left"), usual=1.0, patience=2, settle=1, lost=1e9, neighbours=1, stale=1.0
    )
    tried = []
    for _ in range(40):  # the world stands still, whatever is done
        step = player.step(at(20))
        if step.searched:
            tried.append((step.demo, step.row))
    assert tried[:4] == [(0, 20), (1, 20), (0, 20), (1, 20)]


@pytest.mark.parametrize("stale", [SearchSettings.stale, 0.0])
def test_what_a_majority_does_in_vain_is_given_up_for_what_another_does(stale: float) -> None:
    """With the settings as they are: what has failed has no vote, however near it is, until that is forgotten."""
    majority = [line(f"same{n}", 0.01 * n, 60, "forward") for n in range(3)]
    player = rules(*majority, line("odd", 0.05, 60, "jump"), usual=1.0, stale=stale)
    steps = [player.step(at(20)) for _ in range(160)]  # a wall: nothing that is done moves it
    tried = [key_of(player, step.demo) for step in steps if step.searched]
    assert len(tried) > 10 and tried[0] == "forward"
    if stale:
        assert "jump" in tried[:5] and "forward" in tried[5:]
    else:
        assert "jump" not in tried


def test_what_led_nowhere_is_tried_again_later() -> None:
    """One stands still with the world, a little away; each of its copies ends by time, and nothing is held against it."""
    player = rules(line("walk", 0, 60), line("stand", 20.3, 60, "left", step=0.0), usual=1.0, longest=5, patience=2)
    steps = [player.step(at(20)) for _ in range(60)]
    tried = [step.demo for step in steps if step.searched]
    assert tried[:3] == [0, 1, 1] and 0 in tried[3:]


# Several demonstrations


def test_situations_of_several_demonstrations_are_compared_though_one_has_all_the_nearest_frames() -> None:
    still = line("still", 20, 400, "back", step=0.001)
    others = [line(f"walk{n}", 0.5 + 0.01 * n, 60) for n in range(5)]
    searcher = DemoSearcher([still, *others])
    found = searcher.search(at(20), 8, {})
    assert {match.demo for match in found} == set(range(6)) and sum(match.demo == 0 for match in found) == 2
    assert [match.cost for match in found] == sorted(match.cost for match in found)
    player = rules(still, *others, usual=8.0)
    assert key_of(player, player.step(at(20)).demo) == "forward"
    alone = DemoSearcher([still]).search(at(20), 8, {})
    rows = sorted(match.row for match in alone)
    assert len(alone) > 4 and min(np.diff(rows)) > 10  # frames that follow each other are one situation


# Thresholds


def walks(scale: float) -> list[Demo]:
    rng = np.random.default_rng(0)
    demos = []
    for number, key in enumerate(("forward", "left", "jump")):
        places = np.cumsum(rng.normal(size=(150, 16)), 0) + 3 * rng.normal(size=16)
        demos.append(replace(line(str(number), 0, 150, key), latents=(places * scale).astype(np.float16)))
    return demos


def test_decisions_are_the_same_whatever_the_scale_of_a_networks_latents() -> None:
    seen = np.cumsum(np.random.default_rng(1).normal(size=(200, 16)), 0)
    told = []
    for scale in (1.0, 2.0**-5, 2.0**5):
        demos = walks(scale)
        player = SearchRules(demos, DemoSearcher(demos))
        steps = [player.step((place * scale).astype(np.float32)) for place in seen]
        told.append([(step.demo, step.row, step.why) for step in steps])
    assert told[0] == told[1] == told[2]
    assert {why for _, _, why in told[0]} >= {"begin", "", "diverged"}


def test_a_poor_match_does_not_excuse_itself_and_a_perfect_one_is_not_held_to_perfection() -> None:
    player = rules(line("a", 0, 200), usual=1.0, patience=3, settle=1)
    steps = [player.step(at(n - 2.0)) for n in range(6)]  # two away at the search, and no nearer
    assert steps[0].distance == 2.0 and steps[0].limit == 1.5
    assert "diverged" in [step.why for step in steps]
    player = rules(line("a", 0, 200), usual=1.0, patience=3, settle=1)
    steps = [player.step(at(20 + n + (0.9 if n else 0))) for n in range(30)]
    assert steps[0].distance == 0 and steps[0].limit == 1.0
    assert not any(step.searched for step in steps[1:])


def test_demonstrations_that_are_there_twice_do_not_make_all_play_count_as_diverged() -> None:
    twice = line("a", 0, 100), line("a again", 0, 100)
    assert DemoSearcher(list(twice)).usual == pytest.approx(0.25)
    player = rules(*twice)
    steps = [player.step(at(20.2 + n)) for n in range(40)]
    assert not any(step.searched for step in steps[1:])


def test_a_new_copy_is_not_doubted_at_once_and_none_lasts_for_ever() -> None:
    for settle in (4, 12):
        player = rules(line("a", 0, 200), usual=1.0, settle=settle, patience=2)
        player.step(at(20))
        away = [player.step(at(120 + n)).why for n in range(20)]
        assert next(n for n, why in enumerate(away, 1) if why) == settle
    player = rules(line("a", 0, 200), longest=30)
    whys = [player.step(at(20 + n)).why for n in range(65)]
    assert [n for n, why in enumerate(whys) if why == "long"] == [30, 60]


# What is told


def test_it_is_told_how_far_away_a_copy_was_when_it_ended() -> None:
    player = rules(line("a", 0, 60), line("b", 200, 60), usual=2.0, settle=2)
    steps = [player.step(at(place)) for place in (10, 11, 12, 230)]
    assert [step.left for step in steps] == [None, None, None, 230 - 13]
    assert steps[3].why == "lost" and steps[3].distance == 0 and steps[3].limit == 2.0
    row = describe(steps[3], player.demos)
    assert row["left"] == 217.0 and row["hope"] is None and row["demo"] == "b"
    steps = [player.step(at(231 + n)) for n in range(30)]
    assert [step.left for step in steps if step.why == "end"] == [None]  # there was no next frame
