"""Episodes that a policy plays to learn from: what it read, did and got in each frame, as files; several games side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prior.agent import PolicyAgent
from prior.nn.threads import torch_threads
from prior.rl.played import Played
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.processes import Tell, Watch, run_in_turn
from vpt_pipeline.progress import Tally, say
from vpt_pipeline.recorder import TICK_RATE
from vpt_pipeline.rollout import ATTEMPTS, Stage
from vpt_pipeline.tasks import tasks_of


@dataclass(frozen=True)
class PracticePlan:
    """Everything that decides an episode. policy: its folder; file: to write the :class:`Played` to."""

    policy: str
    game: str
    task: str
    seed: int
    steps: int
    size: tuple[int, int]
    file: Path


def practise(plan: PracticePlan, tell: Callable[[int], None], stage: Stage) -> str:
    """Play the episode and write its file; returns why it could not be played, or "". A reward is by how much an action raised
    the task's measure. A game that dies is started again. tell: as in :func:`vpt_pipeline.rollout.roll_out`."""
    error = ""
    for _ in range(ATTEMPTS):
        try:
            with torch_threads(1), stage.env(plan.game, plan.size) as env:
                _play(plan, env, tell, stage).save(plan.file)
        except RuntimeError as died:  # what the games raise when they die
            error = str(died)
        else:
            return ""
    return f"failed to run {ATTEMPTS} times: {error}"


def _play(plan: PracticePlan, env: Any, tell: Callable[[int], None], stage: Stage) -> Played:
    task = tasks_of(plan.game)[plan.task]
    policy = stage.models.policy(plan.policy)
    agent = PolicyAgent(policy, seed=plan.seed)
    channels = policy.config.inputs.channels
    options = task.reset_options(task.episode(plan.seed).map_seed)
    observation, info = env.reset(seed=plan.seed, options=options)
    truth, meter = cast(GameTruth, info), task.measure()
    reached = meter.update(truth)
    images, motion = list[NDArray[np.uint8]](), list[NDArray[np.float16]]()
    buttons, camera, reward = list[NDArray[np.int64]](), list[NDArray[np.int64]](), list[float]()
    while len(reward) < plan.steps and not truth["ended"]:
        keys, turn = agent.joint([observation["pov"]])
        (seen,) = agent.seen
        observation, _, _, _, info = env.step(agent.actions.to_track(keys, turn).action(0).to_env())
        truth = cast(GameTruth, info)
        before, reached = reached, meter.update(truth)
        images.append(seen.images[..., :channels])
        motion.append(seen.motion)
        buttons.append(keys)
        camera.append(turn)
        reward.append(reached - before)
        if len(reward) % TICK_RATE == 0:
            tell(len(reward))
    if not reward:
        raise RuntimeError("the episode was over before it began")
    return Played(
        np.concatenate(images),
        np.concatenate(motion),
        np.concatenate(buttons),
        np.concatenate(camera),
        np.array(reward, np.float32),
        bool(truth["ended"]),
    )


@contextmanager
def _player() -> Iterator[Callable[[PracticePlan, Tell], str]]:
    with closing(Stage()) as stage:
        yield lambda plan, tell: practise(plan, tell, stage)


class _Books(Watch[PracticePlan, str]):
    def __init__(self, advance: Callable[[int], None]) -> None:
        self._tally = Tally(advance)

    def heard(self, job: PracticePlan, message: int) -> None:
        self._tally.at(job.file, message)

    def done(self, job: PracticePlan, result: str) -> None:
        self._tally.at(job.file, job.steps)  # one that ended early counts as done

    def died(self, job: PracticePlan, how: str) -> None:
        self._tally.at(job.file, 0)
        say(f"[yellow]{job.file.stem}: its process {how}; begun again[/yellow]")

    def lost(self, job: PracticePlan, how: str) -> str:
        return f"its process {how}"


def practise_all(
    plans: Sequence[PracticePlan], workers: int, advance: Callable[[int], None], skip: Callable[[int], None]
) -> list[Played]:
    """The episodes of all plans that could be played, in order; those whose files are there are not played again.

    advance: told of frames as they are played; skip: of those that were there already.
    Raises ValueError where none could be.
    """
    todo = [plan for plan in plans if not plan.file.exists()]
    skip(sum(plan.steps for plan in plans) - sum(plan.steps for plan in todo))
    failures = run_in_turn(_player, todo, workers, _Books(advance), ATTEMPTS) if todo else []
    for plan, why in zip(todo, failures, strict=True):
        if why:
            say(f"[yellow]{plan.file.stem}: left out, {why}[/yellow]")
    played = [Played.load(plan.file) for plan in plans if plan.file.exists()]
    if not played:
        raise ValueError(f"no episode of {plans[0].task} could be played in {plans[0].game}; {failures[0]}")
    return played
