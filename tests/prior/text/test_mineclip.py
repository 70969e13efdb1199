"""MineCLIP's published layout, strictly and without trust; frames computed once; what its texts may be."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prior.text.embedding.features import sliding, window_embeddings
from prior.text.embedding.mineclip import MineClip
from prior.text.embedding.mineclip_files import load_mineclip, mineclip_embedder
from prior.text.embedding.tokens import tokens_of
from tests.prior.text.clips import TINY, noise, published_names, save_published, tiny_mineclip


def test_the_published_layout_loads_and_computes_the_same(tmp_path: Path) -> None:
    network, images = tiny_mineclip(), torch.randn(5, 3, 32, 48)
    names = published_names(network)
    assert len(names) > len(network.state_dict())
    loaded = load_mineclip(save_published(tmp_path / "attn.pth", names), TINY)
    with torch.no_grad():
        for ours, theirs in (
            (loaded.features(images), network.features(images)),
            (loaded.pooled(torch.ones(2, 5, 32)), network.pooled(torch.ones(2, 5, 32))),
            (loaded.texts(tokens_of(["dig", ""])), network.texts(tokens_of(["dig", ""]))),
        ):
            assert torch.equal(ours, theirs)
    assert not any(p.is_meta for p in (*loaded.parameters(), *loaded.buffers()))
    average = {name: tensor for name, tensor in names.items() if not name.startswith("temporal_encoder.")}
    plain = load_mineclip(save_published(tmp_path / "avg.pth", average), replace(TINY, pool="avg"))
    with torch.no_grad():
        assert torch.allclose(plain.goals(images[None, :, 0, 0, :32]), images[None, :, 0, 0, :32].mean(1))


def test_steve1_takes_vectors_as_they_come(tmp_path: Path) -> None:
    network = tiny_mineclip()
    path = save_published(tmp_path / "attn.pth", published_names(network))
    plain, goals = (mineclip_embedder(path, config=TINY, goals=goals) for goals in (False, True))
    windows = np.random.default_rng(0).standard_normal((3, 5, 32)).astype(np.float32)
    with torch.no_grad():
        wanted = network.goals(torch.from_numpy(windows)).numpy()
        texts = network.texts(tokens_of(["dig"])).numpy()
    assert np.allclose(goals.pool(windows), wanted, atol=1e-6) and np.allclose(
        goals.encode_text(["dig"]), texts, atol=1e-6
    )
    assert np.allclose(np.linalg.norm(plain.pool(windows), axis=1), 1, atol=1e-5)
    assert not np.allclose(np.linalg.norm(wanted, axis=1), 1, atol=0.1)
    assert goals.key != plain.key and goals.name == f"steve1:{path}"


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    names = published_names(tiny_mineclip())
    changed = dict(names)
    changed["image_encoder.cls_token"] = changed["image_encoder.cls_token"] + 1
    with pytest.raises(ValueError, match=r"1 tensors differ .* model\.image_encoder\.cls_token and .*was changed"):
        load_mineclip(save_published(tmp_path / "changed.pth", changed), TINY)
    lacking = {name: tensor for name, tensor in names.items() if not name.endswith("to_q.weight")}
    with pytest.raises(ValueError, match=r"missing from the file \(2\):\s+temporal\.layers\.0\.to_q\.weight"):
        load_mineclip(save_published(tmp_path / "lacking.pth", lacking), TINY)
    more = names | {"reward_head.second.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"unknown to the model \(1\):\s+reward_head\.second\.weight"):
        load_mineclip(save_published(tmp_path / "more.pth", more), TINY)
    with pytest.raises(ValueError, match=r"unfit"):
        load_mineclip(save_published(tmp_path / "small.pth", names), replace(TINY, longest=4))
    torch.save({"net.lastlayer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other\.pth holds no MineCLIP.*net\.lastlayer\.weight.*give MineCLIP's attn\.pth"
    ):
        load_mineclip(tmp_path / "other.pth")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_code_in_a_file_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, tmp_path / "attn.pth")
    with pytest.raises(ValueError, match="holds pickled code"):
        load_mineclip(tmp_path / "attn.pth")
    assert not (tmp_path / "exploded").exists()


def test_windows_over_features_computed_once_are_those_of_each_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = mineclip_embedder(save_published(tmp_path / "attn.pth", published_names(tiny_mineclip())), config=TINY)
    video, compute = noise(20, (32, 48)), MineClip.features
    counted: list[int] = []

    def counting(self: MineClip, images: torch.Tensor) -> torch.Tensor:
        counted.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(MineClip, "features", counting)
    features = embedder.frame_features(video)
    quick = window_embeddings(embedder, features, window=8)
    assert sum(counted) == 20 and quick.shape == (13, 32) and quick.dtype == np.float32
    slow = embedder.encode_video(np.stack([video[start : start + 8] for start in range(13)]))
    assert np.abs(quick - slow).max() < 1e-5 and sum(counted) == 20 + 13 * 8
    assert np.abs(np.linalg.norm(quick, axis=1) - 1).max() < 1e-5
    assert np.abs(quick - embedder.pool(sliding(features[::-1], 8).astype(np.float32))).max() > 1e-3, "order matters"
    assert not np.array_equal(embedder.frame_features(video[..., ::-1]), features), "and so do colours"
    with pytest.raises(ValueError, match="at most 8 frames, got 9"):
        embedder.pool(np.zeros((1, 9, 32), np.float32))
    with pytest.raises(ValueError, match=r"expected features of windows \(N, L, 32\), got \(1, 8, 16\)"):
        embedder.pool(np.zeros((1, 8, 16), np.float32))
    with pytest.raises(ValueError, match=r"expected frames as uint8 .* got float64"):
        embedder.frame_features(np.zeros((1, 32, 48, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="5 frames has no window of 8"):
        sliding(features[:5], 8)


def test_prompts(tmp_path: Path) -> None:
    embedder = mineclip_embedder(save_published(tmp_path / "attn.pth", published_names(tiny_mineclip())), config=TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = embedder.encode_text(["chop a tree", "Chop  a\ntree", "dig"])
        assert tokens_of([""]).tolist()[0][:3] == [49406, 49407, 0], "the low level knows what nothing is"
    assert np.array_equal(texts[0], texts[1]) and not np.allclose(texts[0], texts[2])
    for wrong, message in (
        ([], "at least one text"),
        (["dig", "  "], "text 1 of 2 is empty"),
        ("dig", "expected a list"),
    ):
        with pytest.raises(ValueError, match=message):
            embedder.encode_text(wrong)
    with pytest.warns(UserWarning, match="a text of 200 tokens was cut to the 75"):
        tokens = tokens_of(["dig " * 200])
    assert tokens.shape == (1, 77) and tokens[0, -1] == 49407 and (tokens[0] > 0).all()


def test_only_mineclip_keeps_what_open_clip_mends() -> None:
    curly = "don\u2019t &amp; \ufb01"
    assert not torch.equal(tokens_of([curly], cleaning="mineclip"), tokens_of([curly]))
    assert torch.equal(tokens_of([curly]), tokens_of(["don't & fi"]))


def test_only_mineclip_reads_spelt_out_marks_as_marks() -> None:
    dig, dirt = (tokens_of([word], cleaning="mineclip")[0, 1].item() for word in ("dig", "dirt"))
    marked = tokens_of(["dig <|endoftext|> dirt"], cleaning="mineclip")[0, :6].tolist()
    assert marked == [49406, dig, 49407, dirt, 49407, 0]
    spelt, ours = (tokens_of(["dig <start_of_text>"], cleaning=way)[0, :6] for way in ("mineclip", "open_clip"))
    assert 49406 not in spelt[1:] and ours[2] == 49406
