"""Texts from what people say while they play: transcripts with times, and clips around the words that matter.

The way of MineDojo (Fan et al. 2022, arXiv 2206.08853), which made MineCLIP's training set of YouTube's
transcripts: find a keyword, grow the text around it by a random number of words, draw the clip's middle from the time in
which it is said, and grow the clip. Read are SubRip (``.srt``), WebVTT (``.vtt``) and JSON: a list of ``{"start", "end" or
"duration", "text"}`` in seconds, or such a list under "segments" (Whisper's). Times are whole milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from prior.text.embedding.pairs import TextClip, read_utf8

_TIMES = re.compile(r"(?:(\d+):)?(\d+):(\d+)[.,](\d+)\s*-->\s*(?:(\d+):)?(\d+):(\d+)[.,](\d+)")
_MARKS = re.compile(r"<[^>]*>|\{\\[^}]*\}")
SUFFIXES = (".json", ".srt", ".vtt")
_ROLLING_MS = 100
"""A block that shows the line before again follows it at once."""
_SILENCE_MS = 5000
"""What is said before and after a longer one is not one text."""


@dataclass(frozen=True)
class Line:
    """A line that is said from ``start_ms`` to ``end_ms``."""

    start_ms: int
    end_ms: int
    text: str


def read_transcript(path: Path) -> list[Line]:
    """The lines in the order of time. Raises ValueError, naming the file, for one that holds no lines with times."""
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: expected a transcript as {', '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}; convert it"
        )
    text = read_utf8(path)
    lines = _json_lines(path, text) if path.suffix == ".json" else _subtitles(text, path.suffix == ".vtt")
    if not lines:
        raise ValueError(f"{path}: found no lines with times in it; is it a transcript, and whole?")
    return sorted(lines, key=lambda line: line.start_ms)


def _subtitles(text: str, webvtt: bool) -> list[Line]:
    """Of SubRip or WebVTT: blocks, each with a line of times; what is before it (numbers, names) is left out.

    webvtt: a line of spaces ends no block, as YouTube's begin with one. Its lines roll: a block shows the last line of the one
    before again, which was said once.
    """
    lines: list[Line] = []
    shown: list[str] = []
    until = 0
    for block in re.split(r"\n\n" if webvtt else r"\n\s*\n", text.replace("\r\n", "\n")):
        rows = block.split("\n")
        timed = [number for number, row in enumerate(rows) if _TIMES.search(row)]
        for number, end in pairwise([*timed, len(rows)]):
            match = _TIMES.search(rows[number])
            assert match is not None
            begin = _ms([int(part or 0) for part in match.groups()[:3]] + [int(match[4].ljust(3, "0")[:3])])
            plain = [" ".join(_MARKS.sub("", row).split()) for row in rows[number + 1 : end]]
            said = [row for row in plain if row]
            again = _rolled(shown, said) if begin - until <= _ROLLING_MS else 0
            until = _ms([int(part or 0) for part in match.groups()[4:7]] + [int(match[8].ljust(3, "0")[:3])])
            if said[again:]:
                lines.append(Line(begin, until, " ".join(said[again:])))
            shown = said
    return lines


def _rolled(shown: list[str], said: list[str]) -> int:
    """How many of the first rows are the last that were shown before."""
    most = min(len(shown), len(said))
    return max((count for count in range(1, most + 1) if said[:count] == shown[-count:]), default=0)


def _ms(parts: list[int]) -> int:
    hours, minutes, seconds, milliseconds = parts
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds


def _json_lines(path: Path, text: str) -> list[Line]:
    try:
        content = json.loads(text)
        rows: list[dict[str, Any]] = content["segments"] if isinstance(content, dict) else content
        lines = []
        for row in rows:
            start = float(row["start"])
            end = float(row["end"]) if "end" in row else start + float(row["duration"])
            said = " ".join(str(row["text"]).split())
            if said:
                lines.append(Line(round(start * 1000), round(end * 1000), said))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{path}: expected a list of {{"start": seconds, "end": seconds, "text": ...}}, or one under "segments", but '
            f"{error!r}"
        ) from error
    return lines


@dataclass(frozen=True)
class _Word:
    text: str
    start_ms: int
    end_ms: int


def keyword_clips(
    video: Path,
    lines: list[Line],
    keywords: Collection[str],
    frames: int,
    *,
    rate: int = 20,
    words: tuple[int, int] = (8, 40),
    seconds: tuple[float, float] = (8, 16),
    seed: int = 0,
) -> list[TextClip]:
    """Clips of a video of so many frames at ``rate``, around each keyword that is said (its plural counts, too).

    words: least and most words of a text, fewer where nothing more is said; seconds: of a clip; both drawn anew for each. A
    keyword inside the text before it begins no text of its own. Each clip's kind is its keyword.
    """
    if (
        not keywords
        or isinstance(keywords, str)
        or words[0] < 1
        or words[0] > words[1]
        or not 0 < seconds[0] <= seconds[1]
    ):
        raise ValueError(f"expected keywords and ranges that rise from above 0, got {keywords!r}, {words}, {seconds}")
    said, rng, clips, free = _words_of(lines), np.random.default_rng(seed), list[TextClip](), 0
    patterns = {key: [part.lower() for part in key.split()] for key in keywords}
    for place in range(len(said)):
        key = next((key for key, parts in patterns.items() if _says(said, place, parts)), None)
        if key is None or place < free:
            continue
        through = place + len(patterns[key])
        low, high = _without_silence(said, place, through, free)
        size = min(max(int(rng.integers(words[0], words[1] + 1)), through - place), high - low)
        first = int(rng.integers(max(low, through - size), min(place, high - size) + 1))
        part = said[first : first + size]
        free = first + size
        middle = int(rng.integers(part[0].start_ms, max(part[-1].end_ms, part[0].start_ms + 1))) * rate // 1000
        length = min(round(rng.uniform(*seconds) * rate), frames)
        start = min(max(middle - length // 2, 0), frames - length)
        if middle < frames:  # transcripts may run on where a video was cut
            clips.append(TextClip(video, start, length, (" ".join(word.text for word in part),), key))
    return clips


def _without_silence(said: list[_Word], place: int, through: int, free: int) -> tuple[int, int]:
    """The words around some, from ``free`` on, with no long silence between them: (first, one after the last)."""
    while place > free and said[place].start_ms - said[place - 1].end_ms <= _SILENCE_MS:
        place -= 1
    while through < len(said) and said[through].start_ms - said[through - 1].end_ms <= _SILENCE_MS:
        through += 1
    return place, through


def _words_of(lines: list[Line]) -> list[_Word]:
    """Each word with its share of its line's time."""
    words = []
    for line in lines:
        parts = line.text.split()
        edges = np.linspace(line.start_ms, max(line.end_ms, line.start_ms), len(parts) + 1).astype(int)
        words += [_Word(part, int(a), int(b)) for part, a, b in zip(parts, edges[:-1], edges[1:], strict=True)]
    return words


def _says(said: list[_Word], place: int, parts: list[str]) -> bool:
    heard = [word.text.lower().strip(".,;:!?\"'()") for word in said[place : place + len(parts)]]
    return heard == parts or heard == [*parts[:-1], parts[-1] + "s"]
