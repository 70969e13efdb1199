"""VPT's networks on this machine: labelling, acting and action conversion against the published way of doing each, in one run.

    python -m benchmarks.vpt_speed                      # everything; some minutes on two cores
    python -m benchmarks.vpt_speed --only act --models vpt_1x

The published way is restated plainly with torch's own layers, in float32: one window or one frame at a time,
every window computed whole. Weights are random: speed does not depend on them, and the agreement of labels is
then that of a network with small margins. Beside each figure: floating-point operations a frame (of the direct
convolutions, as torch counts them) and the share of the largest matrix product's speed, measured here as well. Winograd's
method needs fewer operations than that, so its share may exceed 100 %.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `vpt` does

import copy
import functools
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from data.frame_inputs import FrameInputs
from data.joint_actions import JointActions
from idm.config import preset as idm_preset
from idm.model import ActionLogProbs, InverseDynamicsModel
from idm.predict import WindowPredictor
from prior.agent import PolicyAgent
from prior.config import preset
from prior.nn.heads import sample
from prior.policy import Policy


@dataclass(frozen=True)
class Args:
    """Settings."""

    only: tuple[Literal["label", "act"], ...] = ("label", "act")
    idm: str = "vpt_4x"
    models: tuple[str, ...] = ("vpt_1x", "vpt_2x")
    """Policies that act."""
    windows: int = 1
    """Windows of 128 frames that the IDM labels (the published way needs about 50 s for one, on two cores)."""
    steps: int = 30
    """Steps that each policy acts, in each of three rounds."""
    device: str = "auto"
    quick: bool = False
    """Small networks and few frames: seconds, to see that it runs."""


def synchronised(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak(device: str, dtype: torch.dtype) -> float:
    """Operations a second of the best of five matrix products of 3072^3 (float32 on CPUs) or 4096^3."""
    size = 4096 if device != "cpu" or dtype == torch.bfloat16 else 3072
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    best = float("inf")
    for _ in range(5):
        begun = synchronised(device)
        torch.mm(a, b)
        best = min(best, synchronised(device) - begun)
    return 2 * size**3 / best


def operations(run: Callable[[], object], frames: int) -> float:
    """Floating-point operations a frame, counted on plain layers."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / frames


def same(ours: ActionLogProbs, theirs: ActionLogProbs) -> str:
    """How many labels agree, and the largest difference of log-probabilities."""
    keys = (ours.buttons.argmax(-1) == theirs.buttons.argmax(-1)).float().mean().item()
    turns = (ours.camera.argmax(-1) == theirs.camera.argmax(-1)).float().mean().item()
    apart = max(
        (getattr(ours, n).float() - getattr(theirs, n).float()).abs().max().item() for n in ("buttons", "camera")
    )
    return f"labels equal: buttons {keys:.2%}, camera {turns:.2%}; log-probabilities within {apart:.2g}"


