"""`vpt train-prior --cluster` on a Ray cluster of two nodes, one of whose training processes is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import ray
import torch

from data.contractor import ContractorWriter
from prior.checkpoint import from_pretrained
from prior.config import preset
from prior.policy import Policy
from tests.idm.play import turning_world
from tests.pipeline.cluster_jobs import make_video
from vpt_pipeline.train_prior import ClusterTraining, TrainPriorConfig, train

ray_train = pytest.importorskip("ray.train", reason='needs pip install "vpt-pipeline[cluster]"')


@pytest.fixture
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def _kill_one(log: Path, killed: list[int]) -> None:
    """Once a few steps are taken, kill a process that trains."""
    until = time.monotonic() + 120
    while time.monotonic() < until and not (log.exists() and len(log.read_text().splitlines()) > 6):
        time.sleep(0.05)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"RayTrainWorker" in entry.read_bytes():
                killed.append(int(entry.parent.name))
        except OSError:
            continue
    os.kill(killed[-1], signal.SIGKILL)


def test_two_nodes_take_the_steps_of_one_process_though_one_is_killed(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    for seed in range(3):
        make_video(folder / f"r{seed}.mp4", 120, seed)
        with ContractorWriter(folder / f"r{seed}.jsonl") as records:
            for index in range(120):
                records.write(turning_world(120, seed, (72, 128))[1].action(index))
    alone = TrainPriorConfig(
        (folder,), out=tmp_path / "alone", preset="debug", recipe="debug", nulls="keep", steps=40, save_every=5,
        learning_rate=1e-4, validate_every=40, cache=tmp_path / "cache", device="cpu",
    )  # fmt: skip
    expected = train(alone)
    killed: list[int] = []
    killer = Thread(target=_kill_one, args=(tmp_path / "together" / "metrics.jsonl", killed))
    killer.start()
    from vpt_pipeline.cluster.train import train_on_cluster

    together = replace(alone, out=tmp_path / "together", cluster=address, on=ClusterTraining(workers=2, cpus=1))
    metrics = train_on_cluster(together)
    killer.join()
    assert killed
    assert metrics["validation_loss"] == pytest.approx(expected["validation_loss"], rel=1e-3)
    torch.manual_seed(0)
    begin, one, other = (
        torch.cat([p.detach().flatten() for p in policy.parameters()])
        for policy in (Policy(preset("debug")), from_pretrained(alone.out), from_pretrained(together.out))
    )
    assert (one - other).norm() < 0.05 * (one - begin).norm()


def test_a_run_that_cannot_be_is_told_of(address: str, tmp_path: Path) -> None:
    from vpt_pipeline.cluster.train import train_on_cluster

    nothing = TrainPriorConfig(
        (tmp_path,), out=tmp_path / "out", cluster=address, on=ClusterTraining(workers=1, cpus=1, failures=0)
    )
    with pytest.raises(ValueError, match="training on the cluster failed"):
        train_on_cluster(nothing)
