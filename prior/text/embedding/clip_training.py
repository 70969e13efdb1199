"""Training a small CLIP with open_clip's loss: a clip is to be nearer to its own text than to the batch's others, and so back.

Radford et al. 2021, "CLIP" (arXiv 2103.00020), section 2.3: symmetric cross-entropy over the batch's similarities, their
scale learned and kept below 100. A step looks at some frames of each clip only (sparse sampling: Lei et al. 2021, "ClipBERT",
arXiv 2102.06183); in use, all of them count. Resumable to the bit: what a step sees follows from (seed, step), the rest is in
``resume.pt``.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from data.ahead import ahead
from data.json_config import JsonConfig, begin_or_resume
from prior.nn.optim import MovingAverage, learning_rate, save_state
from prior.nn.precision import Precision, uses_bfloat16
from prior.text.embedding.clip_data import ClipBatch, ClipLoader
from prior.text.embedding.clip_modules import open_clip
from prior.text.embedding.embedder import colours, with_change
from prior.text.embedding.judging import Retrieval, judge_draws
from prior.text.embedding.small_clip import MEAN, STD, SmallClip

MOST_SCALE = math.log(100)
JUDGED = 50
"""Clips among which a text is to find its own."""
MOST_JUDGED = 1000
"""Clips held back of which those are drawn, many times."""
FEWEST = 20
"""Clips of a kind that are to be trained on before it is judged by."""
CENTRED = 256
"""Clips trained on, as many of each kind as can be, of which the middle is taken."""


@dataclass(frozen=True)
class ClipTraining(JsonConfig):
    """How a CLIP is trained. The defaults suit some thousand clips and two cores."""

    steps: int = 400
    batch: int = 64
    """Clips; each is told from all the others."""
    sampled: int = 6
    """Frames of each clip that a step looks at; 0: all."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    """Of weight matrices; places, norms, biases and the scale do not decay."""
    warmup: float = 0.05
    clip_gradients: float = 1.0
    average: float = 0.98
    """Decay of the moving average of the weights that is kept; 0: the last weights."""
    augment: bool = True
    precision: Precision = "auto"
    """What frames' features are computed in; what looks over time and texts stays in float32."""
    seed: int = 0
    save_every: int = 100
    validate_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class ClipTrainer:
    """One training run in a folder; constructing it again in the same folder resumes it.

    validation: a loader over recordings held back, judged every ``validate_every`` steps and at the end.
    """

    def __init__(
        self,
        folder: Path,
        network: SmallClip,
        training: ClipTraining,
        loader: ClipLoader,
        validation: ClipLoader | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder, self.training, self.loader, self.validation = folder, training, loader, validation
        self.network, self.device, self.step = network.to(device).train(), device, 0
        self.bfloat16 = uses_bfloat16(training.precision, device)
        self.loss = open_clip().ClipLoss()
        self._mean, self._std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (MEAN, STD))
        named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        kept = [p for name, p in named if p.ndim < 2 or "positional_embedding" in name or name == "places"]
        decayed = [p for _, p in named if all(p is not k for k in kept)]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": training.weight_decay},
                {"params": kept, "weight_decay": 0.0},
            ],
            lr=training.learning_rate,
            betas=(0.9, 0.98),
        )
        self.average = MovingAverage(_learnt(network), training.average)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"network": network.config.to_dict(), "training": training.to_dict()}
        about["data"] = {"clips": len(loader), "held_back": 0 if validation is None else len(validation)}
        if begin_or_resume(folder, about, "settings or recordings"):
            state = torch.load(folder / "resume.pt", map_location=device, weights_only=True)
            network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values, self.step = state["average"], state["step"]

    def save(self) -> None:
        """Write ``resume.pt``; what was there before stays until the new one is whole."""
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_state(self.folder / "resume.pt", state | {"average": self.average.values, "step": self.step})

    def embeddings(self, network: SmallClip, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Of a batch's clips and of its texts, each (B, D) of length 1."""
        clips, texts = self._embedded(network, batch)
        return F.normalize(clips, dim=-1), F.normalize(texts, dim=-1)

    def _embedded(self, network: SmallClip, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        clips = network.pooled_of(self._features(network, batch), torch.from_numpy(batch.places).to(self.device))
        return clips, network.texts(network.tokens(batch.texts, warn=self.step == 0).to(self.device))

    def _features(self, network: SmallClip, batch: ClipBatch) -> Tensor:
        if network.config.trunk is not None:  # which has looked at all frames before
            return torch.from_numpy(batch.now).to(self.device).float()
        now, before = (colours(frames, self._mean, self._std) for frames in (batch.now, batch.before))
        images = with_change(now, before)
        with self._precision(images.device.type):
            features = network.features(images.flatten(0, 1)).view(*images.shape[:2], -1)
        return features.float()

    @contextmanager
    def _precision(self, kind: str) -> Iterator[None]:
        """Of frames' features. On CPUs the gradient of torch's fused attention takes ten times as long in bfloat16 as in
        float32, so attention is written out there."""
        plain = sdpa_kernel(SDPBackend.MATH) if self.bfloat16 and kind == "cpu" else nullcontext()
        with plain, torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16):
            yield

    def run(self, report: Callable[[int, dict[str, float]], None] = lambda *_: None) -> SmallClip:
        """Train to the last step and return the network. ``report(step, metrics)`` is called after each step.

        Raises ValueError at the first loss that is not finite; resume.pt is then of before.
        """
        steps = self.training.steps
        with closing(ahead((self.loader.draw(step) for step in range(self.step, steps)), depth=2)) as batches:
            begun = time.perf_counter()
            for batch in batches:
                metrics = self._update(batch)
                metrics["clips_per_second"] = len(batch.texts) / (time.perf_counter() - begun)
                last = self.step == steps
                if self.validation is not None and (self.step % self.training.validate_every == 0 or last):
                    metrics |= self.validate()
                with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps({"step": self.step, **{k: round(v, 6) for k, v in metrics.items()}}) + "\n")
                report(self.step, metrics)
                if self.step % self.training.save_every == 0 and not last:
                    self.save()
                begun = time.perf_counter()
        self.save()
        return self.finished()

    def _update(self, batch: ClipBatch) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.training.learning_rate, self.step, self.training.steps, self.training.warmup
            )
        self.optimizer.zero_grad(set_to_none=True)
        clips, texts = self.embeddings(self.network, batch)
        loss: Tensor = self.loss(clips, texts, self.network.logit_scale.exp())
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = _learnt(self.network)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.training.clip_gradients))
        if not math.isfinite(loss.item() + norm):
            raise ValueError(
                f"{self.folder}: at step {self.step + 1} the loss was {loss.item()} and the gradients' norm {norm}; the "
                f"last good state is in resume.pt. Try a lower learning rate than {self.training.learning_rate:g}"
            )
        self.optimizer.step()
        with torch.no_grad():
            self.network.logit_scale.clamp_(0, MOST_SCALE)
        self.average.update([p.detach() for p in parameters], self.step)
        self.step += 1
        found = float((clips @ texts.T).argmax(1).eq(torch.arange(len(clips), device=clips.device)).float().mean())
        return {
            "loss": loss.item(),
            "found": found,
            "gradient_norm": norm,
            "scale": float(self.network.logit_scale.detach().exp()),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and retrieval of what is held back, with the weights that would be kept. The loss is of embeddings as they are
        trained: their scale has not been learnt for those that count from the middle, by which texts find clips in use."""
        assert self.validation is not None
        network, held = self.averaged(), self.validation
        losses = []
        for step in range(held.steps_an_epoch):
            clips, texts = self.embeddings(network, held.draw(step))
            losses.append(float(self.loss(clips, texts, network.logit_scale.exp())))
        metrics = {"validation_loss": float(np.mean(losses))}
        if len(held) > 5:
            network = self.finished()
            found = asdict(self.retrieval(network, held))
            found["recall_as_they_come"] = self.retrieval(network, held, even=False).recall
            metrics |= {f"validation_{name}": float(value) for name, value in found.items() if value is not None}
        return metrics

    def rare_kinds(self) -> list[str]:
        """Kinds held back of which too few clips are trained on to judge by them: none if hardly any clip would be left."""
        assert self.validation is not None
        trained, held = self.loader.kinds, self.validation.kinds
        rare = [kind for kind in sorted(held) if kind and trained[kind] < FEWEST]
        return rare if len(self.validation) - sum(held[kind] for kind in rare) > 5 else []

    @torch.no_grad()
    def retrieval(self, network: SmallClip, held: ClipLoader, clips: int = JUDGED, even: bool = True) -> Retrieval:
        """How well texts find their clips among so many of those held back, on the average of many draws. even: of as many of
        each kind as can be, see :func:`judge_draws`."""
        batches = list[tuple[Tensor, Tensor]]()
        kinds, said = list[str](), list[str]()
        for part in held.some(MOST_JUDGED, self.training.batch, without=self.rare_kinds(), even=even):
            batches.append(self.embeddings(network, part))
            kinds += part.kinds
            said += part.texts
        video, texts = (torch.cat(side).cpu().numpy() for side in zip(*batches, strict=True))
        return judge_draws(texts, video, kinds, said, clips, even=even)

    def averaged(self) -> SmallClip:
        """A copy of the network with the weights that are kept."""
        network = copy.deepcopy(self.network)
        self.average.copy_to(_learnt(network))
        return network.eval()

    def finished(self) -> SmallClip:
        """:meth:`averaged`, which counts from the middle of what it was trained on."""
        network = self.averaged()
        with torch.no_grad():
            parts = [self._embedded(network, part) for part in self.loader.some(CENTRED, self.training.batch)]
            network.centre(*(torch.cat(side) for side in zip(*parts, strict=True)))
        return network


def _learnt(network: SmallClip) -> list[nn.Parameter]:
    """A trunk's weights stay as they are."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
