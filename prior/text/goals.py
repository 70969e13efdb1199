"""Goals for training, in hindsight: what a later frame of the same episode shows stands for what was wanted.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937), section 3.3. Drawn anew in each epoch, from (seed, epoch, episode) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prior.text.relabel import NO_GOAL, Relabelling

STRETCH = 640
"""Frames of an episode that learn with goals, or without, together (the published chunk of training)."""


class HindsightGoals:
    """The goals of a :class:`prior.sequences.SequenceLoader`'s episodes.

    embeddings: float (N, G) for each of the loader's episodes, in their order: entry t of the frames that end with its t-th.
    """

    def __init__(
        self, embeddings: Sequence[NDArray[np.floating]], relabelling: Relabelling | None = None, seed: int = 0
    ) -> None:
        sizes = {rows.shape[1:] for rows in embeddings}
        if len(sizes) > 1 or any(len(size) != 1 for size in sizes):
            raise ValueError(f"expected embeddings (frames, {{one size}}) for all episodes, got {sorted(sizes)}")
        self._embeddings, self._relabelling, self._seed = embeddings, relabelling or Relabelling(), seed

    def __call__(self, epoch: int, episode: int, part: slice) -> NDArray[np.float32]:
        """float32 (T, G), zero where nothing is wanted; see :class:`prior.sequences.Goals`."""
        rows, wanted = self._embeddings[episode], _goal_frames(self, epoch, episode)[part]
        return np.where(wanted[:, None] == NO_GOAL, np.float32(0), rows[wanted].astype(np.float32))

    def goal_frames(self, epoch: int, episode: int) -> NDArray[np.int64]:
        """Which frame is each frame's goal in an epoch, or NO_GOAL; int64 (N,)."""
        frames = len(self._embeddings[episode])
        rng = np.random.RandomState(np.random.SeedSequence([self._seed, epoch, episode]).generate_state(4))
        spans = [(start, min(start + STRETCH, frames)) for start in range(0, frames, STRETCH)]
        return np.concatenate([self._relabelling.goal_frames(frames, *span, rng) for span in spans])


@lru_cache(maxsize=256)
def _goal_frames(goals: HindsightGoals, epoch: int, episode: int) -> NDArray[np.int64]:
    return goals.goal_frames(epoch, episode)
