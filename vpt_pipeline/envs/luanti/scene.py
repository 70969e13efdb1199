"""What an episode begins with, and how the game is brought there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from vpt_pipeline.envs.luanti.game import ESCAPE, KEYS, Game
from vpt_pipeline.envs.truth import Vector

_SETTLE_STEPS = 20
_KEYS_WAITING = 3  # the engine heeds one of drop, back and inventory a frame, the inventory last; the others wait
_PEN = 9.0  # animals appear at most this many metres to each side


@dataclass(frozen=True)
class Scene:
    """Where the player stands and looks (degrees), the time (share of a day), what is held, how many pigs are near."""

    position: Vector
    yaw: float
    pitch: float
    day_time: float
    inventory: tuple[str, ...]
    animals: int
    seed: int


def furnish(game: Game, scene: Scene) -> None:
    """Put player, items and animals in place and let the world come to rest around them.

    Raises RuntimeError for an item that the game does not know or that finds no room, and GameDied.
    """
    for _ in range(_KEYS_WAITING):
        game.step()  # releases every key
    if game.frame.gui_open:
        game.step([ESCAPE])
        game.step()
    for command in ("restore_nodes", "remove_objects", "clear", "breath"):
        game.request(command)
    game.request("hp", hp=20)
    game.request("time", time=scene.day_time)
    game.request("seed", seed=scene.seed)
    for item in scene.inventory:
        game.call("give", item=item)
    view: dict[str, Any] = {"pos": list(scene.position), "yaw": -scene.yaw, "pitch": scene.pitch}
    game.call("teleport", **view)
    dice = random.Random(scene.seed)
    x, y, z = scene.position
    for _ in range(scene.animals):
        game.call("spawn", name="bridge:pig", pos=[x + dice.uniform(-_PEN, _PEN), y + 3, z + dice.uniform(-_PEN, _PEN)])
    for _ in range(_SETTLE_STEPS):
        game.step([KEYS["hotbar.1"]])
    game.call("teleport", **view)
    game.step()
    game.step()
    game.call("forget_events")
    game.events.clear()
    game.answers.clear()
