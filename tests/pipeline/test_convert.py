"""`vpt convert`: published files to a folder and back, for both kinds of models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idm.checkpoint import load_model, model_hash, save_published_model
from idm.config import preset as idm_preset
from idm.model import InverseDynamicsModel
from prior.checkpoint import load_policy, save_policy, save_published_policy
from prior.config import preset
from prior.policy import Policy
from prior.text.cvae import GoalPrior
from prior.text.embedding import mineclip_files
from prior.text.follower import load_follower
from prior.text.policy import GoalPolicy
from tests.prior.text.clips import TINY, published_names, save_published, tiny_mineclip
from vpt_pipeline.cli import main


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_published_policy(tmp_path / "policy.model", Policy(preset("debug")))
    save_published_model(tmp_path / "idm.model", InverseDynamicsModel(idm_preset("vpt_debug")))
    return tmp_path


@pytest.mark.parametrize("kind", ["policy", "idm"])
def test_there_and_back_again_changes_no_number(published: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(published / f"{kind}.model"), str(published / "ours")]) == 0
    said = capsys.readouterr().err
    assert ("inverse dynamics model" in said) == (kind == "idm") and "use it:" in said
    assert main(["convert", str(published / "ours"), str(published / "again.model")]) == 0
    before = torch.load(published / f"{kind}.weights", weights_only=True)
    after = torch.load(published / "again.weights", weights_only=True)
    assert list(before) == list(after)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    load = load_policy if kind == "policy" else load_model
    assert load(published / "again.model")[0].config == load(published / f"{kind}.model")[0].config


def test_a_policy_that_sees_motion_has_no_published_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_policy(tmp_path / "ours", Policy(preset("debug_motion")))
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "theirs.model")]) == 2
    assert "no published form" in capsys.readouterr().err and not (tmp_path / "theirs.model").exists()


def test_a_published_idm_labels_like_its_converted_self(published: Path) -> None:
    assert main(["convert", str(published / "idm.model"), str(published / "ours")]) == 0
    ours, calibration = load_model(published / "ours")
    theirs, none = load_model(published / "idm.model")
    assert calibration == none and model_hash(published / "ours") != model_hash(published / "idm.model")
    images = torch.randint(0, 256, (1, 12, 128, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        out = [model(images, torch.zeros(1, 12, 0, 0, 0)).buttons for model in (ours, theirs)]
    assert torch.equal(*out)


def test_steve1_becomes_a_folder_that_follows_texts(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files laid out as the published ones are, of small networks."""
    monkeypatch.setattr(mineclip_files, "MineClipConfig", lambda pool="attn": TINY)
    policy = GoalPolicy(preset("debug"), 32)
    torch.save(policy.state_dict(), tmp_path / "steve1.weights")
    torch.save(GoalPrior(32, 16, 8).state_dict(), tmp_path / "steve1_prior.pt")
    save_published(tmp_path / "attn.pth", published_names(tiny_mineclip()))
    files = ["--goal-prior", str(tmp_path / "steve1_prior.pt"), "--mineclip", str(tmp_path / "attn.pth")]
    command = [
        "convert",
        str(published / "policy.model"),
        str(tmp_path / "steve1"),
        "--weights",
        str(tmp_path / "steve1.weights"),
    ]
    assert main([*command, *files]) == 0
    assert "follows texts" in capsys.readouterr().err
    follower = load_follower(tmp_path / "steve1")
    for name, tensor in policy.state_dict().items():
        assert torch.equal(follower.policy.state_dict()[name], tensor), name
    assert follower.embedder.name.startswith("steve1:") and follower.goal_of_text("dig").shape == (32,)
    assert main([*command, *files[:2]]) == 2
    assert "takes --goal-prior" in capsys.readouterr().err


def test_fewer_bits_and_what_is_left_out_are_said(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = torch.load(published / "policy.weights", weights_only=True)
    kept = {name: t for name, t in tensors.items() if not name.startswith("value_head.")}
    torch.save(kept | {"aux_value_head.linear.bias": torch.zeros(1)}, published / "other.weights")
    arguments = ["convert", str(published / "policy.model"), str(published / "ours"), "--weights"]
    assert main([*arguments, str(published / "other.weights"), "--dtype", "bfloat16"]) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert "not in the file, and initial here: value_head" in said and "aux_value_head.linear.bias" in said
    small = sum(path.stat().st_size for path in (published / "ours").iterdir())
    assert small < 0.6 * (published / "policy.weights").stat().st_size


def test_wrong_uses_are_answered(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (published / "file").touch()
    assert main(["convert", str(published / "policy.model"), str(published / "file")]) == 2
    assert "is a file; expected a folder to write" in capsys.readouterr().err
    assert main(["convert", str(published / "nothing"), str(published / "out")]) == 2
    assert "does not exist or is no model" in capsys.readouterr().err
