"""The small things that fill people's play: looking around, tapping through the hotbar, the inventory, throwing."""

from __future__ import annotations

from data.actions import DEGREES_PER_COUNT
from vpt_pipeline.envs.luanti.layout import slot_position
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.routes import head_for


def idle(body: Body) -> Script:
    """Hands off for half a second to three."""
    yield from body.wait(int(body.rng.integers(6, 30)))


def look_around(body: Body, times: int = 0) -> Script:
    """Stand and look at several things (``times``, or 2 to 4), high and low, with rests between."""
    yaw = body.truth["yaw"]
    for _ in range(times or int(body.rng.integers(2, 5))):
        yaw += body.between(25, 110) * (1 if body.chance(0.5) else -1)
        pitch = float(body.rng.choice((body.between(-55, -15), body.between(-10, 20), body.between(25, 65))))
        yield from body.look((pitch, yaw), within=6.0, limit=45, haste=body.between(0.7, 1.3))
        if body.chance(0.3):
            yield from sweep(body)
        yield from body.wait(int(body.rng.integers(2, 13)))
    yield from body.look((body.style.gaze_pitch, yaw), within=6.0)


def sweep(body: Body) -> Script:
    """A slow, even pan."""
    speed = body.between(0.4, 2.2) * (1 if body.chance(0.5) else -1)
    tilt = body.between(-0.35, 0.35)
    frames = int(body.rng.integers(12, 40))
    for frame in range(frames):
        ease = min(1.0, frame / 5, (frames - frame) / 5)
        yield body.frame(push=(tilt * ease, speed * ease))


def go_through_hotbar(body: Body) -> Script:
    """Tap several hotbar keys, one after the other or here and there."""
    slot, step = body.truth["hotbar"], 1 if body.chance(0.6) else -1
    in_order = body.chance(0.4)
    walking = ("forward",) if body.chance(0.5) else ()
    for _ in range(int(body.rng.integers(2, 6))):
        slot = (slot + step) % 9 if in_order else body.habits.another_slot(slot)
        yield from body.select(slot, walking)
        yield from body.wait(int(body.rng.integers(1, 9)), walking)


def throw(body: Body) -> Script:
    """Throw something out of the hotbar and, mostly, fetch it back.

    Mostly one thing at a time: what is picked up goes to the first empty slot, so it comes back to its own.
    """
    slots = [slot for slot, _, _ in body.truth["slots"] if slot < 9]
    if not slots:
        return
    yield from body.select(slots[int(body.rng.integers(len(slots)))])
    yaw = body.truth["yaw"]
    yield from body.look((body.between(10, 35), yaw), within=6.0)
    times = 1 if body.chance(0.85) else 2
    for turn in range(times):
        if turn:
            yield from body.select(slots[int(body.rng.integers(len(slots)))])
        if body.truth["held_item"]:
            yield from body.tap("drop")
    yield from body.wait(int(body.rng.integers(4, 14)), gaze=(35.0, yaw))
    if body.chance(0.95):
        yield from fetch(body)


def fetch(body: Body) -> Script:
    """Walk onto things that lie near until they are picked up or forgotten."""
    for _ in range(90):
        lying = [place for _, item, place in body.truth["objects"] if item and body.flat_away(place) < 8]
        if not lying:
            return
        nearest = min(lying, key=body.flat_away)
        pitch, yaw = body.gaze_at(nearest)
        near = body.flat_away(nearest) < 0.7
        keys = {"forward"} if abs(body.bearing(nearest)) < 35 and not near else set()
        if body.still_frames > 5 and body.grounded and keys:
            keys.add("jump")
        yield body.frame(keys, (min(pitch, 45.0), yaw) if not near else None, tolerance=body.style.tolerance)


