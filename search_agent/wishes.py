"""Something wished for, and which demonstrated situations lead to it.

After TS-BC (github.com/JulianBvW/TS-BC): a situation is good to copy from if its player came near the goal within the next
seconds. Mended: futures end with their demonstration, and what they reach is told in deviations from what the set's frames
reach on the average, so that it can be weighed against distances, whatever the embedder; zero is chance.

A wish is a vector in the space of the embeddings that a set keeps beside its latents (`vpt index --embedder`); one of text
comes from :class:`TextWishes`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prior.text.clips import frames_until
from prior.text.cvae import GoalPrior, load_goal_prior
from prior.text.embedding.embedder import Embedder, check_same_space
from prior.text.embedding.load import load_embedder
from prior.text.locate import ABOUT, GOAL_PRIOR, is_follower
from search_agent.demos import Demo, DemoSet
from search_agent.ts_rules import future_minimum


def hopes(demos: Sequence[Demo], wish: NDArray[np.floating], ahead: int) -> list[NDArray[np.float32]]:
    """For each demonstration (T,): how near its next ``ahead`` frames come to the wish (G,), by the cosine, at best; in
    deviations from the mean over all frames of all of them.

    Raises ValueError for a demonstration without embeddings, and for a wish of another size.
    """
    futures = []
    for demo in demos:
        if demo.goals is None:
            raise ValueError(f"demonstration {demo.name}: no embeddings to compare a wish with")
        if wish.shape != demo.goals.shape[1:]:
            raise ValueError(f"a wish of shape {wish.shape}, expected {demo.goals.shape[1:]} as the set's embeddings")
        goals = np.asarray(demo.goals, np.float32)
        lengths = np.linalg.norm(goals, axis=1) * np.linalg.norm(wish)
        similar = goals @ wish.astype(np.float32) / np.maximum(lengths, 1e-9)
        futures.append(-future_minimum(-similar.astype(np.float32), ahead))
    reached = np.concatenate(futures)
    mean, deviation = reached.mean(dtype=np.float64), reached.std(dtype=np.float64)
    if deviation < 1e-6:  # all the same: nothing leads there better than anything else
        return [np.zeros_like(future) for future in futures]
    return [((future - mean) / deviation).astype(np.float32) for future in futures]


def without_embeddings(demos: DemoSet) -> str:
    """What to tell somebody who wishes for something of demonstrations that have no embeddings."""
    command = f"add them with: vpt index --out {demos.folder}"
    if demos.info.embedder:
        return command
    return f"{command} --embedder EMBEDDER (a folder of `vpt train-clip` or `vpt train-text`, or mineclip:PATH)"


@dataclass
class TextSpace:
    """Where texts and frames are compared: an embedder and, for some, a prior from texts to what is seen when they are done."""

    embedder: Embedder
    goal_prior: GoalPrior | None = None

    @torch.inference_mode()
    def wish(self, text: str, seed: int | None = None) -> NDArray[np.float32]:
        """float32 (G,). seed: with a prior, draw, as STEVE-1 and TS-BC do; None: its mean, the same each time.

        Raises ValueError for a text of nothing.
        """
        found = self.embedder.encode_text([text])
        if self.goal_prior is not None:
            texts = torch.from_numpy(found)
            if seed is None:
                found = self.goal_prior.sample(texts, deterministic=True).numpy()
            else:
                found = self.goal_prior.sample(texts, generator=torch.Generator().manual_seed(seed)).numpy()
            if self.embedder.normalised:  # as Follower.goal_of_text
                found = found / np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found[0], np.float32)


def open_space(source: str, device: str = "cpu") -> TextSpace:
    """source: an embedder (see :func:`prior.text.embedding.load.load_embedder`), or a folder of `vpt train-text` (so also of
    STEVE-1's published weights, converted), which has one and a prior. Raises ValueError for anything else."""
    folder = Path(source)
    if not is_follower(folder):
        return TextSpace(load_embedder(source, device))
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    embedder = load_embedder(about["embedder"], device)
    check_same_space(embedder.key, str(about["key"]), str(folder))
    return TextSpace(embedder, load_goal_prior(folder / GOAL_PRIOR))


class TextWishes:
    """Texts as wishes, in the space of a set's embeddings; the embedder is loaded once.

    Raises ValueError for a set that has no embeddings, and where its embedder is gone or not the same any more.
    """

    def __init__(self, demos: DemoSet) -> None:
        info = demos.info
        if not info.embedder:
            raise ValueError(
                f"{demos.folder}: its demonstrations have no embeddings to compare a text with; {without_embeddings(demos)}"
            )
        try:
            self.space = open_space(info.embedder)
        except ValueError as error:
            raise ValueError(
                f"{demos.folder}: the embedder that its demonstrations were embedded with cannot be opened ({error}); put it "
                "back, or make a new set with `vpt index --embedder`"
            ) from error
        check_same_space(self.space.embedder.key, info.embedder_key, str(demos.folder))

    def wish(self, text: str, seed: int | None = None) -> NDArray[np.float32]:
        """See :meth:`TextSpace.wish`."""
        return self.space.wish(text, seed)

    def wish_of_clip(self, video: Path, second: float | None = None) -> NDArray[np.float32]:
        """What is seen in the moment before a second of a video, or before its end; see
        :func:`prior.text.clips.frames_until`."""
        embedder = self.space.embedder
        return embedder.encode_video(frames_until(video, second, embedder.window, embedder.shape.rate))
