"""VPT's reward for getting a diamond pickaxe, and STEVE-1's measures, from what the game counts.

The table is the one of VPT's paper (arXiv 2206.11795, appendix on RL fine-tuning), as remembered: it could not be
checked against the paper here. "Obtained" is picked up and crafted, less dropped; so throwing a diamond away and
picking it up again earns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vpt_pipeline.envs.truth import GameTruth

UNLIMITED = 1 << 30
VPT_REWARDS: Mapping[str, tuple[float, int]] = {
    "_log": (1 / 8, 8),
    "_planks": (1 / 20, 20),
    "stick": (1 / 16, 16),
    "crafting_table": (1.0, 1),
    "wooden_pickaxe": (1.0, 1),
    "cobblestone": (1 / 11, 11),
    "stone_pickaxe": (1.0, 1),
    "furnace": (1.0, 1),
    "coal": (2 / 5, 5),
    "torch": (1 / 8, 16),
    "iron_ore": (4 / 3, 3),
    "iron_ingot": (4 / 3, 3),
    "iron_pickaxe": (4.0, 1),
    "diamond": (8 / 3, UNLIMITED),
    "diamond_pickaxe": (8.0, UNLIMITED),
}
"""Item (or, with a leading underscore, how it ends) -> reward of each, and for how many."""


def obtained(gained: Mapping[str, int], item: str) -> int:
    """How many of an item, or of all that end so."""
    if item.startswith("_"):
        return sum(count for name, count in gained.items() if name.endswith(item))
    return gained.get(item, 0)


@dataclass
class VptReward:
    """Of one episode: fed every truth from the reset's on, returns what the step earned."""

    best: dict[str, int] = field(default_factory=dict)

    def update(self, truth: GameTruth) -> float:
        reward = 0.0
        for item, (each, limit) in VPT_REWARDS.items():
            count, before = min(limit, obtained(truth["gained"], item)), self.best.get(item, 0)
            if count > before:
                reward += each * (count - before)
                self.best[item] = count
        return reward


@dataclass
class MostHeld:
    """The most that was held at once of items whose names contain a part: STEVE-1's measure (ProgrammaticEvaluator).

    Logs "_log", dirt "dirt" (coarse dirt, too), seeds "seed". Its fourth, travel, is ``max_distance``.
    """

    part: str
    best: int = 0

    def update(self, truth: GameTruth) -> float:
        held = sum(count for item, count in truth["inventory"].items() if self.part in item)
        self.best = max(self.best, held)
        return float(self.best)


@dataclass
class Shaped:
    """VPT's reward of the episode so far."""

    reward: VptReward = field(default_factory=VptReward)
    total: float = 0.0

    def update(self, truth: GameTruth) -> float:
        self.total += self.reward.update(truth)
        return self.total
