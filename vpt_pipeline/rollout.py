"""One episode of an agent in a game: its result and, if asked for, its video with actions in contractor format.

Beside the video of an agent that copies, NAME.copied.jsonl says what: one line a frame.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from data.contractor import ContractorWriter
from data.files import atomic_path
from data.video import VideoWriter
from vpt_pipeline.agents import Acting, TellingAgent, make_agent
from vpt_pipeline.copied_view import copied_log
from vpt_pipeline.envs import make_env
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.recorder import TICK_RATE, write_step
from vpt_pipeline.tasks import tasks_of

ATTEMPTS = 3
"""How often an episode is begun before it counts as failed to run."""


@dataclass(frozen=True)
class RolloutPlan:
    """Everything that decides an episode. video: a file to write, or None."""

    agent: str
    game: str
    task: str
    seed: int
    steps: int
    size: tuple[int, int] = (320, 180)
    acting: Acting = field(default_factory=Acting)
    video: Path | None = None
    threads: int = 1


@dataclass(frozen=True)
class Rollout:
    """What came of it. result: the task's measure, None if the episode failed to run, which is not the same as 0. measures:
    what each task's measure makes of the same episode; attempts: how often the game was started for it."""

    agent: str
    task: str
    seed: int
    map_seed: int
    result: float | None
    success: bool | None
    frames: int = 0
    ended: str = ""
    seconds: float = 0.0
    presses: dict[str, int] | None = None
    video: str | None = None
    error: str = ""
    measures: dict[str, float] | None = None
    attempts: int = 1


def roll_out(plan: RolloutPlan, tell: Callable[[int], None] = lambda frames: None) -> Rollout:
    """Play the episode. A game that dies is started again; one that dies every time is told of in ``error``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        return _attempts(plan, tell)
    finally:
        torch.set_num_threads(threads)


def _attempts(plan: RolloutPlan, tell: Callable[[int], None]) -> Rollout:
    error = ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with contextlib.closing(make_env(plan.game, plan.size)) as env:
                return replace(_play(plan, env, tell), attempts=attempt)
        except RuntimeError as died:  # what the games raise when they die
            error = str(died)
    world = tasks_of(plan.game)[plan.task].episode(plan.seed).map_seed
    error = f"failed to run {ATTEMPTS} times: {error}"
    return Rollout(plan.agent, plan.task, plan.seed, world, None, None, error=error, attempts=ATTEMPTS)


def _play(plan: RolloutPlan, env: Any, tell: Callable[[int], None]) -> Rollout:
    tasks = tasks_of(plan.game)
    task = tasks[plan.task]
    world = task.episode(plan.seed).map_seed
    agent = make_agent(plan.agent, env, plan.game, plan.task, plan.seed, plan.acting)
    observation, info = env.reset(seed=plan.seed, options=task.reset_options(world))
    truth, begun = cast(GameTruth, info), time.monotonic()
    meters = {name: other.measure() for name, other in tasks.items()}
    agent.reset({**observation, "truth": truth})
    results = {name: meter.update(truth) for name, meter in meters.items()}
    held, presses, steps = frozenset[str](), Counter[str](), 0
    with contextlib.ExitStack() as stack:
        video = records = told = None
        if plan.video is not None:
            plan.video.parent.mkdir(parents=True, exist_ok=True)
            video = stack.enter_context(VideoWriter(plan.video, plan.size, TICK_RATE))
            records = stack.enter_context(ContractorWriter(plan.video.with_suffix(".jsonl")))
            if isinstance(agent, TellingAgent):
                part = stack.enter_context(atomic_path(copied_log(plan.video)))
                told = stack.enter_context(part.open("w", encoding="utf-8"))
        while steps < plan.steps and not truth["ended"]:
            action = agent.act({**observation, "truth": truth})
            seen, frame = truth, observation["pov"]
            observation, _, _, _, info = env.step(action.to_env())
            truth = cast(GameTruth, info)
            if video is not None and records is not None:
                video.write(frame)
                write_step(records, action, seen, truth, plan.size[1])
            if told is not None and isinstance(agent, TellingAgent):
                told.write(json.dumps(agent.told()) + "\n")
            presses.update(action.buttons - held)
            held, steps = action.buttons, steps + 1
            results = {name: meter.update(truth) for name, meter in meters.items()}
            if steps % 20 == 0:
                tell(20)
    result = results[plan.task]
    return Rollout(
        plan.agent,
        plan.task,
        plan.seed,
        world,
        result,
        result >= task.goal if task.goal else None,
        steps,
        truth["ended"],
        round(time.monotonic() - begun, 2),
        dict(sorted(presses.items())),
        None if plan.video is None else str(plan.video),
        measures=results,
    )
