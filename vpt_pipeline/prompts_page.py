"""A page about one agent that was asked for several things from the same start: side by side, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from data.resample import TICK_RATE
from vpt_pipeline.prompts import read_asked
from vpt_pipeline.prompts_view import said, write_sheet, write_side_by_side
from vpt_pipeline.report import MAX_CLIP_BYTES, Cell, Report
from vpt_pipeline.rollout import Rollout
from vpt_pipeline.tasks import tasks_of


def add_side_by_side(
    report: Report, played: Sequence[Rollout], game: str, stem: Path, tell: Callable[[int], None] = lambda frames: None
) -> None:
    """Write STEM.mp4 (side by side) and STEM.png (a sheet), and add both to a section of a report, with what came of each.

    played: of one task and seed, with videos, as `vpt play` and `vpt evaluate` leave them. Raises ValueError for others.
    """
    _one_start(played)
    lacking = [one.agent for one in played if one.video is None]
    if lacking:
        raise ValueError(f"expected plays with videos, found none of {', '.join(lacking)}")
    videos = [Path(str(one.video)) for one in played]
    clip = write_side_by_side(videos, _beside(stem, ".mp4"), tell)
    sheet = write_sheet(videos, _beside(stem, ".png"))
    if clip.stat().st_size <= MAX_CLIP_BYTES:
        report.video(clip, "Above each play is what was asked for; one that ended early stays, dimmed.")
    else:
        report.text(f"The video is too long to be a part of this page: `{clip.name}` beside it.")
    report.image(sheet.read_bytes(), "Moments of each play, from left to right.", chart=False)
    report.table(
        [_row(one, video, game) for one, video in zip(played, videos, strict=True)],
        "What came of each: one episode, something to look at and no measurement; `vpt evaluate` plays many.",
    )


def write_page(
    played: Sequence[Rollout], game: str, stem: Path, tell: Callable[[int], None] = lambda frames: None
) -> Path:
    """Write STEM.mp4, STEM.png and STEM.html, which needs no other file; see :func:`add_side_by_side`. Returns the page."""
    first = _one_start(played)
    report = Report(
        "One start, several wishes",
        f"`{first.agent.partition(':')[0]}` at `{first.task}`, seed {first.seed}, world {first.map_seed}",
    )
    report.section("Side by side", "Every play begins in the same world, at the same place, with the same dice.")
    add_side_by_side(report, played, game, stem, tell)
    page = _beside(stem, ".html")
    report.write(page)
    return page


def _one_start(played: Sequence[Rollout]) -> Rollout:
    """The first of plays that all begin alike. Raises ValueError where they do not, or there are none."""
    starts = {(one.task, one.seed, one.map_seed) for one in played}
    if len(starts) != 1:
        raise ValueError(f"expected plays of one start, found tasks, seeds and worlds {sorted(starts)}")
    return played[0]


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _row(played: Rollout, video: Path, game: str) -> dict[str, Cell]:
    tasks, measures = tasks_of(game), played.measures or {}
    row: dict[str, Cell] = {"asked for": said(read_asked(video))}
    row |= {"seconds": round(played.frames / TICK_RATE, 1), "ended": played.ended or "by time"}
    return row | {f"{name} ({tasks[name].unit})": value for name, value in measures.items() if tasks[name].goal}
