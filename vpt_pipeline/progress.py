"""Progress bars with rates and time left, the same for every command; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True)


def hush() -> None:
    """Say nothing more in this process: another one that does the same speaks."""
    console.quiet = True


class Bar:
    """One line of progress: ``bar.advance(n)``, ``bar.note("loss 1.2")``."""

    def __init__(self, title: str, total: int | None, unit: str, progress: Progress | None) -> None:
        self.title, self.total, self.unit = title, total, unit
        self._progress, self._task = (
            progress,
            None if progress is None else progress.add_task(title, total=total, note=""),
        )
        self._done, self._skipped, self._note = 0, 0, ""
        self._begun = self._said = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        rate = (self._done - self._skipped) / max(time.monotonic() - self._begun, 1e-9)
        text = f"{_pace(rate, self.unit)} {self._note}"
        if self._progress is not None:
            self._progress.update(TaskID(self._task or 0), completed=self._done, note=text)
        elif not console.quiet and time.monotonic() - self._said > 15:
            self._said = time.monotonic()
            of = f"/{self.total}" if self.total else ""
            left = f", about {span((self.total - self._done) / rate)} left" if self.total and rate else ""
            print(f"  {self.title}: {self._done}{of} {self.unit}, {text}{left}", file=sys.stderr, flush=True)

    def skip(self, count: int) -> None:
        """What was already done before this run: counts as done, not towards the rate."""
        self._done += count
        self._skipped += count

    def note(self, text: str) -> None:
        """Shown behind the rate, from now on."""
        self._note = text
        self.advance(0)


class Tally:
    """Jobs on one bar, each told of by how far it is: what begins anew takes back what it had done."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._at: dict[Hashable, int] = {}

    def at(self, job: Hashable, done: int) -> None:
        """A job is so far now."""
        self._advance(done - self._at.get(job, 0))
        self._at[job] = done


def _pace(rate: float, unit: str) -> str:
    if rate >= 1 or not rate:
        return f"{rate:,.0f} {unit}/s"
    return f"{rate * 60:,.1f} {unit}/min"


def span(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


@contextmanager
def progress_bar(title: str, total: int | None, unit: str) -> Iterator[Bar]:
    """A live bar on a terminal; elsewhere (a log, a pipe) a plain line every 15 seconds."""
    if not console.is_terminal:
        yield Bar(title, total, unit, None)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bar(title, total, unit, progress)


def say(text: str) -> None:
    """A line for the person who runs the command (rich markup allowed)."""
    console.print(text, highlight=False)


def say_left_out(why: object) -> None:
    """What a command goes on without, and why, as it stands: paths may hold brackets."""
    say(f"[yellow]left out:[/yellow] {escape(str(why))}")
