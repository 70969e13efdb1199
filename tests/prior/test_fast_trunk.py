"""The trunk made ready for inference: the plain trunk's numbers, whatever the sizes, and never stale ones."""

from __future__ import annotations

import copy
import pickle
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from idm.config import preset as idm_preset
from idm.model import InverseDynamicsModel
from prior.agent import PolicyAgent
from prior.config import PolicyConfig
from prior.nn import native
from prior.nn.impala import ImageTrunk
from prior.nn.linear import Linear
from prior.nn.native import library
from prior.nn.packed import PlainConv, WinogradConv, pack_conv
from prior.nn.precision import cpu_multiplies_bfloat16
from prior.nn.threads import torch_threads
from prior.policy import Policy

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.mark.parametrize(
    ("frames", "size", "inputs", "outputs"), [(1, 32, 64, 64), (3, 16, 32, 96), (2, 4, 128, 32), (1, 128, 64, 128)]
)
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 3e-6), (torch.bfloat16, 0.025)])
def test_winograd_is_norm_convolution_relu_and_skip(
    frames: int, size: int, inputs: int, outputs: int, normed: bool, dtype: torch.dtype, close: float
) -> None:
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(1, inputs)
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias, 0, 0.3)
    found = library()
    assert found is not None
    packed = pack_conv(found, layer, norm if normed else None, dtype)
    assert isinstance(packed, WinogradConv)
    x = torch.rand(frames, size, size, inputs) * 3  # as after a ReLU: positive, its mean not small
    skip = torch.randn(frames, size, size, outputs)
    with torch.no_grad():
        wide = x.permute(0, 3, 1, 2).double()
        normal = norm.double()(wide) if normed else wide
        expected = F.relu(layer.double()(normal)).permute(0, 2, 3, 1)
        for given, target in ((None, expected), (skip, expected + skip)):
            error = (packed(x, given) - target).norm() / expected.norm()
            assert error < close, error
        assert torch.equal(packed(x), packed(x))


