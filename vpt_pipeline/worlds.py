"""Where and with what episodes in Minecraft begin, where a person wants them to begin elsewhere than the task says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from vpt_pipeline.envs import MINERL


@dataclass(frozen=True)
class World:
    """With --env minerl:NAME:"""

    seed: Annotated[int | None, tyro.conf.arg(name="world-seed")] = None
    """The world's seed, of every episode; default: each has a world of its own, the same for every agent."""
    biome: str | None = None
    """Where to begin, such as plains, forest or extreme_hills; default: as the environment says."""
    inventory: tuple[str, ...] = ()
    """What to begin with, a slot each, such as "oak_log 20" torch; default: as the environment says."""

    def require(self, game: str) -> None:
        """Raises ValueError for what Minecraft does not have, as far as it is known here, and for another game's."""
        if self == World():
            return
        if not game.startswith(MINERL):
            given = {
                "--world-seed": self.seed is not None,
                "--biome": self.biome is not None,
                "--inventory": self.inventory,
            }
            raise ValueError(
                f"{' and '.join(name for name, said in given.items() if said)}: the tasks of {game} say themselves where "
                "and with what they begin; expected --env minerl:NAME with these, or none of them"
            )
        from vpt_pipeline.envs.minerl.env import parse_item
        from vpt_pipeline.envs.minerl.server.games import require_start

        require_start([parse_item(item) for item in self.inventory], self.biome, self.seed)

    def options(self) -> dict[str, Any]:
        """The ``options`` of ``env.reset`` that say so."""
        said = {"biome": self.biome, "inventory": list(self.inventory)}
        return {name: value for name, value in said.items() if value}


def world_of(row: Mapping[str, Any]) -> World:
    """From what JSON has made of one."""
    return World(**{**row, "inventory": tuple(row["inventory"])})
