"""Asking for one thing after another: schedules in agents' names, agents that are asked, and what is typed while they play."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from data.actions import Action
from vpt_pipeline.agents import LONGEST_LABEL, label_of
from vpt_pipeline.prompts import (
    Ask,
    AskedAgent,
    Schedule,
    asked_log,
    parse_then,
    read_asked,
    split_clip,
    split_schedule,
    with_schedule,
    write_asked,
)
from vpt_pipeline.prompts_typed import Conversation, TypedLines

WORDS = {"": "", "walk": "forward", "turn": "left", "dig": "attack"}
"""What the agent here understands, and which key it holds then."""


class Player:
    """Holds a key, and counts what it has seen."""

    def __init__(self) -> None:
        self.key, self.seen = "", 0

    def reset(self) -> None:
        self.seen = 0

    def act(self, observation: Mapping[str, Any]) -> Action:
        self.seen += 1
        return Action(frozenset({self.key} if self.key else ()))


class Obedient(AskedAgent):
    def __init__(self, first: str = "", then: Schedule = ()) -> None:
        self.player = Player()
        super().__init__(self.player, first, then)

    def _meaning(self, wish: str) -> str:
        if wish not in WORDS:
            raise ValueError(f"what is {wish!r}?")
        return WORDS[wish]

    def _heed(self, meaning: str) -> None:
        self.player.key = meaning


def keys(agent: AskedAgent, frames: int) -> list[str]:
    return ["".join(agent.act({}).buttons) for _ in range(frames)]


def test_a_schedule_is_a_part_of_a_name() -> None:
    name = with_schedule("runs/text:chop a tree", [(40, "collect seeds"), (2.5, "dig: dirt; now"), (60, "")])
    assert split_schedule(name) == (
        "runs/text:chop a tree",
        (Ask(50, "dig: dirt; now"), Ask(800, "collect seeds"), Ask(1200, "")),
    )
    assert split_schedule("sets/all:logs;20:dirt") == ("sets/all:logs", (Ask(400, "dirt"),))
    assert split_schedule("runs/text") == ("runs/text", ())
    assert with_schedule("a", []) == "a" and parse_then("20: dig dirt ") == (20.0, "dig dirt")
    with pytest.raises(ValueError, match=r"wishes in the order of their seconds.*after that of second 20"):
        split_schedule("runs/text; 20: dig; 20.01: chop")
    with pytest.raises(ValueError, match="read as another one"):
        with_schedule("runs/text", [(1, "dig; 20: chop")])
    for wrong in ("dig dirt", "20", "-1:dig", "nan:dig", "inf:dig", ""):
        with pytest.raises(ValueError, match=r"expected a second of the episode .*found"):
            parse_then(wrong)


def test_a_clip_may_name_a_second(tmp_path: Path) -> None:
    assert split_clip("video:a/b.mp4") == (Path("a/b.mp4"), None)
    assert split_clip("video:a/b.mp4:12.5") == (Path("a/b.mp4"), 12.5)
    assert split_clip("video:C:drive.mp4") == (Path("C:drive.mp4"), None)
    odd = tmp_path / "at:3"
    odd.touch()
    assert split_clip(f"video:{odd}") == (odd, None)


def test_labels_are_short_and_tell_wishes_apart() -> None:
    assert label_of("runs/prior") == "prior" and label_of("models/vpt/1x") == "vpt-1x"
    assert label_of("runs/sets:logs; 20: dirt; 40: look up/down") == "sets-logs-20s dirt-40s look up-down"
    long = [f"runs/prior; 1: {'dig and ' * 50}{n}" for n in range(2)]
    labels = {label_of(name) for name in long}
    assert len(labels) == 2 and max(map(len, labels)) < LONGEST_LABEL + 10


def test_an_agent_does_what_it_is_asked_for_when_it_is_time_and_forgets_nothing() -> None:
    agent = Obedient("walk", (Ask(3, "turn"), Ask(5, "")))
    for _ in range(2):  # as well in another episode
        agent.reset({})
        assert keys(agent, 7) == ["forward"] * 3 + ["left"] * 2 + [""] * 2
        assert agent.asked == [Ask(0, "walk"), Ask(3, "turn"), Ask(5, "")] and agent.player.seen == 7
    agent.ask("dig")
    assert keys(agent, 2) == ["attack"] * 2 and agent.wish == "dig" and agent.asked[-1] == Ask(7, "dig")
    with pytest.raises(ValueError, match="what is 'sing'"):
        agent.ask("sing")
    assert keys(agent, 1) == ["attack"]
    agent.ask("walk")
    agent.ask("turn")  # nothing was done for the one before
    assert agent.asked[-2:] == [Ask(7, "dig"), Ask(10, "turn")]
    with pytest.raises(ValueError, match="what is 'sing'"):  # said before the game begins
        Obedient("walk", (Ask(3, "sing"),))


def test_what_was_asked_for_lies_beside_the_video(tmp_path: Path) -> None:
    video, asked = tmp_path / "play.mp4", [Ask(0, "chop a tree"), Ask(400, "é")]
    write_asked(video, asked)
    assert read_asked(video) == asked
    asked_log(video).write_text('{"frame": 0}\n')
    with pytest.raises(ValueError, match=r"play\.asked\.jsonl:1: not what `vpt play` writes"):
        read_asked(video)
    asked_log(video).unlink()
    with pytest.raises(ValueError, match=r"play\.asked\.jsonl does not exist"):
        read_asked(video)


@pytest.fixture
def pipe() -> Iterator[tuple[IO[str], IO[bytes]]]:
    """What is read from, and what is written to."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader:
        writer = os.fdopen(writing, "wb", buffering=0)
        yield reader, writer
        writer.close()


