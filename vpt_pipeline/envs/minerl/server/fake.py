"""Games without Minecraft: one that needs nothing but numpy, and MineRL's own fake env with human controls.

``Fake-v0`` is for trying the whole path, for benchmarks, and for what goes wrong: it hangs, dies and leaks on request
(the variable VPT_MINERL_FAKE holds its arguments as JSON). Its player walks where the keys and the camera say, collects
a log with every 20 frames of attack, and a seed with every 10 of use.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

from .games import GameError, _module

WIDTH, HEIGHT = 640, 360
FAULTS = ("die", "hang", "hang_reset", "garbage", "slow", "leak", "raise", "java")
_ACTIONS = (
    *("ESC", "attack", "back", "drop", "forward", "inventory", "jump", "left", "pickItem", "right", "sneak", "sprint"),
    *("swapHands", "use"),
    *(f"hotbar.{slot}" for slot in range(1, 10)),
)
FACTS: dict[str, Any] = {
    "name": "Fake-v0",
    "resolution": [WIDTH, HEIGHT],
    "fov_range": [70.0, 70.0],
    "gamma_range": [2.0, 2.0],
    "guiscale_range": [1.0, 1.0],
    "cursor_size_range": [16.0, 16.0],
    "actions": {**dict.fromkeys(_ACTIONS, 2), "camera": [[2], -180.0, 180.0]},
    "max_steps": None,
}


class FakeGame:
    """fault: one of FAULTS, at step ``at`` of each episode whose world's seed is in ``seeds`` (every one by default);
    faults: seed (as text) -> fault, instead.

    facts: overrides of what it claims to be. static: the frame never changes, so that a step costs nothing.
    """

    def __init__(
        self,
        fault: str = "",
        at: int = 5,
        seeds: list[int] | None = None,
        faults: dict[str, str] | None = None,
        facts: dict[str, Any] | None = None,
        static: bool = False,
        **choices: Any,
    ) -> None:
        import numpy as np

        for wrong in {fault, *(faults or {}).values()} - {"", *FAULTS}:
            raise ValueError(f"unknown fault {wrong!r}; expected one of {', '.join(FAULTS)}")
        self.facts = {**FACTS, "resolution": list(choices.get("resolution") or FACTS["resolution"]), **(facts or {})}
        self._width, self._height = self.facts["resolution"]
        self._fault, self._at, self._seeds, self._faults, self._static = fault, at, seeds, faults, static
        self._noise = np.random.RandomState(0).randint(0, 256, (2 * self._height, self._width, 3)).astype(np.uint8)
        self._kept: list[bytearray] = []
        self._java: Any = None
        self._start: list[dict[str, Any]] = list(choices.get("inventory") or [])

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self._seed, self._tick = seed or 0, 0
        self._x = self._z = self._pitch = 0.0
        self._yaw = float(self._seed * 37 % 360 - 180)
        self._attacks = self._uses = 0
        if self._faults is not None:
            self._fault = self._faults.get(str(self._seed), "")
        self._faulty = bool(self._fault) and (self._seeds is None or self._seed in self._seeds)
        if self._faulty and self._fault == "hang_reset":
            time.sleep(3600)
        if self._faulty and self._fault == "java" and self._java is None:
            self._java = _pretend_java()
        return self._frame(), self._news()

    def step(self, held: list[str], camera: list[float]) -> tuple[Any, float, bool, dict[str, Any]]:
        self._tick += 1
        if self._faulty and self._tick >= self._at:
            self._misbehave()
        self._pitch = max(-90.0, min(90.0, self._pitch + camera[0]))
        self._yaw = (self._yaw + camera[1] + 180.0) % 360.0 - 180.0
        ahead = 0.2 * (("forward" in held) - ("back" in held))
        self._x -= ahead * math.sin(math.radians(self._yaw))  # Minecraft's yaw: 0 looks along +z, 90 along -x
        self._z += ahead * math.cos(math.radians(self._yaw))
        self._attacks += "attack" in held
        self._uses += "use" in held
        return self._frame(), 0.0, "ESC" in held, self._news(held, camera)

    def _misbehave(self) -> None:
        fault = self._fault
        if fault in ("hang", "java"):
            time.sleep(3600)
        elif fault == "die":
            os._exit(11)
        elif fault == "slow":
            time.sleep(0.3)
        elif fault == "leak":
            time.sleep(0.01)
            self._kept.append(bytearray(b"x" * (4 << 20)))
        elif fault == "raise":
            raise GameError("MineRL lost Minecraft: Connection timed out!")
        elif fault == "garbage":
            from . import session

            session.say_garbage()

    def _frame(self) -> Any:
        row = 0 if self._static else (self._tick * 7 + self._seed) % self._height
        return self._noise[row : row + self._height]

    def _news(self, held: Any = (), camera: Any = (0.0, 0.0)) -> dict[str, Any]:
        logs, seeds = self._attacks // 20, self._uses // 10
        items = [{"type": "oak_log", "quantity": logs}, {"type": "wheat_seeds", "quantity": seeds}, *self._start]
        return {
            "xpos": self._x, "ypos": 64.0, "zpos": self._z, "pitch": self._pitch, "yaw": self._yaw,
            "life_stats": {"life": 20.0, "is_alive": True}, "isGuiOpen": False,
            "inventory": [item for item in items if item["quantity"]],
            "pickup": {"oak_log": logs, "wheat_seeds": seeds}, "mine_block": {"oak_log": logs, "grass": seeds},
            "heard": [sorted(held), list(camera)],
        }  # fmt: skip

    def close(self) -> None:
        self._kept.clear()


def _pretend_java() -> Any:
    """A child that nobody finds by parents or process groups: what Java is when MineRL dies."""
    import subprocess

    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)


def make_fake(spec: Any) -> Any:
    """MineRL's own fake env (env/_fake.py) of a specification with human controls, in MineRL's own wrappers.

    MineRL ships data for its old Navigate task alone; here Minecraft's part is played by FakeGame. Everything else is MineRL's:
    mission XML, action commands, observation handlers. What would have gone to Minecraft is told as "commands" and "mission".
    """
    fake = _module("minerl.env._fake")
    numpy = _module("numpy")
    game = FakeGame()

    class Fake(fake._FakeSingleAgentEnv):  # type: ignore[misc,name-defined]
        def reset(self) -> Any:
            self._now = game.reset(self._seed)
            self._commands = ""
            return super().reset()

        def _setup_instances(self) -> None:
            self.instances = [None] * self.task.agent_count

        def _send_mission(self, _: Any, mission: Any, token: str) -> None:
            self._mission = _module("lxml.etree").tostring(mission).decode()

        def _process_action(self, actor: str, action: Any) -> str:
            self._commands = str(super()._process_action(actor, action))
            held = [key for key, value in action.items() if key != "camera" and value]
            pov, _, _, news = game.step(held, [float(angle) for angle in action["camera"]])
            self._now = pov, news
            return self._commands

        def _get_fake_obs(self) -> Any:  # Minecraft sends bottom-up rows and JSON text
            pov, news = self._now
            text = json.dumps({**news, "commands": self._commands, "mission": self._mission})
            self._mission = ""  # told once
            rows = numpy.ascontiguousarray(pov[::-1]).tobytes()
            name = self.task.agent_names[0]
            seen, watched = self._process_observation(name, rows, text)
            return {name: seen}, {name: watched}

        def step(self, action: Any) -> Any:
            # The published fake makes its observation before it looks at the action.
            name = self.task.agent_names[0]
            self._process_action(name, action)
            seen, watched = self._get_fake_obs()
            return seen[name], 0.0, False, watched[name]

    made = spec._entry_point(True)
    module, _, entry = made.partition(":")
    if entry == "_FakeSingleAgentEnv":
        return Fake(env_spec=spec)
    original = fake._FakeSingleAgentEnv
    fake._FakeSingleAgentEnv = Fake  # the entry points of BASALT and of the diamond task look it up there
    try:
        return getattr(_module(module), entry)(env_spec=spec, fake=True)
    finally:
        fake._FakeSingleAgentEnv = original
