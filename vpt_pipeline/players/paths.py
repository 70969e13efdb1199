"""Straightening the game's paths: it steps from cell to cell along the axes, people walk straight where they can."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

from data.actions import Action
from vpt_pipeline.players.body import Body

Cell = tuple[int, int, int]
HALF_WIDTH = 0.4
"""Metres of a player to each side, with some room."""
FARTHEST = 14
"""Cells of a path that one straight stretch replaces at most."""
_PASSABLE = (
    "air", "flowers:", "default:torch", "default:dry_shrub", "default:junglegrass",
    *(f"default:{kind}_" for kind in ("grass", "dry_grass", "marram_grass", "fern")),
)  # fmt: skip


def straighten(path: Sequence[Cell], free: Collection[Cell]) -> list[Cell]:
    """The cells of a path between which one can walk straight on level ground, all of it over ``free`` cells."""
    turns, index = [path[0]], 0
    while index < len(path) - 1:
        reach = range(min(index + FARTHEST, len(path) - 1), index + 1, -1)
        index = next((far for far in reach if _is_clear(path[index], path[far], free)), index + 1)
        turns.append(path[index])
    return turns


def _is_clear(start: Cell, end: Cell, free: Collection[Cell]) -> bool:
    if start[1] != end[1]:
        return False
    dx, dz = end[0] - start[0], end[2] - start[2]
    length = math.hypot(dx, dz)
    if length == 0:
        return True
    side = HALF_WIDTH * dz / length, -HALF_WIDTH * dx / length
    for step in range(math.ceil(length * 4) + 1):
        share = min(1.0, step / (length * 4))
        for sign in (-1, 1):
            x, z = start[0] + dx * share + sign * side[0], start[2] + dz * share + sign * side[1]
            if (round(x), start[1], round(z)) not in free:
                return False
    return True


@dataclass(frozen=True)
class Surroundings:
    """What is known of the cells beside a path: those that bodies can be in, and those one can stand in."""

    passable: frozenset[Cell]
    free: frozenset[Cell]

    def walkable_part(self, path: Sequence[Cell]) -> Sequence[Cell]:
        """The path up to where there is no room: the game's own search does not mind low ceilings."""
        if not self.passable:
            return path
        for index in range(1, len(path)):
            (x, y, z), (x2, y2, z2) = path[index - 1], path[index]
            room = {(x2, y2, z2), (x2, y2 + 1, z2)} | ({(x, y + 2, z)} if y2 > y else {(x2, min(y, y2 + 2) + 1, z2)})
            if not room <= self.passable:
                return path[:index]
        return path


def look_along(body: Body, path: Sequence[Cell]) -> Generator[Action, None, Surroundings]:
    """Find out about the cells beside a path."""
    beside = {(x + dx, y, z + dz) for x, y, z in path for dx in (-1, 0, 1) for dz in (-1, 0, 1)}
    wanted = sorted({(x, y + dy, z) for x, y, z in beside for dy in (-1, 0, 1, 2)})
    going = body.keys_held & {"forward", "sprint"}
    names = yield from body.ask("nodes", positions=[list(cell) for cell in wanted], keys=going)
    if not names:
        return Surroundings(frozenset(), frozenset())
    passable = frozenset(cell for cell, name in zip(wanted, names, strict=True) if name.startswith(_PASSABLE))
    room = ((x, y, z) for x, y, z in beside if {(x, y, z), (x, y + 1, z)} <= passable and (x, y - 1, z) not in passable)
    return Surroundings(passable, frozenset(room))
