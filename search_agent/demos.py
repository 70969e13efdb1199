"""A set of demonstrations in a folder: what the search agent copies. Edit the set, and the agent does something else.

    SET/set.json            which model made the latents, and how
    SET/demos.toml          the demonstrations, for people to edit: enabled, tags, text
    SET/demos/NAME/         a demonstration's own files (demo_files.py)

Each demonstration lies apart, so that adding or removing one touches no other, and none is ever encoded twice. Whoever changes
the set holds its lock from reading `demos.toml` to writing it: two editors at once lose nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
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
from data.files import PART_MARK, atomic_path, write_json_atomic
from data.sources import unique_name
from search_agent.demo_files import (
    ACTIONS,
    GOALS,
    LATENTS,
    MIRRORED,
    Demo,
    discard,
    read_demo,
    require_name,
    require_whole,
    write_demo,
    write_goals,
)
from search_agent.set_info import ABOUT, SetInfo, read_info

__all__ = ["Demo", "DemoSet", "Listing", "SetInfo"]

LISTING, DEMOS = "demos.toml", "demos"
FIELDS = ("enabled", "tags", "text", "video")
HEADING = "# Demonstrations. Change `enabled`, `tags` and `text` as you like: a running agent picks it up.\n"
LOCK_SECONDS = 60.0

Stamps: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Listing:
    """What `demos.toml` says of the demonstrations that can be used, and why others cannot."""

    demos: dict[str, Demo]
    problems: list[str] = field(default_factory=list)


class DemoSet:
    """A set on disk. Raises ValueError for a folder that holds none, or one of another version."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.info = folder, read_info(folder / ABOUT)
        self._known: dict[str, tuple[Stamps, Demo]] = {}

    @classmethod
    def create(cls, folder: Path, info: SetInfo) -> DemoSet:
        """A new, empty set, or the one that is there if it is of the same model, which is looked for where ``info`` says from
        then on. Raises ValueError if it is of another model, or lacks its set.json."""
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not (folder / ABOUT).is_file():
                _require_no_set(folder)
                write_json_atomic(folder / ABOUT, asdict(info))
                with atomic_path(folder / LISTING) as part:
                    part.write_text(HEADING, encoding="utf-8")
            there = cls(folder)
            there.require(info)
            if there.info.source != info.source:
                there._write_info(replace(there.info, source=info.source))
        return there

    def _write_info(self, info: SetInfo) -> None:
        self.info = info
        write_json_atomic(self.folder / ABOUT, asdict(info))

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
        """The demonstrations, in the order of `demos.toml`. Those that are damaged, or lie there without being listed, are told
        of and left out. What was read before and has not changed is not read again.

        Raises ValueError, naming the line, where the file is no TOML, and where it is lost or empty and demonstrations are not.
        """
        lying = self._lying()  # looked for first: what is added from now on is not taken for unlisted
        demos, problems, entries = {}, [], self._entries()
        self._known = {name: known for name, known in self._known.items() if name in entries}
        for name, entry in entries.items():
            try:
                demos[name] = self._demo(name, entry)
            except ValueError as error:
                problems.append(str(error))
        for folder in lying:
            if folder.name not in entries and folder.is_dir():
                problems.append(
                    f"{folder}: not listed in {LISTING}; list it there as [{folder.name}], index its recording again, or "
                    "delete the folder"
                )
        return Listing(demos, problems)

    def videos(self) -> dict[str, Path | None]:
        """The names that are taken, also by demonstrations that cannot be used, and whose they are; None: it is not said.

        Raises ValueError as :meth:`read` does."""
        return {name: _video_of(entry) for name, entry in self._entries().items()}

    def _lying(self) -> list[Path]:
        """The folders of demonstrations, listed or not; hidden ones are not finished."""
        folder = self.folder / DEMOS
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())

    def _entries(self) -> dict[str, Any]:
        return dict(self._document().unwrap())

    def _document(self) -> tomlkit.TOMLDocument:
        path = self.folder / LISTING
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: cannot be read ({error}); mend it, or take the file from a copy") from error
        lying = [] if text.strip() else self._lying()
        if lying:
            raise ValueError(
                f"{path} is empty, but {len(lying)} demonstrations lie in {self.folder / DEMOS}; take the file from a copy, or "
                f"delete {self.folder} and index the recordings again"
            )
        try:
            document = tomlkit.parse(text if text.strip() else HEADING)
            document.unwrap()
        except TOMLKitError as error:
            raise ValueError(f"{path}: {error}; mend the line, or take the file from a copy") from error
        return document

    def _demo(self, name: str, entry: Any) -> Demo:
        require_name(name, str(self.folder / LISTING))
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
        stamps = tuple(_stamp(self.folder / DEMOS / name / file) for file in (LATENTS, ACTIONS, GOALS, MIRRORED))
        known = self._known.get(name)
        content = known[1] if known and known[0] == stamps else self._load(name)
        self._known[name] = stamps, content
        return replace(content, enabled=enabled, tags=tuple(tags), text=text, video=Path(entry.get("video", "")))

    def _load(self, name: str) -> Demo:
        try:
            return read_demo(self.folder / DEMOS / name, self.info.dims, self.info.embedder_dims)
        except ValueError as error:
            again = f"remove it (`vpt demos remove {self.folder} {name}`) and index its recording again"
            raise ValueError(f"{error}; {again}") from error

    # -- changing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def editing(self) -> Iterator[tomlkit.TOMLDocument]:
        """`demos.toml` to change, comments and all, while nobody else does; written when the block ends without error."""
        with _locked(self.folder):
            document = self._document()
            yield document
            with atomic_path(self.folder / LISTING) as part:
                part.write_text(tomlkit.dumps(document), encoding="utf-8")

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
        mirrored: NDArray[np.float16] | None = None,
        only_new: bool = False,
    ) -> str | None:
        """Add a demonstration, or put it in the place of the one of that name and video; another video's name is not taken
        from it, whoever added that meanwhile. Returns the name it has now; None where ``only_new`` and the name is taken.

        Raises ValueError for what :meth:`read` would refuse.
        """
        require_name(name, str(self.folder))
        kept = {
            "buttons": track.buttons,
            "camera": track.camera,
            "gui_open": track.gui_open,
            "rows": rows,
            "copied": copied,
        }
        try:
            require_whole(latents, kept, goals, mirrored, self.info.dims, self.info.embedder_dims)
        except ValueError as error:
            raise ValueError(f"{video}: cannot be added to {self.folder} as {name} ({error})") from error
        fresh, old = (self.folder / DEMOS / f".{secrets.token_hex(8)}{PART_MARK}" for _ in range(2))
        try:
            write_demo(fresh, latents, kept, goals, mirrored)
            with self.editing() as document:
                videos = {other: _video_of(entry) for other, entry in document.unwrap().items()}
                if only_new and name in videos:
                    return None
                if videos.get(name, video) != video:
                    name = unique_name(str(video), lambda other: videos.get(other, video) != video, name)
                place = self.folder / DEMOS / name
                if place.exists() or place.is_symlink():
                    place.rename(old)
                fresh.rename(place)
                if name not in document:
                    table = tomlkit.table()
                    table.update({"enabled": enabled, "tags": list(tags), "text": text})
                    document.add(name, table)
                document[name].update({"video": str(video)})
        finally:
            discard(fresh)
            discard(old)
        return name

    def add_goals(self, name: str, goals: NDArray[np.float16]) -> None:
        """Keep what the set's embedder (:meth:`use_embedder`) makes of a demonstration's frames, float16 (T, G). Raises
        ValueError if somebody removed it meanwhile."""
        folder = self.folder / DEMOS / name
        with _locked(self.folder):
            if not folder.is_dir():
                raise ValueError(f"{folder}: was removed while it was being embedded")
            write_goals(folder, goals)

    def use_embedder(self, source: str, key: str, dims: int) -> None:
        """Say whose embeddings the set keeps from now on. Raises ValueError if it keeps another's."""
        with _locked(self.folder):
            self.info = read_info(self.folder / ABOUT)
            if self.info.embedder and self.info.embedder_key != key:
                raise ValueError(
                    f"{self.folder}: its demonstrations were embedded with {self.info.embedder} "
                    f"({self.info.embedder_key[:60]}), not with {source} ({key[:60]}); embeddings of different models cannot "
                    "be compared. Use the embedder of the set, or make a new set with `vpt index`"
                )
            self._write_info(replace(self.info, embedder=source, embedder_key=key, embedder_dims=dims))


def _require_no_set(folder: Path) -> None:
    """Raises ValueError for the rest of a set that lost its set.json: nobody knows which model made it."""
    lost = [name for name in (DEMOS, LISTING) if (folder / name).exists()]
    if lost:
        raise ValueError(
            f"{folder}: holds {' and '.join(lost)} but no {ABOUT}, which says what made them; take it from a copy, or make the "
            "set in another folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise ValueError(
            f"{folder}: another process has been changing the set for {LOCK_SECONDS:.0f} s; try again when it is done"
        ) from None


def _video_of(entry: Any) -> Path | None:
    """Whose demonstration it is; None where somebody mistyped that."""
    video = entry.get("video") if isinstance(entry, dict) else None
    return Path(video) if isinstance(video, str) and video else None


def _stamp(path: Path) -> tuple[int, int]:
    """Changes whenever a file does."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)
