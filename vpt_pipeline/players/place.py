"""Placing blocks: the one act, and the pillar under one's own feet that it makes possible."""

from __future__ import annotations

from collections.abc import Generator

from data.actions import Action
from vpt_pipeline.envs.truth import Vector
from vpt_pipeline.players.body import Body, Script

BLOCKS = ("cobble", "wood", "brick", "sandstone", "stone", "dirt", "wool")


def block_slots(body: Body) -> list[int]:
    """Hotbar slots (0-8) with blocks to place."""
    return [
        slot
        for slot, item, _ in body.truth["slots"]
        if slot < 9
        and any(part in item for part in BLOCKS)
        and not any(part in item for part in ("pick_", "axe_", "shovel", "sword"))
    ]


def take_block(body: Body) -> Generator[Action, None, bool]:
    """Bring some block to the hand. Returns whether there was one."""
    slots = block_slots(body)
    if not slots:
        return False
    yield from body.select(slots[int(body.rng.integers(len(slots)))])
    return True


def placed_now(body: Body) -> list[Vector]:
    """Where this step's events say that a node was placed."""
    return [tuple(event["pos"]) for event in body.truth["events"] if event.get("type") == "place"]


def place_ahead(body: Body, yaw: float, pitch: float) -> Generator[Action, None, Vector | None]:
    """Look at the ground some way ahead and place a block. Returns where, or None."""
    yield from body.look((pitch, yaw), within=3.0, limit=25, haste=1.2)
    low, high = body.style.tap
    for _ in range(int(body.rng.integers(low, high + 1))):
        yield body.frame(("use",))
        for where in placed_now(body):
            return where
    for _ in range(4):
        yield body.frame()
        for where in placed_now(body):
            return where
    return None


def pillar(body: Body, height: int) -> Script:
    """Look down, hop, and place a block under the feet, so many times."""
    if not (yield from take_block(body)):
        return
    yield from body.look((88.0, body.truth["yaw"]), within=6.0)
    misses = 0
    while height > 0 and misses < 4:
        ground = body.feet[1]
        low, high = body.style.tap
        hold = int(body.rng.integers(low, high + 1))
        placed, high_enough = False, body.between(0.5, 0.9)
        for frame in range(16):
            keys = {"jump"} if frame < hold else set()
            if body.feet[1] - ground > high_enough and not placed:
                keys.add("use")
            yield body.frame(keys, (88.0, body.truth["yaw"]), tolerance=8.0)
            placed = placed or bool(placed_now(body))
            if frame > 6 and body.grounded:
                break
        rose = placed or body.feet[1] - ground > 0.5
        height, misses = height - rose, misses + (not rose)
        yield from body.wait(int(body.rng.integers(1, 5)))
