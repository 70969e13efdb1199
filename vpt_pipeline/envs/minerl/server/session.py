"""One env for one client: requests come over a channel, frames go through a file that both sides have mapped.

Requests: open {name, choices, frames?}, reset {seed?}, step {held, camera}, close. An answer has "news" (what the game says) or
"error" (and is then the last word of that game; "minecraft": what Minecraft printed last); "memory" is how many bytes the env's
processes use, Java among them.
"""

from __future__ import annotations

import mmap
import os
import threading
import traceback
from pathlib import Path
from typing import Any

from . import minecraft_log, owned
from .games import GameError, open_game
from .wire import Channel, WireClosedError

MEASURE_SECONDS = 1.0
_channels: list[Channel] = []


def say_garbage() -> None:
    """For the fake game: what a broken server might say."""
    for channel in _channels:
        channel._link.sendall(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")


class _Memory:
    """Measures now and then, beside the game."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        mark = os.environ.get(owned.SESSION, "")
        pause = threading.Event()
        while mark:
            self.bytes = owned.memory(owned.SESSION, mark)
            pause.wait(MEASURE_SECONDS)


class _Frames:
    """Where frames go: into the client's file, or along with the answer."""

    def __init__(self, path: str | None, folder: Path | None, size: int) -> None:
        self._map: mmap.mmap | None = None
        if path is None:
            return
        inside = folder is not None and Path(path).resolve().parent == folder.resolve()
        if not inside:
            raise ValueError(f"the frames' file {path} is not in this server's folder {folder}")
        with open(path, "r+b") as stream:  # noqa: PTH123 - mmap wants the descriptor
            stream.truncate(size)
            self._map = mmap.mmap(stream.fileno(), size)

    def put(self, pov: Any) -> Any:
        """What has to travel with the answer."""
        import numpy as np

        if self._map is None:
            return np.ascontiguousarray(pov)
        np.copyto(np.frombuffer(self._map, np.uint8).reshape(pov.shape), pov)
        return b""


def serve(channel: Channel, folder: Path | None) -> None:
    """Answer until the client leaves. folder: the only place where a client may name a file; None: nowhere."""
    _channels.append(channel)
    game: Any = None
    memory = _Memory()
    request: dict[str, Any] = {}
    try:
        while True:
            request, _ = channel.receive()
            raw: Any = b""
            answer: dict[str, Any] = {}
            try:
                op = request.get("op")
                if op == "open":
                    game = open_game(str(request["name"]), dict(request.get("choices") or {}))
                    width, height = game.facts["resolution"]
                    frames = _Frames(request.get("frames"), folder, width * height * 3)
                    answer = {"facts": game.facts}
                elif op == "close":
                    break
                elif game is None:
                    raise ValueError(f"the request {op!r} comes before a game is open")
                elif op == "reset":
                    pov, news = game.reset(request.get("seed"))
                    raw, answer = frames.put(pov), {"news": news, "reward": 0.0, "done": False}
                elif op == "step":
                    pov, reward, done, news = game.step(request["held"], request["camera"])
                    raw, answer = frames.put(pov), {"news": news, "reward": reward, "done": done}
                else:
                    raise ValueError(f"unknown request {op!r}")
            except Exception as error:
                kind = type(error).__name__
                asked = isinstance(error, (ValueError, GameError))
                answer = {
                    "error": str(error) if asked else f"{kind}: {error}",
                    "kind": kind,
                    "trace": traceback.format_exc(),
                    "minecraft": minecraft_log.last_words(),
                }
            answer["memory"] = memory.bytes
            channel.send(answer, raw)
    except WireClosedError:
        pass
    finally:
        if game is not None:
            game.close()
    if request.get("op") == "close":
        channel.send({"closed": True})
