"""What a player does for each task: endless scripts, put together from the behaviours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np

from vpt_pipeline.players import antics
from vpt_pipeline.players.body import Body, Script
from vpt_pipeline.players.build import build, come_down
from vpt_pipeline.players.by_sight import gather_by_sight
from vpt_pipeline.players.gather import DIRT, FLOWERS, GRASS, LOGS, WEEDS, Quarry, gather
from vpt_pipeline.players.habits import ALL
from vpt_pipeline.players.hunt import animals, hunt
from vpt_pipeline.players.place import pillar
from vpt_pipeline.players.routes import ramble


def breather(body: Body, share: float = 0.4) -> Script:
    """Between two pieces of work: mostly nothing, sometimes (that share) a moment of something else."""
    if body.style.single_minded or not body.chance(share):
        return
    antic = (antics.idle, antics.look_around, antics.go_through_hotbar, antics.swing)[int(body.rng.integers(4))]
    yield from antic(body)


def travel(body: Body) -> Script:
    """As far away from the start as possible."""
    heading = body.truth["yaw"]
    while True:
        before = body.truth["distance"]
        yield from ramble(body, heading, least=12, free=ALL - {"crouch", "glance"})
        if body.truth["distance"] > before + 3:
            heading += body.between(-12, 12)
        else:  # water or a cliff ahead: bear off
            heading += body.between(40, 90) * (1 if body.chance(0.5) else -1)
        yield from breather(body, 0.1)


def _gather(body: Body, quarry: Quarry, count: int, radius: int = 22) -> Script:
    return (gather_by_sight if body.style.single_minded else gather)(body, quarry, count, radius)


def gathering(quarry: Quarry) -> Callable[[Body], Script]:
    """Gather one kind of thing for ever."""

    def script(body: Body) -> Script:
        while True:
            yield from _gather(body, quarry, int(body.rng.integers(2, 5)))
            yield from breather(body)

    return script


def pillars(body: Body) -> Script:
    """One high pillar; a new one beside it when that fails."""
    while True:
        yield from pillar(body, 12)
        yield from antics.look_around(body)
        if body.truth["position"][1] < 30 and body.chance(0.5):
            yield from pillar(body, 4)


def hunting(body: Body) -> Script:
    while True:
        yield from hunt(body, 300)
        yield from breather(body)


def exploring(body: Body) -> Script:
    """See the surroundings: rambles with looks around."""
    while True:
        yield from ramble(body)
        yield from antics.look_around(body)


_FREEPLAY: Mapping[str, tuple[float, Callable[[Body], Script]]] = {
    "wander": (6.0, lambda body: ramble(body)),
    "travel": (4.0, lambda body: ramble(body, body.truth["yaw"] + body.between(-40, 40), int(body.rng.integers(1, 3)))),
    "gather": (0.8, lambda body: _gather(body, LOGS, int(body.rng.integers(1, 3)))),
    "dirt": (1.2, lambda body: _gather(body, DIRT, int(body.rng.integers(1, 3)))),
    "flowers": (0.7, lambda body: _gather(body, FLOWERS, 1, 16)),
    "grass": (1.0, lambda body: _gather(body, WEEDS, 1, 16)),
    "build": (4.4, lambda body: build(body, int(body.rng.integers(2, 6)))),
    "pillar": (0.9, lambda body: _up_and_down(body)),
    "hunt": (1.2, lambda body: hunt(body, int(body.rng.integers(60, 140)))),
    "look": (1.0, antics.look_around),
    "hotbar": (5.0, antics.go_through_hotbar),
    "throw": (5.0, antics.throw),
    "inventory": (3.6, antics.use_inventory),
    "crouch": (3.6, antics.crouch),
    "dance": (2.2, antics.dance),
    "back_off": (2.4, antics.back_off),
    "swing": (1.4, antics.swing),
    "idle": (0.5, antics.idle),
}
"""Freeplay's activities: weight and script. A style's likes multiply the weights."""


_LOSES_PATIENCE = {"wander", "travel", "gather", "dirt", "flowers", "grass", "hunt"}
"""Activities that are dropped when they take long."""
ENDLESS = 1_000_000


def _up_and_down(body: Body) -> Script:
    yield from pillar(body, int(body.rng.integers(2, 4)))
    yield from antics.look_around(body, 1)
    yield from come_down(body)


def freeplay(body: Body) -> Script:
    """A person at leisure: one thing after another."""
    if body.style.single_minded:
        yield from chores(body)
        return
    weights = {name: weight * body.style.likes.get(name, 1.0) for name, (weight, _) in _FREEPLAY.items()}
    longing = dict.fromkeys(weights, 1.0)
    while True:
        # what has not been done for long becomes more likely, so that even a short episode has some of everything
        names = [name for name in sorted(weights) if name != "hunt" or animals(body)]
        shares = np.array([weights[name] * longing[name] for name in names])
        chosen = str(body.rng.choice(names, p=shares / shares.sum()))
        longing = {name: min(4.0, longing[name] + weights[name] / 10) for name in weights}
        longing[chosen] = 0.1
        patience = int(body.rng.integers(80, 180)) if chosen in _LOSES_PATIENCE else ENDLESS
        body.tool = ""
        yield from islice(_FREEPLAY[chosen][1](body), patience)
        yield body.frame()


CHORES = ("travel", "logs", "dirt", "seeds", "flowers")
CHORE_FRAMES = (80, 240)
"""From and to how many frames each is worked on; goals are taken from up to 200 frames ahead."""


def chores(body: Body) -> Script:
    """The tasks' work by turns, whatever the place is good for: where what is seen does not tell what is done next, the goal
    has to (hindsight relabelling learns little about goals from recordings of a single task)."""
    last = ""
    while True:
        last = str(body.rng.choice([name for name in CHORES if name != last]))
        yield from islice(SCRIPTS[last](body), int(body.rng.integers(*CHORE_FRAMES)))
        yield body.frame()


SCRIPTS: Mapping[str, Callable[[Body], Script]] = {
    "travel": travel,
    "logs": gathering(LOGS),
    "dirt": gathering(DIRT),
    "seeds": gathering(GRASS),
    "flowers": gathering(FLOWERS),
    "pillar": pillars,
    "hunt": hunting,
    "explore": exploring,
    "freeplay": freeplay,
}
"""The script that plays each task, by the task's name."""
