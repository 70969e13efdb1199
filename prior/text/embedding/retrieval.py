"""Nearest clips to a text, among any number, with FAISS: how STEVE-1 found videos for texts that nobody had labelled.

Lifshitz et al. 2023 (arXiv 2306.00937): texts without clips were matched to play by MineCLIP's similarity. The
search here is exact (``IndexFlatIP`` over embeddings brought to length 1); windows that slide over one video are near-copies of
their neighbours, so that of those closer than ``apart`` frames only the best counts.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from prior.text.embedding.embedder import Embedder, Floats, check_same_space


@lru_cache(maxsize=1)
def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")  # its types are wrong about much that its Python half adds
    except ModuleNotFoundError as error:
        raise ValueError(
            "the package faiss is missing, which clips are searched with; pip install faiss-cpu"
        ) from error


@dataclass(frozen=True)
class ClipMatch:
    """A clip that begins at frame ``start`` of a video, and its similarity (cosine) to what was asked for."""

    video: str
    start: int
    similarity: float


class ClipIndex:
    """Embeddings of clips of one embedder, by video."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._index = _faiss().IndexFlatIP(embedder.dims)
        self._videos: list[str] = []
        self._video_of: list[int] = []
        self._start_of: list[int] = []

    def __len__(self) -> int:
        return len(self._start_of)

    def add(self, video: str, starts: Sequence[int], embeddings: Floats, key: str | None = None) -> None:
        """Clips of a video: where each begins, and embeddings (N, D). key: of the embedder that made them, if they were stored.

        Raises ValueError for embeddings of another size or of another embedder.
        """
        if embeddings.ndim != 2 or embeddings.shape != (len(starts), self.embedder.dims):
            raise ValueError(
                f"{video}: {len(starts)} clips with embeddings of shape {embeddings.shape}; expected ({len(starts)}, "
                f"{self.embedder.dims}), the size of {self.embedder.name}. Embed the video again with it"
            )
        if key is not None:
            check_same_space(self.embedder.key, key, video)
        self._videos.append(video)
        self._video_of += [len(self._videos) - 1] * len(starts)
        self._start_of += [int(start) for start in starts]
        self._index.add(_unit(embeddings))

    def nearest_to_texts(self, texts: Sequence[str], count: int = 5, apart: int = 16) -> list[list[ClipMatch]]:
        """For each text up to ``count`` clips, the most similar first."""
        return self.nearest(self.embedder.encode_text(texts), count, apart)

    def nearest(self, embeddings: Floats, count: int = 5, apart: int = 16) -> list[list[ClipMatch]]:
        """The same for embeddings (Q, D), of texts or of clips."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedder.dims:
            raise ValueError(
                f"expected embeddings (Q, {self.embedder.dims}) of {self.embedder.name}, got an array of shape "
                f"{embeddings.shape}"
            )
        if count < 1:
            raise ValueError(f"expected at least 1 clip to look for, got {count}")
        asked = min(count, len(self))
        while True:
            found = self._search(embeddings, asked, apart)
            # Neighbours of the best take places: ask for more until there are enough, or all were seen.
            if asked >= len(self) or all(len(matches) >= count for matches in found):
                return [matches[:count] for matches in found]
            asked = min(4 * asked, len(self))

    def _search(self, embeddings: Floats, asked: int, apart: int) -> list[list[ClipMatch]]:
        if not asked:
            return [[] for _ in embeddings]
        similarities, rows = self._index.search(_unit(embeddings), asked)
        found = []
        for values, row in zip(similarities, rows, strict=True):
            kept: list[ClipMatch] = []
            for similarity, clip in zip(values, row, strict=True):
                video, start = self._videos[self._video_of[clip]], self._start_of[clip]
                if all(match.video != video or abs(match.start - start) >= apart for match in kept):
                    kept.append(ClipMatch(video, start, float(similarity)))
            found.append(kept)
        return found


def _unit(embeddings: Floats) -> Floats:
    """The same at length 1, which not all embedders give."""
    rows = np.asarray(embeddings, np.float32)
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