def test_lines_come_as_they_are_typed_and_nobody_waits_for_them(pipe: tuple[Any, Any]) -> None:
    reader, writer = pipe
    typed = TypedLines(reader)
    assert typed.open and typed.line() is None
    writer.write("dig dirt\n\nfä".encode()[:-1])
    assert [typed.line() for _ in range(3)] == ["dig dirt", "", None]
    writer.write(b"\xa4ll a tree\r\nand the end")
    assert typed.line() == "fäll a tree" and typed.line() is None and typed.open
    writer.close()
    assert typed.line() == "and the end" and typed.line() is None and not typed.open


def test_without_anything_to_read_from_nothing_is_typed(pipe: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not TypedLines().open and TypedLines().line() is None
    reader, _ = pipe
    typed = TypedLines(reader)
    reader.close()
    assert typed.line() is None and not typed.open


def test_what_is_typed_is_asked_for_at_once_and_nonsense_changes_nothing(pipe: tuple[Any, Any]) -> None:
    reader, writer = pipe
    said: list[str] = []
    conversation = Conversation(TypedLines(reader), str.lower, said.append)
    agent, done = Obedient("walk"), []
    for frame in range(10):
        writer.write({2: b"DIG\n", 4: b"[sing]\n", 6: b"\n"}.get(frame, b""))
        conversation(agent, frame)
        done += keys(agent, 1)
    assert done == ["forward"] * 2 + ["attack"] * 4 + [""] * 4
    assert [line.split("asked for: ")[-1] for line in said] == ["walk", "dig", said[2], "[dim]nothing[/dim]"]
    assert "what is '\\[sing]'" in said[2]  # not taken for markup
    conversation(object(), 0)  # others are not asked


def test_a_game_waits_for_whoever_types_and_for_nobody_else(pipe: tuple[Any, Any]) -> None:
    reader, writer = pipe
    conversation = Conversation(TypedLines(reader), tell=lambda line: None)

    def seconds(frames: int, first: int) -> float:
        begun = time.monotonic()
        for frame in range(first, first + frames):
            conversation(agent, frame)
        return time.monotonic() - begun

    agent = Obedient()
    assert seconds(11, 0) >= 0.5
    writer.close()
    conversation(agent, 11)
    assert seconds(200, 12) < 5
