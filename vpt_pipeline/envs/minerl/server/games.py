"""MineRL's environments as the server plays them: made from MineRL's own specifications, with the game's truth beside
each frame.

A specification stays as published but for three things: the observation carries what Minecraft says of itself (position, stats,
inventory, GUI), BASALT's too; MineRL's 5,933 separate statistics are not unpacked; start inventory and biome can be chosen.
Three defects are mended: BASALT's and the diamond task's step counters go on over resets, so that a second episode ends
too early; a lost connection to Minecraft, which MineRL reports as a random observation, is an error here; and Minecraft's
output is always read (minecraft_log.py).

Source: minerllabs/minerl 1.0, herobraine/env_spec.py, env_specs/*.py, env/_multiagent.py, and EnvServer.java of its patch.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
from typing import Any, Sequence  # noqa: UP035 - Python 3.8

from . import minecraft_log

CHOICES = (
    "inventory",
    "biome",
    "fov_range",
    "gamma_range",
    "guiscale_range",
    "cursor_size_range",
    "resolution",
    "mode",
)
"""What a client may choose when it opens a game. mode: "fake_minecraft" plays MineRL's Python layer without Java."""
_REWARDED = "MineRLObtainDiamondShovel-v0"
"""Its published reward reads MineRL's own inventory, 976 spaces a frame; nothing else has to."""
NO_MINERL = (
    "MineRL does not import in {python}: {error}. `vpt doctor minerl` walks through the installation (docs/minerl.md)"
)


BIOMES = (
    "beach", "desert", "extreme_hills", "forest", "icy", "jungle", "mesa", "mushroom", "ocean", "plains", "river", "savanna",
    "swamp", "taiga",
)  # fmt: skip
"""Where a player may begin: Minecraft 1.16's categories of biomes, those of the overworld. With another it waits for ever."""
SLOTS = 36
"""Of the hotbar and the inventory."""
OVER = "minecraft_over"
"""In what the game says: Minecraft itself has ended the episode, which it does at the player's death alone."""


class GameError(RuntimeError):
    """The game is broken; a new one has to be opened."""


def open_game(name: str, choices: dict[str, Any]) -> Any:
    """A game: ``reset(seed)``, ``step(held, camera)``, ``close()``, ``facts``. "Fake-v0" needs no MineRL.

    Raises ValueError for unknown names and choices, GameError where MineRL is missing.
    """
    require_start(choices.get("inventory") or (), choices.get("biome"))
    if name == "Fake-v0":
        from .fake import FakeGame

        return FakeGame(**{**json.loads(os.environ.get("VPT_MINERL_FAKE") or "{}"), **choices})
    unknown = sorted(set(choices) - set(CHOICES))
    if unknown:
        raise ValueError(f"unknown choices {unknown}; expected some of {', '.join(CHOICES)}")
    return MinerlGame(name, **choices)


def require_start(
    inventory: Sequence[dict[str, Any]] = (),
    biome: str | None = None,
    seed: int | None = None,
    sizes: dict[str, int] | None = None,
) -> None:
    """Raises ValueError for a start that Minecraft would wait for for ever, or silently make another of.

    seed: of the world; sizes: item -> how many a slot holds, where the items are known.
    """
    if biome is not None and biome not in BIOMES:
        raise ValueError(f"unknown biome {biome!r}; expected one of Minecraft's categories: {', '.join(BIOMES)}")
    if seed is not None and not -(2**63) <= seed < 2**63:
        raise ValueError(f"the world's seed is {seed}; expected a whole number from -2^63 to 2^63 - 1")
    if len(inventory) > SLOTS:
        raise ValueError(f"the inventory has {len(inventory)} items; expected at most {SLOTS}, one a slot")
    for item in inventory:
        name, count = str(item["type"]), int(item["quantity"])
        most = 64 if sizes is None else sizes.get(name)
        if most is None:
            near = difflib.get_close_matches(name.split(":")[-1], list(sizes or ()))
            meant = f"did you mean {' or '.join(near)}?" if near else "expected a name such as oak_log"
            raise ValueError(f"the inventory has {name!r}, which is no item of Minecraft's: {meant}")
        if not 1 <= count <= most:
            raise ValueError(
                f"the inventory has {count} {name} in one slot; expected 1 to {most} (more in further slots)"
            )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever an installation that is half there raises
        what = f"{type(error).__name__}: {error}"
        raise GameError(NO_MINERL.format(python=sys.executable, error=what)) from error


def spec_of(name: str) -> Any:
    """MineRL's own specification class of an environment with human controls. Raises ValueError for others."""
    specs = {spec.name: spec for spec in _module("minerl.herobraine.envs").ENVS}
    human = [key for key, spec in specs.items() if "ESC" in spec.action_space.spaces]
    if name == "MineRLObtainDiamond-v0":  # no published one has VPT's controls: survival, rewarded by the client
        name = "MineRLHumanSurvival-v0"
    if not human:
        raise GameError(
            f"this MineRL has no human controls, only {', '.join(specs)}: expected MineRL 1.0 (docs/minerl.md)"
        )
    if name not in human:
        raise ValueError(f"unknown MineRL environment {name!r}; expected MineRLObtainDiamond-v0, {', '.join(human)}")
    return type(specs[name])


