"""A whole labelling job, videos and results in a store that fails again and again: nothing lost, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.sources import find_sources
from tests.data.failing_fs import FailingFileSystem, failing_store
from tests.pipeline.cluster_jobs import make_job, make_model, make_video, make_worker, run_in_process, sums
from vpt_pipeline.cluster.ending import write_ending
from vpt_pipeline.cluster.verify import main as verify
from vpt_pipeline.label import LabelConfig, label_videos

_IN_EVERY_PROCESS = """
import os, random
from pathlib import Path
import fsspec
from tests.data.failing_fs import FailingFileSystem

fsspec.register_implementation("flaky", FailingFileSystem, clobber=True)
FailingFileSystem.folder = Path(os.environ["FLAKY_FOLDER"])
FailingFileSystem.chance = float(os.environ["FLAKY_CHANCE"])
FailingFileSystem.dice = random.Random(os.getpid())
FailingFileSystem.opened = Path(os.environ["FLAKY_OPENED"])
"""
"""As the module sitecustomize, which Python imports first of all: decoding processes have this store, too."""


def test_a_whole_job_over_a_failing_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, model = tmp_path / "store", make_model(tmp_path / "model")
    make_video(store / "videos" / "long.mp4", 1330)
    for seed in range(1, 5):
        make_video(store / "videos" / f"short-{seed}.mp4", 60 + seed, seed)
    label_videos(LabelConfig(videos=(str(store / "videos"),), model=model, out=str(tmp_path / "expected")))
    expected = sums((tmp_path / "expected").glob("*.parquet"))
    assert len(expected) == 5

    customs = tmp_path / "customs"
    customs.mkdir()
    (customs / "sitecustomize.py").write_text(_IN_EVERY_PROCESS)
    monkeypatch.syspath_prepend(str(customs))
    monkeypatch.setenv("FLAKY_FOLDER", str(store))
    monkeypatch.setenv("FLAKY_CHANCE", "0.08")
    monkeypatch.setenv("FLAKY_OPENED", str(tmp_path / "opened"))
    with failing_store(store, 0.2, seed=1):
        ended = False
        for _ in range(10):  # the same command again, as often as it ends with an error
            job = make_job(tmp_path / "state", model, out="flaky://labels")
            worker = make_worker(model, job, scratch=str(tmp_path / "scratch"), scratch_bytes=1 << 30)
            try:
                job.books.add(find_sources(["flaky://videos"]))
                job.books.retry_quarantined()
                run_in_process(job, worker)
                write_ending(job)
                ended = job.books.counts()["done"] == 5
            except OSError as error:
                assert "tries failed" in str(error)  # loud, and saying so
            finally:
                worker.close()
                job.close()
            if ended:
                break
        failures = sum(FailingFileSystem.failed.values())
        assert ended
        FailingFileSystem.chance = 0
        assert verify("flaky://labels", tmp_path / "state") == 0
    assert failures >= 5
    assert "rb" in (tmp_path / "opened").read_text()  # the decoding processes read through it
    found = sums(path for path in (store / "labels" / "labels").iterdir() if path.name[0] != ".")
    assert found == expected
    names = {path.name for path in (store / "labels").iterdir() if path.name[0] != "."}
    assert names == {"labels", "manifest.parquet", "SHA256SUMS", "job.json", "summary.html"}
