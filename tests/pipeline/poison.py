"""A reader that does, by a video's name, what broken files do to decoders; all others it reads as PyAV does."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from data.readers import FrameReader
from data.readers import open_reader as open_pyav


def open_reader(path: Path) -> FrameReader:
    if path.stem.startswith("segfault"):
        ctypes.string_at(0)
    if path.stem.startswith("hang"):
        time.sleep(3600)
    if path.stem.startswith("raise"):
        raise RuntimeError("this decoder always raises")
    if path.stem.startswith("eat"):
        eaten = []
        while True:
            eaten.append(bytearray(64 << 20))
    return open_pyav(path)


open_reader.like_pyav = True  # type: ignore[attr-defined]