def told(*xml: str) -> list[Any]:
    """Handlers that ask Minecraft for what these mission elements give; the first hands all of it on."""
    spaces = _module("minerl.herobraine.hero.spaces")
    base = _module("minerl.herobraine.hero.handlers.translation").TranslationHandler

    class Told(base):  # type: ignore[misc,valid-type]
        def __init__(self, number: int, element: str) -> None:
            super().__init__(spaces.Dict({}))
            self.number, self.element = number, element

        def to_string(self) -> str:
            return f"told.{self.number}"

        def xml_template(self) -> str:
            return self.element

        def from_hero(self, news: dict[str, Any]) -> dict[str, Any]:
            return {} if self.number else {key: value for key, value in news.items() if key != "pov"}

        def from_universal(self, news: dict[str, Any]) -> dict[str, Any]:
            return self.from_hero(news)

        def to_hero(self, news: dict[str, Any]) -> str:
            raise NotImplementedError("an observation is not sent")

    return [Told(number, element) for number, element in enumerate(xml)]


def make_spec(
    name: str, inventory: list[dict[str, Any]] | None = None, biome: str | None = None, **settings: Any
) -> Any:
    """MineRL's specification with the truth beside the frame. settings: attributes such as fov_range, [from, to]."""
    published = spec_of(name)
    items = _module("minerl.herobraine.hero.mc").all_data["items"]
    require_start(inventory or (), biome, sizes={item["type"]: item["stackSize"] for item in items})
    handlers = _module("minerl.herobraine.hero.handlers")

    class Measured(published):  # type: ignore[misc,valid-type]
        def create_observables(self) -> list[Any]:
            names = ("pov", "inventory") if name == _REWARDED else ("pov",)
            kept = [one for one in super().create_observables() if one.to_string() in names]
            wearing = handlers.EquippedItemObservation(items=["air"], _default="air", _other="air")
            asked = (handlers.ObservationFromCurrentLocation(), handlers.FlatInventoryObservation([]), wearing)
            return kept + told(*(one.xml() for one in asked))

        def create_monitors(self) -> list[Any]:
            return []

        def create_agent_start(self) -> list[Any]:
            start = list(super().create_agent_start())
            if inventory is not None:
                start.append(handlers.SimpleInventoryAgentStart(inventory))  # of two, MineRL takes the later one
            if biome is not None:
                start.append(handlers.PreferredSpawnBiome(biome))
            return start

    spec = Measured()
    for key, value in settings.items():
        setattr(spec, key, value)
    spec.reset()
    return spec


class MinerlGame:
    """One MineRL environment. facts: what VPT's checks look at, and the end of time (max_steps, or None)."""

    def __init__(self, name: str, mode: str = "minecraft", **choices: Any) -> None:
        self.spec = make_spec(name, **choices)
        if mode == "fake_minecraft":
            from .fake import make_fake

            self.env = make_fake(self.spec)
        else:
            minecraft_log.mend(_module("minerl.env.malmo"))
            self.env = self.spec.make()
        spaces = self.spec.action_space.spaces
        ranges = ("fov_range", "gamma_range", "guiscale_range", "cursor_size_range")
        self.facts: dict[str, Any] = {
            "name": name,
            "resolution": [int(size) for size in self.spec.resolution],
            **{key: [float(end) for end in getattr(self.spec, key)] for key in ranges},
            "actions": {key: getattr(space, "n", None) or [list(space.shape), float(space.low.min()), float(space.high.max())]
                        for key, space in spaces.items()},
            "max_steps": self.spec.max_episode_steps,
        }  # fmt: skip
        self._steps = 0

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """(pov, what the game says). seed: of the world."""
        self._steps = 0
        layer = self.env
        while layer is not None:
            if hasattr(type(layer), "reset") and "num_steps" in vars(layer):
                layer.num_steps = 0  # MineRL's wrappers forget to
            layer = vars(layer).get("env")
        if seed is not None:
            self.env.unwrapped.seed(int(seed), seed_spaces=False)
        return self._seen(self.env.reset())

    def step(self, held: list[str], camera: list[float]) -> tuple[Any, float, bool, dict[str, Any]]:
        """(pov, reward, done, what the game says). camera: degrees (pitch, yaw)."""
        import numpy as np

        action: dict[str, Any] = {key: int(key in held) for key in self.spec.action_space.spaces}
        action["camera"] = np.asarray(camera, np.float32)
        observation, reward, done, info = self.env.step(action)
        if "error" in info:
            raise GameError(f"MineRL lost Minecraft: {info['error']}")
        self._steps += 1
        done = bool(done) or self._steps == self.spec.max_episode_steps
        pov, news = self._seen(observation)
        # Minecraft's own word, below MineRL's wrappers: it is the player's death, whose statistic comes too late.
        if getattr(self.env.unwrapped, "done", False) and "xpos" in news:
            news[OVER] = True
        return pov, float(reward), done, news

    def _seen(self, observation: Any) -> tuple[Any, dict[str, Any]]:
        news = dict(observation["told.0"])
        worn = news.get("equipped_items")
        if worn:  # Minecraft writes each of them as JSON within JSON
            news["equipped_items"] = {key: json.loads(v) if isinstance(v, str) else v for key, v in worn.items()}
        return observation["pov"], news

    def close(self) -> None:
        self.env.close()
