"""Labelling in spans: the bytes of one worker whatever happens, and nothing that a video does costs the others."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from data.sources import Source, find_sources
from tests.pipeline.cluster_jobs import (
    POISON,
    encode,
    make_job,
    make_model,
    make_video,
    make_worker,
    run_in_process,
    sums,
)
from vpt_pipeline.cluster.books import Books
from vpt_pipeline.cluster.decode_link import DecodeProcess, DecodeSettings
from vpt_pipeline.cluster.job import LOSSES, Job, find_version, only_driver
from vpt_pipeline.cluster.worker import Outcome, Task
from vpt_pipeline.label import LabelConfig, label_videos

LONG = 1330
"""Frames; with windows of 32 and parts of 32 blocks: three spans."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "long.mp4", LONG)
    make_video(folder / "just.mp4", 32 * 16 + 16 + 1, seed=1)  # one block longer than a span
    make_video(folder / "short.mp4", 45, seed=2)
    make_video(folder / "fast.mkv", 900, seed=3, rate=30)
    encode(folder / "whole.avi", 700, "mpeg4", seed=4)
    return folder


@pytest.fixture(scope="module")
def expected(videos: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tables that one process writes, video by video."""
    out = tmp_path_factory.mktemp("expected")
    label_videos(LabelConfig(videos=(str(videos),), model=model, out=str(out)))
    return sums(out.glob("*.parquet"))


def start(tmp_path: Path, model: Path, videos: Path, **settings: object) -> Job:
    job = make_job(tmp_path / "job", model, **settings)  # type: ignore[arg-type]
    job.books.add(find_sources([str(videos)]))
    return job


def tables(job: Job) -> dict[str, str]:
    return sums(Path(job.out, "labels").iterdir())


def test_spans_give_the_bytes_of_one_worker(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str]
) -> None:
    job = start(tmp_path, model, videos)
    worker = make_worker(model, job)
    outcomes = run_in_process(job, worker)
    assert [o.error for o in outcomes if o.kind != "labelled"] == []
    assert sum(o.video == job.books.add(find_sources([str(videos / "long.mp4")]))[0][0] for o in outcomes) == 3
    assert tables(job) == expected
    assert len(expected) == 5
    assert job.books.counts() == {"open": 0, "done": 5, "quarantined": 0, "rows": sum(o.frames for o in outcomes)}
    assert not list((job.state / "spans").rglob("*.npz"))  # what is done takes no room
    worker.close()
    job.close()


def test_spans_in_any_order_and_lost_ones_change_nothing(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str]
) -> None:
    rng = np.random.default_rng(0)
    job = start(tmp_path, model, videos)
    worker = make_worker(model, job)
    losses = 0
    while job.waiting:
        given = job.next_tasks(4)
        for index in rng.permutation(len(given)):
            if rng.random() < 0.3:  # the worker died, before it began or before it could answer
                job.lost(given[index], "killed")
                losses += 1
            else:
                job.take(worker.label(given[index]))
        job.collect_tables(wait=True)
        if rng.random() < 0.3:  # the driver died: the next one knows what its books say
            job.close()
            job = make_job(tmp_path / "job", model)
    assert losses > 3
    assert tables(job) == expected
    worker.close()
    job.close()


def test_poison_is_quarantined_with_its_error_and_the_rest_is_complete(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str]
) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    for name in ("segfault", "hang", "raise", "eat"):
        shutil.copy(videos / "short.mp4", folder / f"{name}.mp4")
    (folder / "text.mp4").write_text("this is no video")
    job = start(tmp_path, model, folder, backend=POISON)
    worker = make_worker(model, job, patience_s=3.0, memory_bytes=1 << 30)
    outcomes = run_in_process(job, worker)
    errors = {v.name: (v.state, v.error or "") for v in job.books.videos()}
    assert {name for name, (state, _) in errors.items() if state == "quarantined"} == {
        "segfault", "hang", "raise", "eat", "text",
    }  # fmt: skip
    assert "SIGSEGV" in errors["segfault"][1]
    assert "stood still for 3 s" in errors["hang"][1]
    assert "this decoder always raises" in errors["raise"][1]
    assert "more than the 1.0 GiB" in errors["eat"][1]
    assert "expected a video file" in errors["text"][1]
    by_video = [o.video for o in outcomes if o.kind == "failed"]
    assert sorted(by_video.count(video) for video in set(by_video)) == [3] * 5  # tried three times each
    assert tables(job) == expected
    worker.close()
    job.close()


def test_a_video_whose_middle_is_not_what_its_index_says_is_labelled_by_one_worker(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str]
) -> None:
    job = start(tmp_path, model, videos / "long.mp4")
    worker = make_worker(model, job)

    def refuse(task: Task) -> Outcome | None:
        return Outcome(task.video, task.first, "irregular", "made up") if task.span and task.first == 32 else None

    outcomes = run_in_process(job, worker, refuse)
    assert outcomes[-1].frames == LONG or outcomes[-2].frames == LONG
    assert tables(job)["long.parquet"] == expected["long.parquet"]
    worker.close()
    job.close()


@pytest.mark.parametrize("harm", ["edge", "file", "gone"])
def test_a_seam_that_does_not_fit_and_a_spoilt_span_are_labelled_again(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str], harm: str
) -> None:
    job = start(tmp_path, model, videos / "long.mp4")
    worker = make_worker(model, job)
    first = worker.label(job.next_tasks(1)[0])
    if harm == "edge":
        first.edges = dict.fromkeys(first.edges, "0" * 32)
    job.take(first)
    span = next((job.state / "spans").rglob("00000000.npz"))
    if harm == "file":
        content = bytearray(span.read_bytes())
        content[1000] ^= 1
        span.write_bytes(content)
    elif harm == "gone":
        span.unlink()
    again = run_in_process(job, worker)
    assert len(again) == 3  # two spans were left, and either the spoilt one or the whole video came again
    assert tables(job)["long.parquet"] == expected["long.parquet"]
    worker.close()
    job.close()


def test_a_video_that_kills_every_worker_ends_in_quarantine(tmp_path: Path, model: Path, videos: Path) -> None:
    job = start(tmp_path, model, videos / "short.mp4")
    for _ in range(LOSSES):
        job.lost(job.next_tasks(1)[0], "out of memory")
    assert job.next_tasks(1) == []
    assert not job.waiting
    assert "out of memory" in (next(job.books.videos()).error or "")
    job.close()


def test_what_is_new_or_changed_is_labelled_and_nothing_else(
    tmp_path: Path, model: Path, videos: Path, expected: dict[str, str]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(videos / "short.mp4", folder / "one.mp4")
    job = start(tmp_path, model, folder)
    worker = make_worker(model, job)
    assert len(run_in_process(job, worker)) == 1
    shutil.copy(videos / "short.mp4", folder / "two.mp4")
    assert job.books.add(find_sources([str(folder)]))[1] == 1
    assert [o.kind for o in run_in_process(job, worker)] == ["labelled"]
    make_video(folder / "one.mp4", 60, seed=9)
    assert job.books.add(find_sources([str(folder)]))[1] == 1
    assert [o.frames for o in run_in_process(job, worker)] == [60]
    assert job.books.add(find_sources([str(folder)]))[1] == 0
    worker.close()
    job.close()


def test_other_settings_are_another_version(tmp_path: Path, model: Path) -> None:
    settings = make_job(tmp_path / "job", model).settings
    assert find_version(tmp_path, settings) == "v1"
    assert find_version(tmp_path, replace(settings, doubt=0.5)) == "v2"
    assert find_version(tmp_path, replace(settings, model_sha256="other")) == "v3"
    assert find_version(tmp_path, settings) == "v1"
    assert asdict(settings)["doubt"] == 0.6


def test_two_drivers_never_share_a_folder(tmp_path: Path) -> None:
    with (
        only_driver(tmp_path),
        pytest.raises(ValueError, match="another `vpt label` is at work here"),
        only_driver(tmp_path),
    ):
        pass
    with only_driver(tmp_path):
        pass


def test_books_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "books.sqlite").write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(ValueError, match="expected the books of a labelling job"):
        Books(tmp_path / "books.sqlite")
    sqlite3.connect(tmp_path / "later.sqlite").execute("PRAGMA user_version=99").connection.close()
    with pytest.raises(ValueError, match="version 99"):
        Books(tmp_path / "later.sqlite")


def test_many_videos_are_entered_and_asked_for_without_reading_all_of_the_books(tmp_path: Path) -> None:
    """A hundred thousand videos took minutes to enter before names had an index."""
    books = Books(tmp_path / "books.sqlite")
    asked: list[str] = []
    books._db.set_trace_callback(asked.append)
    books.add(Source(f"/videos/{number}.mp4", "1", str(number)) for number in range(3))
    books.to_do(2, set())
    books.video(1)
    books.spans(1)
    books._db.set_trace_callback(None)
    selects = {line for line in asked if line.startswith("SELECT")}
    assert len(selects) > 6
    for line in selects:
        plan = [row[3] for row in books._db.execute(f"EXPLAIN QUERY PLAN {line}")]
        assert not any(step.startswith("SCAN") and "INDEX" not in step for step in plan), (line, plan)
    books.close()


def test_memory_that_does_not_suffice_halves_the_batch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from idm.predict import in_halves

    asked = []

    def features(images: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        asked.append(len(images) - 2)
        if len(images) - 2 > 5:
            raise torch.OutOfMemoryError("made up")
        return images[1:-1].float() + images[2:].float() + images[:-2].float()

    images = torch.arange(22)[:, None]
    together = images[1:-1].float() + images[2:].float() + images[:-2].float()
    torch.testing.assert_close(in_halves(features, images, images, 1), together)
    assert asked == [20, 10, 5, 5, 10, 5, 5]
    with pytest.raises(torch.OutOfMemoryError):
        in_halves(lambda i, m: features(torch.zeros(9), m), images, images, 1)


def test_decoding_processes_do_not_outlive_their_worker(tmp_path: Path) -> None:
    """Also one that hangs where nothing can reach it but the clock."""
    (tmp_path / "hang.mp4").write_bytes(b"x")
    process = DecodeProcess(DecodeSettings(patience_s=2.0))
    from idm.config import preset

    asked = {"url": str(tmp_path / "hang.mp4"), "stamp": "", "config": preset("debug").to_dict(), "block": 16}
    events = process.ask(asked | {"backend": POISON, "plan_ticks": 0})
    assert next(events)[0] == "file"
    process._pipe.close()  # as when the worker is killed
    until = time.monotonic() + 30
    while process._process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert process._process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
