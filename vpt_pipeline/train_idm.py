"""Train an inverse dynamics model on recordings with actions (contractor format: NAME.mp4 + NAME.jsonl).

Recordings are decoded once into a cache. A share of them is held back, whole recordings at a time, to calibrate the
model's confidence. The same command again resumes a stopped run.
"""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import tyro

from data.recording import Recording, find_recordings
from idm.cache import CachedRecording, cache_all
from idm.config import IDMConfig, preset
from idm.training import Trainer, TrainingConfig, finish
from vpt_pipeline.progress import progress_bar, say, say_left_out


@dataclass(frozen=True)
class TrainIdmConfig:
    """Settings of `vpt train-idm`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with recordings (searched through)."""
    out: Path = Path("runs/idm")
    """Where the model goes: config.json, model.safetensors, calibration.json, metrics.jsonl."""
    preset: str = "luanti_small"
    """Size and kind of model: debug, luanti_small (two cores), vpt_debug, vpt_small, vpt_4x (the published one)."""
    hold_back: float = 0.1
    """Share of the recordings kept from training, to calibrate on."""
    minutes: float | None = None
    """Train about this long instead of `training.steps` (the steps are counted out after a short measurement)."""
    cache: Path = Path("runs/cache")
    """Where decoded frames are kept."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    training: TrainingConfig = field(default_factory=TrainingConfig)


def pick_device(wanted: str) -> str:
    """``auto`` is the GPU if there is one."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device {wanted!r} was asked for, but torch sees no GPU here; use --device cpu (or see `vpt doctor`)"
        )
    return wanted


class Played(Protocol):
    """Something a player made."""

    @property
    def player(self) -> str: ...


Play = TypeVar("Play", bound=Played)


def hold_back(recordings: list[Play], share: float) -> tuple[list[Play], list[Play]]:
    """(training, held back): whole recordings, spread over the players, at least one if there are two or more, but not all.

    Raises ValueError for what is no share.
    """
    if not 0 <= share < 1:
        raise ValueError(
            f"the share of recordings to hold back is {share:g}; expected 0 (none) up to less than 1, such as 0.1 for a tenth"
        )
    if len(recordings) < 2 or not share:
        return recordings, []
    wanted = min(max(1, round(share * len(recordings))), len(recordings) - 1)
    by_player: dict[str, list[Play]] = {}
    for recording in recordings:
        by_player.setdefault(recording.player, []).append(recording)
    held: list[Play] = []
    while len(held) < wanted:
        for group in by_player.values():
            if group and len(held) < wanted:
                held.append(group.pop())
    kept = [recording for recording in recordings if all(recording is not h for h in held)]
    return kept, held


def load(recordings: list[Recording], config: IDMConfig, cache: Path) -> list[CachedRecording]:
    """Decode what is not cached yet; says which recordings cannot be used and why."""
    with progress_bar("reading recordings", len(recordings), "recordings") as bar:
        usable, refused = cache_all(recordings, config, cache, lambda _: bar.advance())
    for message in refused:
        say_left_out(message)
    if not usable:
        raise ValueError(f"none of the {len(recordings)} recordings can be used (reasons above)")
    return usable


def steps_for(
    minutes: float, config: IDMConfig, training: TrainingConfig, data: list[CachedRecording], device: str
) -> int:
    """How many steps fit into the time, measured on a throw-away model."""
    import dataclasses
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trial = dataclasses.replace(training, steps=12, save_every=10**6)
        times: list[float] = []
        Trainer(Path(folder), config, trial, data, device).run(lambda *_: times.append(time.perf_counter()))
    per_step = (times[-1] - times[3]) / (len(times) - 4)
    return max(int(minutes * 60 / per_step), 20)


def settled(config: TrainIdmConfig, model: IDMConfig, data: list[CachedRecording], device: str) -> TrainingConfig:
    """The training settings with the steps counted out; a run that was begun keeps the number it was begun with."""
    import dataclasses

    if config.minutes is None:
        return config.training
    begun = config.out / "training.json"
    if begun.exists():
        steps = int(json.loads(begun.read_text(encoding="utf-8"))["training"]["steps"])
    else:
        steps = steps_for(config.minutes, model, config.training, data, device)
    return dataclasses.replace(config.training, steps=steps)


def tensorboard_writer(folder: Path) -> Any:
    """A writer of TensorBoard events where the package is installed, else None (metrics.jsonl is always written)."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def train(config: TrainIdmConfig) -> dict[str, Any]:
    """Train, calibrate and write the model; returns what was measured on the recordings that were held back."""
    recordings = [r for folder in config.data for r in find_recordings(folder) if r.actions is not None]
    if not recordings:
        raise ValueError(
            f"no recordings in {', '.join(map(str, config.data))}: expected NAME.mp4 beside NAME.jsonl. "
            "`vpt record --out FOLDER` makes some in the embedded game."
        )
    model, device = preset(config.preset), pick_device(config.device)
    training_set, held = hold_back(load(recordings, model, config.cache), config.hold_back)
    training = settled(config, model, training_set, device)
    trainer = Trainer(config.out, model, training, training_set, device)
    frames = sum(map(len, training_set))
    say(
        f"{config.preset}: {sum(p.numel() for p in trainer.model.parameters()) / 1e6:.1f}M parameters, "
        f"{frames / model.rate / 60:.1f} min of play in {len(training_set)} recordings, {len(held)} held back; "
        f"{training.steps} steps on {device}{' in bfloat16' if trainer.bfloat16 else ''}"
    )
    if trainer.step:
        say(f"resuming at step {trainer.step}")
    with progress_bar("training", training.steps * training.batch * training.clip, "frames") as bar:
        bar.skip(trainer.step * training.batch * training.clip)

        board = tensorboard_writer(config.out / "tensorboard")

        def report(step: int, metrics: dict[str, float]) -> None:
            if board is not None:
                for name, value in metrics.items():
                    board.add_scalar(name, value, step)
            bar.note(f"loss {metrics['loss_buttons']:.3f} + {metrics['loss_camera']:.3f}")
            bar.advance(training.batch * training.clip)

        averaged = trainer.run(report)
        if board is not None:
            board.close()
    return finish(trainer, averaged, held)


def main(config: TrainIdmConfig) -> int:
    summary = train(config)
    if summary:
        camera = summary["camera_r2"]
        say(f"on the recordings held back: camera R² {camera['pitch']:.3f} (pitch), {camera['yaw']:.3f} (yaw)")
    say(f"model in {config.out}. Next: vpt label VIDEO... --model {config.out}")
    return 0
