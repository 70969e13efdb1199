"""Folders of other makings, again: STEVE-1's and MineCLIP's, and both families in one folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prior.nn.memory import Memory
from prior.text.embedding.tokens import tokens_of
from prior.text.finetuning import LEARNING_RATE, MOST_GRADIENT, WEIGHT_DECAY
from tests.parity import __main__, mineclip, steve1, steve1_policies, steve1_training
from tests.parity.relabelling import check_relabelling
from tests.parity.steve1_recipes import schema
from tests.parity.test_other_folders import STEVE1, TINY, misses, needs_golden, write, write_schema


def write_relabelling(folder: Path) -> None:
    """Stretches of 90 and 40 frames, the second filled up; segments of 5 to 30 frames; chunks of 10 frames."""
    cases = [(300, 100, 190, 5, 31, 0.0, 1), (300, 20, 60, 5, 31, 0.0, 2)]
    goals = np.zeros((2, 90), np.int32)
    for row, (frames, start, end, *_, seed) in enumerate(cases):
        goals[row, : end - start] = published_goals(frames, 5, 31, np.random.RandomState(seed))[start:end]
        goals[row, end - start :] = -7
    rng = np.random.RandomState(3)
    distances = np.array([published_goals(300, 5, 31, rng)[100:190] - np.arange(100, 190) for _ in range(1000)])
    told = {"dist_mean": distances.mean(), "frac_dist_minus1": (distances == -1).mean()}
    told |= {"segment_min": 5, "segment_max": 30, "hist_n": 300, "hist_chunk": [100, 190]}
    cut = {"25": [], "29": [], "30": [[15, 25], [20, 30]]}  # 25 and 29 are too short for a segment of 15
    write(folder, "relabel", told | {"chunks_T10_min15": cut}, trace_cases=np.array(cases, float), trace_goals=goals)


def published_goals(frames: int, least: int, most: int, rng: np.random.RandomState) -> np.ndarray:
    """The published code's, step by step."""
    ends, end = [], 0
    while end < frames - 1:
        end += rng.randint(least, most)
        end = frames - 1 if frames - end < least else end
        ends.append(end)
    rng.rand()
    goals, segment = [], 0
    for frame in range(frames):
        goals.append(ends[segment])
        segment += frame == ends[segment] + 1
    return np.array(goals)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["parity", str(folder)])
    return __main__.main(), capsys.readouterr().out


def test_a_folder_of_both_families_and_what_it_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_schema(tmp_path / "vpt", "schema_small")
    write_relabelling(tmp_path / "steve1")
    status, out = run(tmp_path, monkeypatch, capsys)
    assert status == 0 and "ok   schema_small" in out and "ok   steve1 relabel " in out
    assert f"---- cloning: found nothing to compare in {tmp_path}" in out
    assert "0 missed; nothing to compare for actions, heads, loader, cloning, policies, inverse, search" in out


def test_relabelling_of_other_lengths_without_the_prior(tmp_path: Path) -> None:
    write_relabelling(tmp_path)
    assert steve1.find(tmp_path) == tmp_path
    found = list(steve1.check(tmp_path))
    assert len(found) == 5 and not misses(found)
    with np.load(tmp_path / "relabel.npz") as arrays:
        wrong = dict(arrays)
    wrong["trace_goals"][1, 39] += 1
    np.savez(tmp_path / "relabel.npz", **wrong)
    assert misses(check_relabelling(tmp_path)) == ["steve1 relabel"]


def test_policies_and_trainings_of_any_name(tmp_path: Path) -> None:
    for name in ("policy_small_b", "train_other"):
        write(tmp_path, name, {}, anything=np.zeros(1))
    write(tmp_path, "policy_of_vpt", {"kwargs": {}}, anything=np.zeros(1))
    assert [path.stem for path in steve1.files(tmp_path)] == ["policy_small_b", "train_other"]
    assert {name.split(",")[0] for name in misses(steve1.check(tmp_path))} == {
        "steve1 policy_small_b",
        "steve1 train_other",
    }
    seeds = {"small": 1, "two": 2, "frames": 3}
    assert [steve1_policies.weight_seed(size, seeds) for size in ("small", "2x", "small_b")] == [1, 2, 1]
    with pytest.raises(ValueError, match="no seed for the weights of policy_3x among small, two, frames"):
        steve1_policies.weight_seed("3x", seeds)
    told: list[dict[str, Any]] = [
        {"cfg": TINY},
        {"cfg": TINY | {"temperature": 3.0}},
        {"cfg": TINY, "temperature": 4.0},
    ]
    assert [steve1_policies.steve1_config(meta, "it").temperature for meta in told] == [2.0, 3.0, 4.0]
    assert not list(schema(nn.Linear(1, 1), tmp_path / "schema_none.json"))


@needs_golden
def test_a_policy_of_another_name_without_its_schema(tmp_path: Path) -> None:
    """Its first chunks alone."""
    meta, golden = (STEVE1 / "policy_small.json").read_text(), dict(np.load(STEVE1 / "policy_small.npz"))
    (tmp_path / "policy_small_b.json").write_text(meta)
    np.savez(tmp_path / "policy_small_b.npz", **{k: v for k, v in golden.items() if k.startswith("chunks__")})
    found = list(steve1.check(tmp_path))
    assert len(found) == 3 and not misses(found)


def test_lengths_of_memories_games_and_chunks() -> None:
    memory = Memory.empty(2, 8, 32, 1, torch.device("cpu"), torch.float32)
    assert steve1_policies._stored(memory, (2, 8, 32), 8)["final_mask0"].shape == (2, 1, 8)
    assert steve1_policies._stored(memory, (2, 4, 2), 5)["final_mask0"].shape == (2, 1, 5)
    assert [steve1_policies.goal_change(*case) for case in ((16, 36), (8, 36), (128, 6))] == [18, 10, 3]
    assert steve1_training.goal_entries(5).tolist() == [[2] * 5, [8, 8, 5, 5, 5]]


@needs_golden
def test_training_is_compared_with_its_own_settings_which_are_ours() -> None:
    meta = json.loads((STEVE1 / "train_small.json").read_text())
    ours = (LEARNING_RATE, WEIGHT_DECAY, MOST_GRADIENT)
    assert tuple(meta[name] for name in ("lr", "weight_decay", "max_grad_norm")) == ours


@pytest.mark.parametrize("long", [0, 2])
def test_any_number_of_texts_may_be_too_long(tmp_path: Path, long: int) -> None:
    prompts = ["dig", "", " ".join(["a"] * 75), *[" ".join(["dig"] * 76)] * long]
    assert mineclip.token_counts(prompts) == [1, 0, 75, *[76] * long]
    tokens = tokens_of(prompts, cleaning="mineclip", warn=False).numpy()
    write(tmp_path, "mineclip_prompts", {"prompts": prompts})
    np.savez(tmp_path / "mineclip.npz", tokens=tokens)
    found = list(mineclip.check_mineclip(tmp_path, most_parameters=1))
    assert misses(found) == ["steve1 schema_mineclip_attn"] and len(found) == 3
    assert mineclip.pool_lengths({"pool_L64": tokens, "pool_L4": tokens, "tokens": tokens}) == [4, 64]
