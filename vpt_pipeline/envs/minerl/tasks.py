"""The tasks in MineRL: STEVE-1's programmatic measures, VPT's reward, and the four of BASALT 2022, which people judge.

STEVE-1 (arXiv 2306.00937): the most logs, dirt and seeds held at once, and the greatest distance from the start, over
3,000 frames. The world follows from the episode's seed, and the player begins with what the environment gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vpt_pipeline.envs.minerl.rewards import MostHeld, Shaped
from vpt_pipeline.tasks import Farthest, Seen, Task, TaskEpisode

STEVE_SECONDS = 150.0
BASALT = {
    "MineRLBasaltFindCave-v0": "cave",
    "MineRLBasaltMakeWaterfall-v0": "waterfall",
    "MineRLBasaltCreateVillageAnimalPen-v0": "pen",
    "MineRLBasaltBuildVillageHouse-v0": "house",
}
"""The environments of BASALT 2022 and their tasks."""


@dataclass(frozen=True)
class MinerlTask(Task):
    """A task whose world is the seed's own."""

    inventory: tuple[str, ...] = ()
    map_seeds: tuple[int, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """In free play the measures of every task with a goal."""
        return (self.name,) if self.name != "freeplay" else tuple(name for name in TASKS if TASKS[name].goal)

    def episode(self, seed: int) -> TaskEpisode:
        return TaskEpisode(seed, seed)

    def reset_options(self, map_seed: int) -> dict[str, Any]:
        return {"inventory": list(self.inventory)} if self.inventory else {}


# The prompts with which STEVE-1 was evaluated, as published.
_LOGS = "chop down the tree, gather wood, pick up wood, chop it down, break tree"
_DIRT = "get dirt, dig hole, dig dirt, gather a ton of dirt, collect dirt"
_SEEDS = (
    "break tall grass, break grass, collect seeds, punch the ground, run around in circles getting seeds from bushes"
)
_TASKS = (
    MinerlTask("travel", "go explore", Farthest, "m", 80.0, STEVE_SECONDS),
    MinerlTask("logs", _LOGS, lambda: MostHeld("_log"), "logs", 3, STEVE_SECONDS),
    MinerlTask("dirt", _DIRT, lambda: MostHeld("dirt"), "blocks", 5, STEVE_SECONDS),
    MinerlTask("seeds", _SEEDS, lambda: MostHeld("seed"), "seeds", 1, STEVE_SECONDS),
    MinerlTask("explore", "walk around and look at the surroundings", Seen, "views", 24),
    MinerlTask("diamond", "obtain a diamond pickaxe", Shaped, "reward", 0, 600.0),
    MinerlTask("cave", "find a cave, and end the episode inside", Seen, "views", 0, 180.0),
    MinerlTask("waterfall", "make a waterfall, and take a picture of it", Seen, "views", 0, 300.0),
    MinerlTask("pen", "build a pen in the village with two animals of a kind", Seen, "views", 0, 300.0),
    MinerlTask("house", "build a house in the village's style", Seen, "views", 0, 720.0),
    MinerlTask("freeplay", "do as you like", Seen, "views", 0, 180.0),
)

TASKS: Mapping[str, Task] = {task.name: task for task in _TASKS}
"""The tasks by name."""


def default_tasks(env: str) -> tuple[str, ...]:
    """What is played in an environment if nothing is said."""
    if env in BASALT:
        return (BASALT[env],)
    return ("diamond",) if "Diamond" in env else ("travel", "logs", "dirt", "seeds")
