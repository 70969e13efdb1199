"""Starting child processes that never outlive this process."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

_Job = tuple["Future[subprocess.Popen[bytes]]", Sequence[str | Path], dict[str, Any]]
_starters: dict[int, queue.Queue[_Job]] = {}
_guard = threading.Lock()


def _start_jobs(jobs: queue.Queue[_Job]) -> None:
    while True:
        answer, command, options = jobs.get()
        try:
            child: Any = subprocess.Popen(command, **options)
            answer.set_result(child)
        except BaseException as error:
            answer.set_exception(error)


def spawn(command: Sequence[str | Path], death_signal: str = "KILL", **options: Any) -> subprocess.Popen[bytes]:
    """``Popen`` with a signal to the child at the end of this process, however it ends; ``options`` are Popen's.

    The kernel sends that signal when the *thread* that started the child ends. All children are therefore started
    by one thread that lasts as long as the process (one for each process, should it be forked). Children get their
    own session, so that Ctrl-C reaches Python alone, which then closes them in order.
    """
    with _guard:
        jobs = _starters.get(os.getpid())
        if jobs is None:
            jobs = _starters[os.getpid()] = queue.Queue()
            threading.Thread(target=_start_jobs, args=(jobs,), name="child starter", daemon=True).start()
    answer: Future[subprocess.Popen[bytes]] = Future()
    whole = ["setpriv", "--pdeathsig", death_signal, *command]
    jobs.put((answer, whole, {"start_new_session": True, **options}))
    return answer.result()


def game_environment(display: str, home: Path, **more: str) -> Mapping[str, str]:
    """The whole environment of a game: fixed but for the given, so that it is the same in every process."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "DISPLAY": display,
        "HOME": str(home),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LP_NUM_THREADS": "0",  # threads in the rasteriser cost more than they gain at these sizes
        **more,
    }
