"""MineRL in this very process, where it imports: nothing between, and no watchdog either."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpt_pipeline.envs.minerl.connection import MinerlDied, told
from vpt_pipeline.envs.minerl.server.games import GameError, open_game
from vpt_pipeline.envs.minerl.server.minecraft_log import last_words


class Here:
    """Stands in the place of a Connection."""

    memory = 0

    def __init__(self) -> None:
        self._game: Any = None
        self._pov: Any = None

    def open(self, name: str, choices: dict[str, Any]) -> dict[str, Any]:
        try:
            self._game = open_game(name, choices)
        except GameError as error:
            raise MinerlDied(str(error)) from error
        facts: dict[str, Any] = self._game.facts
        return facts

    def ask(self, request: dict[str, Any], timeout: float) -> tuple[dict[str, Any], bytearray]:
        """timeout: not kept; whoever wants that needs another process."""
        try:
            if request["op"] == "reset":
                self._pov, news = self._game.reset(request.get("seed"))
                return {"news": news, "reward": 0.0, "done": False}, bytearray()
            self._pov, reward, done, news = self._game.step(request["held"], request["camera"])
        except Exception as error:
            self.kill()
            why = f"{request['op']} failed: {type(error).__name__}: {error}"
            raise MinerlDied(why + told(last_words(), why)) from error
        return {"news": news, "reward": reward, "done": done}, bytearray()

    def frame(self, raw: bytearray) -> NDArray[np.uint8]:
        return np.array(self._pov, np.uint8)

    def close(self) -> None:
        if self._game is not None:
            self._game.close()
            self._game = None

    kill = close
