"""Folders of other makings: other seeds, lengths, names and numbers of cases than the first reference outputs have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contractor_frames import RecordedSamples
from data.contractor_rules import AS_PUBLISHED
from prior.policy import Policy
from prior.published import policy_config
from tests.parity import actions, cloning, inverse, loader, policies, schemas, search
from tests.parity.finding import GOLDEN, Finding, guarded, misses_beyond_ties

STEVE1 = GOLDEN.parent / "steve1"
needs_golden = pytest.mark.skipif(not STEVE1.exists(), reason="no reference outputs at ../shared/golden")

TINY: dict[str, Any] = {
    "timesteps": 4, "attention_memory_size": 8, "hidsize": 16, "attention_heads": 2, "impala_width": 0.25,
    "impala_kwargs": {"post_pool_groups": 1}, "init_norm_kwargs": {"batch_norm": False, "group_norm_groups": 1},
    "recurrence_type": "transformer", "use_pre_lstm_ln": False,
}  # fmt: skip


def write(folder: Path, name: str, meta: Any, **arrays: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(meta))
    if arrays:
        np.savez(folder / f"{name}.npz", **arrays)


def misses(findings: Iterable[Finding]) -> list[str]:
    return [finding.name for finding in findings if not finding.passed]


def write_schema(folder: Path, name: str) -> None:
    model = Policy(policy_config(TINY, {}))
    tensors = {key: {"shape": list(tensor.shape)} for key, tensor in model.state_dict().items()}
    frozen = [key for key, p in model.named_parameters() if not p.requires_grad]
    total = sum(p.numel() for p in model.parameters())
    about = {"tensors": tensors, "not_trainable": frozen, "total_elements": total}
    write(folder, name, {"kwargs": TINY, "temperature": 1.0} | about)


def test_a_part_that_fails_is_a_miss_and_the_others_are_compared(tmp_path: Path) -> None:
    write_schema(tmp_path, "schema_small")
    for name in ("schema_broken", "idm_a", "idm_b", "bc", "bc_b"):
        write(tmp_path, name, {"kwargs": {}, "temperature": 1.0})
    assert [(f.name, f.passed) for f in schemas.check(tmp_path)] == [("schema_broken", False), ("schema_small", True)]
    assert misses(inverse.check(tmp_path)) == ["idm_a", "idm_b"]
    assert misses(cloning.check(tmp_path)) == ["bc", "bc_b"]

    def fails() -> Iterator[Finding]:
        yield Finding("first", 0.0, 0.0)
        raise KeyError("second")

    assert [f.name for f in guarded("both", fails())] == ["first", "both"]


@needs_golden
def test_an_unknown_setting_costs_one_configuration_of_the_search(tmp_path: Path) -> None:
    shutil.copy(STEVE1 / "search.npz", tmp_path)
    meta = json.loads((STEVE1 / "search.json").read_text())
    meta["zip_cfgs"][0]["unheard_of"] = meta["ts_cfgs"][1]["unheard_of"] = 1
    write(tmp_path, "search", meta)
    found = list(search.check(tmp_path))
    assert misses(found) == ["search zip0", "search ts1"] and len(found) >= 23


@needs_golden
def test_a_video_longer_than_its_records(tmp_path: Path) -> None:
    """And a remark of the decoder's is no record without a frame."""
    (tmp_path / "loader").mkdir()
    shutil.copy(GOLDEN / "loader" / "clip.mp4", tmp_path / "loader")
    lines = (GOLDEN / "loader" / "clip.jsonl").read_text().splitlines(keepends=True)[:40]
    (tmp_path / "loader" / "clip.jsonl").write_text("".join(lines))
    whole = RecordedSamples.of_video(GOLDEN / "loader" / "clip.mp4", rules=AS_PUBLISHED)
    kept = sum(sample.row < 40 for sample in whole)
    golden, meta = dict(np.load(GOLDEN / "loader_mp4.npz")), json.loads((GOLDEN / "loader_mp4.json").read_text())
    step = int(golden["frame_step"])
    arrays = {name: golden[name][:kept] for name in ("buttons", "camera", "means")}
    arrays |= {"frames": golden["frames"][: -(-kept // step)], "frame_step": step}
    counts = {"n_json": 40, "n_emitted": kept, "prints": 0, "frame_sha": meta["frame_sha"][:kept]}
    write(tmp_path, "loader_mp4", meta | counts, **arrays)
    cursor = np.load(GOLDEN / "loader.npz")["cursor_bgra"]
    write(tmp_path, "loader", {"cases": {}}, cursor_bgra=cursor)
    found = list(loader.check(tmp_path))
    assert len(found) == 4 and not misses(found)
    problems = ["clip.jsonl:41: no video frame for this record", "clip.mp4: frames may be missing"]
    assert loader._without_frame(problems) == 1


def test_pictures_of_an_unnamed_seed() -> None:
    pictures = {name: actions._noise(77, at, side, side) for at, (name, side) in enumerate((("resize_128x128", 128),))}
    found = list(actions._resize({name: picture[::8, ::8] for name, picture in pictures.items()}, {}))
    assert len(found) == 1 and not misses(found)


@needs_golden
def test_cloning_of_one_step_without_float64(tmp_path: Path) -> None:
    meta, golden = json.loads((GOLDEN / "bc.json").read_text()), dict(np.load(GOLDEN / "bc.npz"))
    kept = {name: golden[name] for name in ("jb", "jc", "grad0_stats")}
    write(tmp_path, "bc_one", meta | {"steps": 1}, losses=golden["losses"][:1], clip_return=np.ones(1), **kept)
    found = list(cloning.check(tmp_path))
    assert len(found) == 3 and not misses(found)
    assert "not compared: clip_return" in found[-1].note


def test_late_losses_are_allowed_the_published_noise() -> None:
    noise = [[0.0, 0.1], [0.0, 1e-3], [0.0, 4.0]]
    assert [cloning._late({"losses_step_f32_vs_f64": steps}) for steps in noise] == [0.2, 0.05, 8.0]
    assert cloning._late({}) == 0.3


def test_only_choices_that_are_clear_must_be_the_same() -> None:
    clear, tie = np.log([0.9, 0.1]), np.log([0.5, 0.4999])
    assert misses_beyond_ties([1, 1, 0], [0, 0, 0], np.array([clear, tie, clear])) == 1


def test_arrays_that_a_check_knows_are_missed_where_they_are_left_over() -> None:
    names = ["some/vpred", "some/vpred_f64", "some/new", "layer/net.new", "clip_return"]
    assert policies.of_kinds(policies.KINDS, names) == ["some/vpred", "some/vpred_f64", "layer/net.new"]
