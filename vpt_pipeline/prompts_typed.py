"""Asking an agent while it plays: lines typed in the terminal become what it is asked for at once.

Nothing here waits for a line: the terminal is looked at before each action. A game in which somebody types is held to its
own speed, so that there is time to.
"""

from __future__ import annotations

import os
import select
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from rich.markup import escape

from data.resample import TICK_RATE
from vpt_pipeline.progress import say
from vpt_pipeline.prompts import AskedAgent

_AT_ONCE = 65536  # bytes
_SHOWN = 100  # letters of a wish


class TypedLines:
    """The lines of a terminal or pipe as they come; ``open`` until its other end is closed.

    Where there is nothing to read from (a program without a standard input), it is not open from the beginning.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = sys.stdin if stream is None else stream
        self._left, self._lines = b"", deque[str]()
        self._file = -1
        with suppress(AttributeError, OSError, ValueError):  # None, no real file, closed
            self._file = stream.fileno()

    @property
    def open(self) -> bool:
        return self._file >= 0

    def line(self) -> str | None:
        """The next line, without its end; None where there is none yet, or no more."""
        try:
            # Its end comes as nothing to be read. A daemon thread that waits in ``readline`` would hang Python's own end.
            while self.open and not self._lines and select.select([self._file], [], [], 0)[0]:
                self._take(os.read(self._file, _AT_ONCE))
        except (OSError, ValueError):  # closed meanwhile
            self._file = -1
        return self._lines.popleft() if self._lines else None

    def _take(self, content: bytes) -> None:
        if not content:
            self._file = -1
            content = b"\n" if self._left else b""  # a last line without an end
        *whole, self._left = (self._left + content).split(b"\n")
        self._lines.extend(line.decode("utf-8", "replace").strip() for line in whole)


class Conversation:
    """Asks an agent for what is typed, and tells what it is asked for; see :data:`vpt_pipeline.rollout.Before`.

    typed: None only tells. spoken: what a line means as a wish.
    """

    def __init__(
        self,
        typed: TypedLines | None = None,
        spoken: Callable[[str], str] = lambda line: line,
        tell: Callable[[str], None] = say,
    ) -> None:
        self._typed, self._spoken, self._say = typed, spoken, tell
        self._told: str | None = None
        self._next = 0.0

    def __call__(self, agent: object, frame: int) -> None:
        if not isinstance(agent, AskedAgent):
            return
        if frame == 0:
            self._told, self._next = None, time.monotonic()
        if self._typed is not None:
            self._listen(self._typed, agent)
        if agent.wish != self._told:
            self._told = agent.wish
            words = escape(textwrap.shorten(agent.wish, _SHOWN, placeholder=" ...")) or "[dim]nothing[/dim]"
            self._say(f"  {frame / TICK_RATE:6.1f} s  asked for: {words}")

    def _listen(self, typed: TypedLines, agent: AskedAgent) -> None:
        if typed.open:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = max(self._next, time.monotonic()) + 1 / TICK_RATE
        line = typed.line()
        if line is None:
            return
        try:
            agent.ask(self._spoken(line))
        except ValueError as error:
            self._say(f"[yellow]{escape(str(error))}[/yellow]")
