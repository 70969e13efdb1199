"""Jobs side by side in processes, so that one that dies takes nothing with it but the job that it had in hand.

Either each job has a process of its own (``run_jobs``), or processes take one job after another and keep what is dear to
begin, such as a game (``run_in_turn``).

Each process has its own pipe and shares no lock with others: a process killed at any moment can stop neither its
neighbours nor the parent. (The queues of `multiprocessing` and of `concurrent.futures` share one lock among all
writers, which a killed process may leave locked for ever.)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Tell = Callable[[Any], None]
Begin = Callable[[], AbstractContextManager[Callable[[Job, Tell], Result]]]
"""What a process does first, importable by name: gives the function that does its jobs, and puts things away at the end."""

STOP_SECONDS = 10.0
"""What a process has to put its things away before it is killed, when all is stopped."""
LEAVE_SECONDS = 60.0
"""... when there is nothing left for it to do: Minecraft takes a while to end."""


class ProcessDiedError(RuntimeError):
    """A job whose processes died, each time that it was begun."""


class RemoteError(Exception):
    """Shows where in the process an error came from; the cause of the error that is raised here."""


class Watch(Generic[Job, Result]):
    """Who is told what happens to jobs, in the order in which it does; to be overridden where it matters."""

    def heard(self, job: Job, message: Any) -> None:
        """Something that the job told of itself."""

    def done(self, job: Job, result: Result) -> None:
        """It is done."""

    def died(self, job: Job, how: str) -> None:
        """Its process ended without a result (killed, or crashed); it is begun again."""

    def lost(self, job: Job, how: str) -> Result:
        """Its processes died each time; what is to stand for its result. Raises ProcessDiedError if nothing can."""
        raise ProcessDiedError(f"{job}: its process {how}")


class _Told(Watch[Job, Result]):
    def __init__(self, heard: Callable[[Job, Any], None], died: Callable[[Job, str], None]) -> None:
        self._heard, self._died = heard, died

    def heard(self, job: Job, message: Any) -> None:
        self._heard(job, message)

    def died(self, job: Job, how: str) -> None:
        self._died(job, how)


@dataclass(frozen=True)
class Turn(Generic[Job]):
    """A job in somebody's hands. attempt: counts from 1."""

    index: int
    job: Job
    attempt: int = 1


