"""`vpt train-clip` as its users run it, with the debug model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prior.checkpoint import save_policy
from prior.config import preset as policy_preset
from prior.policy import Policy
from prior.text.embedding.load import load_embedder
from prior.text.embedding.pairs import read_pairs
from tests.pipeline.cluster_jobs import make_video
from vpt_pipeline.train_clip import TrainClipConfig, held_back_by, main, train


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two tasks, one video without a word about it, and one that is no video."""
    folder = tmp_path_factory.mktemp("play")
    for number in range(6):
        task = ("travel", "explore")[number % 2]
        make_video(folder / f"r{number}.mp4", 60, number)
        events = [{"type": "pickup", "item": "default:dirt", "tick": 30, "own": False}]
        meta = {"task": task, "text": task, "player": "p", "frames": 60, "tick_rate": 20, "events": events}
        (folder / f"r{number}.meta.json").write_text(json.dumps(meta))
    make_video(folder / "odd.mp4", 60, 8)
    (folder / "odd.meta.json").write_text('{"frames": "many"}')
    make_video(folder / "silent.mp4", 60, 9)
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "broken.meta.json").write_text((folder / "r0.meta.json").read_text())
    return folder


def settings(play: Path, out: Path) -> TrainClipConfig:
    return TrainClipConfig(
        (play,), out=out, preset="debug", step=6, steps=3, batch=8, hold_back=0.3, cache=play / "cache", device="cpu"
    )


def test_it_trains_on_what_the_game_wrote_down_and_goes_on(
    play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(play, tmp_path / "clip")
    assert main(config) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "broken.mp4: expected a video file" in said and "40 clips of 4 videos, 2 videos with 20 clips held back" in said
    )
    assert "not judged by, as fewer than 20 clips of each are trained on: pickup dirt" in said
    assert "of 16 texts" in said and "(at best, as some say the same: 62%; chance: 31%;" in said
    assert "odd.meta.json: expected frames, task, text and events" in said, "and the others are trained on"
    pairs = read_pairs(tmp_path / "clip" / "pairs.jsonl")
    assert len(pairs) == 60 and {"pickup dirt", "do"} == {pair.kind for pair in pairs}
    embedder = load_embedder(tmp_path / "clip")
    assert embedder.encode_text(["collect dirt"]).shape == (1, 32)
    weights = (tmp_path / "clip" / "model.safetensors").read_bytes()
    train(config)
    assert (tmp_path / "clip" / "model.safetensors").read_bytes() == weights, "nothing was left to do"
    with pytest.raises(ValueError, match=r"training\.learning_rate was"):
        train(replace(config, learning_rate=1.0))


def test_it_looks_with_a_priors_trunk(play: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_policy(tmp_path / "prior", Policy(policy_preset("debug_motion")))
    config = replace(settings(play, tmp_path / "clip"), trunk=str(tmp_path / "prior"))
    metrics = train(config)
    assert np.isfinite(metrics["validation_loss"])
    about = json.loads((tmp_path / "clip" / "training.json").read_text())
    assert about["training"]["sampled"] == 0 and about["network"]["trunk"]["stem"] == "motion"
    embedder = load_embedder(tmp_path / "clip")
    assert embedder.encode_video(np.zeros((6, 90, 160, 3), np.uint8)).shape == (32,)
    save_policy(tmp_path / "other", Policy(policy_preset("debug_motion")))
    with pytest.raises(ValueError, match=r"network\.trunk_key was"):
        train(replace(config, trunk=str(tmp_path / "other")))


def test_pairs_of_ones_own_and_minutes(play: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps({"video": str(play / "silent.mp4"), "start": start, "frames": 20, "texts": [f"at {start}"]})
        for start in range(0, 40, 4)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    config = TrainClipConfig(
        pairs=(tmp_path / "pairs.jsonl",), out=tmp_path / "clip", preset="debug", pool="mean", minutes=0.0, batch=4,
        cache=play / "cache", device="cpu",
    )  # fmt: skip
    metrics = train(config)
    assert np.isfinite(metrics["loss"]) and "validation_loss" not in metrics, "one video: nothing to hold back"
    assert len((tmp_path / "clip" / "metrics.jsonl").read_text().splitlines()) == 20


def test_nothing_is_told_of_kinds_that_are_not_known(
    play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"video": str(play / f"r{number}.mp4"), "start": start, "frames": 6, "texts": [f"at {start}"]})
        for number in range(2)
        for start in range(0, 48, 6)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    config = TrainClipConfig(
        pairs=(tmp_path / "pairs.jsonl",), out=tmp_path / "clip", preset="debug", steps=1, batch=4, cache=play / "cache",
        device="cpu",
    )  # fmt: skip
    assert main(config) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "of 8 texts" in said and "of their kind" not in said and "the kind of each" not in said
    (unseen,) = held_back_by(tmp_path / "clip")
    assert unseen == (play / "r0.mp4").resolve()


def test_what_cannot_be_trained_on(play: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        train(replace(settings(play, tmp_path), data=()))
    make_video(tmp_path / "v" / "a.mp4", 20)
    with pytest.raises(ValueError, match=r"no recording has a NAME\.meta\.json .* give --pairs"):
        train(replace(settings(play, tmp_path), data=(tmp_path / "v",)))
    with pytest.raises(ValueError, match="unknown CLIP preset 'debog'; did you mean 'debug'"):
        train(replace(settings(play, tmp_path), preset="debog"))
