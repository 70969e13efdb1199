"""Demonstrations whose latents are points on a line, and what sees such points in pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.actions import BUTTON_INDEX, ActionTrack
from search_agent.agent import SearchRules, SearchSettings
from search_agent.demos import Demo, DemoSet, SetInfo
from search_agent.nearest import DemoSearcher


def line(name: str, begin: float, frames: int, key: str = "forward", pitch: float = 0.0, step: float = 1.0) -> Demo:
    """Latents that go from ``begin`` on by ``step`` a frame, in all four dimensions."""
    latents = (begin + step * np.arange(frames))[:, None].repeat(4, 1).astype(np.float16)
    buttons = np.zeros((frames, 20), bool)
    buttons[:, BUTTON_INDEX[key]] = True
    track = ActionTrack(buttons, np.full((frames, 2), (pitch, 0), np.float32))
    return Demo(name, latents, track, np.arange(frames), np.ones(frames, bool))


def at(place: float) -> np.ndarray:
    return np.full(4, place, np.float32)


def rules(*demos: Demo, usual: float | None = None, **settings: float) -> SearchRules:
    """usual: how far situations are to count as usually being; None: as they are."""
    searcher = DemoSearcher(list(demos))
    searcher.usual = searcher.usual if usual is None else usual
    return SearchRules(list(demos), searcher, SearchSettings(**settings))  # type: ignore[arg-type]


class OneNumber:
    """An encoder that sees the first pixel."""

    source, sha256, dims = "test", "0" * 64, 4

    def stream(self) -> OneNumber:
        return self

    def look(self, rgb: np.ndarray) -> np.ndarray:
        return at(float(rgb[0, 0, 0]))


def picture(place: int) -> dict[str, np.ndarray]:
    """An observation that :class:`OneNumber` sees as ``at(place)``."""
    return {"pov": np.full((128, 128, 3), place, np.uint8)}


def set_of(folder: Path, *demos: Demo, goal_dims: int = 0, **tags: tuple[str, ...]) -> DemoSet:
    """A set on disk, for :class:`OneNumber`. goal_dims: of the embeddings, if there are any. tags: of demonstrations."""
    made = DemoSet.create(folder, SetInfo("test", "0" * 64, 4, 20))
    if goal_dims:
        made.use_embedder("clip", "key", goal_dims)
    for demo in demos:
        put(made, demo, tags.get(demo.name, ()))
    return made


def put(demos: DemoSet, demo: Demo, tags: tuple[str, ...] = ()) -> None:
    demos.add(demo.name, demo.latents, demo.track, demo.rows, demo.copied, video=Path(), tags=tags, goals=demo.goals)
