"""The small CLIP as an embedder, on disk, and encoders by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.input_cache import cached_inputs
from data.video import VideoReader, VideoWriter
from prior.text.embedding.embedder import check_same_space
from prior.text.embedding.features import sliding, video_features, window_embeddings
from prior.text.embedding.load import load_embedder
from prior.text.embedding.small_clip import SmallClip, embedder_of, preset, save_clip
from tests.prior.text.clips import noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip")
    save_clip(path, SmallClip(preset("debug")))
    return path


def test_a_window_knows_nothing_of_what_came_before_it(folder: Path) -> None:
    embedder = load_embedder(folder)
    video = noise(80, (24, 32))
    features = embedder.frame_features(video)
    parts = [embedder.frame_features(video[:50]), embedder.frame_features(video[50:], video[49])]
    assert np.abs(np.concatenate(parts) - features).max() < 1e-5, "blocks do not show"
    quick = window_embeddings(embedder, features)
    slow = embedder.encode_video(np.stack([video[start : start + 6] for start in range(75)]))
    assert quick.shape == (75, 32) and np.abs(quick - slow).max() < 1e-5
    assert np.abs(np.linalg.norm(quick, axis=1) - 1).max() < 1e-5


def test_what_moves_is_seen(folder: Path) -> None:
    embedder = load_embedder(folder)
    still = np.repeat(noise(1, (24, 32)), 6, 0)
    moving = still.copy()
    moving[::2] = np.roll(moving[::2], 3, 2)
    alone = embedder.frame_features(still[:1])
    assert np.array_equal(embedder.frame_features(still)[3], embedder.frame_features(still)[1])
    assert np.abs(embedder.frame_features(still[:1], moving[0]) - alone).max() > 1e-3
    assert np.abs(embedder.encode_video(still) - embedder.encode_video(moving)).max() > 1e-3
    assert embedder.encode_video(still[:1]).shape == (32,)


def test_features_of_a_video_are_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = load_embedder(folder)
    with VideoWriter(tmp_path / "a.mp4", (64, 48), 20) as writer:
        for frame in noise(150, (48, 64)):
            writer.write(frame)
    features = video_features(embedder, tmp_path / "a.mp4", tmp_path / "cache")
    assert features.shape == (150, 32) and features.dtype == np.float16
    turned = video_features(embedder, tmp_path / "a.mp4", tmp_path / "cache", mirrored=True)
    with VideoReader(tmp_path / "a.mp4") as reader:
        shown = np.stack([frame.rgb for frame in reader])[:, :, ::-1]
    assert np.array_equal(turned, embedder.frame_features(shown).astype(np.float16))
    cached_inputs(tmp_path / "a.mp4", embedder.shape, tmp_path / "trained")
    with monkeypatch.context() as patched:
        # What a training has kept is not decoded again.
        patched.setattr("prior.text.embedding.features.VideoReader", None)
        kept = video_features(embedder, tmp_path / "a.mp4", tmp_path / "trained")
    assert np.array_equal(kept, features)
    monkeypatch.setattr(embedder, "frame_features", None)
    again = video_features(embedder, tmp_path / "a.mp4", tmp_path / "cache")
    assert np.array_equal(again, features)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.mp4"):
        video_features(embedder, tmp_path / "b.mp4", tmp_path / "cache")


def test_saved_and_loaded_it_is_the_same(folder: Path) -> None:
    torch.manual_seed(0)
    network = SmallClip(preset("debug")).eval()
    ours, theirs = embedder_of(network, "new", "key"), load_embedder(f"clip:{folder}")
    assert np.array_equal(ours.encode_text(["dig"]), theirs.encode_text(["dig"]))
    video = noise(6, (50, 70))
    assert np.array_equal(ours.encode_video(video), theirs.encode_video(video))
    with pytest.raises(ValueError, match="demo: made with the embedder key, to be used with clip "):
        check_same_space(theirs.key, ours.key, "demo")


def test_it_counts_from_the_middle_of_what_it_knows_and_files_of_before_from_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SmallClip(preset("debug")).eval()
    embedder, clips = embedder_of(network, "new", "key"), np.stack([noise(6, (24, 32), seed) for seed in range(4)])
    video, texts = embedder.encode_video(clips), embedder.encode_text(["dig", "chop", "run", "swim"])
    for rows in (video, texts):
        assert np.linalg.norm(rows.mean(0)) > 0.5, "untrained, all is in one cone"
    network.centre(torch.from_numpy(video), torch.from_numpy(texts))
    save_clip(tmp_path / "new", network)
    centred = load_embedder(tmp_path / "new")
    expected = video - video.mean(0)
    assert centred.encode_video(clips) == pytest.approx(
        expected / np.linalg.norm(expected, axis=1, keepdims=True), abs=1e-3
    )
    assert np.linalg.norm(centred.encode_text(["dig", "chop", "run", "swim"]).mean(0)) < 0.3
    weights = load_file(tmp_path / "new" / "model.safetensors")
    old = {name: value for name, value in weights.items() if not name.endswith("_centre")}
    assert len(old) == len(weights) - 2
    save_file(old, tmp_path / "new" / "model.safetensors")
    assert load_embedder(tmp_path / "new").encode_video(clips) == pytest.approx(video, abs=1e-5)


def test_what_is_no_encoder_is_said_with_the_nearest_that_is_one(folder: Path, tmp_path: Path) -> None:
    for name, message in (
        ("mineclp:attn.pth", "unknown encoder 'mineclp:attn.pth'.* Did you mean 'mineclip'.*mineclip:PATH"),
        ("no/such/folder", "no such file or folder. Expected mineclip:PATH"),
        ("open_clip:ViT-B-33", "open_clip has no model 'ViT-B-33'; did you mean 'ViT-B-32'"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79", "there is no such file.*did you mean 'laion2b_s34b_b79k'"),
        (f"clip:{tmp_path}", "config.json does not exist; expected a folder that `vpt train-clip` has finished"),
        (f"mineclip:{folder / 'model.safetensors'}", "model.safetensors does not fit this MineClip"),
    ):
        with pytest.raises(ValueError, match=message):
            load_embedder(name)


@pytest.mark.slow
def test_any_model_of_open_clip_is_an_encoder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="knows nothing"):
        embedder = load_embedder("open_clip:ViT-S-32-alt")
    torch.save(embedder.towers.model.state_dict(), tmp_path / "weights.pt")  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    loaded = load_embedder("open_clip:ViT-S-32-alt/weights.pt")
    assert loaded.name == f"open_clip:ViT-S-32-alt/{tmp_path / 'weights.pt'}"
    video = noise(4, (90, 160))
    assert np.array_equal(loaded.encode_video(video), embedder.encode_video(video))
    assert loaded.encode_text(["dig", "chop"]).shape == (2, loaded.dims)
    features = loaded.frame_features(video)
    mean = features.mean(0) / np.linalg.norm(features.mean(0))
    assert np.abs(loaded.encode_video(video) - mean).max() < 1e-5
    assert sliding(features, 2).shape == (3, 2, loaded.feature_dims)
    with pytest.raises(ValueError, match=r"the weights cannot be loaded .* are they another model's"):
        load_embedder(f"open_clip:ViT-S-32-alt/{folder / 'model.safetensors'}")
