"""Look at and change a set of demonstrations: what it holds is what the search agent does. A running agent notices.

    vpt demos list sets/all
    vpt demos disable sets/all --tag dirt        # by tag
    vpt demos remove sets/all logs-3 logs-4      # by name
    vpt demos tag sets/all logs-1 --set logs night
    vpt demos merge sets/all --other sets/more

The same can be done by hand in SET/demos.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rich.table
import tyro
from rich.markup import escape
from tomlkit import TOMLDocument
from tomlkit.items import Comment, Table, Whitespace

from search_agent.demo_files import discard, require_name
from search_agent.demos import DEMOS, FIELDS, LISTING, DemoSet
from search_agent.wishes import without_embeddings
from vpt_pipeline.progress import console, say, say_left_out


@dataclass(frozen=True)
class ListConfig:
    """Settings of `vpt demos list`."""

    set: Annotated[Path, tyro.conf.Positional]
    """The set (`vpt index --out`)."""


@dataclass(frozen=True)
class ChooseConfig:
    """Settings of `vpt demos enable`, `disable` and `remove`."""

    set: Annotated[Path, tyro.conf.Positional]
    """The set."""
    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Demonstrations, by name."""
    tag: tuple[str, ...] = ()
    """And all those with one of these tags."""


@dataclass(frozen=True)
class TagConfig(ChooseConfig):
    """Settings of `vpt demos tag`."""

    set_to: Annotated[tuple[str, ...] | None, tyro.conf.arg(name="set")] = None
    """The tags that they have from now on; without any they have none."""
    text: str | None = None
    """What they show, in words."""


@dataclass(frozen=True)
class MergeConfig:
    """Settings of `vpt demos merge`."""

    set: Annotated[Path, tyro.conf.Positional]
    """The set to add to."""
    other: Path
    """The set to take from; it stays as it is. Both must be of the same model."""


def list_demos(config: ListConfig) -> int:
    """Print the set. 0 if all of it is usable."""
    demos = DemoSet(config.set)
    listing = demos.read()
    more = ["embedded"] if demos.info.embedder else []
    table = rich.table.Table("name", "enabled", "tags", "seconds", "text", "video", *more)
    for demo in listing.demos.values():
        there = "" if demo.video.is_file() else "gone"
        seconds = f"{len(demo) / demos.info.rate:.0f}"
        row = [demo.name, "yes" if demo.enabled else "no", ", ".join(demo.tags), seconds, demo.text, there]
        row += ["no" if demo.goals is None else "yes"] if demos.info.embedder else []
        table.add_row(*map(escape, row))
    console.print(table)
    for problem in listing.problems:
        say(f"[yellow]cannot be used:[/yellow] {escape(problem)}")
    return 1 if listing.problems else 0


def _chosen(config: ChooseConfig, document: TOMLDocument) -> list[str]:
    """The entries that were chosen. Raises ValueError for a name or a tag that is not there, and where none was chosen."""
    tags = {name: _tags_of(entry) for name, entry in document.items()}
    lists = f"`vpt demos list {config.set}` lists them"
    unknown = sorted(set(config.names) - set(document))
    if unknown:
        raise ValueError(f"{config.set}: there is no demonstration {', '.join(unknown)}; {lists}")
    unknown = sorted(set(config.tag) - set().union(*tags.values()))
    if unknown:
        raise ValueError(f"{config.set}: there is no demonstration with the tag {', '.join(unknown)}; {lists}")
    chosen = [name for name in document if name in config.names or tags[name] & set(config.tag)]
    if not chosen:
        raise ValueError(
            f"{config.set}: no demonstration was chosen; expected names, or --tag with a tag that is there"
        )
    for name in chosen:
        require_name(name, str(config.set / LISTING))
    return chosen


def _tags_of(entry: Any) -> set[str]:
    """None for an entry that somebody mistyped."""
    tags = entry.get("tags") if isinstance(entry, dict) else None
    return {str(tag) for tag in tags} if isinstance(tags, list) else set()


def _change(config: ChooseConfig, values: Mapping[str, Any], done: str) -> int:
    """Give the entries that were chosen other values. Raises ValueError for an entry that has none."""
    with DemoSet(config.set).editing() as document:
        chosen = _chosen(config, document)
        for name in chosen:
            entry = document[name]
            if not isinstance(entry, dict):
                raise ValueError(
                    f"{config.set / LISTING}: [{name}] is {entry!r}, expected a table with {', '.join(FIELDS)}; mend it there"
                )
            entry.update(values)
    say(f"{len(chosen)} {done}: {escape(', '.join(chosen))}")
    return 0


def enable(config: ChooseConfig) -> int:
    """Let the agent copy them."""
    return _change(config, {"enabled": True}, "enabled")


def disable(config: ChooseConfig) -> int:
    """Keep them, but let the agent not copy them."""
    return _change(config, {"enabled": False}, "disabled")


def remove(config: ChooseConfig) -> int:
    """Take them out, latents and all; their recordings stay. 1 if not all of it could be deleted."""
    left = []
    with DemoSet(config.set).editing() as document:
        chosen = _chosen(config, document)
        for name in chosen:
            _take_out(document, name)
            try:
                discard(config.set / DEMOS / name)
            except OSError as error:
                left.append(str(error))
    say(f"{len(chosen)} removed: {escape(', '.join(chosen))}")
    for reason in left:
        say(f"[yellow]not deleted:[/yellow] {escape(reason)}; delete it by hand")
    return 1 if left else 0


def _take_out(document: TOMLDocument, name: str) -> None:
    """Remove an entry, but not the comments behind it: they stand before the next one, and tell of that."""
    entry, behind = document[name], ""
    if isinstance(entry, Table):
        for key, item in reversed(entry.value.body):
            if key is not None or not isinstance(item, Comment | Whitespace):
                break
            behind = item.as_string() + behind
    at = next(at for at, (key, _) in enumerate(document.body) if key is not None and key.key == name)
    document.remove(name)
    document.body[at] = (None, Whitespace(behind))


def tag(config: TagConfig) -> int:
    """Give them other tags or another text."""
    values = {"tags": None if config.set_to is None else list(config.set_to), "text": config.text}
    given = {key: value for key, value in values.items() if value is not None}
    if not given:
        raise ValueError("nothing to change: expected --set TAG ... (--set alone takes all tags away) or --text")
    return _change(config, given, "tagged")


def merge(config: MergeConfig) -> int:
    """Copy all of another set's demonstrations that are not there yet."""
    ours, theirs = DemoSet(config.set), DemoSet(config.other)
    ours.require(theirs.info)
    listing, there, added = theirs.read(), ours.videos(), 0
    embedded = bool(ours.info.embedder) and ours.info.embedder_key == theirs.info.embedder_key
    for demo in listing.demos.values():
        new = demo.name not in there and ours.add(
            demo.name, demo.latents, demo.track, demo.rows, demo.copied, video=demo.video, tags=demo.tags, text=demo.text,
            enabled=demo.enabled, goals=demo.goals if embedded else None, mirrored=demo.mirrored, only_new=True,
        )  # fmt: skip
        if not new:
            say_left_out(f"{config.set} has a demonstration {demo.name}")
        added += bool(new)
    for problem in listing.problems:
        say_left_out(problem)
    say(f"{added} added to {escape(str(config.set))}")
    if added and ours.info.embedder and not embedded:
        say(f"[yellow]without embeddings:[/yellow] what was added; {escape(without_embeddings(ours))}")
    return 1 if added < len(listing.demos) or listing.problems else 0
