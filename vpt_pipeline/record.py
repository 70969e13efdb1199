"""Record scripted play in the embedded game, in OpenAI's contractor format: video, actions, and the game's events.

Several games run side by side. Finished recordings are kept, so the same command again goes on where it stopped, and
more episodes can be added to a folder. A game that dies is started anew and its episode recorded again.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from data.actions import BUTTONS
from data.files import PART_MARK
from data.names import require_name
from data.recording import Recording
from vpt_pipeline.agents import require_agent
from vpt_pipeline.envs import GAMES, make_env
from vpt_pipeline.players import STYLES
from vpt_pipeline.processes import run_jobs
from vpt_pipeline.progress import Tally, progress_bar, say
from vpt_pipeline.recorder import TICK_RATE, EpisodePlan, record_episode
from vpt_pipeline.tasks import TASKS, require_seed

ATTEMPTS = 3
"""How often an episode is begun before its failure is the command's."""


@dataclass(frozen=True)
class RecordConfig:
    """Settings of `vpt record`."""

    out: Annotated[Path, tyro.conf.Positional] = Path("runs/play")
    """Folder for the recordings: NAME.mp4, NAME.jsonl, NAME.meta.json."""
    task: tuple[str, ...] = ("freeplay",)
    """What is played: travel, logs, dirt, seeds, flowers, pillar, hunt, explore, or freeplay (some of everything)."""
    player: tuple[str, ...] = ("steady", "twitchy", "wanderer")
    """Who plays: steady, twitchy, wanderer, brisk (keep one out of training, to judge on); or focused, to learn tasks from (in
    freeplay: travel, logs, dirt, seeds and flowers by turns, to learn goals from)."""
    episodes: int = 2
    """Episodes of each task by each player."""
    minutes: float = 3.0
    """Length of an episode in minutes of play."""
    steps: int | None = None
    """Length of an episode in frames (20 a second), instead of minutes."""
    size: tuple[int, int] = (320, 180)
    """Width and height of the video. VPT's own recordings are 640 360."""
    seed: int = 0
    """Seed of the first episode; the others count on. It decides the start and every choice of the player."""
    novice: str | None = None
    """A policy that takes turns with the player, to record the way out of where it gets: training copies the player alone."""
    game: str = "luanti"
    """The game to record in: luanti, or vizdoom (its players know travel, explore and freeplay)."""
    workers: int = 2
    """Games at the same time. One takes about one core."""


def plan_episodes(config: RecordConfig) -> list[EpisodePlan]:
    """The recordings that a config asks for, each with its own seed. Raises ValueError for what cannot be played."""
    require_name("game", config.game, GAMES)
    for task in config.task:
        require_name("task", task, TASKS)
    for player in config.player:
        require_name("player", player, STYLES)
    if config.novice is not None:
        require_agent(config.novice, config.game)
    steps = config.steps if config.steps is not None else round(config.minutes * 60 * TICK_RATE)
    for what, value in (("episodes", config.episodes), ("steps", steps), ("workers", config.workers)):
        if value < 1:
            raise ValueError(f"{what} is {value}; expected at least 1")
    plans = []
    for task in config.task:
        for number in range(config.episodes):
            for index, player in enumerate(config.player):
                seed = config.seed + number * len(config.player) + index
                require_seed(seed)
                world = TASKS[task].episode(seed).map_seed
                plans.append(EpisodePlan(config.game, task, player, seed, world, steps, config.size, config.novice))
    return plans


def record_many(
    plans: Sequence[EpisodePlan], folder: Path, workers: int = 2, title: str = "", warn: Callable[[str], None] = say
) -> list[Recording]:
    """Record what is not there yet, with a progress bar; returns the recordings of all plans, in order.

    title: of the bar. warn: told of every episode that is begun again. Raises the game's error when an episode fails for good.
    """
    todo = [plan for plan in plans if not plan.is_finished(folder)]
    frames = sum(plan.steps for plan in plans)
    with progress_bar(title or f"recording into {folder}", frames, "frames") as bar:
        bar.skip(frames - sum(plan.steps for plan in todo))
        tally = Tally(bar.advance)
        if workers == 1 or len(todo) == 1:
            for plan in todo:
                _record_with_retries(plan, folder, partial(tally.at, plan.name), warn)
        elif todo:
            _record_in_parallel(todo, folder, min(workers, len(todo)), tally, warn)
    return [Recording(*plan.files(folder)) for plan in plans]


def _record_with_retries(
    plan: EpisodePlan, folder: Path, tell: Callable[[int], None], warn: Callable[[str], None]
) -> None:
    for leftover in folder.glob(f".{plan.name}.*{PART_MARK}.*"):  # of a process that was killed
        leftover.unlink(missing_ok=True)
    there = 0

    def told(frames: int) -> None:
        nonlocal there
        there = frames
        tell(frames)

    for attempt in range(1, ATTEMPTS + 1):
        told(0)
        try:
            with contextlib.closing(make_env(plan.game, plan.size)) as env:
                record_episode(env, plan, folder, told)
        except RuntimeError as error:  # what both games raise when they die
            if attempt == ATTEMPTS:
                raise
            warn(
                f"[yellow]{plan.name}: the game died after {there // TICK_RATE} s of play, begun again:[/yellow] {error}"
            )
        else:
            tell(plan.steps)  # an episode that ended early counts as done
            return


def _record_one(job: tuple[EpisodePlan, Path], tell: Callable[[int | str], None]) -> None:
    plan, folder = job
    if plan.novice is not None:
        import torch

        torch.set_num_threads(1)  # the other games want the other cores
    _record_with_retries(plan, folder, tell, tell)


def _record_in_parallel(
    plans: list[EpisodePlan], folder: Path, workers: int, tally: Tally, warn: Callable[[str], None]
) -> None:
    def heard(job: tuple[EpisodePlan, Path], message: int | str) -> None:
        if isinstance(message, str):
            warn(message)
        else:
            tally.at(job[0].name, message)

    def died(job: tuple[EpisodePlan, Path], how: str) -> None:
        tally.at(job[0].name, 0)
        warn(f"[yellow]{job[0].name}: its process {how}; begun again[/yellow]")

    run_jobs(_record_one, [(plan, folder) for plan in plans], workers, heard, died, ATTEMPTS)


def count_presses(recordings: Iterable[Recording]) -> tuple[Counter[str], int]:
    """(how often each button was pressed, frames) over recordings that were made here."""
    presses, frames = Counter[str](), 0
    for recording in recordings:
        meta = recording.load_meta()
        presses.update(meta["presses"])
        frames += int(meta["frames"])
    return presses, frames


def main(config: RecordConfig) -> int:
    """Record; returns 0."""
    plans = plan_episodes(config)
    there = sum(plan.is_finished(config.out) for plan in plans)
    if there:
        say(f"{there} of {len(plans)} recordings are there already")
    recordings = record_many(plans, config.out, config.workers)
    presses, frames = count_presses(recordings)
    say(f"{len(recordings)} recordings, {frames / TICK_RATE / 60:.1f} minutes of play. Presses: ")
    say("  " + ", ".join(f"{name} {presses[name]}" for name in BUTTONS))
    for plan in plans:
        meta = json.loads(plan.files(config.out)[2].read_text())
        early = f", ended early: {meta['ended']} after {meta['frames']} frames" if meta["ended"] else ""
        say(f"  {plan.name}: {meta['result']:g} {meta['unit']}{early}")
    return 0
