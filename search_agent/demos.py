"""A set of demonstrations in a folder: what the search agent copies. Edit the set, and the agent does something else.

    SET/set.json            which model made the latents, and how
    SET/demos.toml          the demonstrations, for people to edit: enabled, tags, text
    SET/demos/NAME/         latents.npy (float16, T x D), actions.npz: written once, never changed
                            goals.npy (float16, T x G), where a text may be asked for: what an embedder makes of each frame

Each demonstration lies apart, so that adding or removing one touches no other, and none is ever encoded twice. Whoever changes
the set holds its lock from reading `demos.toml` to writing it: two editors at once lose nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tomlkit
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tomlkit.exceptions import TOMLKitError

from data.actions import ActionTrack
from data.files import atomic_path, write_json_atomic

VERSION = 2
"""2: which frames are not to be copied."""
LISTING, ABOUT, DEMOS = "demos.toml", "set.json", "demos"
LATENTS, ACTIONS, GOALS = "latents.npy", "actions.npz", "goals.npy"
FIELDS = ("enabled", "tags", "text", "video")
HEADING = "Demonstrations. Change `enabled`, `tags` and `text` as you like: a running agent picks it up.\n"
LOCK_SECONDS = 60.0

Stamps: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SetInfo:
    """What the latents of a set are: made by which model (source: where it was, sha256: which it is), of D numbers each, at
    ``rate`` frames a second; nulls: whether frames in which nothing was done are left out. seen: whether what is
    seen now stands beside what the model remembers.

    embedder, embedder_key, embedder_dims: where the embedder of `goals` was, which it is, and G; "", "", 0: there are none.
    """

    source: str
    sha256: str
    dims: int
    rate: int
    drop_nulls: bool = True
    seen: bool = False
    version: int = VERSION
    embedder: str = ""
    embedder_key: str = ""
    embedder_dims: int = 0


@dataclass(frozen=True, eq=False)
class Demo:
    """A demonstration. latents: float16 (T, D), memory-mapped. track: its T actions. rows: int64 (T,), the frames of the video
    that they belong to. copied: bool (T,), False where the action was no example to follow: the player's hand slipped, or it
    was a novice's turn. video: where it was; it is needed to look at, not to play. goals: float16 (T, G), memory-mapped, what
    the set's embedder makes of the frames that end with each; None where that was not asked for."""

    name: str
    latents: NDArray[np.float16]
    track: ActionTrack
    rows: NDArray[np.int64]
    copied: NDArray[np.bool_]
    enabled: bool = True
    tags: tuple[str, ...] = ()
    text: str = ""
    video: Path = Path()
    goals: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Listing:
    """What `demos.toml` says of the demonstrations that can be used, and why others cannot."""

    demos: dict[str, Demo]
    problems: list[str] = field(default_factory=list)