class Turns(Generic[Job, Result]):
    """Who is next, what has come of it, and how often a job may be begun.

    alike: what of a job makes it welcome to a worker that has just done another, the weightiest first.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        attempts: int,
        watch: Watch[Job, Result],
        alike: Callable[[Job], Sequence[Hashable]] = lambda job: (),
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts is {attempts}; expected at least 1")
        self._jobs, self._attempts, self.watch, self._alike = jobs, attempts, watch, alike
        self._waiting = [Turn(index, job) for index, job in enumerate(jobs)]
        self._results: dict[int, Result] = {}

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def take(self, last: Job | None = None) -> Turn[Job]:
        """The next job for a worker whose latest one is ``last``: the first of those that are most like it."""

        def likeness(turn: Turn[Job]) -> int:
            pairs = zip(self._alike(turn.job), self._alike(last), strict=True) if last is not None else ()
            return next((count for count, (one, other) in enumerate(pairs) if one != other), len(self._alike(turn.job)))

        chosen = self._waiting[0] if last is None else max(self._waiting, key=likeness)
        self._waiting.remove(chosen)
        return chosen

    def done(self, turn: Turn[Job], result: Result) -> None:
        self._results[turn.index] = result
        self.watch.done(turn.job, result)

    def died(self, turn: Turn[Job], how: str) -> None:
        """Whoever had it is gone."""
        if turn.attempt < self._attempts:
            self._waiting.insert(0, Turn(turn.index, turn.job, turn.attempt + 1))
            self.watch.died(turn.job, how)
        else:
            self.done(turn, self.watch.lost(turn.job, f"{how}, {self._attempts} times"))

    @property
    def results(self) -> list[Result]:
        """Of all jobs, in order."""
        return [self._results[index] for index in range(len(self._jobs))]


def run_jobs(
    work: Callable[[Job, Tell], Result],
    jobs: Sequence[Job],
    workers: int,
    heard: Callable[[Job, Any], None] = lambda job, message: None,
    died: Callable[[Job, str], None] = lambda job, how: None,
    attempts: int = 3,
) -> list[Result]:
    """The results of ``work(job, tell)`` for every job, in order, each in a process of its own; up to `workers` at a time.

    work: importable by name; whatever it passes to ``tell`` arrives, in order, at ``heard(job, message)`` here.
    died: told of every process that ended without a result (killed, or crashed); its job is begun again, up to
        `attempts` times. An exception of `work` is not tried again: it is raised here.
    Raises ProcessDiedError when a job's processes died `attempts` times. Whatever is raised, no process is left behind.
    """
    return _Crew(partial(_alone, work), Turns(jobs, attempts, _Told(heard, died)), workers, most=1).run()


@contextlib.contextmanager
def _alone(work: Callable[[Job, Tell], Result]) -> Iterator[Callable[[Job, Tell], Result]]:
    yield work


def run_in_turn(
    begin: Begin[Job, Result],
    jobs: Sequence[Job],
    workers: int,
    watch: Watch[Job, Result],
    attempts: int = 3,
    alike: Callable[[Job], Sequence[Hashable]] = lambda job: (),
) -> list[Result]:
    """As :func:`run_jobs`, but each of up to `workers` processes does one job after another.

    begin: entered once in each process; what it keeps lasts from job to job, and is put away when nothing is left to do
        for the process, and when all is stopped. A process that dies costs the job that it had in hand alone.
    alike: jobs that are alike in it, the first of it first, follow each other in a process where they can.
    """
    return _Crew(begin, Turns(jobs, attempts, watch, alike), workers).run()


@dataclass
class _Worker(Generic[Job]):
    process: BaseProcess
    turn: Turn[Job]
    count: int = 1


class _Crew(Generic[Job, Result]):
    """The processes. most: jobs that each does, None for any number."""

    def __init__(
        self, begin: Begin[Job, Result], turns: Turns[Job, Result], workers: int, most: int | None = None
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected at least 1")
        self._begin, self._turns, self._size, self._most = begin, turns, workers, most
        self._context = multiprocessing.get_context("spawn")
        self._working: dict[Connection, _Worker[Job]] = {}
        self._leaving: dict[int, tuple[BaseProcess, float]] = {}  # by sentinel; with when their patience is over

    def run(self) -> list[Result]:
        try:
            while len(self._turns) or self._working or self._leaving:
                while len(self._turns) and len(self._working) + len(self._leaving) < self._size:
                    self._start()
                for ready in wait([*self._working, *self._leaving], 1.0 if self._leaving else None):
                    if isinstance(ready, Connection):
                        self._listen(ready)
                self._bid_farewell()
        finally:
            left = [*(worker.process for worker in self._working.values()), *(one for one, _ in self._leaving.values())]
            for process in left:
                process.terminate()
            for link in self._working:
                link.close()
            for process in left:
                _end(process)
        return self._turns.results

    def _start(self) -> None:
        link, far = self._context.Pipe()
        process = self._context.Process(target=_child, args=(self._begin, far), daemon=True)
        process.start()
        far.close()  # so that the end of the process is the end of the pipe
        self._give(link, _Worker(process, self._turns.take()))

    def _give(self, link: Connection, worker: _Worker[Job]) -> None:
        self._working[link] = worker
        with contextlib.suppress(OSError):  # it is gone: to be heard of when listening
            link.send(worker.turn.job)

    def _listen(self, link: Connection) -> None:
        worker = self._working[link]
        turn = worker.turn
        try:
            kind, content = link.recv()
        except (EOFError, OSError):  # nothing more comes, and no result came; OSError: cut in a message
            self._dismiss(link)
            self._leaving.pop(worker.process.sentinel)
            self._turns.died(turn, _end(worker.process))
            return
        if kind == "message":
            self._turns.watch.heard(turn.job, content)
        elif kind == "error":
            error, trace = content
            raise error from RemoteError(trace)
        else:
            self._turns.done(turn, content)
            if len(self._turns) and worker.count != self._most:
                self._give(link, _Worker(worker.process, self._turns.take(turn.job), worker.count + 1))
            else:
                self._dismiss(link)

    def _dismiss(self, link: Connection) -> None:
        """The end of its pipe tells a process that there is nothing more to do."""
        process = self._working.pop(link).process
        link.close()
        self._leaving[process.sentinel] = (process, time.monotonic() + LEAVE_SECONDS)

    def _bid_farewell(self) -> None:
        for sentinel, (process, until) in list(self._leaving.items()):
            if not process.is_alive() or time.monotonic() > until:
                del self._leaving[sentinel]
                process.kill()
                process.join()


def _end(process: BaseProcess) -> str:
    """Wait for the end of a process, or bring it about; says how it ended."""
    process.join(STOP_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    return f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"


# ---- in the child


def _child(begin: Begin[Any, Any], link: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in order
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), contextlib.ExitStack() as stack:
        work: Callable[[Any, Tell], Any] | None = None
        while True:
            try:
                job = link.recv()
            except EOFError:
                return
            outcome: tuple[str, Any]
            try:
                if work is None:
                    work = stack.enter_context(begin())
                outcome = ("result", work(job, lambda message: link.send(("message", message))))
            except Exception as error:
                trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
                outcome = ("error", (_portable(error), trace))
            try:
                packet = ForkingPickler.dumps(outcome)
            except Exception as error:
                refused = RuntimeError(f"the result of {job} cannot be sent to the parent process: {error}")
                packet = ForkingPickler.dumps(("error", (refused, "")))
            link.send_bytes(packet)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)  # through every `with` and `finally`


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else a RuntimeError with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
