"""`vpt train-prior --cluster`: the same training as on one machine, its processes placed on a Ray cluster by Ray Train.

Ray Train finds room for the processes, tells them of each other, and when one dies starts all of them again; each then goes on
from the run's own resume.pt, as a run that was stopped does. So recordings, labels and the run's folder must be where every
node sees them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from vpt_pipeline.cluster.connect import connect

if TYPE_CHECKING:
    from vpt_pipeline.train_prior import TrainPriorConfig


def _one_process(given: dict[str, Any]) -> None:
    """What each process of the training does."""
    from vpt_pipeline.train_prior import train

    train(given["config"])


def train_on_cluster(config: TrainPriorConfig) -> dict[str, float]:
    """Train on ``config.cluster`` and return the last metrics. Raises ValueError without Ray Train, without a cluster, or if
    training failed more often than it may."""
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ValueError('--cluster needs Ray Train: pip install "vpt-pipeline[cluster]"') from error
    assert config.cluster is not None
    connect(config.cluster, show_workers=True)
    on = config.on
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = on.gpus if on.gpus is not None else float(bool(there.get("GPU")))
    workers = on.workers or _room_for(on.cpus, gpus, there)
    trainer = TorchTrainer(
        _one_process,
        train_loop_config={"config": _everywhere(config)},
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": on.cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name="ray", storage_path=str(config.out.resolve()), failure_config=FailureConfig(max_failures=on.failures)
        ),
    )
    try:
        trainer.fit()
    except ray.exceptions.RayError as error:
        raise ValueError(f"{config.out}: training on the cluster failed: {error}") from error
    except Exception as error:  # Ray Train's own errors have changed their base class between versions
        if type(error).__module__.startswith("ray."):
            raise ValueError(f"{config.out}: training on the cluster failed: {error}") from error
        raise
    last = (config.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return {name: float(value) for name, value in json.loads(last).items()}


def _room_for(cpus: float, gpus: float, there: dict[str, float]) -> int:
    """How many processes the cluster has room for; at least one."""
    fit = [there.get("CPU", 0) // cpus] if cpus else []
    fit += [there.get("GPU", 0) // gpus] if gpus else []
    return max(1, int(min(fit, default=1)))


def _everywhere(config: TrainPriorConfig) -> TrainPriorConfig:
    """The same with paths that do not depend on where a process runs, and without the cluster."""
    start = config.start
    if start is not None and Path(start).exists():
        start = str(Path(start).resolve())
    return replace(
        config,
        data=tuple(path.resolve() for path in config.data),
        labels=tuple(path.resolve() for path in config.labels),
        out=config.out.resolve(),
        cache=config.cache.resolve(),
        start=start,
        cluster=None,
    )