@torch.inference_mode()
def label(args: Args, device: str) -> None:
    """One window after the other, as the published demo does; then ours on the same windows; then overlapping windows."""
    config = idm_preset("vpt_debug" if args.quick else args.idm)
    window, count = config.window, args.windows + 1
    model = InverseDynamicsModel(config).eval().to(device)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (window * args.windows, *config.image_size, 3), dtype=np.uint8)
    images = torch.from_numpy(
        np.pad(frames.reshape(args.windows, window, *frames.shape[1:]), ((0, 0), (2, 2), *[(0, 0)] * 3))
    )
    images, motion = images.to(device), torch.zeros(args.windows, window + 4, 0, 0, 0, device=device)
    few = slice(0, 8)
    per_frame = operations(lambda: model(images[:1, few], motion[:1, few]), 4)

    def whole_windows() -> ActionLogProbs:
        outputs = [model(images[n : n + 1], motion[n : n + 1]) for n in range(args.windows)]
        return ActionLogProbs(torch.cat([o.buttons for o in outputs]), torch.cat([o.camera for o in outputs]))

    def timed(run: Callable[[], ActionLogProbs]) -> tuple[float, ActionLogProbs]:
        model(images[:1, few], motion[:1, few])
        begun = synchronised(device)
        out = run()
        return len(frames) / (synchronised(device) - begun), out

    print(f"labelling, {args.idm if not args.quick else 'vpt_debug'}: {per_frame / 1e9:.2f} GFLOP a frame")
    published, expected = timed(whole_windows)
    show("  published way, float32", published, per_frame, peak(device, torch.float32))
    model.bfloat16()  # what rounding alone does to the published way
    speed, out = timed(whole_windows)
    show("  published way, bfloat16", speed, per_frame, peak(device, torch.bfloat16), speed / published)
    print(f"      {same(out, expected)}", flush=True)
    model = InverseDynamicsModel(config).eval().to(device)
    model.load_state_dict(state)
    for dtype in (torch.float32, torch.bfloat16):
        model.for_inference(dtype)
        speed, out = timed(whole_windows)
        show(f"  ours, {str(dtype)[6:]}, the same windows", speed, per_frame, peak(device, dtype), speed / published)
        print(f"      {same(out, expected)}")
        # The paper labels with windows of 128 frames that begin every 64: twice the work, unless features are kept.
        more = np.concatenate([frames, frames[: window // 2]])
        blocks = [
            FrameInputs(part, np.zeros((len(part), 0, 0, 0), np.float16)) for part in np.split(more, 2 * count - 1)
        ]
        begun = synchronised(device)
        labelled = sum(len(part) for part in WindowPredictor(model).predict(blocks))
        speed = labelled / (synchronised(device) - begun)
        name, ratio = str(dtype)[6:], 2 * speed / published
        print(
            f"  ours, {name}, the paper's recipe: {speed:.2f} frames/s, {ratio:.2f} times the published way's",
            flush=True,
        )


def show(what: str, speed: float, per_frame: float, most: float, ratio: float | None = None) -> None:
    times = "" if ratio is None else f", {ratio:.2f} times as fast"
    print(
        f"{what}: {speed:.2f} frames/s{times} ({per_frame * speed / most:.0%} of {most / 1e9:.0f} GFLOP/s)", flush=True
    )


class PublishedAgent:
    """The published agent's step, restated: resize, one frame through plain layers, draw, and look the action up."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.memory = policy, policy.empty_memory(1)
        self.actions = JointActions()

    @torch.inference_mode()
    def act(self, frame: np.ndarray) -> dict[str, object]:
        small = cv2.resize(frame, self.policy.config.image_size, interpolation=cv2.INTER_LINEAR)[None]
        images = torch.from_numpy(small).to(self.policy.device)[:, None]
        out, self.memory = self.policy(images, self.memory, torch.zeros(1, 1, dtype=torch.bool, device=images.device))
        drawn: list[Tensor] = [sample(out.camera), sample(out.buttons)]
        return self.actions.to_env(drawn[1][0].cpu().numpy(), drawn[0][0].cpu().numpy())


def act(args: Args, device: str) -> None:
    """Steps of one stream, with a full memory; the ways take turns, the median of three rounds is shown."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (360, 640, 3), dtype=np.uint8) for _ in range(4)]
    for name in ("debug",) if args.quick else args.models:
        policy = Policy(preset(name)).eval().to(device)
        images = torch.zeros(1, 1, *policy.config.image_size, 3, dtype=torch.uint8, device=device)
        with torch.no_grad():
            per_frame = operations(functools.partial(policy, images, policy.empty_memory(1)), 1)
        ways: dict[str, Callable[[np.ndarray], object]] = {
            "published way, float32": PublishedAgent(copy.deepcopy(policy)).act
        }
        for precision in ("float32", "bfloat16"):
            agent = PolicyAgent(copy.deepcopy(policy), precision=precision, seed=0)
            ways[f"ours, {precision}"] = lambda frame, agent=agent: agent.act({"pov": frame})  # type: ignore[misc]
        del policy
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        steps = 3 if args.quick else args.steps
        for _ in range(3):
            for way, step in ways.items():
                step(pictures[0])
                begun = synchronised(device)
                for n in range(steps):
                    step(pictures[n % len(pictures)])
                seconds[way].append((synchronised(device) - begun) / steps)
        most = peak(device, torch.float32)
        print(
            f"acting, {name}: {per_frame / 1e9:.2f} GFLOP a frame; shares are of {most / 1e9:.0f} GFLOP/s, the peak in float32"
        )
        base = float(np.median(seconds["published way, float32"]))
        for way, rounds in seconds.items():
            middle = float(np.median(rounds))
            share = per_frame / middle / most
            print(
                f"  {way}: {1000 * middle:.1f} ms a step, {base / middle:.2f} times as fast ({share:.0%})", flush=True
            )


def main(args: Args) -> None:
    """Print the machine, then each part."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    where = (
        torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"{where}, torch {torch.__version__}")
    if "label" in args.only:
        label(args, device)
    if "act" in args.only:
        act(args, device)


if __name__ == "__main__":
    main(tyro.cli(Args))