def test_layers_that_it_cannot_do_are_left_to_torch() -> None:
    found = library()
    assert found is not None
    for layer in (
        nn.Conv2d(3, 64, 3, padding=1),
        nn.Conv2d(40, 40, 3, padding=1, bias=False),
        nn.Conv2d(16, 64, 3, padding=1, bias=False),
    ):
        packed = pack_conv(found, layer, None, torch.float32)
        assert isinstance(packed, PlainConv)
        x = torch.randn(2, 8, 8, layer.in_channels)
        with torch.no_grad():
            expected = F.relu(layer(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
            torch.testing.assert_close(packed(x), expected)


@pytest.mark.parametrize("channels", [(64, 32), (16, 32, 32), (24, 40)])
def test_a_trunk_gives_the_same_numbers_plain_and_packed(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    trunk = ImageTrunk((32, 64, 3), channels, 64, first_norm=False).eval()
    x = torch.rand(5, 3, 32, 64)
    with torch.no_grad():
        plain = trunk(x)
        trunk.for_inference(torch.float32)
        assert trunk.cnn.packed
        torch.testing.assert_close(trunk(x), plain, atol=1e-4, rtol=1e-4)
        assert (trunk(x) != plain).any() or channels == (24, 40)  # it was the other way of computing


@pytest.mark.skipif(not cpu_multiplies_bfloat16(), reason="this processor does not multiply bfloat16 faster")
def test_a_bfloat16_trunk_rounds_little_more_away_packed_than_plain() -> None:
    away_plain = away_packed = 0.0
    for seed in range(6):  # one network's errors are a matter of luck, and of the processor
        torch.manual_seed(seed)
        trunk = ImageTrunk((64, 64, 3), (64, 64, 64), 64, first_norm=False).eval()
        x = torch.rand(8, 3, 64, 64)
        with torch.no_grad():
            exact = copy.deepcopy(trunk).double()(x.double())
            plain = copy.deepcopy(trunk).bfloat16()(x.bfloat16())
            trunk.for_inference(torch.bfloat16)
            packed = trunk(x)
        assert packed.dtype == torch.bfloat16
        away_plain += float((plain - exact).norm())
        away_packed += float((packed - exact).norm())
    assert 0 < away_packed < 1.6 * away_plain


def test_results_do_not_depend_on_threads_or_on_company() -> None:
    torch.manual_seed(0)
    trunk = ImageTrunk((64, 64, 3), (64, 64), 64, first_norm=False).eval()
    trunk.for_inference(torch.float32)
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        with torch_threads(1):
            one = trunk(x)
        with torch_threads(2):
            assert torch.equal(trunk(x), one)
            torch.testing.assert_close(torch.cat([trunk(part) for part in x.split(1)]), one, atol=1e-5, rtol=1e-5)


def test_changed_weights_are_never_computed_with_stale_ones() -> None:
    torch.manual_seed(0)
    config = PolicyConfig(hidden=32, heads=2, layers=1, trunk_channels=(32, 32), image_size=(32, 32), memory=4)
    policy, images = Policy(config).eval(), torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    policy.for_inference()
    with torch.no_grad():
        before = policy.frame_features(images)
    with torch.enable_grad():
        assert policy.frame_features(images).requires_grad  # gradients take the plain way
    policy.train()
    with torch.no_grad():
        policy.get_parameter("net.img_process.cnn.stacks.0.firstconv.layer.weight").mul_(2)
        policy.eval()
        after = policy.frame_features(images)
        assert not torch.equal(before, after)
        torch.testing.assert_close(policy.for_inference().frame_features(images), after, atol=1e-4, rtol=1e-4)
        assert policy.double().frame_features(images).dtype == torch.float64  # packed weights went with the old type


def test_a_network_made_in_inference_mode_can_be_made_ready() -> None:
    with torch.inference_mode():
        trunk = ImageTrunk((32, 32, 3), (32,), 64, first_norm=False).eval()
        x = torch.rand(2, 3, 32, 32)
        plain = trunk(x)
        trunk.for_inference(torch.float32)
        assert trunk.cnn.packed
        torch.testing.assert_close(trunk(x), plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_a_packed_linear_layer_is_the_plain_one_for_its_rows_alone(dtype: torch.dtype, close: float) -> None:
    torch.manual_seed(0)
    layer = Linear(512, 300).to(dtype)
    x = torch.randn(2, 1, 512, dtype=dtype)
    with torch.no_grad():
        plain, wide = layer(x), layer(x.expand(2, 5, 512))
        layer.pack(2)
        assert layer._packed is not None
        torch.testing.assert_close(layer(x), plain, atol=close, rtol=0)
        torch.testing.assert_close(layer(x.expand(2, 5, 512)), wide, atol=0, rtol=0)
        layer.train()
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x) - layer.bias, 2 * (plain - layer.bias), atol=2 * close, rtol=0)
    layer.pack(2)
    assert layer(x).requires_grad  # gradients take the plain way
    assert layer.float()._packed is None


def small_policy() -> tuple[Policy, torch.Tensor]:
    torch.manual_seed(0)
    config = PolicyConfig(hidden=256, heads=2, layers=1, trunk_channels=(32, 32), image_size=(32, 32), memory=4)
    return Policy(config), torch.randint(0, 256, (2, 36, 64, 3), dtype=torch.uint8)


def test_an_optimizer_made_before_an_agent_still_trains_every_parameter() -> None:
    policy, frames = small_policy()
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    PolicyAgent(policy).act({"pov": frames[0].numpy()})
    before = {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}
    policy.train()
    images = torch.randint(0, 256, (1, 3, 32, 32, 3), dtype=torch.uint8)
    out, _ = policy(images, policy.empty_memory(1))
    (out.buttons[..., 3] + out.camera[..., 4] + out.value[..., 0]).sum().backward()
    optimizer.step()
    moved = [name for name, p in policy.named_parameters() if name in before and not torch.equal(p, before[name])]
    assert "pi_head.buttons.linear_layer.weight" in moved and len(moved) > 0.7 * len(before)


def test_agents_of_other_types_leave_the_policy_and_each_other_alone() -> None:
    policy, frames = small_policy()
    exact = PolicyAgent(policy, deterministic=True)
    expected = exact.joint([frames[0].numpy()])
    rounded = PolicyAgent(policy, streams=2, precision="bfloat16")
    rounded.act_many([frame.numpy() for frame in frames])
    assert policy.dtype == torch.float32 and rounded.policy.dtype == torch.bfloat16
    exact.reset()
    assert exact.joint([frames[0].numpy()]) == expected
    assert PolicyAgent(rounded.policy).policy.dtype == torch.float32
    with torch.no_grad():  # scratch memory of inference mode must serve other modes, too
        policy(torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8), policy.empty_memory(2))


def test_new_weights_are_used_without_being_told_of_training() -> None:
    policy, frames = small_policy()
    other = small_policy()[0]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    PolicyAgent(policy).act({"pov": frames[0].numpy()})
    policy.load_state_dict(other.state_dict())
    images = torch.randint(0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        ours, _ = policy(images, policy.empty_memory(1))
        theirs, _ = other.eval()(images, other.empty_memory(1))
    torch.testing.assert_close(ours.buttons, theirs.buttons, atol=1e-4, rtol=1e-4)


def test_a_ready_policy_can_be_copied_and_pickled() -> None:
    policy, frames = small_policy()
    agent = PolicyAgent(policy, deterministic=True)
    expected = agent.joint([frames[0].numpy()])
    for copied in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert PolicyAgent(copied, deterministic=True).joint([frames[0].numpy()]) == expected
    trunk = policy.net.img_process
    assert isinstance(trunk, ImageTrunk)
    with torch.no_grad():
        assert trunk.cnn.packed


def test_pictures_of_another_size_and_none_at_all() -> None:
    policy, _ = small_policy()
    policy.eval().for_inference(streams=1)
    with torch.no_grad():
        for size in (30, 36, 64):
            with pytest.raises(ValueError, match=r"this network was made for \(32, 32\)"):
                policy.frame_features(torch.zeros(2, size, size, 3, dtype=torch.uint8))
        assert policy.frame_features(torch.zeros(0, 32, 32, 3, dtype=torch.uint8)).shape == (0, 256)


def test_not_a_number_stays_one() -> None:
    policy, frames = small_policy()
    with torch.no_grad():
        policy.get_parameter("net.img_process.cnn.stacks.1.firstconv.layer.weight")[0, 0, 0, 0] = float("nan")
        policy.eval().for_inference()
        assert policy.frame_features(frames[:, :32, :32]).isnan().any()


def test_an_inverse_dynamics_model_labels_the_same_plain_and_packed() -> None:
    torch.manual_seed(0)
    model = InverseDynamicsModel(idm_preset("vpt_small")).eval()
    images, motion = torch.randint(0, 256, (2, 16, 128, 128, 3), dtype=torch.uint8), torch.zeros(2, 16, 0, 0, 0)
    with torch.no_grad():
        plain = model(images, motion)
        packed = model.for_inference()(images, motion)
        assert model.net.img_process.cnn.packed
        torch.testing.assert_close(packed.buttons, plain.buttons, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(packed.camera, plain.camera, atol=1e-4, rtol=1e-4)
        rounded = model.for_inference(torch.bfloat16)(images, motion)
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        assert (rounded.buttons.argmax(-1) == plain.buttons.argmax(-1)).float().mean() > 0.95


def test_without_a_compiler_everything_works_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trunk, x = ImageTrunk((32, 32, 3), (32, 32), 64, first_norm=False).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        plain = trunk(x)
    native.library.cache_clear()
    try:
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setenv("PATH", str(tmp_path))
            with pytest.warns(UserWarning, match="no C compiler"):
                trunk.for_inference(torch.float32)
            torch.testing.assert_close(trunk(x), plain)
        native.library.cache_clear()
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setenv("VPT_CACHE", str(tmp_path))
            patch.setattr(native, "FLAGS", ("-no-such-flag",))
            with pytest.warns(UserWarning, match="do not build here.*no-such-flag"):
                trunk.for_inference(torch.float32)
            torch.testing.assert_close(trunk(x), plain)
        native.library.cache_clear()
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            patch.setenv("VPT_NATIVE", "0")
            trunk.for_inference(torch.float32)
            assert not trunk.cnn.packed
    finally:
        native.library.cache_clear()
