"""The nearest clips to a text: as a plain search finds them, one of each neighbourhood, of one space only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from data.frame_inputs import FrameInputs, InputShape
from prior.text.embedding.embedder import Floats
from prior.text.embedding.retrieval import ClipIndex


class Letters:
    """Embeds a text by its first letter."""

    name, dims, feature_dims, window = "letters", 8, 8, 4
    key = feature_key = "letters 1"
    shape, normalised = InputShape((4, 4), "area", 20), True

    def frame_features(self, frames: np.ndarray, before: np.ndarray | None = None) -> Floats:
        raise NotImplementedError

    def features_of(self, inputs: FrameInputs, start: int, end: int, mirrored: bool = False) -> Floats:
        raise NotImplementedError

    pool = encode_video = frame_features

    def encode_text(self, texts: Sequence[str]) -> Floats:
        return np.eye(8, dtype=np.float32)[[ord(text[0]) - ord("a") for text in texts]]


def clips(count: int, seed: int) -> Floats:
    found = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_nearest_are_those_of_a_plain_search() -> None:
    index, one, two = ClipIndex(Letters()), clips(50, 1), clips(30, 2)
    index.add("one.mp4", range(50), one)
    index.add("two.mp4", range(0, 60, 2), two)
    assert len(index) == 80
    all_of_them = np.concatenate([one, two])
    for text, matches in zip("abc", index.nearest_to_texts(["a", "b", "c"], 5, apart=1), strict=True):
        similar = all_of_them @ Letters().encode_text([text])[0]
        best = np.argsort(-similar)[:5]
        wanted = [("one.mp4", row) if row < 50 else ("two.mp4", 2 * (row - 50)) for row in best]
        assert [(match.video, match.start) for match in matches] == wanted
        assert np.allclose([match.similarity for match in matches], similar[best])


def test_how_long_embeddings_are_does_not_count() -> None:
    index, base = ClipIndex(Letters()), np.eye(8, dtype=np.float32)
    index.add("far.mp4", [0], 10 * base[:1] + 9 * base[1:2])
    index.add("right.mp4", [0], base[:1])
    (matches,) = index.nearest(5 * base[:1], 2)
    assert [match.video for match in matches] == ["right.mp4", "far.mp4"]
    assert np.allclose([match.similarity for match in matches], [1, 10 / np.hypot(10, 9)])


def test_of_neighbours_only_the_best_counts() -> None:
    index, base = ClipIndex(Letters()), np.eye(8, dtype=np.float32)[0]
    near = np.stack([base + 0.01 * abs(row - 70) * np.eye(8, dtype=np.float32)[1] for row in range(200)])
    index.add("one.mp4", range(200), near / np.linalg.norm(near, axis=1, keepdims=True))
    (matches,) = index.nearest_to_texts(["a"], 3, apart=16)
    assert [match.start for match in matches] == [70, 54, 86] or [match.start for match in matches] == [70, 86, 54]
    (few,) = index.nearest_to_texts(["a"], 100, apart=100)
    assert len(few) == 2, "all that there are, and no more"
    assert ClipIndex(Letters()).nearest_to_texts(["a"]) == [[]]


def test_what_is_of_another_space_is_refused() -> None:
    index = ClipIndex(Letters())
    with pytest.raises(
        ValueError, match=r"a\.mp4: 3 clips with embeddings of shape \(3, 4\); expected \(3, 8\), the size of letters"
    ):
        index.add("a.mp4", range(3), np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"a\.mp4: made with the embedder letters 2, to be used with letters 1"):
        index.add("a.mp4", range(3), np.zeros((3, 8), np.float32), key="letters 2")
    with pytest.raises(ValueError, match=r"expected embeddings \(Q, 8\)"):
        index.nearest(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="at least 1 clip"):
        index.nearest(np.zeros((1, 8), np.float32), 0)
