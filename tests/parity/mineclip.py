"""MineCLIP from a file in the published layout: tokens, features of texts, frames and windows, the reward's logits."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.text.embedding.embedder import TorchEmbedder
from prior.text.embedding.mineclip import MineClip, MineClipConfig, resize_places
from prior.text.embedding.mineclip_files import canonical_name, mineclip_embedder, our_name
from prior.text.embedding.tokens import CONTEXT, tokens_of
from tests.parity.finding import Finding, guarded, largest_error, left_over
from tests.parity.steve1_recipes import frames, weight

Golden = Mapping[str, NDArray[Any]]


def check_mineclip(place: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Every array of ``mineclip.npz``; of networks larger than ``most_parameters`` names, shapes, tokens and places alone."""
    with np.load(place / "mineclip.npz") as arrays:
        golden = dict(arrays)
    meta = json.loads((place / "mineclip_prompts.json").read_text())
    with torch.device("meta"):
        network = MineClip()
    yield from guarded("steve1 schema_mineclip_attn", _schema(network, place))
    yield from guarded("steve1 mineclip, tokens", _tokens(meta["prompts"], golden))
    if "pos_resize_in" in golden:
        yield from guarded("steve1 mineclip, places of another grid", _places(golden))
    if sum(p.numel() for p in network.parameters()) <= most_parameters:
        yield from guarded("steve1 mineclip", _numbers(place, golden, meta))


def _tokens(prompts: Sequence[str], golden: Golden) -> Iterator[Finding]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tokens = tokens_of(prompts, cleaning="mineclip")
    yield Finding("steve1 mineclip, tokens", largest_error(tokens, golden["tokens"]), 0.0, f"{len(tokens)} texts")
    cut = sum("was cut to the" in str(warning.message) for warning in told)
    long = sum(count > CONTEXT - 2 for count in token_counts(prompts))
    yield Finding("steve1 mineclip, texts cut with a warning", float(abs(cut - long)), 0.0, f"{long} too long")


def token_counts(prompts: Sequence[str]) -> list[int]:
    """How many tokens texts have, uncut, without those at the start and the end."""
    room = CONTEXT + 16 * max((len(prompt) for prompt in prompts), default=0)  # no character makes so many
    tokens = tokens_of(prompts, room, cleaning="mineclip", warn=False)
    return [int(row.nonzero().max()) - 1 for row in tokens]  # all that follows the last is 0


def _places(golden: Golden) -> Iterator[Finding]:
    places = resize_places(torch.from_numpy(golden["pos_resize_in"]), (14, 14), (10, 16))
    yield Finding("steve1 mineclip, places of another grid", largest_error(places, golden["pos_resize_out"]), 1e-5)


def _schema(network: MineClip, place: Path) -> Iterator[Finding]:
    """The 334 names of the published tensors lead to ours, each of its shape, and the 788 of its file to the 334."""
    shapes = json.loads((place / "schema_mineclip_attn.json").read_text())
    ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = {our_name(name): shape for name, shape in shapes.items()}
    wrong = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    every = json.loads((place / "schema_mineclip_attn_full.json").read_text())
    aliases = json.loads((place / "mineclip_attn_aliases.json").read_text())
    wrong += [name for name in every if canonical_name(f"model.{name}") != aliases.get(name, name)]
    note = f"{len(ours)} tensors of {len(every)} names{f'; {wrong[:5]}' if wrong else ''}"
    yield Finding("steve1 schema_mineclip_attn", float(len(wrong)), 0.0, note)


def pool_lengths(golden: Golden) -> list[int]:
    """The windows whose pooled features are in the file."""
    return sorted(int(name.removeprefix("pool_L")) for name in golden if name.startswith("pool_L"))


