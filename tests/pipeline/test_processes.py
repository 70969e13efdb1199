"""Jobs in processes, one each or in turn: results in order, deaths made up for, errors passed on, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vpt_pipeline.processes import ProcessDiedError, Watch, run_in_turn, run_jobs


def _square(job: int, tell: Callable[[Any], None]) -> int:
    tell(f"{job} begins")
    time.sleep(0.05 * (3 - job))
    return job**2


def _die_at_first(job: Path, tell: Callable[[Any], None]) -> str:
    tell("began")
    if not job.exists():
        job.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job.name


def _always_die(job: int, tell: Callable[[Any], None]) -> None:
    os._exit(7)


def _fail(job: int, tell: Callable[[Any], None]) -> None:
    raise ValueError(f"job {job} is bad")


def _wait_long(job: Path, tell: Callable[[Any], None]) -> None:
    try:
        tell("waits")
        time.sleep(60)
    finally:
        job.write_text("put away")


def _kill_in_the_middle_of_writing(job: int, tell: Callable[[Any], None]) -> int:
    """Talks without pause, so that a kill mostly comes while it writes."""
    for _ in range(200):
        tell((os.getpid(), b"x" * 100_000))  # more than a pipe holds: whoever is heard early is still at it
    return job


def test_results_come_in_order_and_messages_arrive() -> None:
    heard: list[tuple[int, str]] = []
    assert run_jobs(_square, [0, 1, 2], 2, lambda job, message: heard.append((job, message))) == [0, 1, 4]
    assert sorted(heard) == [(job, f"{job} begins") for job in range(3)]


def test_a_process_that_dies_costs_its_own_job_alone(tmp_path: Path) -> None:
    deaths: list[str] = []
    jobs = [tmp_path / "a", tmp_path / "b"]
    assert run_jobs(_die_at_first, jobs, 2, died=lambda job, how: deaths.append(how)) == ["a", "b"]
    assert deaths == ["was ended by SIGKILL"] * 2
    with pytest.raises(ProcessDiedError, match="ended with code 7, 2 times"):
        run_jobs(_always_die, [1], 2, attempts=2)


def test_killed_while_it_writes_a_message() -> None:
    deaths: list[str] = []
    heard, killed = Counter[int](), list[int]()

    def kill_early(job: int, message: tuple[int, bytes]) -> None:
        process, text = message
        assert text == b"x" * 100_000
        heard[process] += 1
        if heard[process] == 3 and len(killed) < 2:
            killed.append(process)
            os.kill(process, signal.SIGKILL)

    assert run_jobs(_kill_in_the_middle_of_writing, [1, 2], 2, kill_early, lambda job, how: deaths.append(how)) == [
        1,
        2,
    ]
    assert len(deaths) == 2


def test_an_error_is_raised_here_with_its_trace() -> None:
    with pytest.raises(ValueError, match=r"job [12] is bad") as caught:
        run_jobs(_fail, [1, 2], 2)
    assert "in _fail" in str(caught.value.__cause__)
    assert not multiprocessing.active_children()


def _cannot_be_sent(job: int, tell: Callable[[Any], None]) -> Any:
    return lambda: job


def test_a_result_that_cannot_be_sent_is_an_error_and_not_a_death() -> None:
    with pytest.raises(RuntimeError, match="the result of 1 cannot be sent"):
        run_jobs(_cannot_be_sent, [1], 1, died=lambda job, how: pytest.fail(how))
    with pytest.raises(ValueError, match="workers is 0"):
        run_jobs(_square, [1], 0)


def test_stopping_lets_the_jobs_put_their_things_away(tmp_path: Path) -> None:
    def stop(job: Path, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(_wait_long, [tmp_path / "a"], 1, stop)
    assert (tmp_path / "a").read_text() == "put away" and not multiprocessing.active_children()


# ---------------------------------------------------------------- one job after another
Named = tuple[str, Path]
Done = tuple[int, list[str]]


@contextmanager
def _remembering() -> Iterator[Callable[[Named, Callable[[Any], None]], Done]]:
    """Remembers what its process has done, and leaves a note when it ends in order."""
    done: list[str] = []
    notes: list[Path] = []

    def work(job: Named, tell: Callable[[Any], None]) -> Done:
        name, folder = job
        notes[:] = [folder / f"closed-{os.getpid()}"]
        if name.startswith("fatal") or (name.startswith("dies") and not (folder / name).exists()):
            (folder / name).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(name)
        tell("done" if name != "waits" else "waits")
        if name == "waits":
            time.sleep(60)
        return os.getpid(), list(done)

    try:
        yield work
    finally:
        notes[0].touch()


class _Noting(Watch[Named, Done]):
    def __init__(self) -> None:
        self.order: list[str] = []
        self.deaths: list[str] = []

    def heard(self, job: Named, message: str) -> None:
        if message == "waits":
            raise KeyboardInterrupt

    def done(self, job: Named, result: Done) -> None:
        self.order.append(job[0])

    def died(self, job: Named, how: str) -> None:
        self.deaths.append(f"{job[0]} {how}")

    def lost(self, job: Named, how: str) -> Done:
        return 0, [how]


def test_a_process_does_like_jobs_after_each_other_and_dies_for_one_alone(tmp_path: Path) -> None:
    names = ["one a", "two a", "one b", "dies", "two b", "fatal"]
    watch = _Noting()
    jobs = [(name, tmp_path) for name in names]
    results = run_in_turn(_remembering, jobs, 1, watch, 3, lambda job: (job[0].split()[0],))
    assert watch.order == ["one a", "one b", "two a", "two b", "dies", "fatal"]
    assert [done for _, done in results] == [
        ["one a"],
        ["one a", "one b", "two a"],
        ["one a", "one b"],
        ["dies"],  # in a new process
        ["one a", "one b", "two a", "two b"],
        ["was ended by SIGKILL, 3 times"],
    ]
    assert watch.deaths == ["dies was ended by SIGKILL"] + ["fatal was ended by SIGKILL"] * 2


def test_what_lasts_is_put_away_at_the_end_and_when_all_is_stopped(tmp_path: Path) -> None:
    (ended, _), (other, _) = run_in_turn(_remembering, [("a", tmp_path), ("b", tmp_path)], 2, _Noting())
    assert ended != other
    assert {file.name for file in tmp_path.glob("closed-*")} == {f"closed-{ended}", f"closed-{other}"}
    with pytest.raises(KeyboardInterrupt):
        run_in_turn(_remembering, [("c", tmp_path), ("waits", tmp_path)], 1, _Noting())
    assert len(list(tmp_path.glob("closed-*"))) == 3 and not multiprocessing.active_children()
