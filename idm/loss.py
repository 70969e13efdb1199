"""What the inverse dynamics model is trained on: the sum of the heads' negative log-likelihoods (VPT, appendix D).

Keys are held or released for long, so that most frames say nothing about *when* a key changed. ``event_weight`` lets the
frames around a press or release count more (1 is VPT's); what that does to probabilities, calibration mends afterwards.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from idm.clips import Batch
from idm.config import IDMConfig
from idm.model import QUANTIZER, ActionLogProbs


def camera_targets(degrees: Tensor, kind: str) -> Tensor:
    """Degrees (...) -> target distributions (..., 11).

    ``two_bins`` puts a turn between two bins' centres on both, so that the distribution's mean is the turn itself;
    turns beyond the outer centres (10 degrees) count as those.
    """
    if kind == "bin":
        bins = torch.from_numpy(QUANTIZER.discretize(degrees.cpu().numpy())).to(degrees.device)
        return F.one_hot(bins, QUANTIZER.bins).to(degrees.dtype)
    centres = torch.as_tensor(QUANTIZER.centres, dtype=degrees.dtype, device=degrees.device)
    inside = degrees.clamp(centres[0], centres[-1])
    upper = torch.searchsorted(centres, inside.contiguous()).clamp(1, len(centres) - 1)
    share = (inside - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
    lower = F.one_hot(upper - 1, QUANTIZER.bins) * (1 - share)[..., None]
    return lower + F.one_hot(upper, QUANTIZER.bins) * share[..., None]


def event_weights(buttons: Tensor, weight: float) -> Tensor:
    """(B, T, 20) held or not -> (B, T, 20): ``weight`` within one frame of a change, 1 elsewhere."""
    change = F.pad((buttons[:, 1:] != buttons[:, :-1]).to(buttons.dtype), (0, 0, 1, 0))
    near = F.max_pool1d(change.transpose(1, 2), 3, 1, 1).transpose(1, 2)
    return 1 + (weight - 1) * near


def idm_loss(out: ActionLogProbs, batch: Batch, config: IDMConfig, event_weight: float) -> dict[str, Tensor]:
    """Mean negative log-likelihood a frame, summed over each group's heads: ``buttons``, ``camera`` and, for models
    that have the heads, ``gui`` and ``slot``."""
    held = batch.buttons
    per_button = -(held * out.buttons[..., 1] + (1 - held) * out.buttons[..., 0]) * event_weights(held, event_weight)
    per_camera = -(camera_targets(batch.camera, config.camera_targets) * out.camera).sum(-1)
    frames = batch.weight.sum().clamp_min(1)
    losses = {"buttons": per_button.sum(-1), "camera": per_camera.sum(-1)}
    if out.gui is not None:
        losses["gui"] = -(batch.gui * out.gui[..., 1] + (1 - batch.gui) * out.gui[..., 0])
    if out.slot is not None:
        losses["slot"] = -out.slot.gather(-1, batch.slot[..., None])[..., 0]
    return {name: (loss * batch.weight).sum() / frames for name, loss in losses.items()}


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Coefficient of determination; 0 for what never varies."""
    variance = float(((true - true.mean()) ** 2).sum())
    return 1 - float(((true - predicted) ** 2).sum()) / variance if variance else 0.0
