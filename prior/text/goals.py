"""Goals for training, in hindsight: what a later frame of the same episode shows stands for what was wanted.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937), section 3.3. Drawn anew in each epoch, from (seed, epoch, episode) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from prior.text.relabel import NO_GOAL, Relabelling

STRETCH = 640
"""Frames of an episode that learn with goals, or without, together (the published chunk of training)."""


class HindsightGoals:
    """The goals of a :class:`prior.sequences.SequenceLoader`'s episodes.

    embeddings: float (N, G) for each of the loader's episodes, in their order: entry t of the frames that end with its t-th.
    first: bool (N,) for each, where something new begins (see :class:`prior.episodes.Episode`): no goal lies beyond.
    window: the frames that an embedding is of; where fewer lie between two cuts, nothing is wanted. mirrored: as embeddings,
    of the mirrored videos, for training that mirrors.
    """

    def __init__(
        self,
        embeddings: Sequence[NDArray[np.floating]],
        relabelling: Relabelling | None = None,
        seed: int = 0,
        *,
        first: Sequence[NDArray[np.bool_]] | None = None,
        window: int = 1,
        mirrored: Sequence[NDArray[np.floating]] | None = None,
    ) -> None:
        sizes = {rows.shape[1:] for rows in [*embeddings, *(mirrored or ())]}
        if len(sizes) > 1 or any(len(size) != 1 for size in sizes):
            raise ValueError(f"expected embeddings (frames, {{one size}}) for all episodes, got {sorted(sizes)}")
        self._embeddings, self._mirrored, self._window = embeddings, mirrored, window
        self._first = first or [np.zeros(len(rows), bool) for rows in embeddings]
        self._relabelling, self._seed = relabelling or Relabelling(), seed

    def __call__(self, epoch: int, episode: int, part: slice, mirrored: bool = False) -> NDArray[np.float32]:
        """float32 (T, G), zero where nothing is wanted; see :class:`prior.sequences.Goals`."""
        embeddings = self._mirrored if mirrored else self._embeddings
        if embeddings is None:
            raise ValueError(
                "an episode is mirrored, but its goals are not; embed the mirrored videos, too, or mirror none"
            )
        rows, wanted = embeddings[episode], _goal_frames(self, epoch, episode)[part]
        return np.where(wanted[:, None] == NO_GOAL, np.float32(0), rows[wanted].astype(np.float32))

    def goal_frames(self, epoch: int, episode: int) -> NDArray[np.int64]:
        """Which frame is each frame's goal in an epoch, or NO_GOAL; int64 (N,)."""
        rng = np.random.RandomState(np.random.SeedSequence([self._seed, epoch, episode]).generate_state(4))
        first = self._first[episode]
        goals = []
        for begin, end in pairwise([0, *(np.flatnonzero(first[1:]) + 1), len(first)]):
            frames = end - begin
            if frames < self._window:
                goals.append(np.full(frames, NO_GOAL))
                continue
            for start in range(0, frames, STRETCH):
                found = self._relabelling.goal_frames(frames, start, min(start + STRETCH, frames), rng)
                goals.append(np.where(found == NO_GOAL, NO_GOAL, begin + found))
        return np.concatenate(goals)


@lru_cache(maxsize=256)
def _goal_frames(goals: HindsightGoals, epoch: int, episode: int) -> NDArray[np.int64]:
    return goals.goal_frames(epoch, episode)
