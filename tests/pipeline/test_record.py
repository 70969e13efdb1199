"""`vpt record`: what is written is what was played, frame by frame; it resumes, retries, and runs in parallel."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data.actions import Action
from data.recording import Recording, find_recordings
from data.video import read_frames
from tests.pipeline.fake_world import FakeWorld
from vpt_pipeline import record
from vpt_pipeline.envs import make_env
from vpt_pipeline.envs.luanti import GameDied, missing_requirements
from vpt_pipeline.progress import Bar
from vpt_pipeline.record import RecordConfig, count_presses, main, plan_episodes, record_many
from vpt_pipeline.recorder import EpisodePlan
from vpt_pipeline.tasks import TASKS
from vpt_pipeline.turns import NOVICE_FRAMES, PLAYER_FRAMES

PLAN = EpisodePlan("luanti", "freeplay", "twitchy", 3, 1, 120, (64, 36))


@dataclass
class Worlds:
    """Fake worlds in the place of games: those that were used, and those to use before new ones are made."""

    used: list[FakeWorld] = field(default_factory=list)
    waiting: list[FakeWorld] = field(default_factory=list)

    def make_env(self, game: str, size: tuple[int, int]) -> FakeWorld:
        self.used.append(self.waiting.pop(0) if self.waiting else FakeWorld(size))
        return self.used[-1]


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Worlds:
    worlds = Worlds()
    monkeypatch.setattr(record, "make_env", worlds.make_env)
    return worlds


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the progress bar is told of, one after another."""
    told: list[int] = []
    monkeypatch.setattr(Bar, "advance", lambda bar, count: told.append(count))
    return told


def frames_of(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.rgb for frame in read_frames(path)])


def records_of(recording: Recording) -> list[dict[str, Any]]:
    assert recording.actions is not None
    return [json.loads(line) for line in recording.actions.read_text().splitlines()]


