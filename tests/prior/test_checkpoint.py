"""Policies on disk: ours and published files, what may be missing, and what is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from prior.checkpoint import from_pretrained, load_policy, save_policy, save_published_policy
from prior.config import PolicyConfig, preset
from prior.locate import find_model
from prior.policy import Policy
from prior.published import policy_config, policy_kwargs


@pytest.fixture
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy(preset("debug"))


def assert_equal(ours: Policy, theirs: Policy) -> None:
    assert ours.config == theirs.config
    for (name, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == other
        torch.testing.assert_close(a, b, atol=0, rtol=0, msg=name)


@pytest.mark.parametrize("save", [save_policy, save_published_policy])
def test_what_is_saved_is_what_is_loaded(policy: Policy, tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / ("kept" if save is save_policy else "kept.model")
    save(path, policy)
    again, report = load_policy(path)
    assert_equal(again, policy)
    assert not report.missing_harmless and not again.training
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in policy.parameters()]
    images = torch.zeros(1, 3, 32, 32, 3, dtype=torch.uint8)
    with torch.no_grad():  # the loaded weights lie in the file: using and changing them must work
        again(images, again.empty_memory(1))
        again.net.final_ln.weight.add_(1)
    assert_equal(from_pretrained(path), policy)


def test_a_value_head_may_be_missing_and_a_second_one_too_many(policy: Policy, tmp_path: Path) -> None:
    save_published_policy(tmp_path / "a.model", policy)
    tensors = torch.load(tmp_path / "a.weights", weights_only=True)
    torch.save({k: v for k, v in tensors.items() if not k.startswith("value_head.")}, tmp_path / "cloned.weights")
    torch.save(tensors | {"aux_value_head.linear.weight": torch.zeros(1, 32)}, tmp_path / "rl.weights")
    cloned, report = load_policy(tmp_path / "a.model", tmp_path / "cloned.weights")
    assert len(report.missing_harmless) == 5 and cloned.value_head.linear.weight.abs().sum() > 0
    assert not any(p.is_meta for p in cloned.parameters())
    again, report = load_policy(tmp_path / "a.model", tmp_path / "rl.weights")
    assert report.unexpected_harmless == ("aux_value_head.linear.weight",)
    assert_equal(again, policy)
    torch.save({k: v for k, v in tensors.items() if "normalizer" not in k}, tmp_path / "half.weights")
    with pytest.raises(ValueError, match=r"only a part of the value head.*running_mean"):
        load_policy(tmp_path / "a.model", tmp_path / "half.weights")


def test_every_missing_and_unexpected_tensor_is_listed(policy: Policy, tmp_path: Path) -> None:
    save_published_policy(tmp_path / "a.model", policy)
    tensors = torch.load(tmp_path / "a.weights", weights_only=True)
    tensors["net.lastlayer.layer.weights"] = tensors.pop("net.lastlayer.layer.weight")
    tensors["net.final_ln.bias"] = torch.zeros(7)
    torch.save(tensors, tmp_path / "a.weights")
    with pytest.raises(ValueError) as caught:
        load_policy(tmp_path / "a.weights")
    text = str(caught.value)
    assert "net.lastlayer.layer.weight\n" in text and "net.lastlayer.layer.weights" in text
    assert "net.final_ln.bias is (7,), expected (32,)" in text and "a.weights" in text


def test_half_precision_files_are_cast(policy: Policy, tmp_path: Path) -> None:
    save_published_policy(tmp_path / "a.model", policy.half())
    again, _ = load_policy(tmp_path / "a.model")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again.net.final_ln.weight, policy.net.final_ln.weight.float(), atol=0, rtol=0)
    small, _ = load_policy(tmp_path / "a.model", dtype=torch.bfloat16)
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["vpt_1x", "vpt_2x", "vpt_3x", "debug"])
def test_published_settings_and_ours_are_one_to_one(name: str) -> None:
    net, head = policy_kwargs(preset(name))
    assert policy_config(net | {"active_reward_monitors": {}}, head) == preset(name)
    with pytest.raises(ValueError, match="use_pre_lstm_ln is True, expected False"):
        policy_config(net | {"use_pre_lstm_ln": True}, head)
    assert policy_config({k: v for k, v in net.items() if k != "recurrence_is_residual"} | {"only_img_input": 0}, head)
    half = policy_config(net | {"impala_width": 1.5, "impala_chans": [16, 32, 32]}, head)
    assert half.trunk_channels == (24, 48, 48)
    with pytest.raises(ValueError, match=r"impala_kwargs is \[1\]"):
        policy_config(net | {"impala_kwargs": [1]}, head)
    with pytest.raises(ValueError, match="recurrence_type is 'lstm'"):
        policy_config(net | {"recurrence_type": "lstm"}, head)
    with pytest.raises(ValueError, match="inverse dynamics model"):
        policy_config(net | {"conv3d_params": {}}, head)
    with pytest.raises(ValueError, match="timesteps is missing"):
        policy_config({k: v for k, v in net.items() if k != "timesteps"}, head)


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'vpt_1x'"):
        preset("vpt1x")
    with pytest.raises(ValueError, match=r"unknown settings \['hidsize'\]"):
        PolicyConfig.from_dict({"hidsize": 3})
    with pytest.raises(ValueError, match="memory must be at least 1"):
        PolicyConfig(memory=0)
    with pytest.raises(ValueError, match=r"config\.json does not exist; expected a folder with"):
        find_model(tmp_path)
    with pytest.raises(ValueError, match=r"nothing does not exist or is no model; expected a folder"):
        find_model(tmp_path / "nothing")
    (tmp_path / "x.weights").touch()
    with pytest.raises(ValueError, match=r"x\.model does not exist; a published model is two files"):
        find_model(tmp_path / "x.weights")


def test_a_name_on_the_hub(policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="pip install huggingface_hub"):
        from_pretrained("someone/house-builder")
    save_policy(tmp_path / "fetched", policy)
    hub = types.ModuleType("huggingface_hub")

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        if name != "someone/house-builder":
            raise OSError("404: no such repository")
        return str(tmp_path / "fetched")

    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert_equal(from_pretrained("someone/house-builder"), policy)
    with pytest.raises(ValueError, match=r"someone/else is no file or folder here.*404"):
        from_pretrained("someone/else")
