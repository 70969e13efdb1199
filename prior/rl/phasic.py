"""Phasic policy gradient with a tether to the prior: how VPT was fine-tuned to do a task (Baker et al. 2022, arXiv 2206.11795,
section 4.4 and appendix G; Cobbe et al. 2020, arXiv 2009.04416).

Two phases take turns. *Awake*, after each iteration of play, actions that brought more than was expected are made likelier,
within PPO's clip; the value head learns what to expect, but moves nothing below it. *Asleep*, every few iterations, a second
value head teaches the whole network, which is held to do as before. In place of the usual entropy bonus, which would have it
try 8641 combinations of keys at random, the policy is held near the prior that it began as, ever less so: that knows what
people do.

Each step takes a chunk of frames of some episodes, with the memory of those before, as cloning does (prior/training.py).

Shape suffixes: B episodes, T frames, D hidden size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.joint_actions import BUTTON_CHOICES, JointActions
from data.json_config import JsonConfig
from prior.nn.allocator import keep_freed_memory
from prior.nn.heads import ValueHead, kl_divergence
from prior.nn.memory import Memory
from prior.nn.optim import decays
from prior.nn.precision import Precision, uses_bfloat16
from prior.policy import Policy, PolicyOutput, action_logprob
from prior.rl.played import Played, advantages
from prior.training import DivergedError


@dataclass(frozen=True)
class PhasicConfig(JsonConfig):
    """How a policy learns from what it plays. The defaults suit small policies, and some dozens of episodes."""

    batch: int = 8
    """Episodes that are learnt from beside each other."""
    chunk: int = 64
    """Frames of each at a step, 0: the policy's own. Where they are few, a step follows frames that are much alike."""
    epochs: int = 1
    """How often each frame of an iteration is learnt from awake."""
    learning_rate: float = 5e-5
    weight_decay: float = 0.04
    gamma: float = 0.999
    """What a reward is worth a frame later."""
    trace: float = 0.95
    """GAE's lambda: how far to trust what came of an action rather than what was expected of it."""
    clip: float = 0.2
    """By how much a step may change an action's probability before it stops counting."""
    value: float = 0.5
    """Weight of the values' losses."""
    tether: float = 0.2
    """Weight of the divergence from the prior, in nats a frame, at first."""
    tether_decay: float = 0.9995
    """What is left of it an iteration later."""
    sleep_every: int = 2
    """Iterations from sleep to sleep, 0: never."""
    sleep_epochs: int = 1
    """How often each frame since the last sleep is learnt from asleep."""
    sleep_tether: float = 1.0
    """Weight of the divergence from what it did before the sleep."""
    clip_gradients: float = 5.0
    """Norm that the gradients of what acts, and of each head of values, are cut to."""
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "sleep_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gamma", "trace", "tether_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.sleep_every < 0 or not self.clip > 0:
            raise ValueError(f"expected sleep_every of 0 or more and clip above 0, got {self.sleep_every}, {self.clip}")


RECIPES: dict[str, PhasicConfig] = {
    "small": PhasicConfig(),
    "vpt": PhasicConfig(batch=40, chunk=128, learning_rate=2e-5),
    "debug": PhasicConfig(batch=2, chunk=8, learning_rate=1e-3, precision="float32"),
}
"""``vpt``: the paper's, as far as it is known."""


@dataclass
class _Frames:
    """Episodes side by side, the shorter ones filled up: all (B, T, ...). What is compared with later is added to it."""

    episodes: Sequence[Played]
    images: Tensor
    motion: Tensor
    buttons: Tensor
    camera: Tensor
    weight: Tensor
    kept: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: Sequence[Played], device: str) -> _Frames:
        longest = max(map(len, episodes))

        def beside(parts: Sequence[NDArray[Any]]) -> Tensor:
            whole = np.zeros((len(parts), longest, *parts[0].shape[1:]), parts[0].dtype)
            for row, part in zip(whole, parts, strict=True):
                row[: len(part)] = part
            return torch.from_numpy(whole).to(device)

        return cls(
            episodes,
            beside([e.images for e in episodes]),
            beside([e.motion for e in episodes]),
            beside([e.buttons for e in episodes]),
            beside([e.camera for e in episodes]),
            beside([e.counts.astype(np.float32) for e in episodes]),
        )

    def seen(self, part: slice) -> tuple[Tensor, Tensor]:
        """What the policy reads of the frames of a part: :class:`data.frame_inputs.Views`."""
        now, motion = self.images[:, part], self.motion[:, part]
        if not motion.shape[2]:
            return now, motion
        before = self.images[:, [max(index - 1, 0) for index in range(part.start, part.stop)]]
        return torch.cat([now, before], -1), motion


