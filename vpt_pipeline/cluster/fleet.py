"""The model workers of a job, as Ray actors: started, fed, watched, and replaced when they die.

Actors rather than Ray Data: the driver knows every span that is out, takes a dead worker's spans back itself, and counts
who failed. Ray's own restarts and retries are off; without a bound they try a video that kills its worker for ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from vpt_pipeline.cluster.connect import last_line
from vpt_pipeline.cluster.worker import LabelWorker, Outcome, Task, WorkerSettings

FAILED_STARTS = 3
"""So many workers may fail to start, one after the other, before the job gives up."""
_LOOK_S = 5.0


@dataclass(frozen=True)
class FleetSettings:
    """workers: how many, 0: as many as the cluster has room for. cpus, gpus: that each takes, gpus may be a fraction.
    decoders: processes that decode for each."""

    workers: int = 0
    cpus: float = 2
    gpus: float = 0
    decoders: int = 2


def decoders_for(cpus: float) -> int:
    """One more than there are CPUs, so that none waits while a decoder hands over a video's end and gets the next."""
    return max(1, round(cpus)) + 1


@dataclass(frozen=True)
class Lost:
    """A task whose worker died."""

    task: Task
    why: str


@dataclass
class _Worker:
    actor: Any
    starting: Any
    tasks: dict[Any, Task] = field(default_factory=dict)
    stats: dict[str, float] = field(default_factory=lambda: {"wall_s": 0.0, "model_s": 0.0})
    asked: Any = None


class Fleet:
    """``give`` tasks while ``free`` is above 0, collect ``events``; ``close`` ends the workers."""

    def __init__(self, worker: WorkerSettings, settings: FleetSettings) -> None:
        self._settings, self._worker_settings = settings, worker
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self.deaths = 0
        self._looked = 0.0
        self._finished_s = {"wall_s": 0.0, "model_s": 0.0}
        remote: Any = ray.remote(LabelWorker)
        self._actor = remote.options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=settings.decoders + 2,  # and two for questions
            scheduling_strategy="SPREAD",
        )
        self._look()

    @property
    def size(self) -> int:
        """Workers that are ready."""
        return sum(worker.starting is None for worker in self._workers)

    @property
    def busy(self) -> int:
        """Tasks that are out."""
        return sum(len(worker.tasks) for worker in self._workers)

    @property
    def free(self) -> int:
        """Tasks that could be given now."""
        return self.size * self._settings.decoders - self.busy

    def give(self, task: Task) -> None:
        ready = [worker for worker in self._workers if worker.starting is None]
        worker = min(ready, key=lambda w: len(w.tasks))
        worker.tasks[worker.actor.label.remote(task)] = task

    def events(self, timeout_s: float) -> list[Outcome | Lost]:
        """What has ended, waiting for at most ``timeout_s``. Raises ValueError when no worker can be started."""
        if time.monotonic() - self._looked > _LOOK_S:
            self._look()
        refs = [ref for worker in self._workers for ref in (*worker.tasks, worker.starting, worker.asked) if ref]
        if not refs:
            time.sleep(timeout_s)
            return []
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        found: list[Outcome | Lost] = []
        for ref in ready:
            found += self._collect(ref)
        return found

    def _collect(self, ref: Any) -> list[Outcome | Lost]:
        worker = next((w for w in self._workers if ref in w.tasks or ref in (w.starting, w.asked)), None)
        if worker is None:  # of a worker that died meanwhile
            return []
        try:
            answer = ray.get(ref)
        except RayActorError as error:
            return self._bury(worker, error)
        except RayError as error:  # the answer was lost with a node, or the worker raised
            if ref in worker.tasks:
                return [Lost(worker.tasks.pop(ref), last_line(error))]
            return self._bury(worker, error)
        if ref in worker.tasks:
            task = worker.tasks.pop(ref)
            assert answer.video == task.video
            return [answer]
        if ref == worker.starting:
            worker.starting, self._failed_starts = None, 0
        else:
            worker.asked = None
        worker.stats = answer
        return []

    def _bury(self, worker: _Worker, error: Exception) -> list[Outcome | Lost]:
        self._workers.remove(worker)
        self.deaths += 1
        for name, seconds in worker.stats.items():
            self._finished_s[name] += seconds
        if worker.starting is not None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise ValueError(
                    f"{self._failed_starts} workers failed to start, one after the other: {last_line(error)}"
                ) from error
        ray.kill(worker.actor)
        self._looked = 0.0
        return [Lost(task, last_line(error)) for task in worker.tasks.values()]

    def _look(self) -> None:
        """Start workers where there is room, and ask each how it does."""
        self._looked = time.monotonic()
        for _ in range(self._wanted() - len(self._workers)):
            actor = self._actor.remote(self._worker_settings)
            self._workers.append(_Worker(actor, actor.stats.remote()))
        for worker in self._workers:
            if worker.starting is None and worker.asked is None:
                worker.asked = worker.actor.stats.remote()

    def _wanted(self) -> int:
        if self._settings.workers:
            return self._settings.workers
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        room = have.get("CPU", 0) // self._settings.cpus
        if self._settings.gpus:
            room = min(room, have.get("GPU", 0) // self._settings.gpus)
        return max(1, int(room))

    def seconds(self) -> dict[str, float]:
        """Of all workers so far: wall_s that they were there, model_s in which their models computed."""
        total = dict(self._finished_s)
        for worker in self._workers:
            for name, seconds in worker.stats.items():
                total[name] += seconds
        return total

    def close(self) -> None:
        for worker in self._workers:
            ray.kill(worker.actor)
        self._workers.clear()
