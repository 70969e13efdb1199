"""The scripted player in ViZDoom: the same hands, habits and styles as in Luanti, other things to do.

All that it knows of the map is what lies near and where the gates are; it walks straight at things and works itself
free when something is in the way.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping, Set
from itertools import islice

import numpy as np

from data.actions import Action
from data.names import require_name
from vpt_pipeline.envs.truth import GameTruth, Vector
from vpt_pipeline.players import antics
from vpt_pipeline.players.body import AnswersQuestions, Body, Script
from vpt_pipeline.players.habits import ALL
from vpt_pipeline.players.mouse import Turn
from vpt_pipeline.players.routes import Unsticker, head_for, way_keys
from vpt_pipeline.players.scripted import ScriptedPlayer
from vpt_pipeline.players.style import PlayerStyle

HIGHEST, LOWEST = -31.0, 55.0
"""Pitch in degrees: the engine looks no further up and down, and a hand that pushed on would turn nothing."""


class VizdoomBody(Body):
    """A body whose neck is as stiff as Doom's."""

    def _error(self, gaze: tuple[float, float]) -> Turn:
        return super()._error((min(LOWEST, max(HIGHEST, gaze[0])), gaze[1]))


class VizdoomPlayer(ScriptedPlayer):
    """Plays one task of ``VIZDOOM_SCRIPTS`` in one style; the same seed in the same game gives the same play."""

    def __init__(self, env: AnswersQuestions, task: str, style: PlayerStyle | str, seed: int) -> None:
        require_name("task for ViZDoom's players", task, VIZDOOM_SCRIPTS)
        super().__init__(env, "freeplay", style, seed)
        self.task = task

    def reset(self, truth: GameTruth) -> None:
        """Begin an episode; ``truth`` is the info that ``env.reset`` gave."""
        words = zlib.crc32(f"vizdoom/{self.task}/{self.style.name}".encode())
        self._body = VizdoomBody(self._env, self.style, np.random.default_rng([self._seed, words]), truth)
        self._script = VIZDOOM_SCRIPTS[self.task](self._body)


def go_to(
    body: Body, target: Vector, stop: float = 0.6, limit: int = 200, free: Set[str] = ALL
) -> Generator[Action, None, bool]:
    """Walk straight at a place. Returns whether it was reached; gives up where there is no getting nearer."""
    unsticker, nearest, idle = Unsticker(body), float("inf"), 0
    for _ in range(limit):
        away = body.flat_away(target)
        if away < stop:
            return True
        nearest, idle = (away, 0) if away < nearest - 0.3 else (nearest, idle + 1)
        if idle > 50:
            return False
        keys = unsticker.mend(way_keys(body.bearing(target)))
        calm = free - {"sprint", "hop", "strafe", "glance"} if body.still_frames > 2 or away < 4 else free
        yield body.frame(keys, (body.style.gaze_pitch, body.gaze_at(target)[1]), body.style.tolerance, free=calm)
    return False


def travel(body: Body) -> Script:
    """As far away from the start as the map allows, bearing off where something ends the way."""
    heading = body.truth["yaw"]
    while True:
        before = body.truth["distance"]
        yield from head_for(body, heading, int(body.between(40, 90)))
        heading += body.between(-12, 12) if body.truth["distance"] > before + 4 else body.between(-100, 100)


def collecting(body: Body, count: int) -> Script:
    """Walk onto so many things, the nearest first, leaving out those that could not be reached."""
    done: set[Vector] = set()  # tried: some cannot be reached, some (a second key) cannot be taken
    for _ in range(count):
        near = [place for _, item, place in body.truth["objects"] if item and place not in done]
        if not near:
            yield from head_for(body, body.between(-180, 180), 60)
            continue
        # what lies ahead is taken before what lies behind at the same distance
        target = min(near, key=lambda place: body.flat_away(place) * (1 + abs(body.bearing(place)) / 120))
        done.add(target)
        yield from go_to(body, target, stop=0.4)
        yield body.frame()


