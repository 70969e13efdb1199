"""A policy that follows texts, on disk and at work: the policy with goals, the prior from texts to goals, and their embedder.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937). A folder of `vpt train-text` holds ``config.json`` and
``model.safetensors`` (the policy), ``goal_prior.safetensors``, and ``text.json``: the embedder and its weights' key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from data.files import write_json_atomic
from prior.checkpoint import save_policy, write_safetensors
from prior.episodes import Episode
from prior.text.clips import frames_until
from prior.text.cvae import GoalPrior, load_goal_prior
from prior.text.embedding.embedder import Embedder, Frames, check_same_space
from prior.text.embedding.features import embeddings_at
from prior.text.embedding.load import load_embedder
from prior.text.locate import ABOUT, GOAL_PRIOR, embedder_of, is_follower, split_name
from prior.text.policy import GoalPolicy, load_goal_policy


@dataclass
class Follower:
    """See the module's docstring."""

    policy: GoalPolicy
    goal_prior: GoalPrior
    embedder: Embedder

    def goal_of_text(self, text: str, samples: int = 0, seed: int = 0) -> NDArray[np.float32]:
        """float32 (G,): what the text asks for, the same each time. samples: draw so many goals and take the one nearest to the
        text; 0: the goal at the latent's mean. Raises ValueError for a text of nothing.

        Goals of clips, by which the policy learnt, are of length 1 where the embedder's are. The mean of many is shorter (0.6
        to 0.7), so it is brought to that length: it says what is wanted, not how much.
        """
        device = next(self.goal_prior.parameters()).device
        texts = torch.from_numpy(self.embedder.encode_text([text])).to(device)
        with torch.inference_mode():
            if samples:
                goals = self.goal_prior.best_of(samples, texts, generator=torch.Generator().manual_seed(seed))
            else:
                goals = self.goal_prior.sample(texts, deterministic=True)
            if self.embedder.normalised:
                goals = F.normalize(goals, dim=-1)
        found: NDArray[np.float32] = goals[0].cpu().numpy()
        return found

    def goal_of_video(self, frames: Frames) -> NDArray[np.float32]:
        """float32 (G,): what the last frames of a clip show; uint8 (T, H, W, 3), RGB, at the embedder's rate."""
        window = self.embedder.window
        if len(frames) < window:
            raise ValueError(
                f"a clip of {len(frames)} frames; expected at least the {window} that the embedder looks at"
            )
        return self.embedder.encode_video(frames[-window:])

    def goal_of_clip(self, video: Path, second: float | None = None) -> NDArray[np.float32]:
        """:meth:`goal_of_video` of the moment before a second of a video, or of its end; see
        :func:`prior.text.clips.frames_until`."""
        return self.goal_of_video(frames_until(video, second, self.embedder.window, self.embedder.shape.rate))


def save_follower(folder: Path, follower: Follower) -> None:
    """Write all files of a folder; ``text.json`` last, so that a folder with it is whole."""
    save_policy(folder, follower.policy)
    write_safetensors(folder / GOAL_PRIOR, follower.goal_prior)
    kind, path = split_name(follower.embedder.name)
    place = str(Path(path).absolute()) if Path(path).exists() else path
    name = f"{kind}:{place}" if kind else place
    write_json_atomic(folder / ABOUT, {"embedder": name, "key": follower.embedder.key, "dims": follower.embedder.dims})


def load_follower(folder: Path, embedder: Embedder | None = None, device: str = "cpu") -> Follower:
    """embedder: the one to use; by default that of ``text.json``.

    Raises ValueError where the folder is none of `vpt train-text`, or the embedder is not the one that it was trained with.
    """
    if not is_follower(folder):
        raise ValueError(f"{folder} follows no texts: it has no {ABOUT}; expected a folder of `vpt train-text`")
    name, key = embedder_of(folder)
    if embedder is None:
        try:
            embedder = load_embedder(name, device)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{folder}: the embedder that it was trained with cannot be opened ({error}); put it back, or write into "
                f"{folder / ABOUT} where it is now"
            ) from error
    check_same_space(embedder.key, key, str(folder))
    policy = load_goal_policy(folder, device=device)
    goal_prior = load_goal_prior(folder / GOAL_PRIOR, device=device)
    sizes = {"policy": policy.goal_size, "prior from texts": goal_prior.size, "embedder": embedder.dims}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"{folder}: expected one size of embeddings, found {sizes}; are its files those of one training?"
        )
    return Follower(policy, goal_prior, embedder)


def episode_embeddings(
    embedder: Embedder, episode: Episode, cache: Path, mirrored: bool = False
) -> NDArray[np.float16]:
    """For each frame of an episode the embedding of the frames that end with it, float16 (T, G); the first ones, and the first
    ones after a cut, before which there are too few, get the first that there is. Where fewer frames than a window's lie
    between two cuts, embeddings are of no use. mirrored: of the mirrored video. Features of the video are computed once and
    kept in ``cache``.

    Raises ValueError for an episode that no video stands behind, or one that is shorter than a window.
    """
    if episode.video is None:
        raise ValueError(f"{episode.name}: no video to embed; load episodes with prior.episodes.load_episodes")
    cuts = np.maximum.accumulate(np.where(episode.first, np.arange(len(episode)), 0))
    begins = np.where(cuts == 0, 0, episode.rows[cuts])  # before the first frame that is learnt there may be others
    ends = np.maximum(episode.rows, begins + embedder.window - 1)
    return embeddings_at(embedder, episode.video, ends, cache, mirrored=mirrored)
