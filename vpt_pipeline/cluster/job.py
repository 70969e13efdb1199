"""One labelling job: what it reads and writes, and what it does with whatever comes back from the workers.

Nothing here knows of Ray; the driver may be killed at any moment, and the next one goes on from the books.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data.files import write_json_atomic
from data.remote_files import put
from data.resample import ResampleReport
from data.sources import default_name
from data.tick_plan import TickPlan
from data.video_index import VideoIndex
from idm.calibration import Calibration
from idm.labelling import BLOCKS_A_PART
from vpt_pipeline.cluster.books import Books, Span
from vpt_pipeline.cluster.stitch import SeamError, SpanFile, SpoiltSpanError, stitch, write_span
from vpt_pipeline.cluster.worker import Outcome, Task, ticks_needed

TRIES, LOSSES = 3, 10
"""How often a span may fail, and how often its worker may die, before its video is quarantined."""


@dataclass(frozen=True)
class JobSettings:
    """What decides the labels, beside the model; another job's labels go into another version."""

    model_sha256: str
    doubt: float
    rate: int
    block: int
    halo: int
    span_parts: int
    backend: str
    device: str
    precision: str


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Raises ValueError while another driver works on this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".driver.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{folder}: another `vpt label` is at work here; wait for it, or end it") from None
        yield


def state_folder(out: str, books: Path | None) -> Path:
    """Where a job that writes to ``out`` keeps its books: there, or for URLs in a folder under runs/ named after it."""
    if books is not None:
        return books
    if "://" not in out:
        return Path(out)
    return Path("runs") / f"{default_name(out)}-{hashlib.sha256(out.rstrip('/').encode()).hexdigest()[:8]}"


def find_version(folder: Path, settings: JobSettings) -> str:
    """The version ("v1", "v2" ...) of labels made with these settings; a new one if there is none."""
    number = 1
    while (path := folder / f"v{number}" / "job.json").exists():
        try:
            if json.loads(path.read_text(encoding="utf-8")) == asdict(settings):
                return f"v{number}"
        except ValueError as error:
            raise ValueError(
                f"{path}: expected the settings of a labelling job, found {error}; move it away"
            ) from error
        number += 1
    write_json_atomic(path, asdict(settings))
    return f"v{number}"


