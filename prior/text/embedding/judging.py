"""How good an embedding is: whether a text finds its clip among others, beside what chance would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prior.text.embedding.embedder import Floats


@dataclass(frozen=True)
class Retrieval:
    """Of N texts and their N clips, shares from 0 to 1.

    recall: texts whose own clip is among the ``nearest`` clips. same_kind: of all clips found so, those in which the same
    kind of thing happens (many clips of digging dirt fit one text; recall counts all but one of them as wrong). chance,
    same_kind_chance: what a random order finds. by_kind: the recall of who knows the kind of every clip, and nothing else.
    """

    clips: int
    nearest: int
    recall: float
    chance: float
    same_kind: float
    same_kind_chance: float
    by_kind: float


def judge(texts: Floats, clips: Floats, kinds: Sequence[str], nearest: int = 5) -> Retrieval:
    """texts, clips: (N, D) of length 1, pair by pair. Raises ValueError where their sizes differ or they are too few.

    Clips that are as near as the own one count as nearer: an embedding that has collapsed to a point finds nothing.
    """
    if texts.shape != clips.shape or len(kinds) != len(texts):
        raise ValueError(
            f"texts {texts.shape}, clips {clips.shape}, {len(kinds)} kinds; expected as many of each, of one embedder"
        )
    if len(texts) <= nearest:
        raise ValueError(f"{len(texts)} clips to judge by; expected more than {nearest}, or any would be found")
    similar = texts @ clips.T
    own = np.diag(similar)
    others = (similar >= own[:, None]).sum(1) - 1
    same = np.array(kinds)[:, None] == np.array(kinds)[None]
    found = np.argsort(-similar, 1, kind="stable")[:, :nearest]
    return Retrieval(
        len(texts),
        nearest,
        float((others < nearest).mean()),
        nearest / len(texts),
        float(np.take_along_axis(same, found, 1).mean()),
        float(same.mean()),
        float(np.minimum(1, nearest / same.sum(1)).mean()),
    )
