"""Players press keys and move the mouse like people, keep to what the game can show, and repeat with their seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data.actions import BUTTONS, DEGREES_PER_COUNT, Action, ActionTrack
from tests.pipeline.fake_world import GROUND, FakeWorld
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.players import STYLES, ScriptedPlayer, scripts
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.gather import DIRT
from vpt_pipeline.players.keys import Keys
from vpt_pipeline.players.mouse import Mouse, bell_steps
from vpt_pipeline.players.paths import Surroundings, straighten
from vpt_pipeline.players.routes import WATER_LEVEL
from vpt_pipeline.players.scripts import CHORE_FRAMES, CHORES, SCRIPTS
from vpt_pipeline.players.slips import Slips
from vpt_pipeline.tasks import TASKS

Freeplay = dict[str, tuple[ActionTrack, list[bool]]]


def play(task: str, style: str, seed: int, frames: int) -> tuple[ActionTrack, list[bool]]:
    """Actions of play in the fake world, and for each frame whether the player stood on the ground."""
    world = FakeWorld()
    _, truth = world.reset(seed=seed)
    player = ScriptedPlayer(world, task, style, seed)
    player.reset(truth)
    actions: list[Action] = []
    grounded: list[bool] = []
    for _ in range(frames):
        grounded.append(truth["position"][1] <= 10.5)
        action = player.act(truth)
        actions.append(action)
        truth = world.step(action.to_env())[-1]
    return ActionTrack.from_actions(actions), grounded


LIVELY = sorted(set(STYLES) - {"focused"})
"""Players with habits, from whose freeplay every key is to be learnt."""


@pytest.fixture(scope="module")
def freeplay() -> Freeplay:
    return {style: play("freeplay", style, 5, 6000) for style in LIVELY}


def runs(column: np.ndarray) -> list[int]:
    """Lengths of the stretches in which a button is held."""
    return [len(list(group)) for down, group in itertools.groupby(column.tolist()) if down]


def test_the_mouse_arrives_and_moves_in_whole_counts() -> None:
    for style in (replace(style, jogs=0.0) for style in STYLES.values()):
        mouse, left = Mouse(style, np.random.default_rng(1)), np.array([-20.0, 130.0])
        for _ in range(200):
            turn = np.array(mouse.towards((float(left[0]), float(left[1])), tolerance=2.0))
            counts = turn / DEGREES_PER_COUNT
            assert np.allclose(counts, np.round(counts), atol=1e-6)
            assert np.abs(turn).max() <= 1.5 * style.turn_peak + 1
            left = left - turn
        assert np.hypot(*left) < 3.0, style.name


def test_a_jogged_hand_strays_and_comes_back() -> None:
    assert STYLES["focused"].jogs
    mouse, left, off = Mouse(STYLES["focused"], np.random.default_rng(1)), np.zeros(2), []
    for _ in range(4000):
        left = left - np.array(mouse.towards((float(left[0]), float(left[1])), tolerance=2.0))
        off.append(np.hypot(*left))
    assert np.mean(np.array(off) > 5.0) > 0.03  # what a hand that errs needs to be shown
    assert np.median(off) < 1.5 and max(off) < 40.0


class Spots(FakeWorld):
    """Only every fifth node of the ground is what is asked for."""

    def ask(self, op: str, **question: object) -> int:
        number = super().ask(op, **question)
        if question.get("names") == list(DIRT.names):
            self.questions[number] = [cell for cell in self.questions[number] if self.is_spot(cell)]
        return number

    @staticmethod
    def is_spot(cell: list[int]) -> bool:
        return (2 * cell[0] + cell[2]) % 5 == 0


def test_slips_come_as_often_as_the_style_says_and_some_look_at_the_sky() -> None:
    style, minutes = STYLES["focused"], 50
    slips, began, looked, before = Slips(style, np.random.default_rng(0)), 0, [0.0], False
    for _ in range(minutes * 1200):
        slip = slips.next()
        began += slip is not None and not before
        looked = [*looked, 0.0] if slip is None and before else looked
        looked[-1] += slip[1][0] if slip is not None else 0.0
        before = slip is not None
    assert 0.7 * style.slips < began / minutes < style.slips  # not while another goes on
    assert 0.02 < np.mean(np.abs(looked) > 60) < 0.2


def test_who_plays_by_sight_strikes_only_what_is_in_the_crosshair() -> None:
    world = Spots()
    _, truth = world.reset(seed=2)
    player = ScriptedPlayer(world, "dirt", "focused", 2)
    player.reset(truth)
    struck, aimed, turned, before, blow = [], [], [], False, 0
    for _ in range(3000):
        pointed = world.pointed(4.0)
        action = player.act(truth)
        blow = blow + 1 if "attack" in action.buttons else 0
        if blow:
            struck.append(before)
        if 2 <= blow <= 4:
            turned.append(max(np.abs(action.camera)))
        before = pointed is not None and world.is_spot(pointed[2:])  # hands follow what was seen a frame ago
        aimed.append(before)
        truth = world.step(action.to_env())[-1]
    assert len(struck) > 300 and np.mean(struck) > 0.9 and np.mean(aimed) < 0.8
    assert np.median(turned) < 0.4  # degrees a frame: the hand comes to rest where it strikes


class Barren(FakeWorld):
    """An island with nothing to gather but what lies straight below. shore: how far away the sea is, in metres."""

    shore = math.inf

    def ask(self, op: str, **question: object) -> int:
        number = super().ask(op, **question)
        if op == "near":
            self.questions[number] = [[round(self.x), GROUND, round(self.z), 0.0]]
        return number

    def _truth(self, events: list[dict[str, object]], counts: tuple[int, int]) -> GameTruth:
        truth = super()._truth(events, counts)
        x, y, z = truth["position"]
        truth["position"] = (x, WATER_LEVEL - 0.1 if math.hypot(x, z) > self.shore else y, z)
        return truth


def search(shore: float) -> tuple[Barren, np.ndarray, list[bool]]:
    """600 frames of a search for logs: the world after it, the degrees turned in each, and whether the player swam."""
    world = Barren()
    world.shore = shore
    _, truth = world.reset(seed=0)
    player = ScriptedPlayer(world, "logs", replace(STYLES["focused"], jogs=0.0, slips=0.0), 2)
    player.reset(truth)
    yaws, walking, swimming = [truth["yaw"]], [], []
    for _ in range(600):
        action = player.act(truth)
        assert "attack" not in action.buttons, "nothing can be got at"
        walking.append("forward" in action.buttons)
        truth = world.step(action.to_env())[-1]
        yaws.append(truth["yaw"])
        swimming.append(truth["position"][1] < WATER_LEVEL)
    assert np.mean(walking) > 0.9
    return world, (np.diff(yaws) + 180) % 360 - 180, swimming


def test_who_searches_walks_on_in_a_spiral() -> None:
    world, turned, _ = search(shore=math.inf)
    assert 60 < turned[:80].sum() < 180, "most of what is around is seen in the first seconds"
    assert np.mean(np.abs(turned) > 3) < 0.1, "no turning on the spot"
    assert math.hypot(world.x, world.z) > 5


def test_freeplay_of_the_single_minded_is_each_tasks_work_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, int]] = []

    def told(name: str) -> Callable[[Body], Script]:
        script = SCRIPTS[name]

        def tell(body: Body) -> Script:
            begun.append((name, len(frames)))
            yield from script(body)

        return tell

    frames: list[Action] = []
    monkeypatch.setattr(scripts, "SCRIPTS", {name: told(name) for name in SCRIPTS})
    world = FakeWorld()
    _, truth = world.reset(seed=1)
    player = ScriptedPlayer(world, "freeplay", "focused", 1)
    player.reset(truth)
    for _ in range(6000):
        frames.append(player.act(truth))
        truth = world.step(frames[-1].to_env())[-1]
    names, starts = zip(*begun, strict=True)
    assert {*names} == {*CHORES} and all(one != next_one for one, next_one in itertools.pairwise(names))
    least, most = CHORE_FRAMES
    assert all(least <= length <= most + 1 for length in np.diff(starts))
    pressed = ActionTrack.from_actions(frames)
    assert {"hotbar.2", "hotbar.3"} <= {name for name in BUTTONS if pressed.buttons[:, BUTTONS.index(name)].any()}
    assert not {"inventory", "drop", "sneak"} & {key for action in frames for key in action.buttons}


def test_who_comes_into_the_sea_turns_back() -> None:
    _, _, swimming = search(shore=16.0)
    began = swimming.index(True)
    assert began < 500 and not any(swimming[began + 60 : began + 100])


def test_a_player_tells_which_actions_were_slips() -> None:
    """Without its slips the player would hold other keys; and what it means, it does most of the time."""
    world = FakeWorld()
    _, truth = world.reset(seed=2)
    player = ScriptedPlayer(world, "travel", "focused", 2)
    player.reset(truth)
    told, slow = [], []
    for _ in range(4000):
        action = player.act(truth)
        told.append(player.slipped)
        slow.append("forward" not in action.buttons)
        truth = world.step(action.to_env())[-1]
    assert 0.05 < np.mean(told) < 0.4
    stops = np.array(slow)
    assert stops[np.array(told)].mean() > 5 * stops[~np.array(told)].mean()  # who means to travel, walks
    steady = ScriptedPlayer(world, "travel", "brisk", 2)
    steady.reset(truth)
    for _ in range(300):
        truth = world.step(steady.act(truth).to_env())[-1]
        assert not steady.slipped


def test_strokes_are_bells_that_cover_their_distance() -> None:
    for warp in (0.75, 1.0, 1.1):
        steps = bell_steps(9, warp)
        assert steps.sum() == pytest.approx(1.0)
        assert steps.argmax() not in (0, 8) and (steps >= 0).all()


def test_keys_stay_down_as_long_as_fingers_do_and_opposites_never_meet() -> None:
    style = STYLES["twitchy"]
    keys, rng = Keys(style, np.random.default_rng(0)), np.random.default_rng(1)
    wishes = [
        {name for name in ("forward", "back", "left", "right", "sprint") if rng.random() < 0.4} for _ in range(2000)
    ]
    held = [keys.settle(wish) for wish in wishes]
    for down in held:
        assert not {"forward", "back"} <= down and not {"left", "right"} <= down
        assert "sprint" not in down or "forward" in down
    alone = Keys(style, np.random.default_rng(0))
    pressed = [alone.settle({"jump"} if frame % 20 == 0 else ()) for frame in range(200)]
    assert runs(np.array(["jump" in down for down in pressed])) and all(
        style.tap[0] <= length <= style.tap[1] for length in runs(np.array(["jump" in down for down in pressed]))
    )


@pytest.mark.parametrize("style", LIVELY)
def test_freeplay_presses_every_key_often_and_never_senselessly(style: str, freeplay: Freeplay) -> None:
    track, grounded = freeplay[style]
    down = {name: track.buttons[:, index] for index, name in enumerate(BUTTONS)}
    presses = {name: len(runs(column)) for name, column in down.items()}
    for name in BUTTONS:  # half of ten minutes
        least = 4 if name in ("drop", "inventory") or name.startswith("hotbar") else 12
        assert presses[name] >= least, presses
    assert not (down["forward"] & down["back"]).any() and not (down["left"] & down["right"]).any()
    assert not (down["sprint"] & ~down["forward"]).any()
    for name in BUTTONS:
        assert np.median(runs(down[name])) >= 2, name
    starts = np.flatnonzero(down["jump"] & ~np.r_[False, down["jump"][:-1]])
    assert np.mean([grounded[frame] for frame in starts]) > 0.9  # a jump that begins in the air would not show


@pytest.mark.parametrize("style", LIVELY)
def test_the_camera_rests_flicks_and_uses_both_axes(style: str, freeplay: Freeplay) -> None:
    camera = freeplay[style][0].camera
    still = (camera == 0).all(1).mean()
    assert 0.15 < still < 0.65
    assert camera[:, 0].std() > 0.5 and camera[:, 1].std() > 1.0
    assert np.abs(camera).max() < 20
    assert (camera[:, 0] > 0).any() and (camera[:, 0] < 0).any()


def test_styles_differ(freeplay: Freeplay) -> None:
    speed = {style: np.percentile(np.abs(track.camera[:, 1]), 98) for style, (track, _) in freeplay.items()}
    assert speed["steady"] < speed["wanderer"] < speed["twitchy"]
    assert len(STYLES) >= 4


def test_equal_seeds_play_equally_and_others_do_not() -> None:
    first, again, other = (play("freeplay", "brisk", seed, 500)[0] for seed in (3, 3, 4))
    assert (first.buttons == again.buttons).all() and (first.camera == again.camera).all()
    assert (first.buttons != other.buttons).any()


@pytest.mark.parametrize("task", sorted(SCRIPTS))
def test_every_task_is_played_without_end(task: str) -> None:
    track, _ = play(task, "steady", 1, 800)
    assert len(track) == 800 and track.buttons.any()


def test_every_script_has_a_task_and_every_task_a_script() -> None:
    assert set(SCRIPTS) == set(TASKS)
    for task in TASKS.values():
        assert len({episode.seed for episode in task.episodes}) == len(task.episodes) >= 5


def test_unknown_names_are_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'chess'.*travel"):
        ScriptedPlayer(FakeWorld(), "chess", "steady", 0)
    with pytest.raises(ValueError, match=r"unknown player 'bob'.*steady"):
        ScriptedPlayer(FakeWorld(), "travel", "bob", 0)
    with pytest.raises(ValueError, match="reset"):
        ScriptedPlayer(FakeWorld(), "travel", "steady", 0).act(FakeWorld().reset()[1])


def test_paths_are_straightened_only_where_there_is_room() -> None:
    stairs = [(0, 5, 0)]
    for step in range(1, 6):
        stairs += [(step, 5, step - 1), (step, 5, step)]
    field = {(x, 5, z) for x in range(-2, 9) for z in range(-2, 9)}
    assert straighten(stairs, field) == [(0, 5, 0), (5, 5, 5)]
    corridor = straighten(stairs, set(stairs))
    assert len(corridor) > 5 and corridor[-1] == (5, 5, 5)
    climb = [(0, 5, 0), (1, 5, 0), (2, 6, 0), (3, 6, 0), (4, 6, 0)]
    assert (1, 5, 0) in straighten(climb, set(climb))  # a step is taken square on


def test_paths_end_where_the_ceiling_is_low() -> None:
    path = [(x, 5, 0) for x in range(4)]
    room = {(x, y, 0) for x in range(4) for y in (5, 6)}
    assert Surroundings(frozenset(room), frozenset()).walkable_part(path) == path
    assert Surroundings(frozenset(room - {(2, 6, 0)}), frozenset()).walkable_part(path) == path[:2]
    up = [(0, 5, 0), (1, 6, 0)]
    above = frozenset({(0, 5, 0), (0, 6, 0), (1, 6, 0), (1, 7, 0)})
    assert Surroundings(above, frozenset()).walkable_part(up) == up[:1]  # no room to jump
    assert Surroundings(above | {(0, 7, 0)}, frozenset()).walkable_part(up) == up
