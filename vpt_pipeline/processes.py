"""Jobs side by side, each in a process of its own, so that one that dies takes nothing with it.

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
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar, cast

Job = TypeVar("Job")
Result = TypeVar("Result")
Tell = Callable[[Any], None]

STOP_SECONDS = 10.0
"""What a process has to put its things away before it is killed."""


class ProcessDiedError(RuntimeError):
    """A job whose processes died, each time that it was begun."""


class RemoteError(Exception):
    """Shows where in the process an error came from; the cause of the error that is raised here."""


@dataclass
class _Running(Generic[Job]):
    index: int
    job: Job
    attempt: int
    process: BaseProcess


def run_jobs(
    work: Callable[[Job, Tell], Result],
    jobs: Sequence[Job],
    workers: int,
    heard: Callable[[Job, Any], None] = lambda job, message: None,
    died: Callable[[Job, str], None] = lambda job, how: None,
    attempts: int = 3,
) -> list[Result]:
    """The results of ``work(job, tell)`` for every job, in order; up to `workers` processes at a time.

    work: importable by name; whatever it passes to ``tell`` arrives, in order, at ``heard(job, message)`` here.
    died: told of every process that ended without a result (killed, or crashed); its job is begun again, up to
        `attempts` times. An exception of `work` is not tried again: it is raised here.
    Raises ProcessDiedError when a job's processes died `attempts` times. Whatever is raised, no process is left behind.
    """
    if workers < 1 or attempts < 1:
        raise ValueError(f"workers is {workers} and attempts is {attempts}; expected at least 1 of each")
    context = multiprocessing.get_context("spawn")
    waiting = deque((index, job, 1) for index, job in enumerate(jobs))
    running: dict[Connection, _Running[Job]] = {}
    results: dict[int, Result] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, job, attempt = waiting.popleft()
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(work, job, writer), daemon=True)
                process.start()
                writer.close()  # so that the end of the process is the end of the pipe
                running[reader] = _Running(index, job, attempt, process)
            for ready in wait(list(running)):
                reader = cast(Connection, ready)
                one = running[reader]
                try:
                    kind, content = reader.recv()
                except (EOFError, OSError):  # nothing more comes, and no result came; OSError: cut in a message
                    del running[reader]
                    reader.close()
                    how = _end(one.process)
                    if one.attempt == attempts:
                        raise ProcessDiedError(f"{one.job}: its process {how}, {attempts} times") from None
                    died(one.job, how)
                    waiting.appendleft((one.index, one.job, one.attempt + 1))
                    continue
                if kind == "message":
                    heard(one.job, content)
                    continue
                del running[reader]
                reader.close()
                _end(one.process)
                if kind == "error":
                    error, trace = content
                    raise error from RemoteError(trace)
                results[one.index] = content
    finally:
        for one in running.values():
            one.process.terminate()
        for reader, one in running.items():
            reader.close()
            _end(one.process)
    return [results[index] for index in range(len(jobs))]


def _end(process: BaseProcess) -> str:
    """Wait for the end of a process, or bring it about; says how it ended."""
    process.join(STOP_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    return f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"


# ---- in the child


def _child(work: Callable[[Any, Tell], Any], job: Any, writer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in order
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome: tuple[str, Any]
    try:
        outcome = ("result", work(job, lambda message: writer.send(("message", message))))
    except Exception as error:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        outcome = ("error", (_portable(error), trace))
    try:
        packet = ForkingPickler.dumps(outcome)
    except Exception as error:
        refused = RuntimeError(f"the result of {job} cannot be sent to the parent process: {error}")
        packet = ForkingPickler.dumps(("error", (refused, "")))
    with contextlib.suppress(BrokenPipeError):
        writer.send_bytes(packet)


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
