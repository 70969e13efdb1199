"""How many minutes of labelled play does an inverse dynamics model need? VPT's stem against the motion stem.

    python -m benchmarks.data_efficiency --train runs/demo/play/train --held-out runs/demo/play/held_out

Each model is trained for the same wall time on the first M minutes of the training play, and judged on players that it
never saw. Writes runs/data_efficiency/curve.json and curve.png; resumes where it stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from data.actions import ActionTrack
from data.files import atomic_path, write_json_atomic
from data.recording import find_recordings
from idm.cache import CachedRecording, cache_all
from idm.calibration import decode_held
from idm.checkpoint import load_model
from idm.config import preset
from idm.metrics import Predictions, evaluate
from idm.model import QUANTIZER
from idm.plots import data_efficiency_curve
from idm.training import Trainer, TrainingConfig, finish, predict_recording
from vpt_pipeline.record import RecordConfig, plan_episodes, record_many
from vpt_pipeline.train_idm import hold_back, steps_for


@dataclass(frozen=True)
class Args:
    """Settings."""

    train: Path = Path("runs/demo/play/train")
    """Recordings to learn from."""
    held_out: Path = Path("runs/demo/play/held_out")
    """Recordings of another player, to judge on."""
    out: Path = Path("runs/data_efficiency")
    presets: tuple[str, ...] = ("vpt_small", "luanti_small")
    minutes: tuple[float, ...] = (4, 8, 16, 30)
    """Minutes of play."""
    train_minutes: float = 8.0
    """Wall time of each training."""
    quick: bool = False
    """Debug models, seconds instead of minutes; where there is no play yet, a little is recorded in ViZDoom."""


def first_minutes(recordings: list[CachedRecording], minutes: float, rate: int) -> list[CachedRecording]:
    """The same share from the beginning of every recording, so that each player is in every point of the curve."""
    share = min(1.0, minutes * 60 * rate / sum(map(len, recordings)))
    cut = [max(2, round(share * len(r))) for r in recordings]
    return [
        CachedRecording(r.name, r.player, r.inputs[:n], r.actions[:n], r.slots[:n])
        for r, n in zip(recordings, cut, strict=True)
    ]


def judge(folder: Path, recordings: list[CachedRecording]) -> dict[str, Any]:
    """The model in ``folder`` on recordings: camera R² and mean event F1 within one frame."""
    model, calibration = load_model(folder)
    raw = [predict_recording(model, r) for r in recordings]
    p = np.concatenate([calibration.probabilities(r.odds) for r in raw])
    camera = np.concatenate([calibration.camera(r.camera) for r in raw])
    held = np.concatenate(
        [decode_held(calibration.probabilities(r.odds), np.asarray(calibration.switch_price)) for r in raw]
    )
    truth = ActionTrack.join([r.actions for r in recordings])
    said = Predictions(p, camera @ QUANTIZER.centres, np.maximum(p, 1 - p).min(1), camera.max(-1).min(1), held)
    scores = evaluate(truth, said, [len(r) for r in recordings])
    one = next(event for event in scores.mean.events if event.tolerance == 1)
    return {"r2": {a.axis: a.r2 for a in scores.camera}, "event_f1": one.f1, "keys": len(scores.mean.counted_keys)}


def picture(curve: list[dict[str, Any]]) -> bytes:
    """The curve as a PNG: camera R² of both axes and event F1 of each model, against minutes of play."""
    minutes = sorted({point["minutes"] for point in curve})
    lines: dict[str, list[float | None]] = {}
    for name in dict.fromkeys(point["preset"] for point in curve):
        points = {point["minutes"]: point for point in curve if point["preset"] == name}
        here = [points.get(m) for m in minutes]
        for axis in ("pitch", "yaw"):
            lines[f"{name}: camera R², {axis}"] = [None if p is None else p["r2"][axis] for p in here]
        lines[f"{name}: event F1 ±1"] = [None if p is None else p["event_f1"] for p in here]
    return data_efficiency_curve(minutes, lines)


def main(args: Args) -> None:
    """Train and judge every point, then print the table."""
    if args.quick:
        args = replace(args, presets=("vpt_debug", "debug"), minutes=(1, 2), train_minutes=0.1, out=args.out / "quick")
        if not (args.train.is_dir() and args.held_out.is_dir()):
            args = replace(args, train=args.out / "train", held_out=args.out / "held_out")
            for folder, player in ((args.train, ("steady", "twitchy")), (args.held_out, ("brisk",))):
                record_many(
                    plan_episodes(RecordConfig(folder, player=player, episodes=2, steps=400, game="vizdoom")), folder
                )
    path = args.out / "curve.json"
    curve: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    for name in args.presets:
        config = preset(name)
        training, refused = cache_all(find_recordings(args.train), config, args.out / "cache")
        judged, refused_too = cache_all(find_recordings(args.held_out), config, args.out / "cache")
        if refused or refused_too:
            raise ValueError("; ".join(refused + refused_too))
        kept, held = hold_back(training, 0.1)
        settings = TrainingConfig()
        steps = steps_for(args.train_minutes, config, settings, kept, "cpu")
        for minutes in args.minutes:
            if any(p["preset"] == name and p["minutes"] == minutes for p in curve):
                continue
            folder = args.out / f"{name}-{minutes:g}"
            trainer = Trainer(folder, config, replace(settings, steps=steps), first_minutes(kept, minutes, config.rate))
            finish(trainer, trainer.run(), held)
            curve.append({"preset": name, "minutes": minutes, "steps": steps, **judge(folder, judged)})
            write_json_atomic(path, curve)
            print(curve[-1], flush=True)
    with atomic_path(args.out / "curve.png") as part:
        part.write_bytes(picture(curve))
    print("| model | minutes of play | camera R² pitch / yaw | event F1 ±1 |\n|---|---|---|---|")
    for point in curve:
        r2 = point["r2"]
        f1 = "-" if point["event_f1"] is None else f"{point['event_f1']:.3f}"
        print(f"| {point['preset']} | {point['minutes']:g} | {r2['pitch']:.3f} / {r2['yaw']:.3f} | {f1} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