class Job:
    """books and spans lie in ``state``, a local folder; tables go to ``out``, a folder or URL."""

    def __init__(
        self, state: Path, out: str, settings: JobSettings, calibration: Calibration, writers: int = 1
    ) -> None:
        self.state, self.out, self.settings, self.calibration = state, out.rstrip("/"), settings, calibration
        self.books = Books(state / "books.sqlite")
        self.out_tasks: dict[tuple[int, int], Task] = {}
        self._plans: dict[int, TickPlan] = {}
        self._writing: dict[Future[dict[str, Any]], int] = {}
        self._pool = ThreadPoolExecutor(writers, "stitch")
        self._refused: dict[int, int] = {}
        self.failures: list[str] = []
        """What the user should know of, since it was last looked at."""
        for video in self.books.unfinished():
            self._begin_stitching(video)

    # ---- tasks

    def next_tasks(self, limit: int) -> list[Task]:
        tasks = []
        for span in self.books.to_do(limit, set(self.out_tasks)):
            task = self._task(span)
            if task is not None:
                self.out_tasks[span.video, span.first] = task
                tasks.append(task)
        return tasks

    def _task(self, span: Span) -> Task | None:
        video = self.books.video(span.video)
        if span.first == 0 and span.stop is None:
            return Task(video.id, video.url, video.stamp, video.whole)
        plan = self._plan(span.video)
        if plan is None:  # its file is gone: begin anew
            self._reopen(span.video)
            return None
        block = self.settings.block
        start = max(span.first - 1, 0) * block
        stop = len(plan) if span.stop is None else ticks_needed(span.stop, block, self.settings.halo)
        ticks = plan.span(start, min(stop, len(plan)))
        base = (ticks.time_base.numerator, ticks.time_base.denominator)
        told = {"start": ticks.start, "start_pts": ticks.start_pts, "time_base": base}
        arrays = {"source_frame": ticks.source_frame, "resampled": ticks.resampled, "pts": ticks.pts}
        return Task(video.id, video.url, video.stamp, False, span.first, span.stop, told, arrays)

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be done, or being done."""
        return bool(self.out_tasks or self._writing or self.books.counts()["open"])

    # ---- what comes back

    def take(self, outcome: Outcome) -> int:
        """Enter what a worker made of a task; returns how many frames that finished."""
        task = self.out_tasks.pop((outcome.video, outcome.first), None)
        video = self.books.video(outcome.video)
        self.books.note_time(outcome.video, outcome.wall_s)
        spans = {span.first: span for span in self.books.spans(outcome.video)}
        span = spans.get(outcome.first)
        stale = task is None or span is None or span.done or video.state != "open" or video.whole != task.whole
        if stale or task is None or span is None:
            return 0  # the video was begun anew meanwhile
        if outcome.file and outcome.first == 0:
            self._note_file(outcome)
        if outcome.kind == "irregular":
            self._reopen(outcome.video, whole=True)
            return 0
        if outcome.kind == "failed":
            self._failed(outcome.video, outcome.first, outcome.error)
            return 0
        path = self._span_path(outcome.video, outcome.first)
        digest = write_span(path, outcome.labels)
        with self.books.all_or_nothing():
            if outcome.plan is not None and span.stop is None and outcome.first == 0:
                self._share(outcome)
            last = self.books.span_done(
                outcome.video, outcome.first, outcome.start, outcome.frames, outcome.time_base, digest, outcome.edges
            )
        if last:
            self._begin_stitching(outcome.video)
        return outcome.frames

    def lost(self, task: Task, why: str) -> None:
        """A worker died with this task."""
        if self.out_tasks.pop((task.video, task.first), None) is None:
            return
        _, losses = self.books.span_failed(task.video, task.first, lost=True)
        if losses >= LOSSES:
            self._quarantine(task.video, f"{losses} workers died while they had it: {why}")

    def _note_file(self, outcome: Outcome) -> None:
        facts = {"problems": outcome.end.get("problems", []), "report": outcome.end.get("report", {})}
        if outcome.plan is not None:
            facts["report"] = outcome.plan["report"]
        self.books.note_file(outcome.video, outcome.file["sha256"], outcome.file["bytes"], facts)

    def _share(self, outcome: Outcome) -> None:
        assert outcome.plan is not None
        arrays, told = outcome.plan_arrays, outcome.plan
        write_span(self._plan_path(outcome.video), arrays | {"time_base": np.array(told["time_base"])})
        ticks, step = len(arrays["source_frame"]), self.settings.span_parts * BLOCKS_A_PART
        windows = -(-ticks // self.settings.block) - 1
        self.books.share(outcome.video, ticks, list(range(step, windows, step)))

    def _failed(self, video: int, first: int, error: str) -> None:
        tries, _ = self.books.span_failed(video, first, lost=False)
        if tries >= TRIES:
            self._quarantine(video, error)

    def _quarantine(self, video: int, error: str) -> None:
        self.books.quarantine(video, error)
        self._forget(video)
        self.failures.append(f"{self.books.video(video).url}: {error}")

    # ---- tables

    def _begin_stitching(self, video: int) -> None:
        name = self.books.video(video).name
        spans = [
            SpanFile(
                self._span_path(video, s.first),
                s.file_sha256 or "",
                s.first,
                s.stop,
                s.start or 0,
                s.frames,
                s.time_base,
                s.edges,
            )
            for s in self.books.spans(video)
        ]
        self._writing[self._pool.submit(self._stitch, name, spans)] = video

    def _stitch(self, name: str, spans: list[SpanFile]) -> dict[str, Any]:
        table = self.state / "tables" / f"{name}.parquet"
        made = stitch(name, spans, self.settings.block, table, self.calibration, self.settings.doubt)
        try:
            put(table, self.table_url(name))
        finally:
            table.unlink(missing_ok=True)
        return made

    def table_url(self, name: str) -> str:
        return f"{self.out}/labels/{name}.parquet"

    def collect_tables(self, wait: bool = False) -> int:
        """Enter the tables that are written; returns how many. Raises OSError when they cannot be written."""
        done = 0
        for future, video in list(self._writing.items()):
            if not wait and not future.done():
                continue
            del self._writing[future]
            try:
                made = future.result()
            except SeamError as error:
                self._reopen(video, whole=True)
                self.failures.append(f"{self.books.video(video).url}: labelled again by one worker, because {error}")
                continue
            except SpoiltSpanError as error:
                self.books.span_spoilt(video, error.first)
                self._failed(video, error.first, str(error))
                continue
            except OSError as error:
                self._refused[video] = self._refused.get(video, 0) + 1
                if self._refused[video] >= TRIES:
                    raise
                self.failures.append(f"{error}; it is tried again")
                self._begin_stitching(video)
                continue
            facts = self.books.video(video).facts | {"labels": made["labels"]}
            with self.books.all_or_nothing():
                self.books.finish(video, made["sha256"], made["rows"], facts)
                self.books.forget_spans(video)
            self._forget(video)
            done += 1
        return done

    # ---- files

    def _plan(self, video: int) -> TickPlan | None:
        if video not in self._plans:
            if len(self._plans) > 64:  # a few bytes a frame each
                self._plans.clear()
            try:
                with np.load(self._plan_path(video), allow_pickle=False) as a:
                    base = Fraction(int(a["time_base"][0]), int(a["time_base"][1]))
                    index = VideoIndex(a["pts"], base, a["keyframes"])
                    self._plans[video] = TickPlan(index, a["source_frame"], a["resampled"], ResampleReport())
            except (OSError, ValueError, KeyError):
                return None
        return self._plans[video]

    def _plan_path(self, video: int) -> Path:
        return self._folder(video) / "plan.npz"

    def _span_path(self, video: int, first: int) -> Path:
        return self._folder(video) / f"{first:08d}.npz"

    def _folder(self, video: int) -> Path:
        return self.state / "spans" / f"{video // 1000:04d}" / f"{video:07d}"

    def _reopen(self, video: int, whole: bool = False) -> None:
        self.books.reopen(video, whole)
        self._forget(video)

    def _forget(self, video: int) -> None:
        self._plans.pop(video, None)
        shutil.rmtree(self._folder(video), ignore_errors=True)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.books.close()
