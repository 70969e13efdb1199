"""What the small versions of measurements run on where nothing is given: seconds of play, and models of the debug sizes."""

from __future__ import annotations

from pathlib import Path

from idm.training import TrainingConfig
from vpt_pipeline import train_clip, train_idm, train_prior, train_text
from vpt_pipeline.record import RecordConfig, plan_episodes, record_many
from vpt_pipeline.train_clip import TrainClipConfig
from vpt_pipeline.train_idm import TrainIdmConfig
from vpt_pipeline.train_prior import TrainPriorConfig
from vpt_pipeline.train_text import TrainTextConfig

TASKS = ("dirt", "travel")


def small_play(folder: Path) -> tuple[Path, ...]:
    """Recordings of two tasks, in a folder each."""
    for task in TASKS:
        asked = RecordConfig(folder / task, (task,), ("focused",), episodes=3, steps=120)
        record_many(plan_episodes(asked), asked.out)
    return tuple(folder / task for task in TASKS)


def small_prior(folder: Path, play: tuple[Path, ...]) -> Path:
    """A policy that has hardly learnt anything of it."""
    train_prior.train(
        TrainPriorConfig(
            play, out=folder / "prior", preset="debug", recipe="debug", steps=2, nulls="keep", cache=folder / "cache"
        )
    )
    return folder / "prior"


def small_idm(folder: Path, play: tuple[Path, ...]) -> Path:
    """An inverse dynamics model."""
    made = TrainIdmConfig(
        play, folder / "idm", "debug", cache=folder / "cache", training=TrainingConfig(steps=2, batch=2)
    )
    train_idm.train(made)
    return made.out


def small_follower(folder: Path, play: tuple[Path, ...]) -> Path:
    """One that can be asked in words."""
    prior, clip, cache = small_prior(folder, play), folder / "clip", folder / "cache"
    train_clip.train(TrainClipConfig(play, out=clip, preset="debug", steps=2, batch=8, cache=cache))
    train_text.main(
        TrainTextConfig(
            play, str(prior), str(clip), out=folder / "text", nulls="keep", steps=2, batch=2, chunk=8, hold_back=0.3,
            goal_prior_epochs=2, cache=cache,
        )
    )  # fmt: skip
    return folder / "text"
