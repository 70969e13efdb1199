"""Choose what of many labels is worth training on: confident, active, unbroken spans, as one table.

Reads label tables one video at a time, so a hundred thousand need no more memory than one. A table that cannot be read is
named, left out, and costs the others nothing. Rules run in the order of the summary, and a frame counts for the first rule that
drops it. `vpt thresholds` chooses --min-buttons and --min-camera by recordings whose true actions are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.clean_spans import RULES, CleanRules, read_thresholds
from data.files import sha256_file
from data.span_table import CleanedTable, clean_table, find_tables, is_span_table, span_writer
from vpt_pipeline.progress import progress_bar, say
from vpt_pipeline.quality import RATE
from vpt_pipeline.report import Cell, Number, Report


@dataclass(frozen=True)
class FilterConfig:
    """Settings of `vpt filter`."""

    labels: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Label tables (.parquet), folders of them, or the folders of labelling jobs."""
    out: Path = Path("runs/clean.parquet")
    """The table of clean spans."""
    thresholds: Path | None = None
    """A thresholds.json from `vpt thresholds`, in place of --min-buttons, --min-camera, --smooth and --tolerate."""
    rules: Annotated[CleanRules, tyro.conf.arg(name="")] = field(default_factory=CleanRules)
    """What a clean span is."""
    report: Path | None = None
    """Also write the summary as a page, report.html say."""


@dataclass
class Tally:
    """What the rules did to all tables so far."""

    tables: int = 0
    videos: int = 0
    frames: int = 0
    kept: int = 0
    spans: int = 0
    cuts: int = 0
    whole_dropped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    longest: tuple[int, int, str, Path] | None = None
    """Frames, first frame, video and label table of the longest span."""

    def add(self, cleaned: CleanedTable) -> None:
        self.tables += 1
        for video in cleaned.videos:
            lengths = video.stop - video.start
            self.videos += 1
            self.frames += video.frames
            self.kept += int(lengths.sum())
            self.spans += len(lengths)
            self.cuts += video.cuts
            self.whole_dropped += not len(lengths)
            self.dropped.update(video.dropped)
            if len(lengths) and (self.longest is None or lengths.max() > self.longest[0]):
                best = int(lengths.argmax())
                self.longest = (int(lengths[best]), int(video.start[best]), video.video, cleaned.path)

    def rows(self) -> list[dict[str, Cell]]:
        """A row a rule, then what is kept."""
        counts = [(rule, self.dropped[rule]) for rule in RULES] + [("kept", self.kept), ("all", self.frames)]
        return [
            {
                "rule": rule,
                "frames": count,
                "hours": f"{_hours(count):.2f}",
                "share": f"{_share(count, self.frames):.1%}",
            }
            for rule, count in counts
        ]

    def notes(self) -> dict[str, Any]:
        """For the metadata of the span table."""
        dropped = {rule: self.dropped[rule] for rule in RULES}
        return {"frames": self.frames, "kept": self.kept, "dropped": dropped, "left_out": self.problems}


def _hours(frames: int) -> float:
    return frames / RATE / 3600


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def filter_tables(paths: Sequence[Path], rules: CleanRules, out: Path, thresholds: Path | None = None) -> Tally:
    """Clean every label table of ``paths`` and write the span table ``out``; the tables and their order decide its bytes.

    Tables that cannot be read, and those with a video that an earlier one has, are told in the tally's problems; span tables
    are passed over. Raises ValueError, writing nothing, where no table could be used.
    """
    tally, owner, notes = Tally(), dict[str, Path](), dict[str, Any]()
    if thresholds is not None:
        notes["thresholds"] = {"path": str(thresholds), "sha256": sha256_file(thresholds)}
    with progress_bar("filtering", len(paths), "tables") as bar, span_writer(out, rules, notes) as writer:
        for path in paths:
            try:
                cleaned = clean_table(path, rules)
                _refuse_repeated(cleaned, owner)
            except ValueError as error:
                if not is_span_table(path):
                    tally.problems.append(str(error))
                    say(f"[red]left out:[/red] {escape(str(error))}")
            else:
                owner.update((video.video, path) for video in cleaned.videos)
                tally.add(cleaned)
                writer.add(cleaned)
            bar.advance()
        if not tally.tables:
            first = tally.problems[0] if tally.problems else "no label table"
            raise ValueError(f"none of {len(paths)} tables could be used; the first: {first}")
        notes |= tally.notes()
    return tally


def _refuse_repeated(cleaned: CleanedTable, owner: dict[str, Path]) -> None:
    for video in cleaned.videos:
        if video.video in owner:
            both = f"video {video.video!r} is also in {owner[video.video]}"
            raise ValueError(f"{cleaned.path}: {both}; give one of the two tables, or filter them apart")


def print_summary(tally: Tally, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for n, column in enumerate(("dropped by", "frames", "hours", "share")):
        table.add_column(column, justify="right" if n else "left", no_wrap=True)
    for row in tally.rows():
        last = row["rule"] in ("kept", "all")
        table.add_row(str(row["rule"]), f"{row['frames']:,}", str(row["hours"]), str(row["share"]),
                      style="bold" if row["rule"] == "kept" else None if row["frames"] or last else "dim",
                      end_section=row["rule"] == RULES[-1])  # fmt: skip
    console.print(table)


def write_report(path: Path, tally: Tally, rules: CleanRules, out: Path) -> None:
    """The summary as a page."""
    report = Report("Which labels are worth training on?", f"{tally.tables} label tables, {tally.videos} videos")
    report.section("In short").numbers(
        Number(
            f"{_share(tally.kept, tally.frames):.1%}", "of the frames are kept", f"{tally.kept:,} of {tally.frames:,}"
        ),
        Number(f"{_hours(tally.kept):.2f} h", f"in {tally.spans:,} spans", f"of {_hours(tally.frames):.2f} h"),
        Number(f"{tally.whole_dropped:,}", "videos without a clean span", f"of {tally.videos:,}"),
    )
    report.section("Rules", "A frame counts for the first rule that drops it.").table(tally.rows())
    report.table([{"setting": name, "value": value} for name, value in rules.to_dict().items()])
    if tally.problems:
        report.section("Left out", f"{len(tally.problems):,} tables.")
        report.code("\n".join(tally.problems[:100]))
    report.section("How to go on", f"The spans are in `{out}`.").write(path)


def main(config: FilterConfig) -> int:
    """0 if every table could be used, 1 if some were left out."""
    rules = config.rules if config.thresholds is None else read_thresholds(config.thresholds, config.rules)
    paths = find_tables(config.labels)
    tally = filter_tables([p for p in paths if p != config.out], rules, config.out, config.thresholds)
    print_summary(tally, Console())
    say(
        f"{config.out}: {tally.spans:,} spans, {_hours(tally.kept):.2f} of {_hours(tally.frames):.2f} hours, "
        f"from {tally.videos - tally.whole_dropped:,} of {tally.videos:,} videos; {tally.cuts:,} cuts"
    )
    if config.report is not None:
        write_report(config.report, tally, rules, config.out)
        say(f"report: {config.report}")
    if tally.problems:
        say(f"[red]left out:[/red] {len(tally.problems):,} tables (reasons above)")
    if tally.longest is not None:
        frames, start, video, table = tally.longest
        say(
            f"Look at the longest span, of {escape(video)}: "
            f"vpt inspect VIDEO --labels {table} --start {start} --frames {min(frames, 400)}"
        )
    else:
        say(
            "Nothing is left. Look at the rule that drops most, and at confidence with `vpt inspect` or `vpt thresholds`."
        )
    return 1 if tally.problems else 0
