"""What guidance costs: a step of a policy with goals that is guided, against the same step without guidance, in one run.

    python -m benchmarks.guidance_speed                        # STEVE-1's size and ours; some minutes on two cores
    python -m benchmarks.guidance_speed --models luanti_small

A guided agent is two streams, with the goal and without. Ours computes the image trunk once for both; the published way,
restated here with the same layers, runs the whole network on a batch of two. Each round goes through all ways, a few steps of
each, and ratios are taken within a round, so that other work on the machine weighs on all of them; processor time says what an
idle machine would do. Weights are random: speed does not depend on them. That the guided actions are those of the published
way is checked in every round.
"""

from __future__ import annotations

import copy
import os
import platform
import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from prior.config import preset
from prior.text.agent import GuidedAgent
from prior.text.policy import GoalPolicy


@dataclass(frozen=True)
class Args:
    """Settings."""

    models: tuple[str, ...] = ("luanti_small", "vpt_2x")
    """Presets of policies."""
    scale: float = 6.0
    """Of guidance; any above 0 costs the same."""
    steps: int = 10
    """Of each way in a round."""
    rounds: int = 9
    device: str = "auto"
    quick: bool = False
    """Small networks and few steps: seconds, to see that it runs."""


class PublishedWay(GuidedAgent):
    """The same agent, but for the image trunk: both streams' frames go through it."""

    def __init__(self, policy: GoalPolicy, scale: float) -> None:
        super().__init__(policy, scale=scale, seed=0)
        once = self._features

        def twice(images_NHWC: Tensor, motion_NChw: Tensor | None = None) -> Tensor:
            assert motion_NChw is not None  # though it may be empty
            both: Tensor = once(images_NHWC.repeat(2, 1, 1, 1), motion_NChw.repeat(2, 1, 1, 1))
            return both[: self.streams]

        self._features = twice


def agents(name: str, args: Args, device: str) -> dict[str, GuidedAgent]:
    """The ways to play, each with weights of its own: how they are laid out depends on the number of streams."""
    policy = GoalPolicy(preset(name)).eval().to(device)
    goal = torch.randn(policy.goal_size, generator=torch.Generator().manual_seed(0))
    made = {
        "unguided": GuidedAgent(copy.deepcopy(policy), scale=0.0, seed=0),
        "guided": GuidedAgent(copy.deepcopy(policy), scale=args.scale, seed=0),
        "guided, published way": PublishedWay(policy, args.scale),
    }
    for agent in made.values():
        agent.set_goal(goal)
    return made


def now(device: str) -> NDArray[np.float64]:
    """Seconds that passed, and that all processors of this process spent; (2,)."""
    if device != "cpu":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def measure(ways: dict[str, GuidedAgent], args: Args, device: str) -> dict[str, NDArray[np.float64]]:
    """Milliseconds a step of each way, passed and of processors, in each round (rounds, 2).

    Raises AssertionError where the guided ways do not act alike.
    """
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (360, 640, 3), dtype=np.uint8) for _ in range(args.steps)]
    took: dict[str, list[NDArray[np.float64]]] = {way: [] for way in ways}
    for turn in range(args.rounds + 1):
        done = {}
        for way, agent in ways.items():
            begun = now(device)
            done[way] = [agent.joint([frame]) for frame in frames]
            if turn:  # the first round warms up
                took[way].append(1000 * (now(device) - begun) / len(frames))
        assert done["guided"] == done["guided, published way"], "the guided ways act differently"
    return {way: np.array(rounds) for way, rounds in took.items()}


def main(args: Args) -> None:
    """Print a table for each model."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    names = ("debug", "debug_motion") if args.quick else args.models
    if args.quick:
        args = Args(names, args.scale, 3, 2, device)
    where = (
        torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(
        f"{where}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}; {args.rounds} rounds of {args.steps} steps"
    )
    print(
        "| policy | way | ms a step | times unguided (range of rounds) | CPU ms | times unguided |\n|---|---|---|---|---|---|"
    )
    for name in names:
        took = measure(agents(name, args, device), args, device)
        for way, rounds in took.items():
            (passed, spent), ratios = np.median(rounds, 0), rounds / took["unguided"]
            (times, times_spent), spread = np.median(ratios, 0), f"{ratios[:, 0].min():.2f} to {ratios[:, 0].max():.2f}"
            print(f"| {name} | {way} | {passed:.1f} | **{times:.2f}** ({spread}) | {spent:.1f} | {times_spent:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
