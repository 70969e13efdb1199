"""An embedding that looks with a prior's trunk: the same numbers by every way, and learnt without touching the trunk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.input_cache import cached_inputs
from data.video import VideoReader
from prior.checkpoint import from_pretrained, save_policy
from prior.config import preset as policy_preset
from prior.policy import Policy
from prior.text.embedding.clip_data import ClipLoader, Film
from prior.text.embedding.clip_training import ClipTrainer, ClipTraining
from prior.text.embedding.features import video_features
from prior.text.embedding.load import load_embedder
from prior.text.embedding.pairs import TextClip
from prior.text.embedding.small_clip import SmallClip, SmallClipConfig, embedder_of, preset, save_clip, with_trunk
from prior.text.embedding.trunk import FrozenTrunk
from tests.pipeline.cluster_jobs import make_video


@pytest.fixture(scope="module", params=["debug", "debug_motion"])
def prior(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    save_policy(folder, Policy(policy_preset(request.param)))
    return folder


def network_of(prior: Path) -> SmallClip:
    torch.manual_seed(1)
    return with_trunk(preset("debug"), str(prior))


def test_frames_are_seen_alike_by_every_way(prior: Path, tmp_path: Path) -> None:
    network = network_of(prior).eval()
    embedder = embedder_of(network, "new", "key")
    make_video(tmp_path / "a.mp4", 40, 3)
    with VideoReader(tmp_path / "a.mp4") as reader:
        frames = np.stack([frame.rgb for frame in reader])
    kept = video_features(embedder, tmp_path / "a.mp4", tmp_path / "cache")
    assert kept.shape == (40, embedder.feature_dims) and embedder.feature_dims == FrozenTrunk.dims(network.trunk.config)
    at_once = embedder.frame_features(frames)
    parts = np.concatenate([embedder.frame_features(frames[:15]), embedder.frame_features(frames[15:], frames[14])])
    assert np.abs(at_once - parts).max() < 1e-5 and np.abs(at_once - kept).max() < 5e-3, "kept in float16"
    turned = video_features(embedder, tmp_path / "a.mp4", tmp_path / "cache", mirrored=True)
    assert np.abs(turned - kept).max() > 0.05
    inputs = cached_inputs(tmp_path / "a.mp4", embedder.shape, tmp_path / "cache")
    assert np.abs(embedder.features_of(inputs, 10, 20) - kept[10:20]).max() < 5e-3
    with pytest.raises(ValueError, match="expected frames as uint8"):
        embedder.frame_features(frames[0])


def test_spaces_of_one_trunk_share_its_features_and_no_more(prior: Path, tmp_path: Path) -> None:
    one = network_of(prior)
    theirs = from_pretrained(str(prior)).net.img_process.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.trunk.stem.state_dict().items()), "the prior's"
    save_clip(tmp_path / "one", one)
    torch.manual_seed(5)
    save_clip(tmp_path / "two", with_trunk(preset("debug"), str(prior)))
    first, second = load_embedder(tmp_path / "one"), load_embedder(tmp_path / "two")
    assert first.feature_key == second.feature_key != first.key != second.key
    make_video(tmp_path / "a.mp4", 20, 1)
    windows = video_features(first, tmp_path / "a.mp4", tmp_path / "cache")[None, :6].astype(np.float32)
    begun = embedder_of(one.eval(), "one", "key")
    assert np.abs(first.pool(windows) - begun.pool(windows)).max() < 1e-6, "what was saved is what is loaded"
    assert np.abs(first.pool(windows) - second.pool(windows)).max() > 1e-3
    made = SmallClipConfig.from_dict(one.config.to_dict())
    assert made == one.config and made.trunk is not None
    with pytest.raises(ValueError, match="clips at 20 frames a second, and a trunk that looks at 10"):
        replace(made, trunk=replace(made.trunk, rate=10))
    with pytest.raises(ValueError, match=r"x, trunk: unknown settings \['wide'\]"):
        SmallClipConfig.from_dict({"trunk": {"wide": 3}}, "x")


def films(count: int, dims: int) -> list[Film]:
    """Features that tell which of five things is done, and mirrored ones that tell it otherwise."""
    rng = np.random.default_rng(0)
    ways = rng.standard_normal((2, 5, dims))
    made = []
    for number in range(count):
        kinds = rng.integers(5, size=6)
        sides = [
            (np.repeat(way[kinds], 6, 0) + 0.3 * rng.standard_normal((36, dims))).astype(np.float16) for way in ways
        ]
        told = tuple(
            TextClip(Path(f"f{number}.mp4"), 6 * row, 6, (f"{'abcde'[kind]}, turning left",), "abcde"[kind])
            for row, kind in enumerate(kinds)
        )
        made.append(Film(Path(f"f{number}.mp4"), "", sides[0], told, sides[1]))
    return made


def test_texts_find_what_the_trunk_saw_and_the_trunk_stays(prior: Path, tmp_path: Path) -> None:
    network = network_of(prior)
    before = {name: value.clone() for name, value in network.trunk.state_dict().items()}
    play = films(16, FrozenTrunk.dims(network.trunk.config))
    training = ClipTraining(steps=60, batch=12, sampled=0, learning_rate=3e-3, average=0.8, validate_every=1000)
    loader, held = (ClipLoader(part, network.config, 12, augment=True) for part in (play[:12], play[12:]))
    assert loader.draw(0).now.shape == (12, 5, FrozenTrunk.dims(network.trunk.config))
    texts = {text for step in range(4) for text in loader.draw(step).texts}
    assert {text.split()[2] for text in texts} == {"left", "right"}, "the mirrored clips have mirrored texts"
    alone = ClipLoader([replace(film, mirrored=None) for film in play], network.config, 12, augment=True)
    assert not any("right" in text for step in range(4) for text in alone.draw(step).texts)
    last: dict[str, float] = {}
    done = ClipTrainer(tmp_path, network, training, loader, held).run(lambda _, metrics: last.update(metrics))
    assert last["validation_same_kind"] > 0.8 > 2 * last["validation_same_kind_chance"], last
    assert all(torch.equal(value, before[name]) for name, value in done.trunk.state_dict().items())
