"""The published recipe: its learning rates, what decays, and its loss."""

from __future__ import annotations

import pytest
import torch

from prior.config import preset
from prior.policy import PolicyOutput
from prior.text.finetuning import learning_rate, parameter_groups, summed_loss
from prior.text.policy import GoalPolicy, plain_names


def test_the_rate_rises_in_a_line_and_falls_in_a_half_cosine() -> None:
    rates = [learning_rate(frames) for frames in (0, 5e6, 10e6, 60e6, 110e6, 200e6)]
    assert rates == pytest.approx([0, 2e-5, 4e-5, 2e-5, 0, 0], abs=1e-12)
    with pytest.raises(ValueError, match="ends before frame 1, got 5 frames"):
        learning_rate(0, warmup=5, planned=1)


def test_each_parameter_is_in_one_group_and_no_bias_decays() -> None:
    policy = GoalPolicy(preset("debug"), 16)
    decayed, spared = ({id(p) for p in group["params"]} for group in parameter_groups(policy))
    named = {id(p): name for name, p in policy.named_parameters()}
    assert not decayed & spared and decayed | spared == named.keys()
    names = {named[key] for key in decayed}
    assert {"net.mineclip_embed_linear.weight", "net.img_process.cnn.stacks.0.n.weight"} <= names
    assert not names & {"net.mineclip_embed_linear.bias", "net.final_ln.weight", "net.final_ln.bias"}


def test_the_loss_grows_with_the_length_of_a_chunk() -> None:
    buttons, camera = torch.full((2, 5, 4), 0.25).log(), torch.full((2, 5, 2), 0.5).log()
    chosen = torch.zeros(2, 5, dtype=torch.long)
    out = PolicyOutput(buttons, camera, torch.zeros(2, 5, 1), torch.zeros(2, 5, 3))
    assert summed_loss(out, chosen, chosen).item() == pytest.approx(5 * torch.tensor(8.0).log().item())


def test_names_are_the_published_ones_whatever_stands_before_all_of_them() -> None:
    one = torch.ones(3)
    names = ("net.final_ln.weight", "net.mineclip_embed_linear.bias")
    for prefix in ("", "policy.", "module.policy.", "module.", "_orig_mod.", "model.", "agent.net.policy."):
        assert set(plain_names({prefix + name: one for name in names}, "f")) == set(names)
    with pytest.raises(ValueError, match=r"f: expected all names to begin with 'model\.', found net\.final_ln\.bias"):
        plain_names({"model.net.final_ln.weight": one, "net.final_ln.bias": one}, "f")
    for name in ("encoder.0.weight", "other_net.final_ln.weight"):
        with pytest.raises(
            ValueError, match=rf"f holds no policy: expected net\.final_ln\.weight.*found 1 tensors, such as {name}"
        ):
            plain_names({name: one}, "f")
