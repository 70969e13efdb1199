"""MineRL as a gymnasium environment like the embedded games: the same actions, observation and ``info``, and a watchdog.

MineRL itself plays in another interpreter (server/), because it wants gym 0.23, numpy 1.23 and Java 8. When it hangs,
dies, leaks or says nonsense, ``step`` or ``reset`` raises MinerlDied within the time set for it, after everything of it
has been ended, Java too; the next ``reset`` starts it anew. So an evaluation counts such an episode as failed to run,
and goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import weakref
from collections.abc import Mapping
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data.actions import ENV_BUTTONS
from vpt_pipeline.envs.minerl.checks import require_vpt
from vpt_pipeline.envs.minerl.connection import Connection, MinerlDied
from vpt_pipeline.envs.minerl.here import Here
from vpt_pipeline.envs.minerl.rewards import VptReward
from vpt_pipeline.envs.minerl.server.games import require_start
from vpt_pipeline.envs.minerl.settings import FAKE, MinerlSettings, require_place, settings_from
from vpt_pipeline.envs.minerl.truths import EpisodeTruth
from vpt_pipeline.envs.truth import GameTruth

Observation = dict[str, NDArray[np.uint8]]
OPTIONS = ("inventory", "biome")
DIAMOND = "MineRLObtainDiamond-v0"
RESTART_SHARE = 0.75
"""Of the memory limit: from here on the env is restarted between episodes."""


def _close_in_owner(owner: int, closing: contextlib.ExitStack) -> None:
    """For environments that nobody closed; a forked child that drops its copy leaves its parent's game alone."""
    if os.getpid() == owner:
        closing.close()