def made_weight(name: str, shape: tuple[int, ...], seed: int, index: int) -> NDArray[np.float32]:
    """The reference's weight of a name; those that MineCLIP has beyond STEVE-1's policy."""
    leaf, parent = name.rsplit(".", 1)[-1], name.rsplit(".", 2)[-2] if name.count(".") > 1 else ""
    z = np.random.default_rng([seed, index]).standard_normal(shape)
    if leaf == "logit_scale":
        z = np.log(1 / 0.07) + 0.05 * z
    elif leaf == "video_residual_weight":
        z = 1 + 0.5 * z
    elif leaf in ("cls_token", "pos_embed") or parent == "token_embedding":
        z = 0.05 * z
    elif leaf == "projection":
        z = z / np.sqrt(shape[0])
    elif parent != "emb":
        return weight(name, shape, seed, index)
    return np.asarray(z, dtype=np.float32)


def write_published(path: Path, shapes: Mapping[str, Any], seed: int, aliases: Mapping[str, str]) -> None:
    """A file as MineCLIP's authors publish it, with made-up weights: every name, tensors of several names stored once."""
    tensors = {
        name: torch.from_numpy(made_weight(name, tuple(shapes[name]), seed, index))
        for index, name in enumerate(sorted(shapes))
    }
    tensors |= {alias: tensors[name] for alias, name in aliases.items()}
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}}, path)


def _numbers(place: Path, golden: Golden, meta: Mapping[str, Any]) -> Iterator[Finding]:
    shapes, aliases = (
        json.loads((place / f"{name}.json").read_text()) for name in ("schema_mineclip_attn", "mineclip_attn_aliases")
    )
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "attn.pth"
        write_published(path, shapes, meta["seeds"]["w"], aliases)
        tokens = tokens_of(meta["prompts"], cleaning="mineclip", warn=False)
        yield from _features(mineclip_embedder(path), golden, meta["seeds"], tokens)


def _features(embedder: TorchEmbedder, golden: Golden, seeds: Mapping[str, int], tokens: Tensor) -> Iterator[Finding]:
    network = embedder.towers
    assert isinstance(network, MineClip)
    texts = network.texts(tokens)
    clip = frames(seeds["frames"], len(golden["image_features"]), (160, 256))
    features = torch.from_numpy(embedder.frame_features(clip))
    lengths = pool_lengths(golden)
    rows = [len(array) for name, array in golden.items() if name.startswith(("pool_L", "logits_per_video"))]
    shape = (max(rows, default=4), max((32, *lengths)), 512)  # the longest are 32 in the first reference outputs
    numbers = np.random.default_rng([seeds["feats"], 1]).standard_normal(shape).astype(np.float32)
    windows = torch.from_numpy(numbers)
    small = {"width": 64, "layers": 1, "heads": 1, "text_width": 64, "text_layers": 1, "text_heads": 1, "vocabulary": 8}
    average = MineClip(MineClipConfig(pool="avg", **small))  # type: ignore[arg-type]  # its adapter alone is used
    average.adapter, average.video_residual_weight = network.adapter, network.video_residual_weight
    ours = {
        "text_features": texts,
        "image_features": features,
        "video_features": network.goals(features[None]),
        "logits_per_video": network.logits(network.adapted(network.goals(windows[:, :16])), texts),
        "logits_clip_vs_first4": network.logits(network.pooled(features[None]), texts[:4]),
        "avg_logits_clip_vs_first4": network.logits(average.pooled(features[None]), texts[:4]),
    } | {f"pool_L{length}": network.goals(windows[:, :length]) for length in lengths}
    for name, value in ours.items():
        if name in golden:
            yield Finding(f"steve1 mineclip, {name}", largest_error(value, golden[name]), 1e-4)
    yield left_over("steve1 mineclip", golden.keys() - ours.keys() - {"tokens", "pos_resize_in", "pos_resize_out"})
    sliding = embedder.pool(np.stack([embedder.frame_features(clip[4:6]), features[4:6].numpy()]))
    yield Finding("mineclip, a window from features computed once", largest_error(sliding[0], sliding[1]), 1e-5)
