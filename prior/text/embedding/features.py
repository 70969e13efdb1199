"""Features of whole videos, computed once and kept, and the embeddings of windows that slide over them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.files import folder_once, sha256_file
from data.input_cache import cached_inputs, kept_inputs
from data.resample import at_rate
from data.video import VideoReader
from prior.text.embedding.embedder import Embedder, Floats

VERSION = 1
"""Raise when features are computed in another way."""

_BLOCK = 128


def video_features(embedder: Embedder, video: Path, cache: Path, mirrored: bool = False) -> NDArray[np.float16]:
    """Every frame's features (T, F) at the embedder's rate, memory-mapped; made now if ``cache`` has them not. mirrored: as if
    left were right.

    Raises ValueError if no frame can be decoded.
    """
    key = f"{sha256_file(video)} {embedder.feature_key} {embedder.shape} features v{VERSION}{' mirrored' if mirrored else ''}"
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    folder = folder_once(cache / f"text-{name}", lambda fresh: _write(embedder, video, cache, fresh, mirrored))
    features: NDArray[np.float16] = np.load(folder / "features.npy", mmap_mode="r")
    return features


def _write(embedder: Embedder, video: Path, cache: Path, folder: Path, mirrored: bool) -> None:
    problems: list[str] = []
    found = [part.astype(np.float16) for part in _parts(embedder, video, cache, mirrored, problems)]
    np.save(folder / "features.npy", np.concatenate(found))
    about = {"video": str(video), "embedder": embedder.name, "key": embedder.feature_key, "problems": problems}
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _parts(embedder: Embedder, video: Path, cache: Path, mirrored: bool, problems: list[str]) -> Iterator[Floats]:
    """The features of some frames at a time: of small ones where a training on them has kept them, else of the video's own; an
    embedder that sees flow has them kept now. problems: gets what is found damaged, of which kept frames tell themselves.

    Raises ValueError if no frame can be decoded.
    """
    inputs = kept_inputs(video, embedder.shape, cache)
    if inputs is None and embedder.shape.flow_size is not None:
        inputs = cached_inputs(video, embedder.shape, cache)
    if inputs is not None:
        for start in range(0, len(inputs), _BLOCK):
            yield embedder.features_of(inputs, start, min(start + _BLOCK, len(inputs)), mirrored)
        return
    before: NDArray[np.uint8] | None = None
    with VideoReader(video) as reader:
        ticks = at_rate(reader, embedder.shape.rate)
        while block := [tick.rgb for tick in itertools.islice(ticks, _BLOCK)]:
            frames = np.stack(block)[:, :, ::-1] if mirrored else np.stack(block)
            yield embedder.frame_features(frames, before)
            before = frames[-1]
        problems += reader.problems
        if before is None:
            reasons = "; ".join(problems) or "no reason given"
            raise ValueError(f"{video}: no frame could be decoded ({reasons}); get it again")


def sliding(features: NDArray[np.floating], window: int, step: int = 1) -> NDArray[np.floating]:
    """Windows over the frames of one video, as a view: (T, F) -> (N, L, F); window n begins at frame n * step.

    Raises ValueError for a video that is shorter than a window.
    """
    if len(features) < window:
        raise ValueError(
            f"a video of {len(features)} frames has no window of {window}; leave it out, or take shorter windows"
        )
    views = np.lib.stride_tricks.sliding_window_view(features, window, axis=0)[::step]
    return np.moveaxis(views, -1, 1)


def window_embeddings(embedder: Embedder, features: NDArray[np.floating], step: int = 1, window: int = 0) -> Floats:
    """Embeddings (N, D) of all windows of a video's features (T, F), in bounded memory. window: 0 is the embedder's own."""
    views = sliding(features, window or embedder.window, step)
    parts = [embedder.pool(views[i : i + 512].astype(np.float32)) for i in range(0, len(views), 512)]
    return np.concatenate(parts)


def embeddings_at(
    embedder: Embedder, video: Path, rows: NDArray[np.int64], cache: Path, rate: int = 0, mirrored: bool = False
) -> NDArray[np.float16]:
    """For each of some frames of a video, counted at ``rate`` a second (0: the embedder's), the embedding of the window that
    ends with it, (T, D); the first ones, before which there are too few, get the first that there is. Features are kept in
    ``cache``. mirrored: of the mirrored video.

    Raises ValueError for a video that cannot be read, or is shorter than a window.
    """
    features = video_features(embedder, video, cache, mirrored)
    try:
        windows = window_embeddings(embedder, features)
    except ValueError as error:
        raise ValueError(f"{video}: {error}") from error
    ends = rows * embedder.shape.rate // rate if rate else rows
    chosen: NDArray[np.float16] = windows[np.clip(ends - (embedder.window - 1), 0, len(windows) - 1)].astype(np.float16)
    return chosen