def collect(body: Body) -> Script:
    """Everything that lies about."""
    while True:
        yield from collecting(body, 50)


def shoot(body: Body) -> Script:
    """Take aim at something near and fire a few times, or a long burst."""
    aims = [place for _, _, place in body.truth["objects"] if 3 < body.flat_away(place) < 18]
    aims = [place for place in aims if abs(body.bearing(place)) < 90]
    if aims:
        x, y, z = aims[int(body.rng.integers(len(aims)))]
        yield from body.look(body.gaze_at((x, y + 1.0, z)), within=3.0)
    if body.chance(0.3):
        yield from body.wait(int(body.rng.integers(12, 40)), ("attack",))
    for _ in range(int(body.rng.integers(1, 5))):
        yield from body.tap("attack")
        yield from body.wait(int(body.rng.integers(3, 12)))


def visit_garden(body: Body) -> Script:
    """Walk to the nearest garden, sink its gate, go in for what lies there, look about and leave."""
    gates = yield from body.ask("gates")
    if not gates:
        return
    before, gate = min(gates, key=lambda pair: body.flat_away(pair[0]))
    if not (yield from go_to(body, before, stop=0.8, limit=300)):
        return
    inside = tuple(g + 3 * (g - b) for g, b in zip(gate, before, strict=True))
    for goal in ((inside[0], gate[1], inside[2]), before):
        yield from body.look((body.style.gaze_pitch, body.gaze_at(gate)[1]), within=5.0)
        yield from go_to(body, gate, stop=1.3, limit=30, free=frozenset())
        yield from body.tap("use")
        yield from body.wait(int(body.rng.integers(20, 30)))
        if not (yield from go_to(body, goal, stop=1.0, limit=60, free=frozenset())):
            return
        yield from antics.look_around(body, 1)


def ramble(body: Body) -> Script:
    """Walk about, a few legs, each in another direction."""
    for _ in range(int(body.rng.integers(1, 4))):
        yield from head_for(body, body.between(-180, 180), int(body.between(30, 80)))


def explore(body: Body) -> Script:
    """See the surroundings: rambles with looks around."""
    while True:
        yield from ramble(body)
        yield from antics.look_around(body)


_FREEPLAY: Mapping[str, tuple[float, Callable[[Body], Script]]] = {
    "wander": (6.0, ramble),
    "travel": (3.0, lambda body: head_for(body, body.truth["yaw"] + body.between(-40, 40), int(body.between(60, 140)))),
    "gather": (5.0, lambda body: collecting(body, int(body.rng.integers(1, 5)))),
    "garden": (5.0, visit_garden),
    "shoot": (8.0, shoot),
    "look": (1.5, antics.look_around),
    "hotbar": (5.0, antics.go_through_hotbar),
    "throw": (2.5, antics.throw),
    "crouch": (3.6, antics.crouch),
    "dance": (2.4, antics.dance),
    "back_off": (2.4, antics.back_off),
    "idle": (0.5, antics.idle),
}
"""Freeplay's activities: weight and script. A style's likes multiply the weights."""


def freeplay(body: Body) -> Script:
    """A person at leisure: one thing after another, what has not been done for long becoming more likely."""
    names = sorted(_FREEPLAY)
    weights = np.array([_FREEPLAY[name][0] * body.style.likes.get(name, 1.0) for name in names])
    longing = np.ones(len(names))
    while True:
        shares = weights * longing
        chosen = int(body.rng.choice(len(names), p=shares / shares.sum()))
        longing = np.minimum(4.0, longing + weights / 10)
        longing[chosen] = 0.1
        yield from islice(_FREEPLAY[names[chosen]][1](body), 300)
        yield body.frame()


VIZDOOM_SCRIPTS: Mapping[str, Callable[[Body], Script]] = {
    "travel": travel,
    "collect": collect,
    "explore": explore,
    "freeplay": freeplay,
}
"""The script that plays each task in ViZDoom, by the task's name."""
