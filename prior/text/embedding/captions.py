"""Captions without annotators: what a recording's own events say about each stretch of its frames.

The game that a recording comes from wrote down what happened and when (``NAME.meta.json``: the task, in words, and ``events``
with their ticks). A stretch in which a block is being dug, something is picked up or an animal is hit is told so, in several
ways; and from the recorded actions how one moves, turns and looks and what is in the hand, since many stretches show the same
deed, and most none. All choices follow from a seed and the recording's name.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.actions import ActionTrack
from data.contractor_state import PlayerState, read_state
from data.recording import Recording
from prior.text.embedding.caption_words import tell, tell_doing, tell_task, thing_of
from prior.text.embedding.doings import Doing, doing_in
from prior.text.embedding.pairs import TextClip

_BEFORE, _AFTER = 8, 4
"""Frames around an event that still show it: an item flies towards the player, a block breaks."""
_LONGEST_DIG = 100
"""Ticks after which a first punch and a block that is dug are two things."""
_AT_ONCE = {"pickup": "item", "place": "node", "hit": "object", "kill": "object", "eat": "item", "craft": "item"}
"""Events that take no time, and where each says what it is about."""


@dataclass(frozen=True)
class Deed:
    """Something done to a thing (a name of the game) in the frames from ``begin`` to ``end``, which is not one of them."""

    begin: int
    end: int
    deed: str
    thing: str

    @property
    def kind(self) -> str:
        """Deed and thing in a word each: "dig tree", of any tree."""
        return f"{self.deed} {thing_of(self.thing)[0]}"


def deeds_of(events: Iterable[Mapping[str, Any]], frames: int) -> list[Deed]:
    """The deeds of a recording of so many frames, in the order of their ends. Events of other kinds are left out.

    Raises ValueError for an event without its tick or type.
    """
    punched: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    deeds = []
    for event in events:
        if "tick" not in event or "type" not in event:
            raise ValueError(f"expected events with tick and type, found one with {sorted(event)}")
        tick, what = int(event["tick"]), str(event["type"])
        place = tuple(event.get("pos", ()))
        if what == "punch":
            punched[place].append(tick)
        elif what == "dig":
            begin = min((punch for punch in punched.pop(place, ()) if tick - punch <= _LONGEST_DIG), default=tick)
            deeds.append(Deed(min(begin, tick - _BEFORE), tick + _AFTER, "dig", str(event.get("node", ""))))
        elif what in _AT_ONCE and not event.get("own"):  # own: one's own thing, thrown away and taken up again
            deeds.append(Deed(tick - _BEFORE, tick + _AFTER, what, str(event.get(_AT_ONCE[what], ""))))
    clipped = (Deed(max(d.begin, 0), min(d.end, frames), d.deed, d.thing) for d in deeds)
    return [deed for deed in clipped if deed.thing and deed.begin < deed.end]


def caption(
    recording: Recording,
    frames: int = 16,
    step: int = 16,
    ways: int = 6,
    least: float = 0.5,
    seed: int = 0,
    rate: int = 20,
) -> list[TextClip]:
    """A recording's clips of ``frames`` frames, one every ``step``, each with up to ``ways`` texts: the first tells all that is
    known in plain words, the second the deed alone, or without one the task.

    A deed counts for a clip of which it fills the share ``least``, or in which all of it lies; of several the longest in it.
    A recording without a meta file gives none, nor does a stretch of which nothing is known. Without recorded actions, events
    alone are told.
    Raises ValueError, naming the file, for a meta file that is no such thing, or of ticks at another rate, and for actions that
    cannot be read.
    """
    meta = recording.load_meta()
    if not meta:
        return []
    try:
        total, task, text = int(meta["frames"]), str(meta.get("task", "")), str(meta.get("text", ""))
        deeds = deeds_of(meta.get("events", ()), total)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{recording.meta}: expected frames, task, text and events, as `vpt record` writes them, but {error!r}"
        ) from error
    if meta.get("tick_rate", rate) != rate:
        raise ValueError(
            f"{recording.meta}: its events are counted at {meta['tick_rate']} a second, the model sees {rate} frames a second; "
            "record at the model's rate, or leave it out"
        )
    rng = np.random.default_rng([seed, zlib.crc32(recording.name.encode())])
    actions, state = _played(recording)
    clips = []
    for start in range(0, total - frames + 1, step):
        deed = _main_deed(deeds, start, start + frames, least)
        doing = doing_in(actions, state, start, start + frames)
        if deed is not None:
            short, kind = tell(deed.deed, deed.thing, max(ways // 2, 1), rng), deed.kind
        else:
            short, kind = tell_task(task, text, max(ways // 2, 1), rng), doing.kind
        told = _texts(short, doing, deed, ways, rng)
        if told:
            clips.append(TextClip(recording.video, start, frames, told, kind))
    return clips


def _played(recording: Recording) -> tuple[ActionTrack, PlayerState]:
    if recording.actions is None:
        return ActionTrack.from_actions([]), PlayerState(np.zeros(0, np.float32), ())
    return recording.load_actions().actions, read_state(recording.actions)


def _texts(
    short: tuple[str, ...], doing: Doing, deed: Deed | None, ways: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """All of it in plain words, then ``short``, then some of it in other words."""
    name, first = ("", ()) if deed is None else (deed.deed, short[:1])
    told = [", ".join((*first, *tell_doing(doing, name))), *short]
    for _ in range(2 * ways):
        parts = list(tell_doing(doing, name, rng))
        rng.shuffle(parts)
        said = () if deed is None else (short[int(rng.integers(len(short)))],)
        some = parts[: int(rng.integers(len(parts))) + 1] if parts else []
        told.append(", ".join((*said, *some)))
    return tuple(text for text in dict.fromkeys(told) if text)[:ways]


def _main_deed(deeds: list[Deed], start: int, end: int, least: float) -> Deed | None:
    best, longest = None, 0
    for deed in deeds:
        inside = min(deed.end, end) - max(deed.begin, start)
        whole = deed.begin >= start and deed.end <= end
        if inside > longest and (whole or inside >= least * (end - start)):
            best, longest = deed, inside
    return best
