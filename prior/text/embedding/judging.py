"""How good an embedding is: whether a text finds its clip among others, beside what chance would find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prior.text.embedding.embedder import Floats

DRAWS = 200
"""So often some clips are drawn to judge by: recall among 50 clips of a single draw deviates by 0.05."""


@dataclass(frozen=True)
class Retrieval:
    """Of N texts and their N clips, shares from 0 to 1.

    recall: texts whose own clip is among the ``nearest`` clips. ceiling: the best recall that there can be, as clips that are
    told in the same words cannot be told apart. chance: what a random order finds. same_kind: of all clips found so, those in
    which the same kind of thing happens (many clips of digging dirt fit one text; recall counts all but one of them as wrong),
    and same_kind_chance. by_kind: the recall of who knows the kind of every clip, and nothing else. These three are of the
    texts whose kind is known, and None where none is.
    """

    clips: int
    nearest: int
    recall: float
    ceiling: float
    chance: float
    same_kind: float | None = None
    same_kind_chance: float | None = None
    by_kind: float | None = None


def judge(
    texts: Floats, clips: Floats, kinds: Sequence[str], said: Sequence[str] | None = None, nearest: int = 5
) -> Retrieval:
    """texts, clips: (N, D) of length 1, pair by pair; kinds: "" where it is not known; said: the texts' words, None: no two are
    the same. Raises ValueError where their sizes differ or they are too few.

    Clips that are as near as the own one count as nearer: an embedding that has collapsed to a point finds nothing.
    """
    said = [str(number) for number in range(len(texts))] if said is None else said
    if texts.shape != clips.shape or len(kinds) != len(texts) or len(said) != len(texts):
        raise ValueError(
            f"texts {texts.shape}, clips {clips.shape}, {len(kinds)} kinds and the words of {len(said)}; expected as many of "
            "each, of one embedder"
        )
    if len(texts) <= nearest:
        raise ValueError(f"{len(texts)} clips to judge by; expected more than {nearest}, or any would be found")
    similar = texts @ clips.T
    own = np.diag(similar)
    others = (similar >= own[:, None]).sum(1) - 1
    alike = Counter(said)
    ceiling = np.mean([min(1, nearest / alike[text]) for text in said])
    found = Retrieval(len(texts), nearest, float((others < nearest).mean()), float(ceiling), nearest / len(texts))
    known = np.array([bool(kind) for kind in kinds])
    if not known.any():
        return found
    same = (np.array(kinds)[:, None] == np.array(kinds)[None])[known]
    first = np.argsort(-similar, 1, kind="stable")[known, :nearest]
    return replace(
        found,
        same_kind=float(np.take_along_axis(same, first, 1).mean()),
        same_kind_chance=float(same.mean()),
        by_kind=float(np.minimum(1, nearest / same.sum(1)).mean()),
    )


def judge_draws(
    texts: Floats,
    clips: Floats,
    kinds: Sequence[str],
    said: Sequence[str],
    count: int,
    draws: int = DRAWS,
    even: bool = True,
) -> Retrieval:
    """The mean of :func:`judge` over many draws of ``count`` pairs; of all, if there are no more. even: draw as many of each
    kind as can be; else as they come, most of the commonest kind, which are hard to tell apart."""
    if len(texts) <= count:
        return judge(texts, clips, kinds, said)
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        rows = (balanced(kinds, rng) if even else rng.permutation(len(kinds)))[:count]
        found.append(judge(texts[rows], clips[rows], [kinds[row] for row in rows], [said[row] for row in rows]))
    means: dict[str, Any] = {}
    for share in fields(Retrieval)[2:]:
        told = [value for part in found if (value := getattr(part, share.name)) is not None]
        means[share.name] = float(np.mean(told)) if told else None
    return replace(found[0], **means)


def balanced(kinds: Sequence[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """All places, in an order whose first ones are as many of each kind as can be: by chance most would be of the commonest,
    which one text fits as well as another. Each unknown kind ("") is its own."""
    drawn = rng.permutation(len(kinds))
    seen = Counter[str]()
    place = np.zeros(len(kinds), np.int64)
    for row in drawn:
        if kinds[row]:
            place[row] = seen[kinds[row]]
            seen[kinds[row]] += 1
    return drawn[np.argsort(place[drawn], kind="stable")]
