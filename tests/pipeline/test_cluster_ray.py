"""`vpt label --cluster HOST:PORT` on a Ray cluster of two nodes, one of which is lost in the middle of the work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.pipeline.cluster_jobs import encode, make_model, make_video, sums
from vpt_pipeline.cluster.books import Books
from vpt_pipeline.cluster.verify import main as verify
from vpt_pipeline.label import LabelConfig, label_videos


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


def test_two_nodes_one_of_them_lost(cluster: Cluster, tmp_path: Path) -> None:
    videos, model = tmp_path / "videos", make_model(tmp_path / "model")
    make_video(videos / "long.mp4", 3000)
    encode(videos / "other.avi", 700, "mpeg4", seed=1)
    for seed in range(2, 6):
        make_video(videos / f"short-{seed}.mp4", 100 + seed, seed)
    (videos / "text.mp4").write_text("not a video")
    label_videos(LabelConfig(videos=(str(videos),), model=model, out=str(tmp_path / "expected")))
    expected = sums((tmp_path / "expected").glob("*.parquet"))
    assert len(expected) == 6

    node = cluster.add_node(num_cpus=1)
    out = tmp_path / "labels"
    command = [sys.executable, "-m", "vpt_pipeline", "label", str(videos), "--model", str(model), "--out", str(out)]
    command += ["--cluster", cluster.address, "--cpus", "1", "--span-minutes", "0.4"]
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(lambda: _labelled(out) > 0, driver)
            cluster.remove_node(node, allow_graceful=False)
            code = driver.wait(240)
        finally:
            driver.kill()
    said = (tmp_path / "log").read_text()
    assert code == 1, said  # one video was given up
    assert sums((out / "v1" / "labels").glob("*.parquet")) == expected
    books = Books(out / "v1" / "books.sqlite")
    assert [(v.name, v.state) for v in books.videos() if v.state != "done"] == [("text", "quarantined")]
    books.close()
    assert verify(str(out), None) == 0


def _labelled(out: Path) -> int:
    """Spans and videos that are done."""
    if not (out / "v1" / "books.sqlite").exists():
        return 0
    return len(list(out.glob("v1/spans/*/*/*.npz"))) + len(list(out.glob("v1/labels/*.parquet")))


def _wait_for(happened: Callable[[], bool], driver: subprocess.Popen[bytes], seconds: float = 120) -> None:
    begun = time.monotonic()
    while not happened():
        assert driver.poll() is None and time.monotonic() - begun < seconds, "nothing was labelled"
        time.sleep(0.1)
