"""A wish chooses among similar situations those that lead to it, and ends a copy that does no longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search_agent.agent import SearchRules
from search_agent.demos import Demo, DemoSet
from search_agent.session import SearchAgent, open_agent
from search_agent.ts_agent import TsAgent
from search_agent.ts_rules import TsSettings
from search_agent.wishes import hopes
from tests.search_agent.lines import OneNumber, at, line, picture, put, rules, set_of

NOTHING, TREE, DIRT = np.eye(3, dtype=np.float32)


def showing(demo: Demo, **shown: tuple[int, int]) -> Demo:
    """With embeddings: from first to last frame (excluded) of a tree, or of dirt, and of neither elsewhere."""
    goals = np.repeat(NOTHING[None], len(demo), 0)
    for what, (first, last) in shown.items():
        goals[first:last] = {"tree": TREE, "dirt": DIRT}[what]
    return replace(demo, goals=goals.astype(np.float16))


TO_TREE = showing(line("to the tree", 0.2, 120, "left"), tree=(60, 80))
TO_DIRT = showing(line("to the dirt", 0.0, 120, "right"), dirt=(60, 80))


def wishing(player: SearchRules, wish: np.ndarray | None) -> SearchRules:
    player.want(None if wish is None else hopes(player.demos, wish, player.settings.ahead))
    return player


def test_hopes_are_of_the_near_future_and_in_deviations_from_chance() -> None:
    demos = [TO_TREE, TO_DIRT]
    found = hopes(demos, TREE, 20)
    both = np.concatenate(found)
    assert abs(both.mean()) < 1e-5 and both.std() == pytest.approx(1, abs=1e-3)
    assert (found[0][41:80] > 0).all() and (found[0][:41] < 0).all() and (found[0][80:] < 0).all()
    assert (found[1] < 0).all(), "the next demonstration's tree is none of this one's future"
    np.testing.assert_allclose(np.concatenate(hopes(demos, 7 * TREE, 20)), both, atol=1e-5)
    longer = [replace(TO_TREE, goals=TO_TREE.goals * np.linspace(1, 9, 120)[:, None].astype(np.float16)), TO_DIRT]  # type: ignore[operator]
    np.testing.assert_allclose(np.concatenate(hopes(longer, TREE, 20)), both, atol=1e-3)
    assert (np.concatenate(hopes([showing(line("a", 0, 30))], TREE, 20)) == 0).all()
    with pytest.raises(ValueError, match=r"a wish of shape \(4,\), expected \(3,\)"):
        hopes(demos, np.ones(4), 20)
    with pytest.raises(ValueError, match="demonstration a: no embeddings"):
        hopes([line("a", 0, 30)], TREE, 20)


@pytest.mark.parametrize(("wish", "demo"), [(TREE, 0), (DIRT, 1), (None, 1)])
def test_of_similar_situations_the_one_is_copied_that_leads_to_the_wish(wish: np.ndarray | None, demo: int) -> None:
    player = wishing(rules(TO_TREE, TO_DIRT, usual=1.0), wish)
    step = player.step(at(30))
    assert (step.demo, step.row) == (demo, 30)
    assert (step.hope is None) == (wish is None) and (step.hope or 1) > 0
    assert wishing(rules(TO_TREE, TO_DIRT, usual=1.0, wish=0.0), wish).step(at(30)).demo == 1


def test_what_is_not_similar_is_not_copied_whatever_it_leads_to() -> None:
    """Two usual distances away a copy would be doubted from its first frame on."""
    far = showing(line("far", 2.0, 120, "left", step=0.0), tree=(0, 120))
    near = showing(line("near", 0.0, 120, "right", step=0.0))
    for distance, demo in ((2.0, 1), (1.4, 0)):
        moved = replace(far, latents=np.full((120, 4), distance, np.float16))
        player = wishing(rules(moved, near, usual=1.0, wish=5.0), TREE)
        assert player.step(at(0)).demo == demo


@pytest.mark.parametrize("scale", [1.0, 2.0**-5, 2.0**5])
def test_a_wish_weighs_as_much_whatever_the_scale_of_a_networks_latents(scale: float) -> None:
    """The more so the better a situation leads there, up to a point: three deviations, at half a usual distance each."""
    still = [replace(line(name, 0, 40, step=0.0)) for name in ("near", "far")]
    for hope, distance, demo in ((1.0, 0.4, 1), (1.0, 0.6, 0), (9.0, 1.4, 1), (9.0, 1.6, 0)):
        demos = [
            replace(one, latents=np.full((40, 4), place * scale, np.float16))
            for one, place in zip(still, (0.0, distance), strict=True)
        ]
        player = rules(*demos, usual=scale, most=9.0)
        player.want([np.zeros(40, np.float32), np.full(40, hope, np.float32)])
        assert player.step(at(0)).demo == demo, (hope, distance)


def test_a_copy_ends_where_it_no_longer_leads_to_the_wish() -> None:
    """Both walk on for long after the tree; the other one comes back to one."""
    done = showing(line("done", 0.0, 200, "left"), tree=(20, 30))
    again = showing(line("again", 0.2, 200, "right"), tree=(60, 70))
    player = wishing(rules(done, again, usual=1.0, ahead=25), TREE)
    steps = [player.step(at(10 + n)) for n in range(50)]
    assert steps[0].demo == 0 and [step.why for step in steps[:21]] == ["begin", *[""] * 19, "wish"]
    assert steps[19].row == 29 and steps[20].left == 0.0
    ended = [(n, step.demo) for n, step in enumerate(steps) if step.why == "wish"]
    assert ended[-1][1] == 1 and steps[-1].demo == 1 and (steps[-1].hope or 0) > 0
    without = wishing(rules(done, again, usual=1.0, ahead=25), None)
    assert [without.step(at(10 + n)).why for n in range(50)].count("") == 49


def test_where_nothing_near_leads_there_a_copy_is_given_some_time() -> None:
    demos = [showing(line("a", 0.0, 200)), showing(line("b", 300, 60), tree=(0, 60))]
    player = wishing(rules(*demos, usual=1.0, hopeless=15), TREE)
    whys = [player.step(at(10 + n)).why for n in range(46)]
    assert [n for n, why in enumerate(whys) if why == "wish"] == [15, 30, 45]


def test_another_wish_is_followed_at_once() -> None:
    player = wishing(rules(TO_TREE, TO_DIRT, usual=1.0), TREE)
    assert [player.step(at(30 + n)).demo for n in range(3)] == [0, 0, 0]
    step = wishing(player, DIRT).step(at(33))
    assert (step.demo, step.why) == (1, "asked") and step.left == pytest.approx(0.2, abs=0.05)
    assert player.step(at(34)).why == ""
    with pytest.raises(ValueError, match=r"hopes of \[120\] frames, expected .* \[120, 120\]"):
        player.want(hopes([TO_TREE], TREE, 10))


# The agent, and sets on disk


def walk(agent: SearchAgent | TsAgent, frames: range) -> list[str]:
    """The key pressed at each place."""
    return ["".join(agent.act(picture(place)).buttons) for place in frames]


def test_an_agent_is_told_what_to_want_and_another_thing_later(tmp_path: Path) -> None:
    agent = SearchAgent(set_of(tmp_path, TO_TREE, TO_DIRT, goal_dims=3), OneNumber())  # type: ignore[arg-type]
    assert set(walk(agent, range(20, 25))) == {"right"}  # the nearer one
    agent.want(TREE)
    assert set(walk(agent, range(25, 30))) == {"left"} and agent.told()["hope"] > 0
    agent.reset()
    assert set(walk(agent, range(30, 35))) == {"left"}, "a wish outlasts the episode"
    with pytest.raises(ValueError, match=r"a wish of shape \(2,\)"):
        agent.want(np.ones(2))
    put(agent.set, showing(line("far", 200, 30)))  # a look at the set weighs all anew
    assert set(walk(agent, range(35, 50))) == {"left"}, "a wish that cannot be is no wish"
    agent.want(DIRT)
    assert set(walk(agent, range(50, 55))) == {"right"}
    agent.want_text("  ")
    walk(agent, range(55, 56))
    assert agent.told()["hope"] is None


def test_demonstrations_without_embeddings_are_told_of_and_not_copied_while_something_is_wished_for(
    tmp_path: Path,
) -> None:
    plain = line("plain", 0.1, 120, "jump")
    demos = set_of(tmp_path, TO_TREE, plain, goal_dims=3)
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    assert set(walk(agent, range(20, 25))) == {"jump"}
    agent.want(TREE)
    assert set(walk(agent, range(25, 35))) == {"left"}
    assert "1 of 2 demonstrations have no embeddings" in agent.problems[0] and "vpt index --out" in agent.problems[0]
    put(demos, showing(line("more", 0.1, 120, "back"), tree=(60, 90)))
    walk(agent, range(35, 45))
    assert set(walk(agent, range(45, 50))) == {"back"}, "one that is added is found"
    agent.want(None)
    assert set(walk(agent, range(50, 55))) <= {"jump", "back"}


def test_a_set_without_embeddings_says_what_to_run(tmp_path: Path) -> None:
    demos = set_of(tmp_path / "set", line("a", 0, 60))
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    command = rf"vpt index --out {demos.folder} --embedder EMBEDDER \(a folder of `vpt train-clip`"
    with pytest.raises(ValueError, match=command):
        agent.want_text("chop down a tree")
    with pytest.raises(ValueError, match=command):
        agent.want(TREE)
    with pytest.raises(ValueError, match=command):
        TsAgent(demos, OneNumber())  # type: ignore[arg-type]
    gone = set_of(tmp_path / "gone", TO_TREE, goal_dims=3)
    with pytest.raises(ValueError, match=r"embedded with cannot be opened .*'clip'.* put it back"):
        SearchAgent(gone, OneNumber()).want_text("chop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"does not exist"):
        open_agent(tmp_path / "nothing", text="chop")


def test_embeddings_of_another_model_are_refused_and_damaged_ones_told_of(tmp_path: Path) -> None:
    demos = set_of(tmp_path, TO_TREE, TO_DIRT, goal_dims=3)
    with pytest.raises(ValueError, match=r"embedded with clip \(key\), not with other \(other key\)"):
        demos.use_embedder("other", "other key", 3)
    demos.use_embedder("moved", "key", 3)
    assert DemoSet(tmp_path).info.embedder == "moved"
    np.save(tmp_path / "demos" / TO_DIRT.name / "goals.npy", np.zeros((120, 2), np.float16))
    found = demos.read()
    assert list(found.demos) == [TO_TREE.name] and r"(120, 2), expected float16 (120, 3)" in found.problems[0]
    again = line(TO_DIRT.name, 0, 40)
    put(demos, again)  # in its place, and without embeddings
    assert demos.read().demos[TO_DIRT.name].goals is None


# TS-BC as published


def test_ts_bc_looks_around_and_then_copies_what_leads_to_its_goal(tmp_path: Path) -> None:
    demos = set_of(tmp_path, TO_TREE, TO_DIRT, goal_dims=3)
    played = {}
    for name, wish in (("tree", TREE), ("dirt", DIRT)):
        agent = TsAgent(demos, OneNumber(), settings=TsSettings("euclidean", goal_window=60))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="expected set_goal before step"):
            agent.act(picture(30))
        agent.reset()
        agent.want(wish)
        turns = [agent.act(picture(30)) for _ in range(19)]
        assert {turn.camera for turn in turns} == {(0.0, 20.0)} and not any(turn.buttons for turn in turns)
        played[name] = set(walk(agent, range(30, 45)))
        assert agent.step is not None and agent.step.frame is not None
    assert played == {"tree": {"left"}, "dirt": {"right"}}
    with pytest.raises(ValueError, match="expected a text"):
        agent.want_text(" ")
    with pytest.raises(ValueError, match="no demonstration with a tag of logs"):
        TsAgent(demos, OneNumber(), ("logs",))  # type: ignore[arg-type]
