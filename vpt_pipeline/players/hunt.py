"""Going after the game's animals."""

from __future__ import annotations

from vpt_pipeline.envs.truth import Vector
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.gather import take_tool
from vpt_pipeline.players.routes import ramble

SWORD_REACH = 3.2


def animals(body: Body) -> list[Vector]:
    """Places of the animals in sight, nearest first."""
    return sorted(
        (place for name, item, place in body.truth["objects"] if not item and "item" not in name), key=body.flat_away
    )


def hunt(body: Body, frames: int) -> Script:
    """Chase the nearest animal and strike when it is near and in view; wander where there is none."""
    yield from take_tool(body, "sword")
    wait = 0
    for frame in range(frames):
        prey = animals(body)
        if not prey:
            yield from ramble(body)
            return
        aim = prey[0]
        away, (pitch, yaw) = body.flat_away(aim), body.gaze_at(aim)
        keys = {"forward"} if away > 1.9 and abs(body.bearing(aim)) < 50 else {"back"} if away < 0.9 else set()
        wait -= 1
        if body.away(aim) < SWORD_REACH and body.off_target((pitch, yaw)) < 9 and wait <= 0:
            wait = int(body.rng.integers(5, 11))
        if wait > 0 and wait > 4:
            keys.add("attack")
        if body.still_frames > 4 and body.grounded and "forward" in keys:
            keys.add("jump")
        free = {"sprint", "hop", "strafe"} if away > 3 else {"strafe", "hop"}
        yield body.frame(keys, (pitch, yaw), tolerance=3.0, haste=1.2, free=free)
        if body.still_frames > 60 and frame > 60:
            yield from ramble(body)
