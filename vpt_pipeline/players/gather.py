"""Digging things and picking them up: logs, dirt, flowers, grass."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from data.actions import Action
from vpt_pipeline.envs.truth import Vector
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.routes import go_beside, ramble

ARM = 3.6
"""Metres from the eye within which nodes are dug; the game itself allows 4."""
HIGH = 3.6
"""Metres above the feet up to which nodes are tried."""

Cell = tuple[int, int, int]


@dataclass(frozen=True)
class Quarry:
    """Something to gather: node names or groups as the game knows them, and the tool that people take."""

    names: tuple[str, ...]
    tool: str  # part of the tool's item name, "" for whatever is in the hand
    patience: int  # frames of digging after which it is given up
    feet_level: bool = False  # only what lies on the ground that the player stands on


LOGS = Quarry(
    ("default:tree", "default:aspen_tree", "default:pine_tree", "default:jungletree", "default:acacia_tree"), "axe_", 70
)
DIRT = Quarry(("group:soil",), "shovel", 40, feet_level=True)
FLOWERS = Quarry(("group:flower",), "", 12)
GRASS = Quarry((*(f"default:grass_{height}" for height in range(1, 6)), "default:junglegrass"), "", 12)
"""What drops seeds, now and then."""
WEEDS = Quarry(("group:grass", "group:normal_grass"), "", 12)


def dug_at(body: Body, target: Sequence[float]) -> bool:
    """Whether this step's events say that the node there was dug."""
    cell = [round(value) for value in target[:3]]
    return any(
        event.get("type") == "dig" and [round(value) for value in event.get("pos", ())] == cell
        for event in body.truth["events"]
    )


def take_tool(body: Body, part: str) -> Script:
    """Bring the tool to the hand, as most people do most of the time; single-minded players keep it there."""
    if body.style.single_minded:
        body.tool = part
        return
    slot = body.slot_of(part) if part else None
    if slot is not None and body.chance(0.9):
        yield from body.select(slot)


def dig(body: Body, target: Vector, patience: int) -> Generator[Action, None, bool]:
    """Look at a node and hold attack until it breaks. Returns whether it did."""
    aim = (
        target[0] + body.between(-0.15, 0.15),
        target[1] + body.between(-0.2, 0.1),
        target[2] + body.between(-0.15, 0.15),
    )
    for _ in range(30):
        gaze = body.gaze_at(aim)
        if body.off_target(gaze) < 3.5 and body.away(aim) < ARM + 0.3:
            break
        step = body.away(aim) > ARM and abs(body.bearing(aim)) < 40
        yield body.frame(("forward",) if step else (), gaze, tolerance=2.0, haste=1.2)
    if body.away(aim) > ARM + 0.6:
        return False
    for frame in range(patience):
        yield body.frame(("attack",), body.gaze_at(aim), tolerance=4.0)
        if dug_at(body, target):
            yield from body.wait(int(body.rng.integers(0, 3)), ("attack",))  # the fingers come off a moment late
            return True
        if frame == 12 and body.chance(0.3):
            # let go and go on, as hands do
            yield from body.wait(int(body.rng.integers(2, 6)))
    return False


def pick_up(body: Body, where: Vector, frames: int) -> Script:
    """Walk over what lies there, for so many frames at most."""
    aim = where[0], where[1] - 0.4, where[2]
    for _ in range(frames):
        if body.flat_away(where) < 0.9:
            return
        keys = {"forward"} if abs(body.bearing(where)) < 35 else set()
        if keys and body.still_frames > 4 and body.grounded:
            keys.add("jump")
        pitch, yaw = body.gaze_at(aim)
        yield body.frame(keys, (min(pitch, 40.0), yaw), tolerance=body.style.tolerance)


def find(body: Body, quarry: Quarry, radius: int, skip: set[Cell]) -> Generator[Action, None, Cell | None]:
    """One of the nearest nodes of the quarry, or None."""
    found = yield from body.ask("near", names=list(quarry.names), radius=radius, limit=60, below=4, above=4)
    cells = cells_of(found)
    if quarry.feet_level:
        ground = round(body.feet[1] - 0.5)
        cells = [cell for cell in cells if cell[1] == ground and body.flat_away(cell) > 1.1]  # not what one stands on
        cells = cells[:25]
        body.rng.shuffle(cells)
    return next((cell for cell in cells if cell not in skip and cell[1] - body.feet[1] < HIGH), None)


def cells_of(answer: Sequence[Sequence[float]] | None) -> list[Cell]:
    """The places of the game's answer to ``near``."""
    return [(round(x), round(y), round(z)) for x, y, z, *_ in answer or []]


def gather(body: Body, quarry: Quarry, count: int, radius: int = 22) -> Script:
    """Dig so many of them, going from one to the next; wander on where there are none."""
    tried: set[Cell] = set()
    done, heading = 0, body.truth["yaw"]
    yield from take_tool(body, quarry.tool)
    for _ in range(count * 3):
        if done >= count:
            return
        target = yield from find(body, quarry, radius, tried)
        if target is None:
            heading += body.between(-25, 25)  # search on, not in circles
            yield from ramble(body, heading)
            continue
        tried.add(target)
        if body.away(target) > ARM and not (yield from go_beside(body, target)):
            continue
        if (yield from dig(body, target, quarry.patience)):
            done += 1
            if body.chance(0.35):
                yield from step_back(body)
            if body.chance(0.8):
                yield from pick_up(body, target, int(body.rng.integers(10, 24)))
                yield from body.wait(int(body.rng.integers(2, 8)))


def step_back(body: Body) -> Script:
    """Back off a little and look, sometimes to one side."""
    side = ("left",) if body.chance(0.2) else ("right",) if body.chance(0.25) else ()
    yield from body.wait(int(body.rng.integers(5, 13)), ("back", *side))
    yield from body.wait(int(body.rng.integers(0, 5)))
