"""The rules of copying, on demonstrations whose latents are points on a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.actions import BUTTON_INDEX, Action, ActionTrack
from search_agent.agent import Pitch, SearchRules, SearchSettings, copied_action
from search_agent.demos import Demo, DemoSet, SetInfo
from search_agent.nearest import DemoSearcher
from search_agent.session import SearchAgent
from search_agent.zip_agent import ZipAgent, inventory_shows
from search_agent.zip_rules import ZipSettings


def line(name: str, begin: float, frames: int, key: str = "forward", pitch: float = 0.0) -> Demo:
    """Latents that go from ``begin`` on by one a frame, in all four dimensions."""
    latents = (begin + np.arange(frames))[:, None].repeat(4, 1).astype(np.float16)
    buttons = np.zeros((frames, 20), bool)
    buttons[:, BUTTON_INDEX[key]] = True
    return Demo(name, latents, ActionTrack(buttons, np.full((frames, 2), (pitch, 0), np.float32)), np.arange(frames))


def at(place: float) -> np.ndarray:
    return np.full(4, place, np.float32)


def rules(*demos: Demo, **settings: float) -> SearchRules:
    return SearchRules(list(demos), DemoSearcher(list(demos)), SearchSettings(**settings))  # type: ignore[arg-type]


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
    away = [player.step(at(210 + n)) for n in range(5)]
    assert [s.why for s in away].count("diverged") == 1 and away[-1].demo == 1
    lost = rules(*two, settle=2, lost=2.0)
    lost.searcher.usual = 2.0
    for frame in range(5):
        lost.step(at(frame))
    assert lost.step(at(230)).why == "lost"


def test_what_led_nowhere_is_avoided_for_a_while() -> None:
    player = rules(
        line("a", 0, 60), line("b", 0.3, 60, "left"), patience=2, settle=1, lost=1e9, neighbours=1, stale=1.0
    )
    player.searcher.usual = 1.0
    tried = []
    for _ in range(40):  # the world stands still, whatever is done
        step = player.step(at(20))
        if step.searched:
            tried.append((step.demo, step.row))
    assert tried[:4] == [(0, 20), (1, 20), (0, 20), (1, 20)]


def test_of_near_situations_the_one_that_most_agree_with_is_copied() -> None:
    many = [line(f"same{n}", 0.1 + 0.01 * n, 40, "forward") for n in range(4)]
    odd = line("odd", 0.0, 40, "back")
    assert rules(odd, *many, neighbours=1).step(at(20)).demo == 0
    chosen = rules(odd, *many, neighbours=5)
    chosen.searcher.usual = 1.0
    assert chosen.step(at(20)).demo != 0


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


class OneNumber:
    """An encoder that sees the first pixel."""

    source, sha256, dims = "test", "0" * 64, 4

    def stream(self) -> OneNumber:
        return self

    def look(self, rgb: np.ndarray) -> np.ndarray:
        return at(float(rgb[0, 0, 0]))


def test_an_edited_set_changes_what_a_playing_agent_does(tmp_path: Path) -> None:
    demos = DemoSet.create(tmp_path / "set", SetInfo("test", "0" * 64, 4, 20))
    for demo, tag in ((line("a", 0, 60), "logs"), (line("b", 0.25, 60, "left"), "dirt")):
        demos.add(demo.name, demo.latents, demo.track, demo.rows, video=Path(), tags=(tag,))
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]

    def play(frames: int) -> set[str]:
        return {button for n in range(frames) for button in agent.act({"pov": np.full((2, 2, 3), n, np.uint8)}).buttons}

    assert play(5) == {"forward"}
    with demos.editing() as document:
        document["a"]["enabled"] = False
    play(15)
    assert play(5) == {"left"}
    (demos.folder / "demos.toml").write_text("[a\n")  # somebody is still typing
    assert play(15) == {"left"} and "mend the line" in agent.problems[0]

    with pytest.raises(
        ValueError, match=r"no demonstration with a tag of seeds is enabled among 2; tags there are: dirt, logs"
    ):
        demos.folder.joinpath("demos.toml").write_text('[a]\ntags = ["logs"]\n[b]\ntags = ["dirt"]\n')
        SearchAgent(demos, OneNumber(), tags=("seeds",))  # type: ignore[arg-type]


def test_zip_as_published_plays_a_set_in_whole_degrees(tmp_path: Path) -> None:
    demos = DemoSet.create(tmp_path / "set", SetInfo("test", "0" * 64, 4, 20))
    demo = line("a", 0, 200, pitch=1.7)
    demos.add(demo.name, demo.latents, demo.track, demo.rows, video=Path())
    agent = ZipAgent(demos, OneNumber(), settings=ZipSettings(counter_max=16))  # type: ignore[arg-type]
    actions = [agent.act({"pov": np.full((128, 128, 3), frame, np.uint8)}) for frame in range(40)]
    assert actions[0] == Action(frozenset({"forward"}), (1.0, 0.0))  # 1.7 degrees, cut off
    assert agent.step is not None and agent.step.closest > 0 and agent.step.frame == 39
    grey = np.full((128, 128, 3), 198, np.uint8)
    assert inventory_shows(grey) and not inventory_shows(grey - 2)
    panel = np.zeros((128, 128, 3), np.uint8)
    panel[58, 91] = panel[40, 92] = 198
    assert inventory_shows(panel)
