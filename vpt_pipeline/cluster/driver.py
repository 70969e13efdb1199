"""`vpt label --cluster`: feeds a fleet of workers from a job's books until nothing is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from data.sources import find_sources
from idm.calibration import Calibration
from vpt_pipeline.cluster.connect import connect
from vpt_pipeline.cluster.ending import write_ending
from vpt_pipeline.cluster.fleet import Fleet, FleetSettings, Lost
from vpt_pipeline.cluster.job import Job, JobSettings, find_version, only_driver
from vpt_pipeline.cluster.progress import Meter
from vpt_pipeline.cluster.verify import repair
from vpt_pipeline.cluster.worker import WorkerSettings
from vpt_pipeline.progress import progress_bar, say


@dataclass(frozen=True)
class ClusterRun:
    """Everything a run needs. out: a folder or URL; state: a local folder for the books; price: of a GPU-hour."""

    sources: Sequence[str]
    out: str
    state: Path
    address: str
    job: JobSettings
    calibration: Calibration
    worker: WorkerSettings
    fleet: FleetSettings = field(default_factory=FleetSettings)
    price: float = 0.0
    retry_quarantined: bool = False
    repair: bool = False


@dataclass(frozen=True)
class Result:
    """state, out: of the version that was worked on; counts: of its books."""

    state: Path
    out: str
    counts: dict[str, int]


def run(settings: ClusterRun) -> Result:
    """Label everything that is not labelled yet. Raises ValueError for what no retry can mend, OSError for a full disk."""
    with only_driver(settings.state):
        version = find_version(settings.state, settings.job)
        out = f"{settings.out.rstrip('/')}/{version}"
        job = Job(settings.state / version, out, settings.job, settings.calibration)
        try:
            ids, opened = job.books.add(find_sources(settings.sources))
            if not ids:
                raise ValueError("no video given; expected video files, folders, lists or URLs")
            if settings.retry_quarantined:
                opened += job.books.retry_quarantined()
            if settings.repair:
                opened += repair(job)
            counts = job.books.counts()
            left = counts["open"]
            say(f"{len(ids):,} videos, {opened:,} of them new; {left:,} to label, into {out}")
            if job.waiting:
                connect(settings.address)
                fleet = Fleet(settings.worker, settings.fleet)
                try:
                    work(job, fleet, settings)
                finally:
                    fleet.close()
                    _leave(job)
            else:
                _leave(job)
            return Result(settings.state / version, out, job.books.counts())
        finally:
            job.close()


def _leave(job: Job) -> None:
    """What people read at the end of a run; labels that are done are worth more than a page that cannot be written."""
    try:
        write_ending(job)
    except OSError as error:
        say(f"[yellow]the summary could not be written:[/yellow] {error}")


def work(job: Job, fleet: Fleet, settings: ClusterRun) -> None:
    """Feed the fleet until every video of the job is labelled or given up."""
    counts = job.books.counts()
    with progress_bar("labelling", sum(counts[k] for k in ("open", "done", "quarantined")), "videos") as bar:
        bar.skip(counts["done"] + counts["quarantined"])
        path = job.state / "progress.jsonl"
        meter = Meter(bar, path, settings.job.rate, settings.price, settings.fleet.gpus)
        ended = counts["done"] + counts["quarantined"]
        while job.waiting:
            if fleet.free > 0:
                for task in job.next_tasks(fleet.free):
                    fleet.give(task)
            frames = 0
            for event in fleet.events(0.2 if fleet.busy else 0.05):
                if isinstance(event, Lost):
                    job.lost(event.task, event.why)
                else:
                    frames += job.take(event)
            job.collect_tables()
            for failure in job.failures:
                say(f"[red]{escape(failure)}[/red]")
            job.failures.clear()
            counts = job.books.counts()
            bar.advance(counts["done"] + counts["quarantined"] - ended)
            ended = counts["done"] + counts["quarantined"]
            meter.tick(frames, counts, fleet.seconds(), fleet.size, fleet.deaths)