def use_inventory(body: Body) -> Script:
    """Open the inventory, move the cursor over it, sometimes lift a stack and put it back, and close it again."""
    yield from body.wait(int(body.rng.integers(2, 6)))
    yield from body.tap("inventory")
    yield from body.wait(int(body.rng.integers(2, 6)))
    width, height = 2 * body.truth["cursor"][0], 2 * body.truth["cursor"][1]  # the cursor starts in the middle
    for _ in range(int(body.rng.integers(1, 4))):
        if not body.truth["gui_open"]:
            return
        index = int(body.rng.integers(0, 27))
        yield from move_cursor(body, slot_position((width, height), "main", index))
        yield from body.wait(int(body.rng.integers(1, 7)))
        filled = any(slot == index for slot, _, _ in body.truth["slots"])
        if filled and body.chance(0.5):
            yield from body.tap("attack")
            yield from body.wait(int(body.rng.integers(2, 8)))
            yield from body.tap("attack")
    yield from body.wait(int(body.rng.integers(1, 8)))
    if body.truth["gui_open"]:
        yield from body.tap("inventory")
    yield from body.wait(int(body.rng.integers(2, 5)))


def move_cursor(body: Body, target: tuple[float, float]) -> Script:
    """Move the cursor of an open GUI to a pixel, one mouse count being about a pixel."""
    for _ in range(30):
        x, y = body.truth["cursor"]
        dx, dy = target[0] - x, target[1] - y
        if not body.truth["gui_open"] or max(abs(dx), abs(dy)) < 2:
            return
        pull = DEGREES_PER_COUNT * body.between(0.3, 0.5)
        yield body.frame(push=(max(-3.0, min(3.0, dy * pull)), max(-3.0, min(3.0, dx * pull))))


def crouch(body: Body) -> Script:
    """Crouch, alone or on the move; sometimes a few quick nods."""
    if body.chance(0.55):
        for _ in range(int(body.rng.integers(2, 5))):
            yield from body.wait(int(body.rng.integers(4, 8)), ("sneak",))
            yield from body.wait(int(body.rng.integers(4, 7)))
        return
    way = ("forward",) if body.chance(0.6) else ("left",) if body.chance(0.5) else ("right",)
    yield from body.wait(int(body.rng.integers(4, 10)), ("sneak",))
    yield from body.wait(int(body.rng.integers(10, 28)), ("sneak", *way))
    yield from body.wait(int(body.rng.integers(3, 8)), way)


def dance(body: Body) -> Script:
    """Sidestep to and fro, in a ring, or hopping."""
    kind = int(body.rng.integers(3))
    if kind == 0:
        side = "left" if body.chance(0.5) else "right"
        for _ in range(int(body.rng.integers(2, 5))):
            yield from body.wait(int(body.rng.integers(6, 14)), (side,))
            side = "right" if side == "left" else "left"
    elif kind == 1:
        side, turn = ("left", 1.0) if body.chance(0.5) else ("right", -1.0)
        speed = turn * body.between(2.5, 4.5)
        for _ in range(int(body.rng.integers(16, 36))):
            yield body.frame((side,), push=(0.0, speed))
    else:
        for _ in range(int(body.rng.integers(2, 5))):
            yield from body.tap("jump", ("forward",) if body.chance(0.5) else ())
            for _ in range(16):
                yield body.frame()
                if body.grounded:
                    break
    yield from body.wait(int(body.rng.integers(2, 8)))


def back_off(body: Body) -> Script:
    """Walk backwards, and maybe turn round and walk off."""
    side = () if body.chance(0.6) else ("left",) if body.chance(0.5) else ("right",)
    yield from body.wait(int(body.rng.integers(8, 30)), ("back", *side))
    yield from body.wait(int(body.rng.integers(2, 10)))
    if body.chance(0.5):
        yield from head_for(body, body.truth["yaw"] + body.between(100, 220), int(body.rng.integers(20, 50)))


def swing(body: Body) -> Script:
    """Hit the air or the ground a few times."""
    if body.chance(0.5):
        yield from body.look((body.between(-5, 50), body.truth["yaw"] + body.between(-30, 30)), within=6.0)
    for _ in range(int(body.rng.integers(1, 5))):
        yield from body.tap("attack")
        yield from body.wait(int(body.rng.integers(2, 9)))
