"""Download recordings that an index file lists, as OpenAI published them: video and actions, until N hours are there.

The same command again goes on where it stopped, within a file too, and fetches nothing twice. Which recordings are
taken depends on the index, the seed and the hours alone, not on the speed of the net. A recording that is missing on
the server or of no use there is reported and skipped. OUT/fetched.json tells what came from where.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

from data.download import Patience, StoppedError
from data.fetched import FetchedList, FetchedRecording, Fetcher
from data.index_file import IndexEntry, IndexFile, read_index
from vpt_pipeline.progress import Bar, progress_bar, say

HOPELESS = {"failed": 10, "missing": 200}
"""So many recordings in a row, and the server or the address of the index is to blame, not the recordings."""


USUAL_S = 300.0
"""About how long a published recording is; until one is here, it decides how many are begun at once."""


@dataclass(frozen=True)
class FetchConfig:
    """Settings of `vpt data fetch`."""

    index: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
    """An index file of recordings: its path or its http(s) address."""
    hours: float
    """Stop when this much video is in the folder; inf for all there is."""
    out: Path = Path("runs/contractor")
    """Where the recordings go, in folders as in the index, and fetched.json."""
    shuffle: bool = True
    """Choose among all recordings, so that many players are seen; else take them in the order of the index."""
    seed: int = 0
    """Another seed chooses other recordings."""
    workers: int = 4
    """Recordings that are downloaded at the same time."""
    attempts: int = 6
    """How often to try a file, with longer and longer pauses."""
    timeout: float = 30.0
    """Seconds without a byte after which an attempt has failed."""
    retry: bool = False
    """Ask again for recordings that were missing or of no use in an earlier run."""


def fetch_recordings(config: FetchConfig) -> FetchedList:
    """Fetch until the hours are there or the index has no more; returns the list of all that is in the folder.

    Raises ValueError for settings and indexes that cannot be used, for a folder that holds other recordings under the
    same names, and when another fetch is at work in it; OSError when the disk cannot be written.
    """
    if not config.hours > 0 or min(config.workers, config.attempts) < 1 or not config.timeout > 0:
        raise ValueError("expected hours and timeout above 0, and workers and attempts from 1")
    index = read_index(config.index)
    for problem in index.problems:
        say(f"[yellow]{escape(index.source)}:[/yellow] {escape(problem)}")
    with _alone(config.out):
        fetched = FetchedList.load(config.out / "fetched.json")
        _require_same_source(fetched, index, config.out)
        with progress_bar("fetching", _whole_seconds(config), "s of video") as bar:
            _Job(config, index, fetched, bar).run()
    return fetched


def in_order(config: FetchConfig, entries: tuple[IndexEntry, ...]) -> list[IndexEntry]:
    """The entries as they are to be taken. Shuffled by hashes: entries that are added to an index leave the others'
    order as it was."""
    if not config.shuffle:
        return list(entries)
    return sorted(entries, key=lambda entry: hashlib.sha256(f"{config.seed} {entry.video}".encode()).digest())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetch.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder}: another `vpt data fetch` is at work in this folder; wait for it, or give another --out"
            ) from error
        yield


def _require_same_source(fetched: FetchedList, index: IndexFile, folder: Path) -> None:
    for entry in index.entries:
        known = fetched.recordings.get(entry.video)
        if known and known.video and known.video.url != index.url(entry.video):
            raise ValueError(
                f"{folder / entry.video}: came from {known.video.url}, but this index has another under the same name; "
                "give another --out"
            )


def _whole_seconds(config: FetchConfig) -> int | None:
    return round(config.hours * 3600) if config.hours < 1e6 else None


class _Meter:
    """Bytes a second, of the last ten seconds, counted in many threads."""

    def __init__(self) -> None:
        self._lock, self._bytes = threading.Lock(), 0
        self._marks = deque([(time.monotonic(), 0)], maxlen=20)

    def add(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def rate(self) -> float:
        """Call it every half second."""
        (then, before), now = self._marks[0], time.monotonic()
        self._marks.append((now, self._bytes))
        return (self._bytes - before) / max(now - then, 1e-3)


class _Job:
    """Threads download and check, ahead of each other; here what they bring is taken in order, so that the choice does
    not depend on who is first. What was begun too far ahead stays hidden in the folder, for a run with more hours."""

    def __init__(self, config: FetchConfig, index: IndexFile, fetched: FetchedList, bar: Bar) -> None:
        self.config, self.fetched, self.bar = config, fetched, bar
        self.meter, self.stop = _Meter(), threading.Event()
        patience = Patience(config.attempts, config.timeout)
        self.fetcher = Fetcher(index, config.out, patience, self.meter.add, self.stop)
        self.there = {name for name in fetched.recordings if self._is_there(name)}
        self.gone = {name for name, known in fetched.recordings.items() if known.status == "done"} - self.there
        for name in self.gone:  # removed or changed since: they are to be had again
            del fetched.recordings[name]
        self.todo = [entry for entry in in_order(config, index.entries) if self._is_wanted(entry)]
        self.seconds = sum(fetched.recordings[name].seconds for name in self.there)
        self.skipped: Counter[str] = Counter()
        self.in_a_row: Counter[str] = Counter()
        self.jobs: queue.Queue[int] = queue.Queue()
        self.results: queue.Queue[tuple[int, FetchedRecording | Exception]] = queue.Queue()
        self.shown = round(self.seconds)
        self.unsaved, self.saved, self.saving_took = False, 0.0, 0.0
        bar.skip(self.shown)

    def _is_there(self, name: str) -> bool:
        known = self.fetched.recordings[name]
        video = self.config.out / name
        files = ((video, known.video), (video.with_suffix(".jsonl"), known.actions))
        return all(file and path.is_file() and path.stat().st_size == file.bytes for path, file in files)

    def _is_wanted(self, entry: IndexEntry) -> bool:
        known = self.fetched.recordings.get(entry.video)
        if known is None or known.status == "failed":
            return True
        return known.status != "done" and self.config.retry

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._work, name="fetch", daemon=True)
            for _ in range(min(self.config.workers, len(self.todo)))
        ]
        for thread in threads:
            thread.start()
        try:
            self._take_in_order()
        finally:
            self.stop.set()
            self._save()
            until = time.monotonic() + 2  # one that waits for a silent server ends with the process
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while not self.stop.is_set():
            try:
                number = self.jobs.get(timeout=0.2)
            except queue.Empty:
                continue
            entry = self.todo[number]
            try:
                result = self.fetcher.fetch(entry, trust=entry.video not in self.gone)
            except StoppedError:
                return
            except Exception as error:  # handed over to the main thread
                self.results.put((number, error))
                return
            self.results.put((number, result))

    def _take_in_order(self) -> None:
        begun = taken = 0
        waiting: dict[int, FetchedRecording] = {}
        while not self._is_enough():
            ahead = begun - taken
            while begun < len(self.todo) and ahead < 2 * self.config.workers and not self._is_enough(waiting, ahead):
                self.jobs.put(begun)
                begun, ahead = begun + 1, ahead + 1
            if begun == taken:
                return
            try:
                number, result = self.results.get(timeout=0.5)
            except queue.Empty:
                self._tell()
                continue
            if isinstance(result, Exception):
                raise result
            waiting[number] = result
            while taken in waiting and not self._is_enough():
                self._take(self.todo[taken], waiting.pop(taken))
                taken += 1
            self._tell()

    def _is_enough(self, waiting: dict[int, FetchedRecording] | None = None, ahead: int = 0) -> bool:
        """Whether the hours are there; with what is begun, if that is as long as the recordings so far."""
        waiting = waiting or {}
        mean = self.seconds / len(self.there) if self.there else USUAL_S
        begun = sum(result.seconds for result in waiting.values()) + mean * (ahead - len(waiting))
        return self.seconds + begun >= self.config.hours * 3600

    def _take(self, entry: IndexEntry, result: FetchedRecording) -> None:
        self.fetched.recordings[entry.video] = result
        row = self.in_a_row[result.status] + 1
        self.in_a_row = Counter({result.status: row})
        if result.status == "done":
            self.fetcher.put_in_place(entry)
            self.there.add(entry.video)
            self.seconds += result.seconds
            if result.broken_records:
                told = f"{result.broken_records} records of its actions are unusable"
                say(f"[yellow]{escape(entry.video)}:[/yellow] {told}")
        else:
            self.skipped[result.status] += 1
            say(f"[yellow]skipped, {result.status}:[/yellow] {escape(result.problem or entry.video)}")
        self.unsaved = True
        if row == HOPELESS.get(result.status):
            raise ValueError(
                f"{row} recordings in a row are {result.status}, at last {result.problem}. Check the net and the "
                f"index ({self.config.index}); the same command again goes on"
            )

    def _save(self) -> None:
        begun = time.monotonic()
        self.fetched.save(self.config.out / "fetched.json")
        self.unsaved, self.saved = False, time.monotonic()
        self.saving_took = self.saved - begun

    def _tell(self) -> None:
        """On the screen, and in the list if it is worth it: a long one takes long to write."""
        if self.unsaved and time.monotonic() - self.saved > 20 * self.saving_took:
            self._save()
        skipped = f", {sum(self.skipped.values())} skipped" if self.skipped else ""
        self.bar.note(f"{self.meter.rate() / 1e6:.1f} MB/s, {len(self.there)} recordings{skipped}")
        self.bar.advance(round(self.seconds) - self.shown)
        self.shown = round(self.seconds)


def main(config: FetchConfig) -> int:
    """0 if the hours are there, 1 if the index has not so many."""
    fetched = fetch_recordings(config)
    counts = Counter(recording.status for recording in fetched.recordings.values())
    hours = sum(recording.seconds for recording in fetched.recordings.values()) / 3600
    others = ", ".join(f"{counts[status]} {status}" for status in ("missing", "broken", "failed") if counts[status])
    told = f" ({others}: see {config.out / 'fetched.json'})" if others else ""
    say(f"{counts['done']} recordings, {hours:.2f} hours of video, in {config.out}{told}")
    if counts["done"]:
        say(f"Train on them: vpt train-idm {config.out}")
    if hours >= config.hours or (math.isinf(config.hours) and not counts["failed"]):
        return 0
    say(f"[yellow]{hours:.2f} of {config.hours:g} hours:[/yellow] the index has no more that can be had")
    return 1
