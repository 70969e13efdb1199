"""A policy that follows texts, of the debug sizes and untrained, in a folder as `vpt train-text` writes it."""

from __future__ import annotations

from pathlib import Path

import torch

from prior.config import preset
from prior.policy import Policy
from prior.text.cvae import GoalPrior
from prior.text.embedding.load import load_embedder
from prior.text.embedding.small_clip import SmallClip, save_clip
from prior.text.embedding.small_clip import preset as clip_preset
from prior.text.follower import Follower, save_follower
from prior.text.policy import GoalPolicy


def make_follower(folder: Path, seed: int = 0) -> Path:
    """FOLDER/text, and its embedder in FOLDER/clip. Its goal layer is random, so that what it is asked for matters."""
    torch.manual_seed(seed)
    save_clip(folder / "clip", SmallClip(clip_preset("debug")))
    embedder = load_embedder(folder / "clip")
    policy = GoalPolicy.of(Policy(preset("debug")).eval(), embedder.dims, "as_published")
    save_follower(folder / "text", Follower(policy, GoalPrior(embedder.dims, 32, 16).eval(), embedder))
    return folder / "text"
