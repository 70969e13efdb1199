"""The rules of copying, on demonstrations whose latents are points on a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.actions import Action
from search_agent.nearest import DemoSearcher
from search_agent.pitch import Pitch, copied_action
from search_agent.zip_agent import ZipAgent, inventory_shows
from search_agent.zip_rules import ZipSettings
from tests.search_agent.lines import OneNumber, at, line, picture, rules, set_of


def test_a_copy_goes_on_while_play_follows_and_ends_at_the_demonstrations_border() -> None:
    player = rules(line("a", 0, 20), line("b", 100, 20), line("c", 20.5, 20))
    steps = [player.step(at(15 + frame)) for frame in range(8)]
    assert [(s.demo, s.row, s.why) for s in steps[:5]] == [
        (0, 15, "begin"), (0, 16, ""), (0, 17, ""), (0, 18, ""), (0, 19, ""),
    ]  # fmt: skip
    assert (steps[5].demo, steps[5].why) == (2, "end")  # the next in the list is b, which is far away
    assert (steps[6].demo, steps[6].row) == (2, steps[5].row + 1)


def test_play_that_goes_another_way_searches_again_and_a_glimpse_does_not() -> None:
    two = line("a", 0, 60), line("b", 200, 60)
    player = rules(*two, patience=3, settle=2, lost=1e9)
    player.searcher.usual = 2.0
    for frame in range(10):
        player.step(at(frame))
    glimpse = [player.step(at(50)), player.step(at(50)), *(player.step(at(12 + n)) for n in range(4))]
    assert not any(s.searched for s in glimpse)
    several = [player.step(at(50 if n % 4 == 0 else 16 + n)) for n in range(20)]
    assert not any(s.searched for s in several), "one now and then does not add up"
    away = [player.step(at(210 + n)) for n in range(5)]
    assert [s.why for s in away].count("diverged") == 1 and away[-1].demo == 1
    lost = rules(*two, settle=2, lost=2.0)
    lost.searcher.usual = 2.0
    for frame in range(5):
        lost.step(at(frame))
    assert lost.step(at(230)).why == "lost"


def test_what_is_not_to_be_copied_ends_a_copy_and_is_never_found() -> None:
    slipped = line("a", 0, 40)
    slipped.copied[20:23] = False
    player = rules(slipped, line("b", 15, 60, step=1.0625), usual=2.0)
    steps = [player.step(at(17 + frame)) for frame in range(6)]
    assert [(s.demo, s.row, s.why) for s in steps[:3]] == [(0, 17, "begin"), (0, 18, ""), (0, 19, "")]
    assert (steps[3].demo, steps[3].why) == (1, "gap") and steps[3].left == 0
    assert [s.why for s in steps[4:]] == ["", ""]
    alone = rules(slipped)
    found = [alone.step(at(18 + frame)) for frame in range(5)]
    assert [s.row for s in found] == [18, 19, 19, 19, 23], "in a gap, what is nearest beside it"


def test_a_demonstration_is_copied_the_other_way_round_too() -> None:
    demo = line("a", 0, 40, key="left", pitch=1.0)
    demo.track.camera[:, 1] = 3
    demo.track.gui_open[30:] = True
    assert demo.both_ways == [demo]
    there, turned = replace(demo, mirrored=line("", 100, 40).latents).both_ways
    assert not there.turned and turned.turned and turned.both_ways == [turned]
    assert turned.copied[:30].all() and not turned.copied[30:].any(), "a GUI is no mirror image"
    player, pitch = rules(there, turned), Pitch([there, turned], limit=10)
    step = player.step(at(110))
    assert (step.demo, step.row) == (1, 10)
    assert copied_action(turned, 1, 10, pitch) == Action(frozenset({"right"}), (10.0, -3.0))


def test_usual_distances_are_between_demonstrations() -> None:
    assert DemoSearcher([line("a", 0, 50), line("b", 0.5, 50)]).usual == pytest.approx(0.5)
    assert DemoSearcher([line("alone", 0, 300)]).usual > 50  # far off in time, then


def test_the_pitch_follows_the_demonstrators_and_edits_nothing() -> None:
    demo = line("a", 0, 40, pitch=3.0)
    pitch = Pitch([demo], limit=10)
    first = copied_action(demo, 0, 20, pitch)  # begun in the middle, where the demonstrator looks 63 degrees down
    assert first == Action(frozenset({"forward"}), (10.0, 0.0))
    turns = [copied_action(demo, 0, 21 + n, pitch).camera[0] for n in range(12)]
    assert turns[0] == 10 and turns[-1] == pytest.approx(0.0)  # 90 degrees: no further down
    assert (demo.track.camera[:, 0] == 3).all()


def test_zip_as_published_plays_a_set_in_whole_degrees(tmp_path: Path) -> None:
    demos = set_of(tmp_path / "set", line("a", 0, 200, pitch=1.7))
    agent = ZipAgent(demos, OneNumber(), settings=ZipSettings(counter_max=16))  # type: ignore[arg-type]
    actions = [agent.act(picture(frame)) for frame in range(40)]
    assert actions[0] == Action(frozenset({"forward"}), (1.0, 0.0))  # 1.7 degrees, cut off
    assert agent.step is not None and agent.step.closest > 0 and agent.step.frame == 39
    grey = np.full((128, 128, 3), 198, np.uint8)
    assert inventory_shows(grey) and not inventory_shows(grey - 2)
    panel = np.zeros((128, 128, 3), np.uint8)
    panel[58, 91] = panel[40, 92] = 198
    assert inventory_shows(panel)
