"""Behavioural cloning over sequences: resumable, with memory that carries from chunk to chunk, on one process or several.

Gradients flow through one chunk; what is remembered of earlier ones comes without (truncated back-propagation through time,
as VPT was trained). What a step sees depends on (seed, step) alone, and everything else, the memory included, is in
``resume.pt``, so that a run that was stopped and started again ends with the same weights as one that was not.

Under ``torchrun`` the slots of the batch are shared out among the processes and gradients are summed before each step: the same
step as in one process, to rounding.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from data.ahead import ahead
from data.joint_actions import JointActions
from data.json_config import JsonConfig, begin_or_resume
from prior.checkpoint import save_policy
from prior.cloning import SUMS, CameraLoss, CloningLoss, means, new_hotbar_head
from prior.episodes import Episode
from prior.nn.allocator import keep_freed_memory
from prior.nn.memory import Memory
from prior.nn.optim import MovingAverage, decays, learning_rate, save_state
from prior.nn.precision import Precision, uses_bfloat16
from prior.policy import BUTTON_CHOICES, CAMERA_CHOICES, Policy
from prior.sequences import Chunks, SequenceLoader, Variation


@dataclass(frozen=True)
class CloningConfig(JsonConfig):
    """How a policy is trained. The defaults suit small policies that start anew."""

    epochs: float = 2.0
    """How often each frame is seen."""
    steps: int = 0
    """Steps instead of epochs, if above 0."""
    batch: int = 16
    """Slots: episodes that are played beside each other."""
    chunk: int = 0
    """Frames of each at a step, through which gradients flow. 0: the policy's own."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    """Of weight matrices and convolutions; biases, norms and the attention's bias table do not decay."""
    warmup: float = 0.02
    """Share of the steps over which the learning rate rises, before it falls linearly to zero."""
    clip_gradients: float = 5.0
    camera: CameraLoss = "when_turning"
    """In which frames the camera counts: where the buttons leave it free, as the paper means it, or always (the published
    code)."""
    average: float = 0.0
    """Decay of a moving average of the weights that is kept in the end, such as 0.999; 0: the last weights."""
    accumulate: int = 1
    """Compute a step in so many parts, for want of memory; the step is the same."""
    checkpointed: int = 0
    """Compute the image trunk again in the backward pass, so many frames at a time, for want of memory; 0: keep it."""
    colour: float = 0.0
    """How much the colours of a chunk vary, such as 0.1."""
    pixels: int = 0
    """By how many pixels the picture of a chunk is moved at most."""
    still: float = 0.0
    """Share of chunks in which a motion stem sees no motion, so that it learns to look and not only to go on as before."""
    mirror: float = 0.0
    """Share of episodes that are played the other way round: what was right is left."""
    hotbar: float = 0.0
    """Weight in the loss of telling from each frame which slot of the hotbar is selected, where the records say."""
    precision: Precision = "auto"
    seed: int = 0
    save_every: int = 200
    validate_every: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide the batch of {self.batch}")
        if not self.hotbar >= 0:
            raise ValueError(f"hotbar is a weight in the loss, at least 0; got {self.hotbar}")
        if not self.epochs > 0 or self.steps < 0:
            raise ValueError(f"epochs must be above 0 and steps at least 0, got {self.epochs} and {self.steps}")

    @property
    def variation(self) -> Variation:
        return Variation(self.colour, self.pixels, self.still, self.mirror)


_FINE_TUNING = CloningConfig(epochs=2, batch=16, learning_rate=0.000181, weight_decay=0.039428, warmup=0.0)

RECIPES: dict[str, CloningConfig] = {
    "scratch": CloningConfig(colour=0.1, pixels=3, still=0.3, mirror=0.5),
    "foundation": CloningConfig(epochs=30, batch=880, learning_rate=0.002147, weight_decay=0.0625),
    "bc_house": _FINE_TUNING,
    "early_game": _FINE_TUNING,
    "debug": CloningConfig(steps=8, epochs=1, batch=4, chunk=8, save_every=4, validate_every=4, precision="float32"),
}
"""``scratch``: for some minutes to some hours of play, which a policy that sees them as they are learns by heart;
``foundation``: VPT's, on labelled videos; ``bc_house`` and ``early_game``: its fine-tuning of that (one recipe, other
recordings). Learning rates, decay and batches are those of the paper as far as they are known."""


class DivergedError(ValueError):
    """The loss or a gradient was not finite."""


class Cloner:
    """One training run in a folder; constructing it again in the same folder resumes it.

    validation: a loader over episodes held back, of which one epoch is judged every ``validate_every`` steps.
    """

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        training: CloningConfig,
        loader: SequenceLoader,
        validation: SequenceLoader | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder, self.training, self.loader, self.validation = folder, training, loader, validation
        self.rank, self.world = process()
        if loader.slots % (self.world * training.accumulate):
            raise ValueError(
                f"a batch of {loader.slots} cannot be shared by {self.world} processes in {training.accumulate} parts each"
            )
        mine = loader.slots // self.world
        self.slots = slice(self.rank * mine, (self.rank + 1) * mine)
        self.device = device
        if device == "cpu":
            keep_freed_memory()
        self.policy = policy.to(device).float().train()
        self.bfloat16 = uses_bfloat16(training.precision, device)
        self.hotbar_head = new_hotbar_head(self.policy.config.hidden).to(device) if training.hotbar else None
        self.loss = self._loss(self.policy, training.checkpointed)
        self.steps = training.steps or max(1, round(training.epochs * loader.steps_an_epoch))
        named = _learnt(self.policy)
        self.learnt: list[Tensor] = [p for _, p in named]
        faster = self.policy.faster
        decayed = [p for name, p in named if decays(name, p) and name not in faster]
        kept = [p for name, p in named if not decays(name, p)]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": training.weight_decay},
                {"params": kept, "weight_decay": 0.0},
                *({"params": [p], "weight_decay": 0.0, "times": faster[name]} for name, p in named if name in faster),
            ],
            lr=training.learning_rate,
        )
        if self.hotbar_head is not None:
            self.optimizer.add_param_group({"params": list(self.hotbar_head.parameters()), "weight_decay": 0.0})
        self.changed = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.average = MovingAverage(self.learnt, training.average)
        self.memory = self.policy.empty_memory(mine)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if agreed(self.step) != self.step:
            raise ValueError(
                f"{folder}: process {self.rank} goes on from step {self.step}, the first one from another; expected a folder "
                "that all of them see. Is it on a disk that the machines share?"
            )

    def _loss(self, policy: Policy, checkpointed: int) -> CloningLoss:
        training = self.training
        return CloningLoss(policy, training.camera, checkpointed, self.bfloat16, self.hotbar_head, training.hotbar).to(
            self.device
        )

    # -- resuming ------------------------------------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        about = {"policy": self.policy.config.to_dict(), "training": self.training.to_dict()}
        about["data"] = {"steps_an_epoch": self.loader.steps_an_epoch, "slots": self.loader.slots}
        return about

    def _resume(self) -> None:
        if self.rank and not (self.folder / "resume.pt").exists():
            return  # the first process writes what a new run is
        if not begin_or_resume(self.folder, self._about(), "settings or recordings"):
            return
        state = torch.load(self.folder / "resume.pt", map_location=self.device, weights_only=True)
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.hotbar_head is not None:
            self.hotbar_head.load_state_dict(state["hotbar_head"])
        self.average.values, self.step = state["average"], state["step"]
        layers = tuple((k[self.slots].clone(), v[self.slots].clone()) for k, v in state["memory"])
        self.memory = Memory(state["valid"][self.slots].clone(), layers)

    def save(self) -> None:
        """Write ``resume.pt``; what was there before stays until the new one is whole."""
        valid, layers = _gather(self.memory.valid, self.world), self.memory.layers
        memory = [(_gather(k, self.world), _gather(v, self.world)) for k, v in layers]
        if self.rank:
            return
        state = {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "hotbar_head": {} if self.hotbar_head is None else self.hotbar_head.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "valid": valid,
            "memory": memory,
        }
        save_state(self.folder / "resume.pt", state)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def learning_rate(self) -> float:
        """Of the next step."""
        return learning_rate(self.training.learning_rate, self.step, self.steps, self.training.warmup)

    def _update(self, chunks: Chunks) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group.get("times", 1)
        weight = _summed(chunks.weight.sum(dtype=torch.float64).to(self.device), self.world).clamp_min(1e-9)
        self.optimizer.zero_grad(set_to_none=True)
        sums, memories = torch.zeros(len(SUMS), device=self.device), []
        for part in _parts(len(self.memory), self.training.accumulate):
            found, memory = self.loss(chunks.slots(part).to(self.device), _memory_of(self.memory, part))
            (found[0] / weight.float()).backward()
            sums += found.detach()
            memories.append(memory)
        self._sum_gradients()
        sums = _summed(sums, self.world)
        norm = float(torch.nn.utils.clip_grad_norm_(self.changed, self.training.clip_gradients))
        metrics = means(sums) | {"gradient_norm": norm}
        if not math.isfinite(metrics["loss"] + norm):
            raise DivergedError(
                f"{self.folder}: at step {self.step + 1} the loss was {metrics['loss']} and the gradients' norm {norm}; the "
                f"last good state is in resume.pt. Try a lower learning rate than {self.training.learning_rate:g}, more "
                "warm-up, or float32"
            )
        self.optimizer.step()
        self.memory = _joined(memories)
        self.average.update(self.learnt, self.step)
        self.step += 1
        return metrics

    def _sum_gradients(self) -> None:
        if self.world == 1:
            return
        # All at once, in one buffer: small policies have many small tensors.
        gradients = [p.grad for p in self.changed if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def run(self, report: Callable[[int, dict[str, float]], None] = lambda *_: None) -> Policy:
        """Train to the last step and return the policy. ``report(step, metrics)`` is called after each step.

        Raises DivergedError, a ValueError, at the first loss that is not finite; resume.pt is then of before.
        """
        coming = ahead((self.loader.draw(step, self.slots) for step in range(self.step, self.steps)), depth=2)
        with closing(coming) as batches:
            waited_from = time.perf_counter()
            for chunks in batches:
                begun = time.perf_counter()
                metrics = self._update(chunks)
                seconds = time.perf_counter() - waited_from
                frames = chunks.weight.numel() * self.world
                metrics |= {
                    "frames_per_second": frames / seconds,
                    "waited": (begun - waited_from) / seconds,
                    "learning_rate": self.learning_rate(),
                }
                last = self.step == self.steps
                if self.validation is not None and (self.step % self.training.validate_every == 0 or last):
                    metrics |= {f"validation_{name}": value for name, value in self.validate().items()}
                self._log(metrics)
                report(self.step, metrics)
                if self.step % self.training.save_every == 0 and not last:
                    self.save()
                waited_from = time.perf_counter()
        self.save()
        return self.finished()

    def _log(self, metrics: dict[str, float]) -> None:
        if self.rank == 0:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": self.step, **{k: round(v, 6) for k, v in metrics.items()}}) + "\n")

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The means over one epoch of the episodes held back, with the weights that would be kept."""
        assert self.validation is not None
        policy = self.finished() if self.average.decay else self.policy.eval()
        loss = self._loss(policy, 0).eval()
        memory = policy.empty_memory(self.validation.slots)
        sums = torch.zeros(len(SUMS), device=self.device)
        for step in range(self.validation.steps_an_epoch):
            found, memory = loss(self.validation.draw(step).to(self.device), memory)
            sums += found
        self.policy.train()
        return means(sums)

    def finished(self) -> Policy:
        """A copy of the policy with the weights that are kept: the averaged ones, or the last."""
        policy = copy.deepcopy(self.policy)
        self.average.copy_to(p for _, p in _learnt(policy))
        return policy.eval()


