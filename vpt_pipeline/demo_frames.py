"""Pictures of demonstrations, by name and frame: each demonstration is decoded once, and only what will be asked for is kept.

A copy jumps between demonstrations and back, which video cannot do. Which frames will be shown is known beforehand, so these
are kept as JPEG at the size that they are shown at. Whole demonstrations are put out again where that is too much, those not
looked at for longest first, and decoded anew if asked for: memory is bounded, however long the play.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from data.resample import at_rate
from data.video import VideoReader
from vpt_pipeline.canvas import Colour, Picture, plain

MOST_BYTES = 256_000_000
_QUALITY = 90


class DemoFrames:
    """Pictures of ``size`` (width, height), fitted in before ``ground``.

    wanted: (name, frame) of all that will be asked for, frames counted at ``rate`` a second. videos: where each demonstration's
    video is. most: bytes to keep at the same time; what one demonstration needs is kept in any case.
    """

    def __init__(
        self,
        wanted: Iterable[tuple[str, int]],
        videos: Mapping[str, Path],
        rate: int,
        size: tuple[int, int],
        ground: Colour,
        most: int = MOST_BYTES,
    ) -> None:
        self._videos, self._rate, self._size, self._ground, self._most = videos, rate, size, ground, most
        self._wanted: dict[str, set[int]] = {}
        for name, frame in wanted:
            self._wanted.setdefault(name, set()).add(frame)
        self._kept = OrderedDict[str, dict[int, bytes] | str]()
        self.decoded = 0  # demonstrations, to know whether the bound is too narrow

    def picture(self, name: str, frame: int) -> Picture | str:
        """uint8 (height, width, 3), or in words why there is none."""
        if name not in self._kept:
            self._kept[name] = self._decode(name)
            self._put_out()
        self._kept.move_to_end(name)
        found = self._kept[name]
        if isinstance(found, str):
            return found
        if frame not in found:
            return f"frame {frame} is not in its video {self._videos[name]}"
        pixels = cv2.imdecode(np.frombuffer(found[frame], np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def _decode(self, name: str) -> dict[int, bytes] | str:
        video, wanted, found = self._videos.get(name), self._wanted.get(name, set()), dict[int, bytes]()
        if video is None:
            return "it is no longer in the set"
        if not video.is_file():
            return f"its video is gone: {video}"
        self.decoded += 1
        try:
            with VideoReader(video) as reader:
                for tick in at_rate(reader, self._rate):
                    if tick.tick in wanted:
                        found[tick.tick] = _jpeg(fitted(tick.rgb, self._size, self._ground))
                        if len(found) == len(wanted):
                            break
        except (
            ValueError,
            OSError,
        ) as error:  # to look at demonstrations is a help; a bad video must not cost the rest
            return found or f"its video cannot be read: {error}"
        return found

    def _put_out(self) -> None:
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._most:
            self._kept.popitem(last=False)


def fitted(rgb: Picture, size: tuple[int, int], ground: Colour) -> Picture:
    """A picture (H, W, 3) at ``size`` (width, height); what another shape leaves free is ``ground``."""
    width, height = size
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    if inner != (rgb.shape[1], rgb.shape[0]):
        rgb = np.asarray(
            cv2.resize(rgb, inner, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA), np.uint8
        )
    if inner == size:
        return rgb
    out = plain(width, height, ground)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    out[top : top + inner[1], left : left + inner[0]] = rgb
    return out


def _jpeg(rgb: Picture) -> bytes:
    done, content = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return bytes(content)


def _bytes(kept: dict[int, bytes] | str) -> int:
    return 0 if isinstance(kept, str) else sum(map(len, kept.values()))
