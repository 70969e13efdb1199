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
TURN = 75.0
"""Degrees that somebody turns to look for more, to the right."""


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
            yield from body.wait(_late(body), ("attack",))
            return True
        if frame == 12 and not body.style.single_minded and body.chance(0.3):
            # let go and go on, as hands do
            yield from body.wait(int(body.rng.integers(2, 6)))
    return False


def _late(body: Body) -> int:
    """Frames until the fingers come off: a moment, of those whose play is to be learnt from sometimes more. Who copies somebody
    that is never late has not seen what to do while hitting nothing, and goes on."""
    if body.style.single_minded and body.chance(0.25):
        return int(body.rng.integers(4, 13))
    return int(body.rng.integers(0, 3))


def pick_up(body: Body, where: Vector) -> Script:
    """Walk over what lies there."""
    aim = where[0], where[1] - 0.4, where[2]
    for _ in range(int(body.rng.integers(10, 24))):
        away = body.flat_away(where)
        if away < 0.9:
            break
        turned = abs(body.bearing(where)) < 35
        pitch, yaw = body.gaze_at(aim)
        jump = body.still_frames > 4 and body.grounded
        keys = {"forward"} if turned else set()
        yield body.frame(keys | ({"jump"} if jump else set()), (min(pitch, 40.0), yaw), tolerance=body.style.tolerance)
    yield from body.wait(int(body.rng.integers(2, 8)))


def find(body: Body, quarry: Quarry, radius: int, skip: set[tuple[int, ...]]) -> Generator[Action, None, Vector | None]:
    """One of the nearest nodes of the quarry, or None. Single-minded players only know of what they see."""
    by_sight = body.style.single_minded
    found = yield from body.ask(
        "near", names=list(quarry.names), radius=radius, limit=60, below=4, above=4, in_sight=by_sight and ARM
    )
    cells = [tuple(round(value) for value in cell[:3]) for cell in found or []]
    ground = round(body.feet[1] - 0.5)
    if quarry.feet_level:
        levels = (ground, ground + 1) if by_sight else (ground,)  # who sees the walls of a pit digs on into them
        cells = [cell for cell in cells if cell[1] in levels and body.flat_away(cell) > 1.1]  # not what one stands on
        cells = cells[:25]
        if not by_sight:
            body.rng.shuffle(cells)
    cells = [cell for cell in cells if cell not in skip and cell[1] - body.feet[1] < 3.6]
    if by_sight:  # near, and not far off the view
        cells.sort(key=lambda cell: body.away(cell) * (1 + abs(body.bearing(cell)) / 60))
    return (cells[0][0], cells[0][1], cells[0][2]) if cells else None


def look_for(
    body: Body, quarry: Quarry, radius: int, skip: set[tuple[int, ...]]
) -> Generator[Action, None, Vector | None]:
    """As ``find``; single-minded players turn round, always the same way, until they see one."""
    target = yield from find(body, quarry, radius, skip)
    if body.style.single_minded:
        for _ in range(4):
            if target is not None:
                break
            yield from body.look((body.style.gaze_pitch, body.truth["yaw"] + TURN), within=6.0)
            target = yield from find(body, quarry, radius, skip)
    return target


def gather(body: Body, quarry: Quarry, count: int, radius: int = 22) -> Script:
    """Dig so many of them, going from one to the next; wander on where there are none."""
    tried: set[tuple[int, ...]] = set()
    done, heading = 0, body.truth["yaw"]
    yield from take_tool(body, quarry.tool)
    for _ in range(count * 3):
        if done >= count:
            return
        target = yield from look_for(body, quarry, radius, tried)
        if target is None:
            heading += body.between(-25, 25)  # search on, not in circles
            yield from ramble(body, heading)
            continue
        tried.add((int(target[0]), int(target[1]), int(target[2])))
        if body.away(target) > ARM and not (yield from go_beside(body, target)):
            continue
        if (yield from dig(body, target, quarry.patience)):
            done += 1
            if not body.style.single_minded and body.chance(0.35):
                yield from step_back(body)
            if body.style.single_minded or body.chance(0.8):
                yield from pick_up(body, target)


def step_back(body: Body) -> Script:
    """Back off a little and look, sometimes to one side."""
    side = ("left",) if body.chance(0.2) else ("right",) if body.chance(0.25) else ()
    yield from body.wait(int(body.rng.integers(5, 13)), ("back", *side))
    yield from body.wait(int(body.rng.integers(0, 5)))