def finish(cloner: Cloner, policy: Policy) -> None:
    """Write the finished policy into the run's folder."""
    if cloner.rank == 0:
        save_policy(cloner.folder, policy)


def start_processes(device: str) -> str:
    """Join the other processes where ``torchrun`` or Ray Train started this one; returns the device of this one."""
    cuda = device.startswith("cuda")
    if not dist.is_initialized():  # Ray Train has done it
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return device
        dist.init_process_group("nccl" if cuda else "gloo")
    if cuda and dist.get_world_size() > 1:
        # Where each process sees one GPU alone, as Ray Train's do, that is the first.
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return device


def process() -> tuple[int, int]:
    """(which, of how many) processes that train together."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def agreed(value: int) -> int:
    """What the first of the processes has, in all of them."""
    values = [value]
    if process()[1] > 1:
        dist.broadcast_object_list(values)
    return values[0]


def _learnt(policy: Policy) -> list[tuple[str, Tensor]]:
    """What cloning changes: not the values, of which actions tell nothing, nor what the caller froze."""
    return [(n, p) for n, p in policy.named_parameters() if p.requires_grad and not n.startswith("value_head.")]


def begin_with_frequencies(policy: Policy, episodes: Iterable[Episode], smoothing: float = 1e-3) -> None:
    """Let a new policy's heads begin with how often each action is taken, instead of with all 8641 x 121 alike.

    It need not learn first that nobody presses nine keys at once, and never quite unlearns it: what nobody does begins with
    ``smoothing`` of the probability, shared by all actions.
    """
    buttons, camera = np.zeros(BUTTON_CHOICES), np.zeros(CAMERA_CHOICES)
    turns = JointActions().camera_counts(np.arange(BUTTON_CHOICES))
    for episode in episodes:
        buttons += np.bincount(episode.buttons, episode.weight, BUTTON_CHOICES)
        camera += np.bincount(episode.camera, episode.weight * turns[episode.buttons], CAMERA_CHOICES)
    for head, counts in ((policy.pi_head.buttons, buttons), (policy.pi_head.camera, camera)):
        shares = (1 - smoothing) * counts / max(counts.sum(), 1e-9) + smoothing / len(counts)
        with torch.no_grad():
            head.linear_layer.bias.copy_(torch.from_numpy(head.temperature * np.log(shares)))


def _parts(slots: int, parts: int) -> list[slice]:
    size = slots // parts
    return [slice(start, start + size) for start in range(0, slots, size)]


def _memory_of(memory: Memory, part: slice) -> Memory:
    return Memory(memory.valid[part], tuple((k[part], v[part]) for k, v in memory.layers))


def _joined(memories: list[Memory]) -> Memory:
    layers = zip(*(memory.layers for memory in memories), strict=True)
    kept = tuple((torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in layers)
    return Memory(torch.cat([memory.valid for memory in memories]), kept)


def _summed(value: Tensor, world: int) -> Tensor:
    if world > 1:
        dist.all_reduce(value)
    return value


def _gather(value: Tensor, world: int) -> Tensor:
    if world == 1:
        return value
    parts = [torch.empty_like(value) for _ in range(world)]
    dist.all_gather(parts, value.contiguous())
    return torch.cat(parts)
