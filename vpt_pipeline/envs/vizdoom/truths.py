"""Turns the engine's variables and objects into the GameTruth of each step."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from vpt_pipeline.envs.truth import GameTruth, Vector
from vpt_pipeline.envs.vizdoom.engine import Moment, Place
from vpt_pipeline.envs.vizdoom.map import ITEMS, MONSTERS, SCENERY, UNITS_PER_METRE, WEAPONS

TICS_PER_SECOND = 35
GROUND_HEIGHT = 2.0
"""Metres that open ground lies at, above the sea that scripted players would swim in (there is none here)."""
NEAR = 32.0
"""Metres within which objects are listed."""
REACH = 3.0
"""Metres: an item that disappears this near to the player was picked up by it (Doom's reach is 1.2, a step 0.8)."""

_SHOWN = frozenset({*ITEMS, *WEAPONS, *SCENERY, *MONSTERS})  # not shots, smoke and blood


def to_metres(place: Place) -> Vector:
    """Map units (east, north, up) to the truth's axes (east, up, north) in metres."""
    return place[0] / UNITS_PER_METRE, GROUND_HEIGHT + place[2] / UNITS_PER_METRE, place[1] / UNITS_PER_METRE


def wrap(degrees: float) -> float:
    """The same direction in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


class EpisodeTruth:
    """Keeps the books of one episode: what was picked up, how far the player came, how far the view turned."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._start = _feet(moment)
        self._farthest = 0.0
        self._gained: Counter[str] = Counter()
        self._dropped: set[int] = set()

    def info(
        self, moment: Moment, tick: int, counts: tuple[int, int], ended: str, answers: dict[int, Any]
    ) -> GameTruth:
        """The truth after a step that sent so many mouse counts (dx, dy)."""
        before, self._moment = self._moment, moment
        known = moment.variables
        feet = _feet(moment)
        events = self._events(before, moment, feet)
        distance = math.hypot(feet[0] - self._start[0], feet[2] - self._start[2])
        self._farthest = max(self._farthest, distance)
        slots = [(slot, name, 1) for slot, name in enumerate(WEAPONS) if known[f"WEAPON{slot + 1}"] > 0]
        hotbar = max(0, int(known["SELECTED_WEAPON"]) - 1)
        owned = {name for _, name, _ in slots}
        metres_a_second = TICS_PER_SECOND / UNITS_PER_METRE
        yaw, pitch = _view(moment)
        yaw_before, pitch_before = _view(before)
        return GameTruth(
            tick=tick,
            position=feet,
            velocity=(
                known["VELOCITY_X"] * metres_a_second,
                known["VELOCITY_Z"] * metres_a_second,
                known["VELOCITY_Y"] * metres_a_second,
            ),
            yaw=yaw,
            pitch=pitch,
            hp=int(known["HEALTH"]),
            inventory={name: 1 for _, name, _ in slots},
            slots=slots,
            hotbar=hotbar,
            held_item=WEAPONS[hotbar] if WEAPONS[hotbar] in owned else "",
            events=events,
            gained=dict(self._gained),
            dug={},
            placed={},
            gui_open=False,
            cursor=(0, 0),
            objects=[thing for thing in self.everything() if math.dist(thing[2], feet) < NEAR],
            distance=distance,
            max_distance=self._farthest,
            camera_counts=counts,
            camera_turn=(pitch - pitch_before, wrap(yaw - yaw_before)),
            is_dead=known["HEALTH"] <= 0,
            ended=ended,
            answers=answers,
        )

    def everything(self) -> list[tuple[str, str, Vector]]:
        """All things on the map as (name, item or "", position in metres), in the engine's order."""
        can_be_taken = ITEMS.keys() | set(WEAPONS)
        return [
            (name, name if name in can_be_taken else "", to_metres(place))
            for _, name, place in self._moment.objects
            if name in _SHOWN
        ]

    def _events(self, before: Moment, now: Moment, feet: Vector) -> list[dict[str, Any]]:
        left = {number for number, _, _ in now.objects}
        events: list[dict[str, Any]] = []
        known = {number for number, _, _ in before.objects}
        for number, name, place in before.objects:
            is_gone = number not in left and math.dist(to_metres(place), feet) < REACH
            if is_gone and (name in ITEMS or name in WEAPONS):
                own = number in self._dropped  # what the player threw away itself is no gain
                events.append({"type": "pickup", "item": name, "count": 1, "own": own})
                if not own:
                    self._gained[name] += 1
        for number, name, _ in now.objects:
            if number not in known and name in WEAPONS:
                self._dropped.add(number)
                events.append({"type": "drop", "item": name, "count": 1})
        kills = int(now.variables["KILLCOUNT"] - before.variables["KILLCOUNT"])
        events.extend({"type": "kill"} for _ in range(kills))
        return events


def _feet(moment: Moment) -> Vector:
    known = moment.variables
    return to_metres((known["POSITION_X"], known["POSITION_Y"], known["POSITION_Z"]))


def _view(moment: Moment) -> tuple[float, float]:
    """(yaw, pitch): Doom counts angles from east and leftwards, the truth from north and to the right."""
    return wrap(90.0 - moment.variables["ANGLE"]), wrap(moment.variables["PITCH"])
