"""Training of the inverse dynamics model: resumable, in mixed precision where the hardware has it, metrics as JSONL.

What a step sees depends on (seed, step) alone and everything else is in ``resume.pt``, so that a run that was stopped and
started again ends with the same weights as one that was not. The learning rate rises over the first steps and falls
linearly to zero (VPT, appendix D); the weights that are kept are an exponential moving average.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.actions import ActionTrack
from data.ahead import ahead
from data.files import write_json_atomic
from data.frame_inputs import FrameInputs
from data.json_config import begin_or_resume
from idm import calibration
from idm.cache import CachedRecording
from idm.checkpoint import save_model
from idm.clips import Batch, ClipSampler
from idm.config import IDMConfig
from idm.loss import idm_loss, r2
from idm.model import QUANTIZER, InverseDynamicsModel
from idm.predict import RawPredictions, WindowPredictor
from prior.nn.optim import MovingAverage, learning_rate, save_state
from prior.nn.precision import Precision, uses_bfloat16


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained (what it is made of: :class:`idm.config.IDMConfig`)."""

    steps: int = 1000
    batch: int = 8
    """Clips a step."""
    clip: int = 64
    """Frames a clip (VPT: 128)."""
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    event_weight: float = 3.0
    """How much the frames around a press or release count in the loss (1: like any other)."""
    average: float = 0.99
    """Decay of the moving average of the weights that is kept in the end (0: none)."""
    clip_gradients: float = 1.0
    precision: Precision = "auto"
    augment: bool = True
    seed: int = 0
    save_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "clip", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Trainer:
    """One training run in a folder; constructing it again in the same folder resumes it."""

    def __init__(
        self,
        folder: Path,
        config: IDMConfig,
        training: TrainingConfig,
        recordings: list[CachedRecording],
        device: str = "cpu",
    ) -> None:
        self.folder, self.config, self.training, self.device = folder, config, training, device
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(training.seed)
        self.model = InverseDynamicsModel(config).to(device)
        self.average = MovingAverage(self.model.parameters(), training.average)
        self.sampler = ClipSampler(recordings, config, training.batch, training.clip, training.seed, training.augment)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        kept = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": training.weight_decay}, {"params": kept, "weight_decay": 0.0}],
            lr=training.learning_rate,
        )
        self.bfloat16 = uses_bfloat16(training.precision, device)
        self.step = 0
        self._resume()

    # -- resuming ------------------------------------------------------------------------------------------------------
    def _resume(self) -> None:
        about = {"model": self.config.to_dict(), "training": dataclasses.asdict(self.training)}
        if not begin_or_resume(self.folder, about):
            return
        state = torch.load(self.folder / "resume.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values, self.step = state["average"], state["step"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
        }
        save_state(self.folder / "resume.pt", state)

    # -- steps ---------------------------------------------------------------------------------------------------------
    def _learning_rate(self) -> float:
        return learning_rate(self.training.learning_rate, self.step, self.training.steps, self.training.warmup)

    def _update(self, batch: Batch) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        kind = self.device.split(":")[0]
        on_device = Batch(*(getattr(batch, f.name).to(self.device) for f in dataclasses.fields(Batch)))
        with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16):
            out = self.model(on_device.images, on_device.motion)
        losses = idm_loss(out, on_device, self.config, self.training.event_weight)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_gradients)
        self.optimizer.step()
        self.average.update(list(self.model.parameters()), self.step)
        self.step += 1
        return {f"loss_{name}": loss.item() for name, loss in losses.items()} | {"gradient_norm": float(norm)}

    def run(self, report: Callable[[int, dict[str, float]], None] = lambda *_: None) -> InverseDynamicsModel:
        """Train to the last step and return the averaged model. ``report(step, metrics)`` is called after each step."""
        self.model.train()
        # The next batch is put together while this one is computed.
        coming = ahead((self.sampler.draw(step) for step in range(self.step, self.training.steps)), depth=1)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log, closing(coming) as batches:
            for batch in batches:
                begun = time.perf_counter()
                metrics = self._update(batch)
                seconds = time.perf_counter() - begun
                metrics |= {"frames_per_second": batch.weight.numel() / seconds, "learning_rate": self._learning_rate()}
                log.write(json.dumps({"step": self.step, **{k: round(v, 6) for k, v in metrics.items()}}) + "\n")
                log.flush()
                report(self.step, metrics)
                if self.step % self.training.save_every == 0 and self.step < self.training.steps:
                    self.save()
        self.save()
        return self.averaged()

    def averaged(self) -> InverseDynamicsModel:
        """A copy of the model with the averaged weights."""
        model = copy.deepcopy(self.model)
        self.average.copy_to(model.parameters())
        return model.eval()


def predict_recording(model: InverseDynamicsModel, recording: CachedRecording) -> RawPredictions:
    """The raw predictions for a whole recording."""
    predictor = WindowPredictor(model)

    def blocks() -> Iterator[FrameInputs]:
        for start in range(0, len(recording), predictor.block):
            part = recording.inputs[start : start + predictor.block]
            yield FrameInputs(np.ascontiguousarray(part.images), np.ascontiguousarray(part.motion))

    return RawPredictions.join(list(predictor.predict(blocks())))


def calibrate(
    model: InverseDynamicsModel, recordings: list[CachedRecording]
) -> tuple[calibration.Calibration, dict[str, Any]]:
    """Fit the calibration on recordings that were held back from training, and say how the model does on them."""
    predicted = [predict_recording(model, recording) for recording in recordings]
    odds, camera = (np.concatenate([getattr(p, name) for p in predicted]) for name in ("odds", "camera"))
    track = ActionTrack.join([recording.actions for recording in recordings])
    fitted = calibration.fit(odds, camera, track)
    expected = fitted.camera(camera) @ QUANTIZER.centres
    clipped = np.clip(track.camera, -QUANTIZER.max_degrees, QUANTIZER.max_degrees)
    summary = {
        "frames": len(track),
        "camera_r2": {axis: r2(clipped[:, i], expected[:, i]) for i, axis in enumerate(("pitch", "yaw"))},
    }
    return fitted, summary


def finish(trainer: Trainer, model: InverseDynamicsModel, held_back: list[CachedRecording]) -> dict[str, Any]:
    """Calibrate on what was held back and write the finished model into the run's folder."""
    if not held_back:
        save_model(trainer.folder, model)
        return {}
    fitted, summary = calibrate(model, held_back)
    save_model(trainer.folder, model, fitted)
    write_json_atomic(trainer.folder / "validation.json", summary)
    return summary
