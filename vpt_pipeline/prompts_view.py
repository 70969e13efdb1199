"""What an agent was asked for, seen: a play with a caption, and several plays of one start side by side.

    vpt play runs/text --text "chop a tree" --captions                     # NAME.told.mp4
    vpt play runs/text --text "chop a tree" "dig dirt" "pick flowers" "walk"  # NAME.mp4, .png and .html of all four

Made from what plays leave behind: NAME.mp4 and NAME.asked.jsonl.
"""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from data.files import atomic_path
from data.resample import TICK_RATE
from data.video import VideoReader, VideoWriter
from vpt_pipeline.canvas import Canvas, Picture, plain
from vpt_pipeline.demo_frames import fitted
from vpt_pipeline.overlay import BACKGROUND, DIM, EDGE, LEAST_WIDTH, LIT, PLATE, TEXT
from vpt_pipeline.prompts import TEXT as WORDS
from vpt_pipeline.prompts import VIDEO, Ask, read_asked, split_clip

TILE = 480
"""Pixels that a play is wide beside others."""
THUMBNAIL, MOMENTS = 240, 6
"""Of a sheet: pixels that a picture is wide, and how many of each play there are."""

_QUALITY = 24  # as `vpt inspect` writes
_LINE, _LETTER = 13.0, 4.6  # design units, of 320 a tile: height of a line, width of a letter
_GAP = 4  # pixels

Tell = Callable[[int], None]


def told_video(video: Path) -> Path:
    """Where a played video is written with captions."""
    return video.with_suffix(".told.mp4")


def write_told(video: Path, tell: Tell = lambda frames: None) -> Path:
    """The played video with a line below that says what the agent was asked for. Returns where it is.

    Raises ValueError where the play or what was asked for cannot be read.
    """
    asked = read_asked(video)
    with VideoReader(video) as reader:
        width = max(reader.info.width + reader.info.width % 2, LEAST_WIDTH)
        size = (width, round(width * reader.info.height / reader.info.width / 2) * 2)
        lines = _most_lines(asked)
        high = caption("", 0, width, lines).shape[0]
        with VideoWriter(told_video(video), (width, size[1] + high), TICK_RATE, _QUALITY) as writer:
            for number, frame in enumerate(reader):
                below = caption(wish_at(asked, number), number, width, lines)
                writer.write(np.concatenate([fitted(frame.rgb, size, BACKGROUND), below]))
                tell(1)
    return told_video(video)


def write_side_by_side(videos: Sequence[Path], out: Path, tell: Tell = lambda frames: None) -> Path:
    """One video of several plays that begin alike, each under what was asked for. A play that ends early stays, dimmed.

    Raises ValueError where a play or what was asked for cannot be read.
    """
    columns = len(videos) if len(videos) <= 3 else math.ceil(math.sqrt(len(videos)))
    asked = [read_asked(video) for video in videos]
    lines = max(map(_most_lines, asked))
    with ExitStack() as stack:
        readers = [stack.enter_context(VideoReader(video)) for video in videos]
        size = _tile_size(readers[0], TILE)
        streams = [(fitted(frame.rgb, size, BACKGROUND) for frame in reader) for reader in readers]
        pictures = (
            _grid(
                [_tile(shown, of, number, ended, lines) for (shown, ended), of in zip(row, asked, strict=True)], columns
            )
            for number, row in enumerate(_together(streams))
        )
        first = next(pictures)
        with VideoWriter(out, (first.shape[1], first.shape[0]), TICK_RATE, _QUALITY) as writer:
            for picture in chain([first], pictures):
                writer.write(picture)
                tell(1)
    return out


def write_sheet(videos: Sequence[Path], out: Path, moments: int = MOMENTS) -> Path:
    """The same plays as one picture (.png): a row a play, moments from left to right. Returns where it is."""
    lengths, rows = [], []
    for video in videos:
        with VideoReader(video) as reader:
            lengths.append(sum(1 for _ in reader))
    times = np.linspace(0, max(lengths) - 1, moments).round().astype(int)
    width = moments * THUMBNAIL + (moments - 1) * _GAP
    for video, length in zip(videos, lengths, strict=True):
        rows += [
            _heading(said(read_asked(video)), width),
            _moments(video, np.minimum(times, length - 1), times >= length),
        ]
    rows.insert(0, _clock(times, width))
    picture = np.concatenate(rows)
    done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    with atomic_path(out) as part:
        part.write_bytes(bytes(content))
    return out


def wish_at(asked: Sequence[Ask], frame: int) -> str:
    """What was asked for at a frame."""
    return next((one.wish for one in reversed(asked) if one.frame <= frame), "")


