"""``vpt doctor``: what works on this machine, what is missing, and the command that mends it.

Answers in under two seconds and on a bare install: it imports none of the packages it asks about, and prints a
plain table where ``rich`` is missing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from vpt_pipeline.checks import Check, can_play, demo_obstacles, run_all

MARKS = {"ok": ("ok", "green"), "warning": ("note", "yellow"), "missing": ("MISSING", "red")}


@dataclass(frozen=True)
class DoctorConfig:
    """Say what works on this machine, what is missing, and the command that mends it."""

    json: bool = False
    """Print one JSON object instead of a table."""
    runs: Path = Path("runs")
    """The folder that results will be written to (its disk space is checked)."""


def main(config: DoctorConfig) -> int:
    """Print the report. Returns 0 when ``vpt demo`` can run here, 1 otherwise."""
    checks = run_all(config.runs)
    obstacles, games = demo_obstacles(checks), can_play(checks)
    if config.json:
        report = {"demo": not obstacles, "games": games, "obstacles": obstacles}
        print(json.dumps({**report, "checks": [dataclasses.asdict(check) for check in checks]}, indent=2))
    else:
        show(checks)
        print(_verdict(obstacles, games))
    return 1 if obstacles else 0


def _verdict(obstacles: list[str], games: list[str]) -> str:
    if obstacles:
        return "The demo cannot run here yet:\n" + "\n".join(f"  - {line}" for line in obstacles)
    if "luanti" in games:
        return "The demo can run here: make demo"
    return "The demo can run here, with ViZDoom in the place of Luanti: make demo"


def show(checks: list[Check]) -> None:
    """Print checks as a table, and below it what mends them."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        _print_plain(checks)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "found", "needed for"):
        table.add_column(column, overflow="fold", no_wrap=column == "what")
    for check in checks:
        mark, colour = MARKS[check.status]
        table.add_row(f"[{colour}]{mark}[/]", check.name, escape(check.found), check.needed_for)
    console = Console()
    console.print(table)
    for check in checks:  # below the table, so that a command can be copied whole
        if check.fix:
            console.print(f"[bold]{check.name}[/]: {escape(check.fix)}", soft_wrap=True, highlight=False)


def _print_plain(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{MARKS[check.status][0]:8}{check.name:{width}}  {check.found}  [{check.needed_for}]")
    for check in checks:
        if check.fix:
            print(f"{check.name}: {check.fix}")
