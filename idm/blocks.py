"""Video as an inverse dynamics model takes it: blocks of inputs, each with where its frames come from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from data.frame_inputs import FrameInputs, InputMaker
from data.resample import TickFrame
from idm.cuts import CutDetector


@dataclass(frozen=True)
class Ticks:
    """Of T consecutive ticks: source_frame int32 (T,), the decoded frame that is shown; pts int64 (T,), its timestamp;
    resampled bool (T,), see data.resample; cut bool (T,), whether a new scene begins. time_base: seconds a unit of pts."""

    source_frame: NDArray[np.int32]
    pts: NDArray[np.int64]
    resampled: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    def __getitem__(self, span: slice) -> Ticks:
        return Ticks(self.source_frame[span], self.pts[span], self.resampled[span], self.cut[span], self.time_base)

    @classmethod
    def join(cls, parts: list[Ticks]) -> Ticks:
        return cls(
            np.concatenate([p.source_frame for p in parts]),
            np.concatenate([p.pts for p in parts]),
            np.concatenate([p.resampled for p in parts]),
            np.concatenate([p.cut for p in parts]),
            parts[-1].time_base,
        )

    @classmethod
    def of(cls, frames: Iterable[TickFrame], cut: NDArray[np.bool_], time_base: Fraction) -> Ticks:
        rows = [(f.source_index, f.pts, f.resampled) for f in frames]
        source, pts, resampled = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(source, np.int32), np.array(pts, np.int64), np.array(resampled, bool), cut, time_base)


@dataclass(frozen=True)
class Block:
    """T consecutive ticks: what the model reads of them, and what the label table says of them."""

    inputs: FrameInputs
    ticks: Ticks

    def __len__(self) -> int:
        return len(self.ticks)


def input_blocks(
    frames: Iterable[TickFrame], maker: InputMaker, on_frame: Callable[[], None] = lambda: None
) -> Iterator[Block]:
    """Ticks in order -> blocks of ``maker.block`` of them, the last one shorter.

    Of ticks that begin in the middle of a video, the first RUN_IN (idm.cuts) have no trustworthy ``cut``.
    """
    detector = CutDetector()
    passed: deque[TickFrame] = deque()

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            # Without its picture, which is used up at once and would be held for a whole block.
            passed.append(TickFrame(frame.tick, frame.source_index, frame.pts, frame.time_base, _NONE, frame.resampled))
            on_frame()
            yield frame.rgb

    for inputs in maker.stream(pictures()):
        shown = [passed.popleft() for _ in range(len(inputs))]
        yield Block(inputs, Ticks.of(shown, detector.feed(inputs.images), shown[-1].time_base))


_NONE = np.zeros((0, 0, 3), np.uint8)