class PhasicLearner:
    """A policy that learns from what it plays, iteration by iteration; ``state`` and ``resume`` carry it over a stop.

    policy: the prior to begin as, which stays as it is. Raises ValueError for settings that cannot be.
    """

    def __init__(self, policy: Policy, config: PhasicConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        if device == "cpu":
            keep_freed_memory()
        self.prior = policy.to(device).float().eval().requires_grad_(False)
        self.policy = copy.deepcopy(self.prior).requires_grad_(True)
        # Cloning teaches no values, and other rewards other ones: both heads begin by expecting the average.
        for parameter in self.policy.value_head.parameters():
            torch.nn.init.zeros_(parameter)
        self.second_value = copy.deepcopy(self.policy.value_head)
        for head in (self.policy.value_head, self.second_value):
            head.normalizer.requires_grad_(False)
        self.chunk = config.chunk or policy.config.chunk
        self.bfloat16 = uses_bfloat16(config.precision, device)
        self.iteration = 0
        named = [*self.policy.named_parameters(), *self.second_value.named_parameters()]
        learnt = [(name, p) for name, p in named if p.requires_grad]
        heads: list[list[Tensor]] = [
            list(head.linear.parameters()) for head in (self.policy.value_head, self.second_value)
        ]
        values = {id(p) for head in heads for p in head}
        # Each is clipped by itself, or a wrong value would slow down what acts, which comes first.
        self.learnt: list[list[Tensor]] = [[p for _, p in learnt if id(p) not in values], *heads]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for name, p in learnt if decays(name, p)], "weight_decay": config.weight_decay},
                {"params": [p for name, p in learnt if not decays(name, p)], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        free = JointActions().camera_counts(np.arange(BUTTON_CHOICES))
        self._free = torch.from_numpy(free).to(device)
        self._slept_on: list[Played] = []

    @property
    def tether(self) -> float:
        """Weight of the divergence from the prior in this iteration."""
        return self.config.tether * self.config.tether_decay**self.iteration

    @property
    def sleeps_next(self) -> bool:
        """Whether the next iteration ends in sleep."""
        return self.config.sleep_every > 0 and (self.iteration + 1) % self.config.sleep_every == 0

    def state(self) -> dict[str, Any]:
        """What :meth:`resume` goes on from; the episodes since the last sleep are the caller's to keep."""
        return {
            "policy": self.policy.state_dict(),
            "second_value": self.second_value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
        }

    def resume(self, state: dict[str, Any], since_sleep: Sequence[Played]) -> None:
        """Go on from a state. since_sleep: the episodes learnt from since the last sleep."""
        self.policy.load_state_dict(state["policy"])
        self.second_value.load_state_dict(state["second_value"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self._slept_on = int(state["iteration"]), list(since_sleep)

    # -- an iteration --------------------------------------------------------------------------------------------------

    def learn(self, episodes: Sequence[Played]) -> dict[str, float]:
        """Learn from an iteration's episodes, played by :attr:`policy` as it is.

        Returns what to log: ``reward``, an episode's mean, with its standard error, ``reward_error``; ``divergence``, how far
        the policy has gone from the prior, in nats a frame; and more.

        Raises DivergedError, a ValueError, at the first loss that is not finite.
        """
        if not any(episode.counts.any() for episode in episodes):
            raise ValueError(
                f"{len(episodes)} episodes without a frame to learn from; expected at least one of two frames"
            )
        dice = np.random.default_rng([self.config.seed, self.iteration])
        groups = [_Frames.of(group, self.device) for group in _grouped(episodes, self.config.batch)]
        metrics = self._look_back(groups)
        rewards = np.array([episode.reward.sum() for episode in episodes])
        error = float(rewards.std(ddof=1) / math.sqrt(len(rewards))) if len(rewards) > 1 else 0.0
        metrics |= {"tether": self.tether, "reward": float(rewards.mean()), "reward_error": error}
        metrics |= self._wake(groups, dice)
        metrics["divergence"] = self._diverged(groups)
        del groups
        if self.config.sleep_every:
            self._slept_on += episodes
        if self.sleeps_next:
            metrics |= self._sleep(dice)
            self._slept_on = []
        self.iteration += 1
        return metrics

    @torch.no_grad()
    def _look_back(self, groups: list[_Frames]) -> dict[str, float]:
        """Add to the frames how likely each action was, what the prior thinks, and how much better it was than expected."""
        expected, come, gains = [], [], []
        for frames in groups:
            parts = [(out, self._logprob(out, frames, part)) for part, out in self._through(self.policy, frames)]
            frames.kept["logprob"] = torch.cat([logprob for _, logprob in parts], 1)
            frames.kept["prior"] = torch.cat([out.latents for _, out in self._through(self.prior, frames)], 1)
            value, gain = self._weigh(frames, torch.cat([out.value for out, _ in parts], 1))
            counted = frames.weight > 0
            expected.append(value[counted])
            gains.append(gain[counted])
            come.append((value + gain)[counted])
        values, returns, gain = torch.cat(expected), torch.cat(come), torch.cat(gains)
        for head in (self.policy.value_head, self.second_value):
            head.normalizer.update(returns[None, :, None])
        for frames in groups:
            frames.kept["gain"] = (frames.kept["gain"] - gain.mean()) / (gain.std(correction=0) + 1e-8)
        unexplained = float((returns - values).var(correction=0)) / max(float(returns.var(correction=0)), 1e-12)
        return {"explained": 1 - unexplained, "returns": float(returns.mean())}

    def _weigh(self, frames: _Frames, normalised_BT1: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B, T) in units of reward, and what came beyond them; adds that and the returns to the frames."""
        value = self.policy.value_head.denormalize(normalised_BT1)[..., 0]
        gain = np.zeros(tuple(value.shape), np.float32)
        for row, (episode, known) in enumerate(zip(frames.episodes, value.cpu().numpy(), strict=True)):
            part = slice(len(episode))
            gain[row, part] = advantages(
                episode.reward, known[part], episode.over, self.config.gamma, self.config.trace
            )
        frames.kept["gain"] = torch.from_numpy(gain).to(self.device)
        frames.kept["returns"] = value + frames.kept["gain"]
        return value, frames.kept["gain"]

    def _wake(self, groups: list[_Frames], dice: np.random.Generator) -> dict[str, float]:
        means = _Means()
        self.policy.train()
        for _ in range(self.config.epochs):
            for number in dice.permutation(len(groups)):
                frames = groups[number]
                for part, out in self._through(self.policy, frames):
                    weight = frames.weight[:, part]
                    if not weight.any():
                        continue
                    loss, told = self._waking_loss(out, frames, part)
                    means.add({**told, "gradient_norm": self._step(loss)}, weight)
        self.policy.eval()
        return means.of_frames()

    def _waking_loss(self, out: PolicyOutput, frames: _Frames, part: slice) -> tuple[Tensor, dict[str, float]]:
        weight = frames.weight[:, part]
        ratio = (self._logprob(out, frames, part) - frames.kept["logprob"][:, part]).exp()
        gain = frames.kept["gain"][:, part]
        within = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        acting = -_mean(torch.minimum(ratio * gain, within * gain), weight)
        # The value head reads what it is given and moves nothing below it: what is seen is for acting.
        value = self.policy.value_head(out.latents.detach())[..., 0]
        wrong = self._wrong(self.policy.value_head, value, frames, part)
        strayed = _mean(self._divergence(self.prior, frames.kept["prior"][:, part], out), weight)
        loss = acting + self.config.value * wrong + self.tether * strayed
        clipped = _mean(((ratio - 1).abs() > self.config.clip).float(), weight)
        told = {"acting": acting, "value_loss": wrong, "clipped": clipped}
        return loss, {name: float(value.detach()) for name, value in told.items()}

    def _sleep(self, dice: np.random.Generator) -> dict[str, float]:
        """Let values teach the network, which is held to do as before."""
        before = copy.deepcopy(self.policy).eval().requires_grad_(False)
        means = _Means()
        for _ in range(self.config.sleep_epochs):
            shuffled = [self._slept_on[index] for index in dice.permutation(len(self._slept_on))]
            for group in _grouped(shuffled, self.config.batch):
                frames = _Frames.of(group, self.device)
                with torch.no_grad():
                    self._weigh(frames, torch.cat([out.value for _, out in self._through(self.policy, frames)], 1))
                    frames.kept["before"] = torch.cat([out.latents for _, out in self._through(before, frames)], 1)
                self.policy.train()
                for part, out in self._through(self.policy, frames):
                    weight = frames.weight[:, part]
                    if not weight.any():
                        continue
                    second = self._wrong(self.second_value, self.second_value(out.latents)[..., 0], frames, part)
                    value = self.policy.value_head(out.latents.detach())[..., 0]
                    first = self._wrong(self.policy.value_head, value, frames, part)
                    strayed = _mean(self._divergence(before, frames.kept["before"][:, part], out), weight)
                    self._step(second + self.config.value * first + self.config.sleep_tether * strayed)
                    told = {"sleep_value_loss": second, "sleep_divergence": strayed}
                    means.add({name: float(one.detach()) for name, one in told.items()}, weight)
                self.policy.eval()
        return means.of_frames()

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _through(self, policy: Policy, frames: _Frames) -> Iterator[tuple[slice, PolicyOutput]]:
        """The policy's output chunk by chunk, with memory carried and cut off from the gradient."""
        episodes, length = frames.weight.shape
        memory: Memory = policy.empty_memory(episodes)
        for start in range(0, length, self.chunk):
            part = slice(start, min(start + self.chunk, length))
            images, motion = frames.seen(part)
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
                seen = policy.frame_features(images.flatten(0, 1), motion.flatten(0, 1))
            features = seen.float().view(episodes, part.stop - part.start, -1)
            first = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
            first[:, 0] = start == 0
            latents, memory = policy.latents(features, memory, first)
            memory = memory.detach()
            yield part, policy.heads(latents)

    def _logprob(self, out: PolicyOutput, frames: _Frames, part: slice) -> Tensor:
        buttons = frames.buttons[:, part]
        return action_logprob(out, buttons, frames.camera[:, part], self._free[buttons])

    def _divergence(self, other: Policy, latents_BTD: Tensor, out: PolicyOutput) -> Tensor:
        """KL(other || policy) of whole actions (B, T), in nats; the camera counts as often as the other turns it."""
        with torch.no_grad():
            buttons, camera = other.pi_head.buttons(latents_BTD), other.pi_head.camera(latents_BTD)
            turns = (buttons.exp() * self._free).sum(-1)
        strayed: Tensor = kl_divergence(buttons, out.buttons) + turns * kl_divergence(camera, out.camera)
        return strayed

    @torch.no_grad()
    def _diverged(self, groups: list[_Frames]) -> float:
        """How far the policy is from the prior now, in nats a frame."""
        total = count = 0.0
        for frames in groups:
            for part, out in self._through(self.policy, frames):
                strayed = self._divergence(self.prior, frames.kept["prior"][:, part], out)
                total += float((strayed * frames.weight[:, part]).sum())
                count += float(frames.weight[:, part].sum())
        return total / max(count, 1)

    def _wrong(self, head: ValueHead, value: Tensor, frames: _Frames, part: slice) -> Tensor:
        mean, variance = head.normalizer.moments()
        wanted = (frames.kept["returns"][:, part] - mean) / variance.sqrt()
        return _mean((value - wanted) ** 2, frames.weight[:, part])

    def _step(self, loss: Tensor) -> float:
        """Returns the norm of the gradients of what acts."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [float(torch.nn.utils.clip_grad_norm_(part, self.config.clip_gradients)) for part in self.learnt]
        found = float(loss.detach())
        if not math.isfinite(found + sum(norms)):
            raise DivergedError(
                f"in iteration {self.iteration + 1} the loss was {found} and the gradients' norms {norms}; the last good state "
                f"is in resume.pt. Try a lower learning rate than {self.config.learning_rate:g}, or float32"
            )
        self.optimizer.step()
        return norms[0]


class _Means:
    """What steps told, by how many frames each saw."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._frames = 0.0

    def add(self, told: Mapping[str, float], weight: Tensor) -> None:
        frames = float(weight.sum())
        self._frames += frames
        for name, value in told.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * frames

    def of_frames(self) -> dict[str, float]:
        return {name: value / self._frames for name, value in self._sums.items()}


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    mean: Tensor = (values * weight).sum() / weight.sum().clamp_min(1e-9)
    return mean


def _grouped(episodes: Sequence[Played], batch: int) -> Iterator[Sequence[Played]]:
    for start in range(0, len(episodes), batch):
        yield episodes[start : start + batch]
