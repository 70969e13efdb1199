"""Who edits a set while an agent plays it changes what the agent does, from its next look at the set on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search_agent import session
from search_agent.demos import Demo, DemoSet
from search_agent.session import LOOK_EVERY, SearchAgent
from tests.search_agent.lines import OneNumber, line, picture, put, set_of
from tests.search_agent.test_wishes import TO_DIRT, TO_TREE, TREE
from vpt_pipeline.demos import ChooseConfig, TagConfig, disable, enable, remove, tag


@pytest.fixture
def demos(tmp_path: Path) -> DemoSet:
    """One is nearest everywhere; the other is what is left without it."""
    return set_of(tmp_path / "set", line("a", 0, 200), line("b", 0.25, 200, "left"), a=("logs",), b=("dirt",))


def play(agent: SearchAgent, frames: int = 60, first: int = 0) -> list[set[str]]:
    """The keys of each frame, at places from ``first`` on, three times as many as there are between two looks or more."""
    return [set(agent.act(picture(first + frame % 150)).buttons) for frame in range(frames)]


def only(agent: SearchAgent, key: str) -> bool:
    """Whether all that is done from the next look on is one thing: never once what was taken out."""
    play(agent, LOOK_EVERY)
    return all(held == {key} for held in play(agent))


def test_what_is_disabled_removed_or_tagged_otherwise_is_never_copied_again(demos: DemoSet) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    folder = demos.folder
    assert only(agent, "forward")
    disable(ChooseConfig(folder, ("a",)))
    assert only(agent, "left")
    enable(ChooseConfig(folder, tag=("logs",)))
    assert only(agent, "forward")
    remove(ChooseConfig(folder, ("a",)))
    assert only(agent, "left") and not agent.problems
    put(demos, line("a", 0, 200, "jump"))  # another one under the old name
    assert only(agent, "jump")
    put(demos, line("a", 0, 200, "back"))  # in its place
    assert only(agent, "back")

    tagged = SearchAgent(demos, OneNumber(), tags=("dirt",))  # type: ignore[arg-type]
    assert only(tagged, "left")
    tag(TagConfig(folder, ("a",), set_to=("dirt", "night")))
    assert only(tagged, "back")
    tag(TagConfig(folder, ("a",), set_to=("night",)))
    assert only(tagged, "left")


def test_even_the_last_one_is_never_copied_again(demos: DemoSet) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    play(agent)
    remove(ChooseConfig(demos.folder, ("a", "b")))
    play(agent, LOOK_EVERY)
    actions = [agent.act(picture(n)) for n in range(30)]
    assert not any(action.buttons or any(action.camera) for action in actions)
    assert agent.step is None and agent.told()["demo"] == "" and "is enabled among 0" in agent.problems[0]
    put(demos, line("c", 0, 200, "jump"))
    assert only(agent, "jump") and agent.told()["demo"] == "c"


def test_a_copy_goes_on_where_a_set_is_edited_only_in_words(demos: DemoSet) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    play(agent, 25)
    tag(TagConfig(demos.folder, ("a",), text="chop down a tree"))
    searched = []
    for place in range(25, 60):
        agent.act(picture(place))
        searched.append(agent.told()["searched"])
    assert not any(searched)


def test_a_set_that_somebody_is_still_typing_into_changes_nothing(demos: DemoSet) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    play(agent)
    path = demos.folder / "demos.toml"
    whole = path.read_text()
    path.write_text(whole + "[a\n")
    assert only(agent, "forward") and "mend the line" in agent.problems[0]
    agent.choose(["dirt"])  # what else is asked for meanwhile is found in what was there
    assert only(agent, "left")
    agent.choose([])
    assert only(agent, "forward")
    path.write_text(whole.replace("[a]\nenabled = true", "[a]\nenabled = false"))
    assert only(agent, "left")


def _nan(folder: Path) -> None:
    _put(folder, np.full((200, 4), np.nan, np.float16))


def _by_columns(folder: Path) -> None:
    _put(folder, np.asfortranarray(np.load(folder / "demos" / "a" / "latents.npy")))


def _put(folder: Path, latents: np.ndarray) -> None:
    path = folder / "demos" / "a" / "latents.npy"
    path.unlink()  # in its place would be under the agent's feet
    np.save(path, latents)


def _cut(folder: Path) -> None:
    path = folder / "demos" / "a" / "actions.npz"
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize("damage", [_nan, _by_columns, _cut])
def test_a_damaged_demonstration_ends_no_play(demos: DemoSet, damage: Callable[[Path], None]) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    assert only(agent, "forward")
    damage(demos.folder)
    (demos.folder / "demos.toml").touch()
    fresh = SearchAgent(DemoSet(demos.folder), OneNumber())  # type: ignore[arg-type]
    for one in (agent, fresh):
        assert only(one, "left") and "demos/a: damaged" in one.problems[0]


def _lost(path: Path) -> None:
    path.unlink()


def _emptied(path: Path) -> None:
    path.write_text("")


def _unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_lost, _emptied, _unreadable])
def test_a_lost_listing_changes_nothing(demos: DemoSet, damage: Callable[[Path], None]) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    play(agent)
    damage(demos.folder / "demos.toml")
    assert only(agent, "forward") and "demos.toml" in agent.problems[0]


def test_what_cannot_be_searched_ends_no_play(demos: DemoSet, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    play(agent)

    def refuse(demos: list[Demo]) -> None:
        raise ValueError("more than the memory allows")

    monkeypatch.setattr(session, "DemoSearcher", refuse)
    disable(ChooseConfig(demos.folder, ("a",)))
    play(agent, LOOK_EVERY)
    assert play(agent) == [set()] * 60 and agent.problems == ["more than the memory allows"]
    monkeypatch.undo()
    (demos.folder / "demos.toml").touch()
    assert only(agent, "left")


def test_a_wish_outlasts_edits(tmp_path: Path) -> None:
    demos = set_of(tmp_path, TO_TREE, TO_DIRT, goal_dims=3)
    agent = SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
    agent.want(TREE)
    assert play(agent, 5, 10) == [{"left"}] * 5
    disable(ChooseConfig(demos.folder, (TO_TREE.name,)))
    play(agent, LOOK_EVERY, 15)
    assert play(agent, 10, 25) == [{"right"}] * 10
    enable(ChooseConfig(demos.folder, (TO_TREE.name,)))
    play(agent, LOOK_EVERY, 35)
    assert play(agent, 10, 45) == [{"left"}] * 10


def test_with_tags_none_of_which_is_there_it_says_which_are(demos: DemoSet) -> None:
    with pytest.raises(
        ValueError, match=r"no demonstration with a tag of seeds is enabled among 2; tags there are: dirt, logs"
    ):
        SearchAgent(demos, OneNumber(), tags=("seeds",))  # type: ignore[arg-type]
    path = demos.folder / "demos.toml"
    path.write_text(path.read_text().replace('tags = ["', 'tags = "').replace('"]', '"'))
    with pytest.raises(
        ValueError, match=rf"{demos.folder}: .*enabled among 0; .*2 cannot be used: .*\[a\]: tags is 'logs'.*\[b\]"
    ):
        SearchAgent(demos, OneNumber())  # type: ignore[arg-type]
