"""The tasks that players and agents are given in the embedded game: words, starting kit, fixed starts, measure of success.

The measures are programmatic, from the game's own truth. Evaluations play a task's fixed ``episodes``, so that every
agent begins at the same places with the same things in hand; recordings for training begin elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from vpt_pipeline.envs import MINERL
from vpt_pipeline.envs.truth import GameTruth, Vector

TOOLS = ("default:pick_steel", "default:axe_bronze", "default:shovel_steel", "default:sword_mese")
BLOCKS = ("default:cobble 60", "default:wood 60", "default:brick 60", "wool:yellow 60")
KIT = (*TOOLS, *BLOCKS, "default:torch 60")
"""Nine things that look different in the hand, in the nine hotbar slots, so that a change of slot always shows."""

EVALUATION_SEEDS = range(1_000_000, 1_000_010)
"""Kept for evaluation: recordings use smaller seeds."""


class Meter(Protocol):
    """Measures one episode: fed every truth from the reset's on, in order; returns the result so far."""

    def update(self, truth: GameTruth) -> float: ...


@dataclass
class Collected:
    """How many items were picked up whose names contain one of the parts."""

    parts: tuple[str, ...]

    def update(self, truth: GameTruth) -> float:
        return float(sum(count for item, count in truth["gained"].items() if any(part in item for part in self.parts)))


@dataclass
class Farthest:
    """The greatest distance from the start, in metres in the horizontal plane."""

    def update(self, truth: GameTruth) -> float:
        return truth["max_distance"]


@dataclass
class Stacked:
    """The most blocks of one's own that one has stood upon, one above the other: neither jumps nor hills count."""

    own: set[tuple[int, ...]] = field(default_factory=set)
    best: float = 0.0

    def update(self, truth: GameTruth) -> float:
        for event in truth["events"]:
            if event["type"] == "place":
                self.own.add(tuple(event["pos"]))
            elif event["type"] == "dig":
                self.own.discard(tuple(event["pos"]))
        self.best = max(self.best, float(self._below(truth["position"])))
        return self.best

    def _below(self, feet: Vector) -> int:
        x, top, z = round(feet[0]), round(feet[1] - 0.5), round(feet[2])  # a block reaches half a metre to each side
        below = 0
        while (x, top - below, z) in self.own:
            below += 1
        return below


@dataclass
class Seen:
    """How many views were taken: a view is an 8 m square of ground together with a quarter of the compass."""

    views: set[tuple[int, int, int]] = field(default_factory=set)

    def update(self, truth: GameTruth) -> float:
        x, _, z = truth["position"]
        self.views.add((int(x // 8), int(z // 8), int(truth["yaw"] % 360 // 90)))
        return float(len(self.views))


@dataclass(frozen=True)
class TaskEpisode:
    """Where and with what dice an episode of a task begins."""

    seed: int
    map_seed: int


@dataclass(frozen=True)
class Task:
    """Something to do.

    text: what a person would be told; measure: makes the episode's meter; unit: of what it returns; goal: the result
    that counts as success; seconds: how long an episode of evaluation lasts; inventory: items at the start such as
    "default:cobble 60"; animals: how many are near the start; map_seeds: the worlds it is played in.
    """

    name: str
    text: str
    measure: Callable[[], Meter]
    unit: str
    goal: float
    seconds: float = 60.0
    inventory: tuple[str, ...] = KIT
    animals: int = 3
    map_seeds: tuple[int, ...] = (1, 2, 3)

    @property
    def shown(self) -> tuple[str, ...]:
        """The tasks whose measures tell of an episode: its own, or where one may do as one likes, all."""
        return (self.name,) if self.goal else tuple(name for name in TASKS if TASKS[name].goal)

    @property
    def episodes(self) -> tuple[TaskEpisode, ...]:
        """The fixed episodes of evaluation."""
        return tuple(self.episode(seed) for seed in EVALUATION_SEEDS)

    def episode(self, seed: int) -> TaskEpisode:
        """The episode of a seed; seeds that follow each other go through the worlds."""
        return TaskEpisode(seed, self.map_seeds[seed % len(self.map_seeds)])

    def reset_options(self, map_seed: int) -> dict[str, Any]:
        """The ``options`` of ``env.reset`` for an episode in a world; the reset's seed chooses the place in it."""
        return {"inventory": self.inventory, "animals": self.animals, "map_seed": map_seed}


_TASKS = (
    Task("travel", "travel as far as you can", Farthest, "m", 80.0, animals=0),
    Task("logs", "chop down trees and collect the logs", lambda: Collected(("tree",)), "logs", 3),
    Task("dirt", "dig dirt and collect it", lambda: Collected(("default:dirt",)), "blocks", 5),
    Task("seeds", "cut grass and collect seeds", lambda: Collected(("farming:seed_",)), "seeds", 1),
    Task("flowers", "pick flowers", lambda: Collected(("flowers:",)), "flowers", 2),
    Task("pillar", "build a pillar under your feet", Stacked, "blocks", 6, animals=0),
    Task("hunt", "hunt animals for food", lambda: Collected(("farming:bread",)), "food", 1, animals=6),
    Task("explore", "walk around and look at the surroundings", Seen, "views", 24),
    Task("freeplay", "do as you like", Seen, "views", 0, seconds=180.0, animals=5),
)

TASKS: Mapping[str, Task] = {task.name: task for task in _TASKS}
"""The tasks by name."""


def tasks_of(game: str) -> Mapping[str, Task]:
    """The tasks of a game by name; in MineRL, the same names mean the same and are measured by what Minecraft counts."""
    if game.startswith(MINERL):
        from vpt_pipeline.envs.minerl.tasks import TASKS as MINERL_TASKS

        return MINERL_TASKS
    return TASKS


def require_seed(seed: int) -> None:
    """Raises ValueError for a seed that nobody may learn from."""
    if not 0 <= seed < EVALUATION_SEEDS.start:
        raise ValueError(
            f"seed {seed}: expected 0 to {EVALUATION_SEEDS.start - 1}; those beyond are kept for evaluation"
        )


def default_tasks(game: str) -> tuple[str, ...]:
    """What an evaluation plays in a game if nothing is said."""
    if game.startswith(MINERL):
        from vpt_pipeline.envs.minerl.tasks import default_tasks as of_env

        return of_env(game.removeprefix(MINERL))
    return ("travel", "logs", "dirt", "seeds", "flowers", "pillar", "hunt", "explore")
