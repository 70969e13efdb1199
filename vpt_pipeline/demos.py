"""Look at and change a set of demonstrations: what it holds is what the search agent does. A running agent notices.

    vpt demos list sets/all
    vpt demos disable sets/all --tag dirt        # by tag
    vpt demos remove sets/all logs-3 logs-4      # by name
    vpt demos tag sets/all logs-1 --set logs night
    vpt demos merge sets/all --other sets/more

The same can be done by hand in SET/demos.toml.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from search_agent.demos import DEMOS, DemoSet
from search_agent.wishes import without_embeddings
from vpt_pipeline.progress import console, say


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

    set_to: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """The tags that they have from now on."""
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
    table = Table("name", "enabled", "tags", "seconds", "text", "video", *(["embedded"] if demos.info.embedder else []))
    for demo in listing.demos.values():
        there = "" if demo.video.is_file() else "gone"
        seconds = f"{len(demo) / demos.info.rate:.0f}"
        row = [demo.name, "yes" if demo.enabled else "no", ", ".join(demo.tags), seconds, demo.text, there]
        table.add_row(*row, *(["no" if demo.goals is None else "yes"] if demos.info.embedder else []))
    console.print(table)
    for problem in listing.problems:
        say(f"[yellow]cannot be used:[/yellow] {problem}")
    return 1 if listing.problems else 0


def _change(config: ChooseConfig, change: Callable[[Any, str], None], done: str) -> int:
    """Change the entries that were chosen. Raises ValueError for a name or a choice that is not there."""
    demos = DemoSet(config.set)
    with demos.editing() as document:
        unknown = sorted(set(config.names) - set(document))
        if unknown:
            raise ValueError(
                f"{config.set}: there is no demonstration {', '.join(unknown)}; `vpt demos list {config.set}` lists them"
            )
        chosen = [n for n, e in document.items() if n in config.names or set(config.tag) & set(e.get("tags", ()))]
        if not chosen:
            raise ValueError(
                f"{config.set}: no demonstration was chosen; expected names, or --tag with a tag that is there"
            )
        for name in chosen:
            change(document, name)
    say(f"{len(chosen)} {done}: {', '.join(chosen)}")
    return 0


def enable(config: ChooseConfig) -> int:
    """Let the agent copy them."""
    return _change(config, lambda document, name: document[name].update({"enabled": True}), "enabled")


def disable(config: ChooseConfig) -> int:
    """Keep them, but let the agent not copy them."""
    return _change(config, lambda document, name: document[name].update({"enabled": False}), "disabled")


def remove(config: ChooseConfig) -> int:
    """Take them out, latents and all; their recordings stay."""

    def change(document: Any, name: str) -> None:
        del document[name]
        shutil.rmtree(config.set / DEMOS / name, ignore_errors=True)

    return _change(config, change, "removed")


def tag(config: TagConfig) -> int:
    """Give them other tags or another text."""

    def change(document: Any, name: str) -> None:
        if config.set_to:
            document[name]["tags"] = list(config.set_to)
        if config.text is not None:
            document[name]["text"] = config.text

    return _change(config, change, "tagged")


def merge(config: MergeConfig) -> int:
    """Copy all of another set's demonstrations that are not there yet."""
    ours, theirs = DemoSet(config.set), DemoSet(config.other)
    ours.require(theirs.info)
    listing, there, added = theirs.read(), ours.read().demos, 0
    embedded = bool(ours.info.embedder) and ours.info.embedder_key == theirs.info.embedder_key
    for demo in listing.demos.values():
        if demo.name in there:
            say(f"[yellow]left out:[/yellow] {config.set} has a demonstration {demo.name}")
            continue
        ours.add(
            demo.name, demo.latents, demo.track, demo.rows, demo.copied, video=demo.video, tags=demo.tags, text=demo.text,
            enabled=demo.enabled, goals=demo.goals if embedded else None,
        )  # fmt: skip
        added += 1
    for problem in listing.problems:
        say(f"[yellow]left out:[/yellow] {problem}")
    say(f"{added} added to {config.set}")
    if added and ours.info.embedder and not embedded:
        say(f"[yellow]without embeddings:[/yellow] what was added; {without_embeddings(ours)}")
    return 1 if added < len(listing.demos) or listing.problems else 0