class MinerlEnv(gymnasium.Env[Observation, dict[str, Any]]):
    """A MineRL environment with observation ``{"pov": uint8 (H, W, 3)}``; ``info`` is a GameTruth and has, beyond it,
    "minerl": what Minecraft said, as it was.

    name: of MineRL ("MineRLBasaltFindCave-v0"), "MineRLObtainDiamond-v0" (survival with VPT's reward), or "Fake-v0" (no
    MineRL).
    size: (width, height); VPT's models need 640x360.
    settings: where it runs and how long it may take (default: from the environment's variables).
    check: refuse what VPT's models cannot play.
    choices: of server/games.py, such as inventory and biome for every episode, or fov_range.

    Raises ValueError for unknown names and for what VPT cannot play, from the first ``reset``; MinerlDied when the game died.
    """

    lasts = True
    """A reset begins an episode in the running game as in a fresh one: Minecraft makes a new world from the seed and plays
    20 frames with all keys up before the first picture (EnvServer.java); what is counted is counted from the reset."""
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's name for it
    render_mode = "rgb_array"

    def __init__(
        self,
        name: str,
        size: tuple[int, int] = (640, 360),
        settings: MinerlSettings | None = None,
        check: bool = True,
        **choices: Any,
    ) -> None:
        settings = settings_from() if settings is None else settings
        if name == FAKE and settings.where == "nowhere":
            settings = dataclasses.replace(settings, python=sys.executable)
        require_place(settings)
        self.name, self.size, self.settings, self.check = name, (int(size[0]), int(size[1])), settings, check
        self._choices = dict(choices)
        if self.size != (640, 360):
            self._choices.setdefault("resolution", list(self.size))
        self._opened: dict[str, Any] = {}
        self._link: Connection | Here | None = None
        self._closing = contextlib.ExitStack()
        weakref.finalize(self, _close_in_owner, os.getpid(), self._closing)
        self.episodes = self.restarts = 0
        self._since_start = 0
        self._truth: EpisodeTruth | None = None
        self._frame: NDArray[np.uint8] = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        pov = gymnasium.spaces.Box(0, 255, self._frame.shape, np.uint8)
        self.observation_space = cast("gymnasium.Space[Observation]", gymnasium.spaces.Dict({"pov": pov}))
        keys: dict[str, gymnasium.Space[Any]] = {key: gymnasium.spaces.Discrete(2) for key in ENV_BUTTONS}
        keys["camera"] = gymnasium.spaces.Box(-180.0, 180.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Dict(keys)

    # ------------------------------------------------------------ gymnasium
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. ``seed``: of the world, signed, 64 bits (default: any).

        options, all of them optional: inventory (items such as "oak_log 20", or {"type": ..., "quantity": ...}), biome
        (of server/games.BIOMES). Other choices than the episode before take a restart of the game.
        """
        super().reset()  # the seed is the world's: gymnasium's own dice know no negative ones
        wanted = dict(options or {})
        unknown = sorted(set(wanted) - set(OPTIONS))
        if unknown:
            raise ValueError(f"unknown reset options {unknown}; expected some of {', '.join(OPTIONS)}")
        choices = self._choices | {key: value for key, value in wanted.items() if value is not None}
        if "inventory" in choices:
            choices["inventory"] = [parse_item(item) for item in choices["inventory"]]
        seed = None if seed is None else int(seed)
        require_start(choices.get("inventory") or (), choices.get("biome"), seed)
        self._truth = None
        if self._link is not None and self._is_due(choices):
            self._shut()
        link = self._link or self._open(choices)
        answer, raw = self._ask({"op": "reset", "seed": seed}, self.settings.reset_timeout)
        self.episodes, self._since_start = self.episodes + 1, self._since_start + 1
        self._truth, self._tick = EpisodeTruth(answer["news"]), 0
        self._reward = VptReward() if self.name == DIAMOND else None
        info = self._truth.info(answer["news"], 0)
        if self._reward is not None:
            self._reward.update(info)
        self._frame = link.frame(raw)
        return {"pov": self._frame}, self._info(info, answer["news"])

    def open(self) -> None:
        """Start the game's process, but no Minecraft: raises what a ``reset`` would for what is missing here."""
        if self._link is None:
            self._open(dict(self._choices))

    def step(self, action: Mapping[str, Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action's keys and turn its camera for one frame. Missing keys count as released."""
        link, truth = self._link, self._truth
        if link is None or truth is None:
            raise RuntimeError(
                "no game is running: call reset() first (also after MinerlDied, the end of an episode or close())"
            )
        held = [key for key in ENV_BUTTONS if np.any(action.get(key, 0))]
        camera = np.asarray(action.get("camera", (0.0, 0.0)), np.float32).reshape(2).astype(float).tolist()
        answer, raw = self._ask({"op": "step", "held": held, "camera": camera}, self.settings.step_timeout)
        self._tick += 1
        escaped, late = "ESC" in held and answer["done"], self._tick == self._opened["max_steps"]
        why = "" if not answer["done"] else "ESC" if escaped else "time" if late else "done"
        info = truth.info(answer["news"], self._tick, action, why)
        reward = float(answer["reward"]) + (self._reward.update(info) if self._reward is not None else 0.0)
        self._frame = link.frame(raw)
        truncated = info["ended"] == "time"
        if answer["done"]:
            self._truth = None
        ended = bool(info["ended"]) and not truncated
        return {"pov": self._frame}, reward, ended, truncated, self._info(info, answer["news"])

    def render(self) -> NDArray[np.uint8]:
        """The last frame, uint8 (H, W, 3)."""
        return self._frame

    def close(self) -> None:
        """End the game and everything that it started."""
        self._shut()

    # ------------------------------------------------------------ beyond gymnasium
    @property
    def facts(self) -> Mapping[str, Any]:
        """What the game said of itself when it was opened; empty before the first reset."""
        return self._opened

    # ------------------------------------------------------------ inside
    def _is_due(self, choices: dict[str, Any]) -> bool:
        """Whether the game has to be restarted before this episode."""
        every, link = self.settings.restart_every, self._link
        leaky = link is not None and link.memory > RESTART_SHARE * self.settings.memory_limit
        return choices != self._playing or leaky or bool(every and self._since_start >= every)

    def _open(self, choices: dict[str, Any]) -> Connection | Here:
        if self.episodes:
            self.restarts += 1
        screen = self.name != FAKE and choices.get("mode") != "fake_minecraft"
        link = Here() if self.settings.here else Connection(self.settings, screen)
        self._closing.callback(link.close)
        self._link, self._since_start, self._playing = link, 0, choices
        try:
            self._opened = link.open(self.name, choices)
            if self.check:
                require_vpt(self._opened)
        except BaseException:
            self._shut()
            raise
        return link

    def _ask(self, request: dict[str, Any], timeout: float) -> tuple[dict[str, Any], bytearray]:
        assert self._link is not None
        try:
            return self._link.ask(request, timeout)
        except MinerlDied:
            self._shut()
            raise

    def _shut(self) -> None:
        self._link = self._truth = None
        self._closing.close()

    def _info(self, truth: GameTruth, news: dict[str, Any]) -> dict[str, Any]:
        return {**truth, "minerl": news}


def parse_item(item: str | Mapping[str, Any]) -> dict[str, Any]:
    """ "oak_log 20" as MineRL wants it. Raises ValueError for what is no item and number."""
    if not isinstance(item, str):
        return {"type": str(item["type"]), "quantity": int(item.get("quantity", 1))}
    name, _, count = item.partition(" ")
    if count and not count.isdigit():
        raise ValueError(f"inventory item {item!r}: expected a name and how many, such as 'oak_log 20'")
    return {"type": name, "quantity": int(count or 1)}
