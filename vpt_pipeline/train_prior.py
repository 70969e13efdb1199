"""Train a behavioural prior: clone what was done in recordings, or what an inverse dynamics model says was done in videos.

    vpt train-prior play/                                   # recordings with actions (NAME.mp4 + NAME.jsonl)
    vpt train-prior videos/ --labels runs/labels            # videos that `vpt label` labelled
    vpt train-prior house/ --start foundation-1x.model --recipe bc_house

Frames are decoded once into a cache. A share of the recordings is held back to judge by. The same command again resumes a
stopped run. On several GPUs: torchrun --nproc-per-node 8 -m vpt_pipeline train-prior ... On a Ray cluster: --cluster auto.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

import torch
import tyro

from data.json_config import given_options, preset_of
from data.recording import find_recordings
from data.streamed_inputs import OpenVideos
from prior.checkpoint import load_policy
from prior.config import PolicyConfig, preset
from prior.episodes import Choices, Doubts, Episode, Nulls, load_episodes
from prior.policy import Policy
from prior.sequences import Goals, SequenceLoader, Source, slots_for
from prior.training import (
    RECIPES,
    Cloner,
    CloningConfig,
    agreed,
    begin_with_frequencies,
    finish,
    process,
    start_processes,
)
from vpt_pipeline.progress import hush, progress_bar, say, say_left_out
from vpt_pipeline.train_idm import hold_back, pick_device, tensorboard_writer


@dataclass(frozen=True)
class ClusterTraining:
    """With --cluster:"""

    workers: int = 0
    """Processes. 0: as many as the cluster has room for."""
    cpus: float = 2
    """CPUs that each takes."""
    gpus: float | None = None
    """GPUs that each takes. Default: 1 if the cluster has any, else 0."""
    failures: int = 3
    """So often may processes die; training then goes on from its last save."""


@dataclass(frozen=True)
class TrainPriorConfig:
    """Settings of `vpt train-prior`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with recordings or videos (searched through)."""
    labels: tuple[Path, ...] = ()
    """Folders of labels (`vpt label --out`), one for all of DATA or one for each; they are cloned, not what was recorded."""
    shares: tuple[float, ...] = ()
    """How much of an epoch each of DATA makes up, relative to the others. Default: each frame once."""
    out: Path = Path("runs/prior")
    """Where the policy goes: config.json, model.safetensors, metrics.jsonl."""
    preset: str = "luanti_small"
    """Size of a new policy: debug, luanti_small (two cores), vpt_1x, vpt_2x, vpt_3x (the published sizes)."""
    start: str | None = None
    """Begin with this policy instead of a new one: a folder of `vpt train-prior`, or a published NAME.model."""
    recipe: str = "scratch"
    """Settings to begin with: scratch, foundation, bc_house, early_game (VPT's), debug. The options below override them."""
    nulls: Nulls = "drop"
    """Frames in which nothing was done: drop them (VPT's way), mask them (seen but not learnt), or keep them."""
    doubts: Doubts = "keep"
    """Doubtful labels: keep them, mask those flagged low_confidence, or weight each by its confidence."""
    hold_back: float = 0.1
    """Share of the recordings kept from training, to judge by."""
    minutes: float | None = None
    """Train about this long instead of epochs or steps (they are counted out after a short measurement)."""
    epochs: float | None = None
    steps: int | None = None
    batch: int | None = None
    """Episodes that are played beside each other."""
    chunk: int | None = None
    """Frames of each at a step."""
    learning_rate: float | None = None
    weight_decay: float | None = None
    average: float | None = None
    """Decay of a moving average of the weights, such as 0.999; 0: keep the last weights."""
    accumulate: int | None = None
    """Compute a step in so many parts, for want of memory."""
    checkpointed: int | None = None
    """Compute the image trunk again in the backward pass, so many frames at a time, for want of memory."""
    colour: float | None = None
    """How much the colours of a chunk vary, such as 0.1; 0 for colours as they are (so with those that follow)."""
    pixels: int | None = None
    """By how many pixels the picture of a chunk is moved at most."""
    still: float | None = None
    """Share of chunks without motion (motion stems only), so that the policy learns to look and not only to go on as before."""
    mirror: float | None = None
    """Share of episodes that are played the other way round, such as 0.5: what was right is left."""
    hotbar: float | None = None
    """Learn with this weight, such as 0.3, to tell which slot of the hotbar is selected: which tool is in the hand."""
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    seed: int | None = None
    save_every: int | None = None
    validate_every: int | None = None
    cache: Path = Path("runs/cache")
    """Where decoded frames are kept, an hour of play: 4.6 GB for luanti_small, 3.5 GB for the published sizes."""
    stream: bool = False
    """Decode videos while training instead, and keep nothing: for more play than the disk has room for, and processors to
    spare."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    cluster: str | None = None
    """Train on a Ray cluster: local (this machine), auto (the cluster this machine belongs to) or HOST:PORT of its head. DATA,
    labels and OUT must be where every node sees them."""
    on: tyro.conf.OmitArgPrefixes[ClusterTraining] = field(default_factory=ClusterTraining)


def training_of(config: TrainPriorConfig) -> CloningConfig:
    """The recipe with the options that were given."""
    recipe = preset_of(RECIPES, config.recipe, "recipe")
    given = given_options(CloningConfig, config)
    if "epochs" in given and "steps" not in given:
        given["steps"] = 0
    return dataclasses.replace(recipe, **given)


def load_sources(config: TrainPriorConfig, policy: PolicyConfig) -> tuple[list[Source], list[Episode]]:
    """What to train on, and what is held back; says which recordings cannot be used and why."""
    if len(config.labels) > 1 and len(config.labels) != len(config.data):
        raise ValueError(
            f"{len(config.labels)} folders of labels for {len(config.data)} of videos; expected one, or as many"
        )
    if config.shares and len(config.shares) != len(config.data):
        raise ValueError(f"{len(config.shares)} shares for {len(config.data)} folders; expected as many, or none")
    choices = Choices(config.nulls, config.doubts)
    videos = OpenVideos(4 * training_of(config).batch) if config.stream else None
    sources, held = [], []
    rank, world = process()
    for index, folder in enumerate(config.data):
        labels = config.labels[min(index, len(config.labels) - 1)] if config.labels else None
        recordings = [r for r in find_recordings(folder) if labels is not None or r.actions is not None]
        with progress_bar(f"reading {folder.name}", len(recordings), "recordings") as bar:
            usable, refused = load_episodes(
                recordings, labels, policy, config.cache, choices, bar.advance, rank / world, videos
            )
        for message in refused:
            say_left_out(message)
        if not usable:
            expected = "videos with labels" if labels is not None else "NAME.mp4 beside NAME.jsonl"
            raise ValueError(f"{folder}: nothing to clone in {len(recordings)} recordings; expected {expected}")
        kept, back = hold_back(usable, config.hold_back)
        sources.append(Source(kept, config.shares[index] if config.shares else None))
        held += back
    if config.hotbar and not any((e.hotbar >= 0).any() for source in sources for e in source.episodes):
        raise ValueError(
            f"hotbar is {config.hotbar:g}, but {', '.join(map(str, config.data))} do not tell which slot of the hotbar is "
            "selected: recorded actions do, and labels of a model that has learnt to see it (of this version's `vpt label`); "
            "leave --hotbar out, or give a folder of recordings, too"
        )
    return sources, held


def new_policy(config: TrainPriorConfig, seed: int) -> Policy:
    torch.manual_seed(seed)
    if config.start is not None:
        return load_policy(config.start)[0]
    return Policy(preset(config.preset))


class Teaching(Protocol):
    """What more a policy learns from the same recordings than to do the same."""

    def policy(self, policy: Policy) -> Policy:
        """Of the policy to begin with, the one to train."""

    def goals(self, episodes: list[Episode], mirrored: bool) -> Goals:
        """What is wanted in them. mirrored: they may be played the other way round."""


def steps_in(minutes: float, policy: Policy, training: CloningConfig, loader: SequenceLoader, device: str) -> int:
    """How many steps fit into the time, measured on a throw-away policy."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trial = dataclasses.replace(training, steps=8, save_every=10**6)
        times: list[float] = []
        Cloner(Path(folder), copy.deepcopy(policy), trial, loader, None, device).run(
            lambda *_: times.append(time.perf_counter())
        )
    return max(int(minutes * 60 * (len(times) - 3) / (times[-1] - times[2])), 20)


def _threads(config: TrainPriorConfig) -> int:
    return (os.cpu_count() or 1) if config.stream else 1


def _steps_begun_with(out: Path) -> int:
    """The steps of the run in a folder, which keeps the number that it was begun with; 0 if there is none."""
    begun = out / "training.json"
    return int(json.loads(begun.read_text(encoding="utf-8"))["training"]["steps"]) if begun.exists() else 0


def train(config: TrainPriorConfig, teaching: Teaching | None = None) -> dict[str, float]:
    """Train and write the policy; returns the last metrics."""
    training, device = training_of(config), start_processes(pick_device(config.device))
    if process()[0]:
        hush()
    policy = new_policy(config, training.seed)
    sources, held = load_sources(config, policy.config)
    if config.start is None:
        begin_with_frequencies(policy, (episode for source in sources for episode in source.episodes))
    if teaching is not None:
        policy = teaching.policy(policy)
    chunk = training.chunk or policy.config.chunk
    goals = None
    if teaching is not None:
        goals = teaching.goals([e for source in sources for e in source.episodes], training.mirror > 0)
    loader = SequenceLoader(sources, training.batch, chunk, training.seed, training.variation, goals, _threads(config))
    if config.minutes is not None:
        steps = agreed(_steps_begun_with(config.out)) or agreed(
            steps_in(config.minutes, policy, training, loader, device)
        )
        training = dataclasses.replace(training, steps=steps)
    judged = _validation(held, training.batch, chunk, teaching, _threads(config))
    cloner = Cloner(config.out, policy, training, loader, judged, device)
    frames = sum(source.frames for source in sources)
    say(
        f"{sum(p.numel() for p in cloner.learnt) / 1e6:.1f}M parameters; {frames / policy.config.rate / 60:.1f} min of play in "
        f"{sum(len(source.episodes) for source in sources)} recordings (nulls: {config.nulls}), {len(held)} held back; "
        f"{cloner.steps} steps of {training.batch} x {chunk} frames, {cloner.steps / loader.steps_an_epoch:.1f} epochs, on "
        f"{device}{' in bfloat16' if cloner.bfloat16 else ''}"
    )
    if cloner.step:
        say(f"resuming at step {cloner.step}")
    last: dict[str, float] = {}
    board = tensorboard_writer(config.out / "tensorboard") if cloner.rank == 0 else None
    with progress_bar("training", cloner.steps * training.batch * chunk, "frames") as bar:
        bar.skip(cloner.step * training.batch * chunk)

        def report(step: int, metrics: dict[str, float]) -> None:
            last.update(metrics)
            if board is not None:
                for name, value in metrics.items():
                    board.add_scalar(name, value, step)
            judged = f", held back {last['validation_loss']:.3f}" if "validation_loss" in last else ""
            bar.note(f"loss {metrics['loss']:.3f}{judged}")
            bar.advance(training.batch * chunk)

        finished = cloner.run(report)
    if board is not None:
        board.close()
    finish(cloner, finished)
    return last


def _validation(
    held: list[Episode], batch: int, chunk: int, teaching: Teaching | None, threads: int
) -> SequenceLoader | None:
    slots = slots_for(held, batch, chunk)
    if not slots:
        return None
    goals = teaching.goals(held, False) if teaching is not None else None
    return SequenceLoader([Source(held)], slots, chunk, 0, goals=goals, threads=threads)


def main(config: TrainPriorConfig) -> int:
    if config.cluster is not None:
        from vpt_pipeline.cluster.train import train_on_cluster

        metrics = train_on_cluster(config)
    else:
        metrics = train(config)
    if "validation_loss" in metrics:
        say(
            f"on the recordings held back: {metrics['validation_loss']:.3f} nats a frame, the likeliest keys right in "
            f"{metrics['validation_accuracy_buttons']:.1%} of frames"
        )
    say(f"policy in {config.out}")
    return 0
