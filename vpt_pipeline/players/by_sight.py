"""Gathering by sight alone, as one who learns from the picture can copy it.

What is done in a frame follows from what that frame shows. The player goes for what is in view, and strikes while the thing is
in the crosshair, never else: its hand is jogged (``PlayerStyle.jogs``) and leads the view off again and again, so that
recordings show every way back, which those of a steady hand do not (Laskey et al. 2017, "DART", arXiv 1703.09327). Short jogs,
far apart: a hand that always trembles hides in its noise what it was going to do.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from data.actions import Action
from vpt_pipeline.envs.truth import Vector
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.gather import ARM, HIGH, Cell, Quarry, cells_of, pick_up, take_tool
from vpt_pipeline.players.routes import WATER_LEVEL, Unsticker, go_beside

ASIDE = 60.0
"""Degrees to either side of the view beyond which nothing is gone for, however near: the picture does not show it."""
SEARCH = 100
"""Looks around, of about four frames each, before what was given up is tried again."""
SPIRAL = 120.0
"""Degrees to the right that the way of a search bends between two looks, times the number of looks since its beginning and 8:
a third of a turn in the first 4 seconds, another in the next 10."""
AWAY = 150.0
"""Degrees to the right that somebody turns who searches and has come into water, or against something."""
STEEP = 60.0
"""Degrees up or down beyond which nothing is tried: near the pole a small error of aim takes a turn right round."""
VAIN = 8
"""Frames of looking at something without getting at it after which it is given up: who copies somebody that stands and stares
does so for ever."""


def gather_by_sight(body: Body, quarry: Quarry, count: int, radius: int = 22) -> Script:
    """Dig so many of them, the nearest in view first; walk on where there are none."""
    tried: set[Cell] = set()
    done = 0
    yield from take_tool(body, quarry.tool)
    for _ in range(count * 3):
        if done >= count:
            return
        seen = yield from _search(body, quarry, radius, tried)
        if not seen:
            return
        target = seen[0]
        tried.add(target)
        if body.away(target) > ARM and not (yield from go_beside(body, target)):
            continue
        dug = yield from _strike(body, target, set(seen), quarry.patience)
        if dug is not None:
            done += 1
            yield from pick_up(body, dug, 24)


def _search(body: Body, quarry: Quarry, radius: int, skip: set[Cell]) -> Generator[Action, None, list[Cell]]:
    """Nodes of the quarry in view, those first that are near and not far off the middle; where there are none, walk on until
    some are, in a spiral outwards. Nobody stands and turns round to look for them: who copies that never stops turning, past
    what was sought."""
    heading, unsticker, since_turn = body.truth["yaw"], Unsticker(body), 0
    for look in range(SEARCH):
        gaze = (body.style.gaze_pitch, heading) if look else None
        for _ in range(3 if look else 0):
            yield body.frame(unsticker.mend({"forward"}), gaze, body.style.tolerance)
        found = yield from _in_sight(body, quarry, radius, unsticker.mend({"forward"}) if look else (), gaze)
        if cells := [cell for cell in found if cell not in skip]:
            return sorted(cells, key=lambda cell: body.away(cell) * (1 + abs(body.bearing(cell)) / 60))
        heading, since_turn = heading + SPIRAL / (look + 8), since_turn + 1
        if (body.still_frames > 10 or body.feet[1] < WATER_LEVEL) and since_turn > 8:
            heading, since_turn = body.truth["yaw"] + AWAY, 0
    return []


def _in_sight(
    body: Body, quarry: Quarry, radius: int, keys: Iterable[str] = (), gaze: tuple[float, float] | None = None
) -> Generator[Action, None, list[Cell]]:
    """Nodes of the quarry that the picture shows and that can be got at, while the hands go on."""
    found = yield from body.ask(
        "near", keys=keys, gaze=gaze, names=list(quarry.names), radius=radius, limit=60, below=4, above=4, in_sight=ARM
    )
    cells = [cell for cell in cells_of(found) if cell[1] - body.feet[1] < HIGH]
    cells = [cell for cell in cells if abs(body.gaze_at(cell)[0]) < STEEP and abs(body.bearing(cell)) < ASIDE]
    if quarry.feet_level:
        ground = round(body.feet[1] - 0.5)  # who sees the walls of a pit digs on into them
        cells = [cell for cell in cells if cell[1] in (ground, ground + 1) and body.flat_away(cell) > 1.1]
    return cells


def _strike(body: Body, target: Cell, seen: set[Cell], patience: int) -> Generator[Action, None, Vector | None]:
    """Look at the target and hold attack while it, or another of those seen, is in the crosshair, until one breaks: which, or
    None where that does not come about. The view rests on what is struck: a learner that turns on loses it."""
    hit: Cell | None = None
    idle = 0  # frames of not hitting it, once the view is there
    for _ in range(patience + 30):
        if idle > VAIN:
            return None
        before = sum(body.truth["dug"].values())
        off, away = body.off_target(body.gaze_at(target)), body.away(target)
        near = away > ARM and abs(body.bearing(target)) < 40
        keys = ("attack",) if hit is not None else ("forward",) if near else ()
        gaze = (body.truth["pitch"], body.truth["yaw"]) if hit in seen else body.gaze_at(target)
        pointed = yield from body.ask("pointed", range=4.0, keys=keys, gaze=gaze)
        if hit in seen and sum(body.truth["dug"].values()) > before:
            return hit
        hit = None
        if pointed and pointed[0] == "node":
            cell = cells_of([pointed[2:]])[0]
            # what hides the target is hit as well, if the crosshair is on the target
            if cell in seen or (off < 3.0 and away < ARM + 0.6):
                hit = cell
        idle = 0 if hit in seen else idle + (off < 10)
    return None
