"""One episode of an agent in a game: its result and, if asked for, its video with actions in contractor format.

Beside the video of an agent that copies, NAME.copied.jsonl says what: one line a frame; beside that of one that can be asked,
NAME.asked.jsonl says for what it was asked, a line whenever that changed. Episodes that are played one after
another on a ``Stage`` share what is slow to begin: a game that can begin another episode as if it were its first, and weights.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from data.contractor import ContractorWriter
from data.files import atomic_path
from data.video import VideoWriter
from prior.nn.threads import torch_threads
from vpt_pipeline.agents import Acting, Agent, TellingAgent, make_agent
from vpt_pipeline.copied_view import copied_log
from vpt_pipeline.envs import make_env
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.prompts import AskedAgent, write_asked
from vpt_pipeline.recorder import TICK_RATE, write_step
from vpt_pipeline.rollout_models import Models
from vpt_pipeline.tasks import tasks_of
from vpt_pipeline.worlds import World

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
    world: World = field(default_factory=World)

    @property
    def map_seed(self) -> int:
        """Of the world that it is played in."""
        return (
            tasks_of(self.game)[self.task].episode(self.seed).map_seed if self.world.seed is None else self.world.seed
        )


def alike(plan: RolloutPlan) -> Sequence[Hashable]:
    """What makes an episode welcome on a stage where another was played, the weightiest first: the game, then the agent."""
    return plan.game, plan.size, plan.agent


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


class Stage:
    """What lasts between the episodes that are played on it, one at a time; ``close`` ends it.

    A game lasts where its env says so (``env.lasts``: another episode begins in it as in a fresh one), the embedded games,
    whose every episode is a fresh process anyway, do not. Weights last where the next episode's agent has the same.
    """

    def __init__(self) -> None:
        self.models = Models()
        self._game: tuple[str, tuple[int, int]] | None = None
        self._env: Any = None

    @contextlib.contextmanager
    def env(self, game: str, size: tuple[int, int]) -> Iterator[Any]:
        """An env for one episode. Whatever goes wrong in it ends the game."""
        if self._game != (game, size):
            self.close()
            self._env, self._game = make_env(game, size), (game, size)
        well = False
        try:
            yield self._env
            well = True
        finally:
            if not (well and getattr(self._env, "lasts", False)):
                self.close()

    def close(self) -> None:
        """End the game, if there is one."""
        env, self._env, self._game = self._env, None, None
        if env is not None:
            env.close()


Before = Callable[[Agent, int], None]
"""Called before each action with the agent and how many actions came before: to ask it for something else."""


def roll_out(
    plan: RolloutPlan,
    tell: Callable[[int], None] = lambda frames: None,
    stage: Stage | None = None,
    before: Before = lambda agent, frame: None,
) -> Rollout:
    """Play the episode. A game that dies is started again; one that dies every time is told of in ``error``.

    tell: told now and then how many frames are played, fewer than before where the game was started again.
    stage: where episodes were played before; by default it is the only one.
    """
    own = contextlib.nullcontext(stage) if stage is not None else contextlib.closing(Stage())
    with torch_threads(plan.threads), own as where:
        return _attempts(plan, tell, where, before)


def _attempts(plan: RolloutPlan, tell: Callable[[int], None], stage: Stage, before: Before) -> Rollout:
    error = ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with stage.env(plan.game, plan.size) as env:
                return replace(_play(plan, env, stage.models, tell, before), attempts=attempt)
        except RuntimeError as died:  # what the games raise when they die
            error = str(died)
    return failed(plan, f"{ATTEMPTS} times: {error}")


def failed(plan: RolloutPlan, why: str) -> Rollout:
    """What stands for an episode that could not be played."""
    error = f"failed to run {why}"
    return Rollout(plan.agent, plan.task, plan.seed, plan.map_seed, None, None, error=error, attempts=ATTEMPTS)


def _play(plan: RolloutPlan, env: Any, models: Models, tell: Callable[[int], None], before: Before) -> Rollout:
    tasks = tasks_of(plan.game)
    task = tasks[plan.task]
    world = plan.map_seed
    agent = make_agent(plan.agent, env, plan.game, plan.task, plan.seed, plan.acting, models=models)
    seed = plan.seed if plan.world.seed is None else plan.world.seed  # in Minecraft it makes the world
    observation, info = env.reset(seed=seed, options={**task.reset_options(world), **plan.world.options()})
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
            before(agent, steps)
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
            if steps % TICK_RATE == 0:
                tell(steps)
        if plan.video is not None and isinstance(agent, AskedAgent):
            write_asked(plan.video, agent.asked)
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
