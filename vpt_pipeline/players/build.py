"""Building with what can be taken down again: a low wall, and the way off a pillar."""

from __future__ import annotations

import math

from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.gather import dig, step_back, take_tool
from vpt_pipeline.players.place import place_ahead, take_block


def build(body: Body, count: int, take_back: float = 0.5) -> Script:
    """Place some blocks side by side or on top of each other; often dig some of them up again."""
    if not (yield from take_block(body)):
        return
    yaw, placed = body.truth["yaw"], []
    for index in range(count):
        if body.chance(0.25):
            yield from take_block(body)
        pitch = body.between(32, 48) if index % 2 == 0 or body.chance(0.6) else body.between(18, 30)
        where = yield from place_ahead(body, yaw, pitch)
        if where is not None:
            placed.append(where)
        yaw += body.between(15, 35) * (1 if body.chance(0.7) else -1)
        if body.chance(0.25):
            yield from body.wait(int(body.rng.integers(5, 12)), ("left" if body.chance(0.5) else "right",))
        if body.chance(0.15):
            yield from step_back(body)
    if placed and body.chance(take_back):
        yield from take_tool(body, "pick")
        for where in placed[-2:]:
            yield from dig(body, where, 45)


def come_down(body: Body) -> Script:
    """From the top of a pillar: dig it away below the feet, or step off."""
    if body.chance(0.6):
        yield from take_tool(body, "pick")
        yield from body.look((88.0, body.truth["yaw"]), within=6.0)
        for _ in range(int(body.rng.integers(1, 4))):
            x, y, z = body.feet
            yield from dig(body, (round(x), math.floor(y), round(z)), 45)
            yield from body.wait(int(body.rng.integers(4, 9)))
    else:
        yield from body.look((body.style.gaze_pitch, body.truth["yaw"] + body.between(-90, 90)), within=10.0)
        yield from body.wait(int(body.rng.integers(10, 18)), ("forward",))
