"""Scripted players in ViZDoom: they get things done, press every key, and play the same again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import pytest

from data.actions import Action
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.envs.vizdoom import VizdoomEnv
from vpt_pipeline.players.style import STYLES
from vpt_pipeline.players.vizdoom_player import HIGHEST, LOWEST, VIZDOOM_SCRIPTS, VizdoomPlayer


@pytest.fixture
def env() -> Iterator[VizdoomEnv]:
    made = VizdoomEnv((160, 90))
    yield made
    made.close()


def play(env: VizdoomEnv, task: str, style: str, seed: int, steps: int) -> tuple[list[Action], list[GameTruth]]:
    _, info = env.reset(seed=seed)
    player = VizdoomPlayer(env, task, style, seed)
    truths, actions = [cast(GameTruth, info)], []
    player.reset(truths[0])
    for _ in range(steps):
        actions.append(player.act(truths[-1]))
        *_, info = env.step(actions[-1].to_env())
        truths.append(cast(GameTruth, info))
    return actions, truths


@pytest.mark.parametrize("style", sorted(STYLES))
def test_collects_what_lies_about(env: VizdoomEnv, style: str) -> None:
    _, truths = play(env, "collect", style, 5, 700)
    assert sum(truths[-1]["gained"].values()) >= 5


def test_travels_to_the_edge(env: VizdoomEnv) -> None:
    _, truths = play(env, "travel", "steady", 5, 500)
    assert truths[-1]["max_distance"] > 35


def test_freeplay_presses_every_key_and_stays_within_the_view(env: VizdoomEnv) -> None:
    presses: Counter[str] = Counter()
    pitches: list[float] = []
    for seed, style in enumerate(("steady", "twitchy", "wanderer")):
        actions, truths = play(env, "freeplay", style, seed, 1400)
        held: frozenset[str] = frozenset()
        for action in actions:
            presses.update(action.buttons - held)
            held = action.buttons
        still = sum(a["position"] == b["position"] for a, b in pairwise(truths))
        assert still < 0.5 * len(truths)
        pitches += [truth["pitch"] for truth in truths]
    assert HIGHEST - 1.5 < min(pitches) < -5
    assert 20 < max(pitches) < LOWEST + 1.5
    moves = ("attack", "forward", "back", "left", "right", "jump", "sneak", "sprint")
    assert all(presses[key] >= 8 for key in moves), presses
    assert all(presses[f"hotbar.{slot}"] >= 1 for slot in range(1, 10)), presses
    assert presses["drop"] >= 1
    assert presses["use"] >= 1
    assert presses["inventory"] == presses["ESC"] == 0


def test_same_seed_same_play_and_replay_without_questions_gives_the_same_states(env: VizdoomEnv) -> None:
    actions, truths = play(env, "freeplay", "brisk", 3, 300)
    assert play(env, "freeplay", "brisk", 3, 300)[0] == actions
    assert play(env, "freeplay", "twitchy", 3, 300)[0] != actions
    env.reset(seed=3)
    for action, truth in zip(actions, truths[1:], strict=True):
        *_, info = env.step(action.to_env())
        assert (info["position"], info["yaw"], info["gained"]) == (truth["position"], truth["yaw"], truth["gained"])


def test_unknown_task_is_named_with_what_there_is(env: VizdoomEnv) -> None:
    with pytest.raises(ValueError, match=rf"logs.*{', '.join(VIZDOOM_SCRIPTS)}"):
        VizdoomPlayer(env, "logs", "steady", 0)
    with pytest.raises(ValueError, match="steady"):
        VizdoomPlayer(env, "freeplay", "nobody", 0)
