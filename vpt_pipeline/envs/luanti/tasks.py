"""What an episode may be about: what is in the player's hands at its start, and what is rewarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vpt_pipeline.envs.truth import GameTruth

Score = Callable[[GameTruth], float]
"""The score so far; a step's reward is by how much it grew."""


def _counted(field_name: str, *parts: str) -> Score:
    def score(truth: GameTruth) -> float:
        counts: Mapping[str, int] = truth[field_name]  # type: ignore[literal-required]
        return float(sum(count for name, count in counts.items() if any(part in name for part in parts)))

    return score


@dataclass(frozen=True)
class EpisodeTask:
    """A task. ``inventory``: items such as "default:cobble 20"; ``animals``: how many pigs near the start."""

    score: Score
    inventory: tuple[str, ...] = field(default=())
    animals: int = 0


LOGS = ("default:tree", "default:aspen_tree", "default:pine_tree", "default:acacia_tree", "default:jungletree")

TASKS: Mapping[str, EpisodeTask] = {
    "wood": EpisodeTask(_counted("gained", *LOGS)),
    "dirt": EpisodeTask(_counted("gained", "default:dirt")),
    "flowers": EpisodeTask(_counted("gained", "flowers:")),
    "craft": EpisodeTask(_counted("gained", "wood"), inventory=("default:tree 4",)),
    "build": EpisodeTask(_counted("placed", ""), inventory=("default:cobble 40",)),
    "hunt": EpisodeTask(_counted("gained", "farming:bread"), inventory=("default:sword_stone",), animals=4),
    "travel": EpisodeTask(lambda truth: truth["max_distance"]),
    "sky": EpisodeTask(lambda truth: float(truth["tick"]) if truth["pitch"] < -45 else 0.0),
}
