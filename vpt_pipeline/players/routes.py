"""Getting somewhere: walking a path with the keys that fit the view, hopping up steps, working free when stuck."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence, Set

from data.actions import Action
from vpt_pipeline.envs.truth import Vector
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.habits import ALL
from vpt_pipeline.players.paths import look_along, straighten
from vpt_pipeline.players.place import pillar

GROUND = [
    *(
        f"default:dirt_with_{cover}"
        for cover in ("grass", "coniferous_litter", "rainforest_litter", "snow", "dry_grass")
    ),
    *(f"default:{name}" for name in ("sand", "desert_sand", "snowblock", "dry_dirt_with_dry_grass")),
]
"""What lies under an open sky, mostly."""
WATER_LEVEL = 0.6
"""Feet below this are in the water of the embedded game's seas."""


def way_keys(bearing: float) -> set[str]:
    """Movement keys that walk towards a bearing (degrees off the view); none where turning comes first."""
    side = "right" if bearing > 0 else "left"
    if abs(bearing) > 115:
        return set()
    if abs(bearing) > 70:
        return {side}
    return {"forward", side} if abs(bearing) > 35 else {"forward"}


class Unsticker:
    """What feet do where they do not get on: hop, then back off to one side for a moment, then hop again."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._left = 0
        self._keys: set[str] = set()

    def mend(self, keys: set[str]) -> set[str]:
        """The keys to hold instead of ``keys``, which are the same where there is nothing to mend."""
        body = self._body
        if self._left > 0:
            self._left -= 1
            return self._keys
        if body.still_frames > 14 and "forward" in keys:
            self._left = int(body.rng.integers(7, 13))
            self._keys = {"back", "left" if body.chance(0.5) else "right"}
            return self._keys
        swimming = body.feet[1] < WATER_LEVEL
        if "forward" in keys and (swimming or (body.still_frames > 4 and body.grounded)):
            return keys | {"jump"}
        return keys


def walk(
    body: Body, path: Sequence[Sequence[float]], free: Set[str] = ALL, limit: int = 500
) -> Generator[Action, None, bool]:
    """Walk along cells (x, y, z), y being where the feet's cell is. Returns whether the end was reached."""
    cells = [(round(cell[0]), round(cell[1]), round(cell[2])) for cell in path]
    surroundings = yield from look_along(body, cells)
    reachable = surroundings.walkable_part(cells)
    turns = straighten(reachable, surroundings.free)
    unsticker = Unsticker(body)
    index, nearest, idle = 1, math.inf, 0
    for _ in range(limit):
        if index >= len(turns):
            return len(reachable) == len(cells)
        here, cell = body.feet, turns[index]
        ahead = turns[min(index + 1, len(turns) - 1)]
        away = body.flat_away(cell)
        if away < 0.55 and abs(cell[1] - 0.5 - here[1]) < 1.4:
            index, nearest, idle = index + 1, math.inf, 0
            continue
        nearest, idle = (away, 0) if away < nearest - 0.3 else (nearest, idle + 1)
        if idle > 45:
            return False
        # eyes go to the next turn before the feet do
        lead = 0.5 if away < 1.5 and ahead[1] == cell[1] else 0.0
        aim = (cell[0] + lead * (ahead[0] - cell[0]), here[1], cell[2] + lead * (ahead[2] - cell[2]))
        keys = way_keys(body.bearing(cell))
        steep = cell[1] - 0.5 > here[1] + 0.4 and away < 1.4
        if steep and body.grounded and keys:
            keys.add("jump")
        keys = unsticker.mend(keys)
        calm = free - {"sprint", "hop", "strafe"} if steep or "back" in keys or body.still_frames > 2 else free
        # climbing and descending pull the eyes along
        slope = 8.0 * (here[1] - (ahead[1] - 0.5))
        gaze = body.style.gaze_pitch + slope, body.gaze_at(aim)[1]
        yield body.frame(keys, gaze, body.style.tolerance, free=calm)
    return False


def head_for(body: Body, yaw: float, frames: int, free: Set[str] = ALL) -> Script:
    """Walk in a direction without knowing the way: hop over steps, go round what stands in the way."""
    turn, unsticker = 0.0, Unsticker(body)
    for frame in range(frames):
        keys = unsticker.mend({"forward"})
        if body.still_frames == 15:
            turn += body.between(45, 90) * (1 if body.chance(0.5) else -1)
        if frame % 60 == 59:
            turn *= 0.4
        calm = free - {"hop", "strafe"} if body.still_frames > 2 else free
        yield body.frame(keys, (body.style.gaze_pitch, yaw + turn), body.style.tolerance, free=calm)


def go_beside(body: Body, target: Vector, free: Set[str] = ALL, radius: int = 12) -> Generator[Action, None, bool]:
    """Walk to where a node can be reached. Returns whether that worked."""
    path = yield from body.ask(
        "path_beside", to=list(target), radius=radius, keys=body.keys_held & {"forward", "sprint"}
    )
    if not path:
        return False
    return (yield from walk(body, path, free))


def ramble(
    body: Body, yaw: float | None = None, legs: int = 1, least: float = 8, most: float = 20, free: Set[str] = ALL
) -> Script:
    """Walk to open ground between ``least`` and ``most`` metres away, roughly along ``yaw`` if given, leg after leg."""
    heading = body.between(-180, 180) if yaw is None else yaw
    for _ in range(legs):
        going = body.keys_held & {"forward", "sprint"}
        ground = yield from body.ask("near", names=GROUND, radius=most, above=3, below=4, limit=2500, keys=going)
        fits = [cell for cell in ground or [] if _fits(body, cell, heading, least)]
        for _ in range(min(3, len(fits))):
            cell = fits[int(body.rng.integers(len(fits)))]
            if (yield from go_beside(body, (cell[0], cell[1] + 1, cell[2]), free, radius=16)):
                break
        else:
            if body.still_frames > 10 and body.chance(0.5):
                yield from pillar(body, 3)  # out of a hole
            yield from head_for(body, heading, int(body.between(20, 45)), free)
        heading += body.between(-50, 50)


def _fits(body: Body, cell: Sequence[float], heading: float, least: float) -> bool:
    """Whether a node of the ground lies far enough, above the water, and within 35 degrees of the heading."""
    dx, dz = cell[0] - body.feet[0], cell[2] - body.feet[2]
    turn = (math.degrees(math.atan2(dx, dz)) - heading + 180) % 360 - 180
    return math.hypot(dx, dz) > least and cell[1] >= 1 and abs(turn) < 35