def caption(wish: str, frame: int, width: int, lines: int = 1, ended: bool = False) -> Picture:
    """A strip that says what is asked for at a frame: uint8 (H, width, 3), its height for so many lines."""
    units = 320 * max(1.0, width / (2 * TILE))  # letters of large pictures need not grow with them
    canvas = Canvas(units, lines * _LINE + 7, width, PLATE)
    words = _wrapped(wish, units, lines)
    for n, line in enumerate(words):
        canvas.text(line, 8, 10 + n * _LINE, 8.5, LIT if wish else DIM, bold=bool(wish))
    time = f"{'ended ' if ended else ''}{frame / TICK_RATE:.1f} s"
    canvas.text(time, units - 8, 10, 8, TEXT if ended else DIM, align=1)
    return canvas.finished()


def spoken(wish: str) -> str:
    """A wish as people read it, in letters that can be drawn."""
    words = wish.removeprefix(WORDS)
    if wish.startswith(VIDEO):
        path, second = split_clip(wish)
        words = f"as in {path.name}" + ("" if second is None else f" at {second:g} s")
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().strip()
    return plain if plain or not words else "(letters that cannot be drawn)"


def said(asked: Sequence[Ask]) -> str:
    """Everything that was asked for, in a line."""
    parts = [f"{one.frame / TICK_RATE:g} s: " * bool(one.frame) + (spoken(one.wish) or "nothing") for one in asked]
    return "; ".join(parts)


def _wrapped(wish: str, units: float, lines: int) -> list[str]:
    words = spoken(wish) or "asked for nothing"
    return textwrap.wrap(words, int((units - 60) / _LETTER), max_lines=lines, placeholder=" ...")


def _most_lines(asked: Sequence[Ask]) -> int:
    return max(len(_wrapped(one.wish, 320, 2)) for one in asked)


def _tile_size(reader: VideoReader, width: int) -> tuple[int, int]:
    return width, round(width * reader.info.height / reader.info.width / 2) * 2


def _together(streams: Sequence[Iterator[Picture]]) -> Iterator[list[tuple[Picture, int | None]]]:
    """Each stream's pictures in step, until the last one ends; with the number of frames of those that have ended."""
    latest: list[tuple[Picture, int | None]] = [(next(stream), None) for stream in streams]
    number = 0
    while not all(ended is not None for _, ended in latest):
        yield latest
        number += 1
        following = [
            next(stream, None) if ended is None else None for stream, (_, ended) in zip(streams, latest, strict=True)
        ]
        latest = [
            (after, None) if after is not None else (shown, number if ended is None else ended)
            for after, (shown, ended) in zip(following, latest, strict=True)
        ]


def _tile(shown: Picture, asked: Sequence[Ask], number: int, ended: int | None, lines: int) -> Picture:
    at = number if ended is None else ended
    return np.concatenate(
        [
            caption(wish_at(asked, at), at, shown.shape[1], lines, ended is not None),
            shown if ended is None else _dimmed(shown),
        ]
    )


def _grid(tiles: Sequence[Picture], columns: int) -> Picture:
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    out = plain(columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP, BACKGROUND)
    for n, tile in enumerate(tiles):
        top, left = n // columns * (height + _GAP), n % columns * (width + _GAP)
        out[top : top + height, left : left + width] = tile
    return out


def _dimmed(picture: Picture) -> Picture:
    return np.asarray(0.4 * picture + 0.6 * np.array(BACKGROUND), np.uint8)


def _moments(video: Path, frames: np.ndarray, ended: np.ndarray) -> Picture:
    wanted, found = set(frames.tolist()), dict[int, Picture]()
    with VideoReader(video) as reader:
        size = _tile_size(reader, THUMBNAIL)
        for number, frame in enumerate(reader):
            if number in wanted:
                found[number] = fitted(frame.rgb, size, BACKGROUND)
    row = [_dimmed(found[at]) if over else found[at] for at, over in zip(frames.tolist(), ended, strict=True)]
    return _grid(row, len(row))


def _heading(words: str, width: int) -> Picture:
    canvas = Canvas(width / 2, 20, width, PLATE)
    canvas.line((0, 0), (width / 2, 0), EDGE, 1)
    canvas.text(textwrap.shorten(words, int(width / 2 / _LETTER) - 4, placeholder=" ..."), 8, 11, 9, LIT, bold=True)
    return canvas.finished()


def _clock(frames: np.ndarray, width: int) -> Picture:
    canvas = Canvas(width / 2, 16, width, BACKGROUND)
    for n, frame in enumerate(frames.tolist()):
        canvas.text(f"{frame / TICK_RATE:.1f} s", n * (THUMBNAIL + _GAP) / 2 + 8, 8, 8, DIM)
    return canvas.finished()