@pytest.fixture(scope="module")
def game_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own for worlds. Skips where the game cannot run."""
    if missing := missing_requirements():
        pytest.skip(f"Luanti cannot run here: missing {'; '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPT_CACHE", str(tmp_path_factory.mktemp("vpt-cache")))
        yield


def test_every_frame_has_its_record_and_the_meta_file_says_what_it_is(
    worlds: Worlds, told: list[int], tmp_path: Path
) -> None:
    [recording] = record_many([PLAN], tmp_path, workers=1)
    track = recording.load_actions().actions
    assert len(frames_of(recording.video)) == len(track) == PLAN.steps == sum(told)
    assert track.buttons.any()
    meta = recording.load_meta()
    assert {name: meta[name] for name in ("game", "task", "player", "seed", "map_seed", "tick_rate", "frames")} == {
        "game": "luanti", "task": "freeplay", "player": "twitchy", "seed": 3, "map_seed": 1, "tick_rate": 20, "frames": 120,
    }  # fmt: skip
    assert meta["size"] == [64, 36] and all(0 <= event["tick"] < 120 for event in meta["events"])
    pressed = track.buttons & ~np.vstack([np.zeros_like(track.buttons[:1]), track.buttons[:-1]])
    assert pressed.sum() == sum(meta["presses"].values()) == sum(count_presses([recording])[0].values())
    assert find_recordings(tmp_path)[0].video == recording.video
    assert worlds.used[0].closed


def test_the_camera_is_whole_mouse_counts_and_the_cursor_in_window_pixels(worlds: Worlds, tmp_path: Path) -> None:
    [recording] = record_many([replace(PLAN, steps=1500)], tmp_path, workers=1)
    records = records_of(recording)
    assert all(float(line["mouse"][axis]).is_integer() for line in records for axis in ("dx", "dy"))
    opened = [line for line in records if line["isGuiOpen"]]
    assert opened and all(0 < line["mouse"]["x"] < 1280 and 0 < line["mouse"]["y"] < 720 for line in opened)
    first = opened[0]["mouse"]
    assert (first["x"], first["y"]) == pytest.approx((640, 360), abs=1)  # the fake's middle (32, 18), times 20


def test_a_novice_and_the_player_take_turns_and_the_meta_file_says_when(worlds: Worlds, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=900, novice="random")
    [recording] = record_many([plan], tmp_path / "a", workers=1)
    [again] = record_many([plan], tmp_path / "b", workers=1)
    assert records_of(recording) == records_of(again)
    spans, copied = recording.load_meta()["novice_spans"], recording.to_copy(900)
    assert len(spans) > 2 and spans[0][0] == 0 and 0.3 < copied.mean() < 0.7
    for start, end in spans[:-1]:
        assert NOVICE_FRAMES[0] <= end - start <= NOVICE_FRAMES[1]
        assert not copied[start:end].any() and copied[end : end + PLAYER_FRAMES[0]].all()
    held = recording.load_actions().actions.buttons.sum(1)
    assert held[~copied].mean() > 3 * held[copied].mean()  # who acts at random holds much at once
    turns = [held[start:end].tolist() for (_, start), (end, _) in pairwise(spans)]
    assert turns[0][:80] != turns[1][:80], "each turn begins with the same dice"


def test_finished_recordings_are_kept_and_unfinished_ones_made(worlds: Worlds, told: list[int], tmp_path: Path) -> None:
    plans = [replace(PLAN, seed=seed) for seed in (1, 2)]
    record_many(plans, tmp_path, workers=1)
    told.clear()
    video, _, meta = plans[0].files(tmp_path)
    before = video.stat().st_mtime_ns
    plans[1].files(tmp_path)[2].unlink()  # stopped before its end
    record_many([*plans, replace(PLAN, seed=3)], tmp_path, workers=1)
    assert len(worlds.used) == 4 and video.stat().st_mtime_ns == before and sum(told) == 2 * PLAN.steps
    assert meta.exists() and len(find_recordings(tmp_path)) == 3


def test_another_recording_of_the_same_name_is_not_taken_for_it(worlds: Worlds, tmp_path: Path) -> None:
    record_many([PLAN], tmp_path, workers=1)
    with pytest.raises(ValueError, match=r"steps is 120 and not 200.*another folder"):
        record_many([replace(PLAN, steps=200)], tmp_path, workers=1)


def test_a_dead_game_costs_only_its_own_attempt(worlds: Worlds, told: list[int], tmp_path: Path) -> None:
    worlds.waiting.append(FakeWorld((64, 36), dies_at=50, error=GameDied("it fell over")))
    warnings: list[str] = []
    [recording] = record_many([PLAN], tmp_path, workers=1, warn=warnings.append)
    assert recording.load_meta()["frames"] == 120 == sum(told)
    assert len(worlds.used) == 2 and "after 2 s" in warnings[0] and "it fell over" in warnings[0]
    [alike] = record_many([PLAN], tmp_path / "other", workers=1)
    assert records_of(alike) == records_of(recording)


def test_a_game_that_always_dies_ends_the_command_and_leaves_nothing(worlds: Worlds, tmp_path: Path) -> None:
    worlds.waiting += [FakeWorld((64, 36), dies_at=5, error=GameDied("again")) for _ in range(record.ATTEMPTS)]
    with pytest.raises(GameDied):
        record_many([PLAN], tmp_path, workers=1, warn=lambda text: None)
    assert not list(tmp_path.rglob("*.*"))


def test_plans_have_their_own_seeds_and_names_and_wrong_words_are_explained() -> None:
    config = RecordConfig(task=("logs", "freeplay"), player=("steady", "brisk"), episodes=3, minutes=0.5)
    plans = plan_episodes(config)
    assert len({plan.name for plan in plans}) == len(plans) == 12
    assert {plan.steps for plan in plans} == {600}
    assert len({plan.map_seed for plan in plans}) == len(TASKS["logs"].map_seeds)
    more = plan_episodes(replace(config, episodes=4))
    assert set(plans) < set(more)  # so that asking for more keeps what is there
    with pytest.raises(ValueError, match="did you mean 'flowers'"):
        plan_episodes(replace(config, task=("flower",)))
    with pytest.raises(ValueError, match="there are luanti"):
        plan_episodes(replace(config, game="chess"))
    with pytest.raises(ValueError, match="kept for evaluation"):
        plan_episodes(replace(config, seed=1_000_000))
    with pytest.raises(ValueError, match="runs/none"):
        plan_episodes(replace(config, novice="runs/none"))
    with pytest.raises(ValueError, match="episodes is 0"):
        plan_episodes(replace(config, episodes=0))


@pytest.mark.usefixtures("game_cache")
def test_recorded_actions_replay_to_the_recorded_frames(tmp_path: Path) -> None:
    """The alignment test: what is on record i leads from frame i to frame i + 1, and to no other."""
    plan = EpisodePlan("luanti", "freeplay", "twitchy", 1, 1, 220, (320, 180))
    [recording] = record_many([plan], tmp_path, workers=1)
    seen = frames_of(recording.video).astype(np.int16)
    track = recording.load_actions().actions
    records = records_of(recording)
    env = make_env(plan.game, plan.size)
    try:
        observation, truth = env.reset(seed=plan.seed, options=TASKS[plan.task].reset_options(plan.map_seed))
        frames = []
        for index in range(plan.steps):
            frames.append(observation["pov"])
            assert truth["position"] == pytest.approx([records[index][f"{axis}pos"] for axis in "xyz"], abs=1e-6), index
            assert truth["yaw"] == pytest.approx(records[index]["yaw"], abs=1e-6)
            action: Action = track.action(index)
            observation, _, _, _, truth = env.step(action.to_env())
    finally:
        env.close()
    replayed = np.stack(frames).astype(np.int16)
    aligned = np.abs(seen - replayed).mean((1, 2, 3))
    assert np.median(aligned) < 6 and np.mean(aligned < 9) > 0.95  # grey levels: what H.264 takes away
    turning = np.flatnonzero(np.abs(track.camera[1:-1]).max(1) > 1.0) + 1
    assert len(turning) > 20
    for shift in (-1, 1):
        shifted = np.abs(seen[turning] - replayed[turning + shift]).mean((1, 2, 3))
        assert np.mean(shifted > 1.5 * aligned[turning]) > 0.7
    # and the view turns by what the camera says, in the very step
    yaw = np.array([line["yaw"] for line in records])
    free = ~track.gui_open[:-1] & ~track.gui_open[1:]
    turned = (np.diff(yaw) + 180) % 360 - 180
    assert np.abs(turned - track.camera[:-1, 1])[free].max() < 1e-3


@pytest.mark.usefixtures("game_cache")
def test_the_command_records_several_games_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RecordConfig(tmp_path, task=("travel", "dirt"), player=("steady",), episodes=1, steps=60, workers=2)
    assert main(config) == 0
    recordings = find_recordings(tmp_path)
    assert len(recordings) == 2 and all(len(recording.load_actions().actions) == 60 for recording in recordings)
    assert "luanti-travel-steady" in capsys.readouterr().err
    assert main(config) == 0
    assert "2 of 2 recordings are there already" in capsys.readouterr().err


@pytest.mark.usefixtures("game_cache")
def test_killed_recording_processes_and_games_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [EpisodePlan("luanti", "freeplay", "brisk", seed, 1, 100, (160, 96)) for seed in (0, 3)]
    told: list[int] = []
    warnings: list[str] = []

    def advance(bar: Bar, frames: int) -> None:
        told.append(frames)
        if len(told) == 2:  # in the middle of the first attempt
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    monkeypatch.setattr(Bar, "advance", advance)
    recordings = record_many(plans, tmp_path, 2, warn=warnings.append)
    assert [recording.load_meta()["frames"] for recording in recordings] == [100, 100]
    assert sum(told) == 200 and "SIGKILL" in warnings[0]
    assert not list(tmp_path.glob(".*")), "half-written files are left"