class DemoSet:
    """A set on disk. Raises ValueError for a folder that holds none, or one of another version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / ABOUT
        if not path.is_file():
            raise ValueError(f"{path} does not exist; expected a set of demonstrations, as `vpt index` writes it")
        try:
            self.info = SetInfo(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not what `vpt index` writes ({error}); make the set again") from error
        if self.info.version != VERSION:
            raise ValueError(f"{path}: version {self.info.version}, this program reads {VERSION}; make the set again")
        self._known: dict[str, tuple[Stamps, Demo]] = {}

    @classmethod
    def create(cls, folder: Path, info: SetInfo) -> DemoSet:
        """A new, empty set, or the one that is there if it is of the same model. Raises ValueError if it is of another."""
        if (folder / ABOUT).is_file():
            there = cls(folder)
            there.require(info)
            return there
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomic(folder / ABOUT, asdict(info))
        return cls(folder)

    def require(self, info: SetInfo) -> None:
        """Raises ValueError if latents of ``info`` cannot be compared with those of the set."""
        for name in ("sha256", "dims", "rate", "drop_nulls", "seen"):
            have, given = getattr(self.info, name), getattr(info, name)
            if have != given:
                raise ValueError(
                    f"{self.folder}: its latents were made by the model {self.info.source} ({name} {str(have)[:12]}), not by "
                    f"{info.source} ({name} {str(given)[:12]}); latents of different models cannot be compared. Use the "
                    "model of the set, or make a new set with `vpt index`"
                )

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def stamp(self) -> tuple[int, int]:
        """Changes whenever `demos.toml` does."""
        return _stamp(self.folder / LISTING)

    def read(self) -> Listing:
        """The demonstrations, in the order of `demos.toml`. Those that are damaged are told of and left out.
        What was read before and has not changed is not read again.

        Raises ValueError, naming the line, where the file is no TOML.
        """
        demos, problems, entries = {}, [], self._entries()
        self._known = {name: known for name, known in self._known.items() if name in entries}
        for name, entry in entries.items():
            try:
                demos[name] = self._demo(name, entry)
            except ValueError as error:
                problems.append(str(error))
        return Listing(demos, problems)

    def _entries(self) -> dict[str, Any]:
        path = self.folder / LISTING
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            return dict(tomlkit.parse(text).unwrap())
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}; mend the line, or take the file from a copy") from error

    def _demo(self, name: str, entry: Any) -> Demo:
        where = f"{self.folder / LISTING}: [{name}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is {entry!r}, expected a table with {', '.join(FIELDS)}")
        unknown = sorted(set(entry) - set(FIELDS))
        if unknown:
            raise ValueError(f"{where} has the unknown keys {', '.join(unknown)}; expected {', '.join(FIELDS)}")
        enabled, tags, text = entry.get("enabled", True), entry.get("tags", []), entry.get("text", "")
        if not isinstance(enabled, bool) or not isinstance(text, str) or not isinstance(entry.get("video", ""), str):
            raise ValueError(f"{where}: expected enabled = true or false, and text and video in quotes")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(f'{where}: tags is {tags!r}, expected a list such as ["logs", "night"]')
        stamps = tuple(_stamp(self.folder / DEMOS / name / file) for file in (LATENTS, ACTIONS, GOALS))
        known = self._known.get(name)
        content = known[1] if known and known[0] == stamps else self._load(name)
        self._known[name] = stamps, content
        return replace(content, enabled=enabled, tags=tuple(tags), text=text, video=Path(entry.get("video", "")))

    def _load(self, name: str) -> Demo:
        """The part of a demonstration that never changes."""
        folder = self.folder / DEMOS / name
        again = f"remove it (`vpt demos remove {self.folder} {name}`) and index its recording again"
        try:
            latents = np.load(folder / LATENTS, mmap_mode="r", allow_pickle=False)
            with np.load(folder / ACTIONS, allow_pickle=False) as arrays:
                kept = {key: arrays[key] for key in ("buttons", "camera", "gui_open", "rows", "copied")}
            embedded = self.info.embedder and (folder / GOALS).is_file()
            goals = np.load(folder / GOALS, mmap_mode="r", allow_pickle=False) if embedded else None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"{folder}: damaged or not there ({error}); {again}") from error
        if latents.dtype != np.float16 or latents.ndim != 2 or latents.shape[1] != self.info.dims:
            raise ValueError(
                f"{folder}/latents.npy: {latents.dtype} {latents.shape}, expected float16 (frames, {self.info.dims}) as the "
                f"rest of the set; {again}"
            )
        track = ActionTrack(kept["buttons"], kept["camera"], kept["gui_open"])
        if not len(latents) == len(track) == len(kept["rows"]) == len(kept["copied"]) > 0:
            raise ValueError(f"{folder}: {len(latents)} latents but {len(track)} actions; {again}")
        if not kept["copied"].any():
            raise ValueError(f"{folder}: no frame of it is to be copied; {again}")
        if goals is not None and (goals.dtype != np.float16 or goals.shape != (len(track), self.info.embedder_dims)):
            expected = (len(track), self.info.embedder_dims)
            raise ValueError(f"{folder / GOALS}: {goals.dtype} {goals.shape}, expected float16 {expected}; {again}")
        return Demo(name, latents, track, kept["rows"], kept["copied"], goals=goals)

    # -- changing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def editing(self) -> Iterator[tomlkit.TOMLDocument]:
        """`demos.toml` to change, comments and all, while nobody else does; written when the block ends without error."""
        path = self.folder / LISTING
        with self._locked():
            self._entries()  # says what is wrong with it
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            document = tomlkit.parse(text)
            if not text:
                document.add(tomlkit.comment(HEADING.strip()))
            yield document
            with atomic_path(path) as part:
                part.write_text(tomlkit.dumps(document), encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise ValueError(
                f"{self.folder}: another process has been changing the set for {LOCK_SECONDS:.0f} s; try again when it is done"
            ) from None

    def has(self, name: str) -> bool:
        """Whether a demonstration of this name is listed and whole."""
        entry = self._entries().get(name)
        if entry is None:
            return False
        try:
            self._demo(name, entry)
        except ValueError:
            return False
        return True

    def add(
        self,
        name: str,
        latents: NDArray[np.float16],
        track: ActionTrack,
        rows: NDArray[np.int64],
        copied: NDArray[np.bool_],
        *,
        video: Path,
        tags: tuple[str, ...] = (),
        text: str = "",
        enabled: bool = True,
        goals: NDArray[np.float16] | None = None,
    ) -> None:
        """Add a demonstration, or put it in the place of the one of that name."""
        if not re.fullmatch(r"[\w.+@ -]+", name):
            raise ValueError(
                f"a demonstration cannot be called {name!r}; expected letters, digits, and any of . _ + @ -"
            )
        folder = self.folder / DEMOS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / GOALS).unlink(missing_ok=True)  # of what was there before
        for file, write in _files(latents, track, rows, copied).items():
            with atomic_path(folder / file) as part, part.open("wb") as stream:
                write(stream)
        if goals is not None:
            self.add_goals(name, goals)
        with self.editing() as document:
            table = document.get(name)
            if table is None:
                table = tomlkit.table()
                table.add("enabled", enabled)
                table.add("tags", list(tags))
                table.add("text", text)
                document.add(name, table)
            table["video"] = str(video)

    def add_goals(self, name: str, goals: NDArray[np.float16]) -> None:
        """Keep what the set's embedder (:meth:`use_embedder`) makes of a demonstration's frames, float16 (T, G)."""
        with atomic_path(self.folder / DEMOS / name / GOALS) as part, part.open("wb") as stream:
            np.save(stream, goals, allow_pickle=False)

    def use_embedder(self, source: str, key: str, dims: int) -> None:
        """Say whose embeddings the set keeps from now on. Raises ValueError if it keeps another's."""
        if self.info.embedder and self.info.embedder_key != key:
            raise ValueError(
                f"{self.folder}: its demonstrations were embedded with {self.info.embedder} ({self.info.embedder_key[:60]}), "
                f"not with {source} ({key[:60]}); embeddings of different models cannot be compared. Use the embedder of the "
                "set, or make a new set with `vpt index`"
            )
        with self._locked():
            self.info = replace(self.info, embedder=source, embedder_key=key, embedder_dims=dims)
            write_json_atomic(self.folder / ABOUT, asdict(self.info))


def _stamp(path: Path) -> tuple[int, int]:
    """Changes whenever a file does."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)


def _files(
    latents: NDArray[np.float16], track: ActionTrack, rows: NDArray[np.int64], copied: NDArray[np.bool_]
) -> dict[str, Callable[[Any], None]]:
    kept = {
        "buttons": track.buttons,
        "camera": track.camera,
        "gui_open": track.gui_open,
        "rows": rows,
        "copied": copied,
    }
    return {
        LATENTS: lambda stream: np.save(stream, latents, allow_pickle=False),
        ACTIONS: lambda stream: np.savez(stream, **kept),  # type: ignore[arg-type]
    }
