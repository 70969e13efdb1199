"""summary.html of a labelling job: what was labelled, how sure the labels are, what it took, and what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from data.stores import local_path
from vpt_pipeline.cluster.history import Stretch
from vpt_pipeline.cluster.job import JobSettings
from vpt_pipeline.cluster.overview import Listing, Overview
from vpt_pipeline.cluster.summary_charts import can_draw, confidence_chart, length, speed_chart
from vpt_pipeline.cluster.summary_text import (
    MISSING_CHARTS,
    Place,
    clean,
    counted,
    flag_rows,
    look_at,
    quantile_rows,
    settings_rows,
    sure_row,
    time_rows,
    work_row,
)
from vpt_pipeline.report import Cell, Number, Report

_FEW = 6
_KINDS_SHOWN = 12
_LINE = 110
_RUNS_SHOWN = 20


def summary(overview: Overview, stretches: Sequence[Stretch], settings: JobSettings, out: str) -> Report:
    """The page. out: the folder or URL of the job's version. Names and errors in it may hold anything."""
    place = Place(out)
    report = Report("What a labelling job made", f"`{clean(place.out)}`")
    _in_short(report, overview, stretches, settings)
    if overview.null:
        _confidence(report, overview, settings)
    _given_up(report, overview.given_up)
    _worth_a_look(report, overview, place)
    _time(report, overview, stretches)
    report.section("Settings", "These and the model decide the labels; other settings make another version.")
    report.table(settings_rows(settings), "Kept in `job.json`.")
    _next(report, overview, place)
    for listing, what, title in (
        (overview.given_up, "error", "Given up, one by one"),
        (overview.odd, "problem", "Problems, one by one"),
    ):
        if listing.count > _FEW:
            _list(report.section(title), listing, what)
    return report


def _in_short(report: Report, overview: Overview, stretches: Sequence[Stretch], settings: JobSettings) -> None:
    states, frames = overview.states, overview.frames
    total = sum(states.values())
    worked = sum(stretch.seconds for stretch in stretches)
    doubted = overview.share("low_confidence")
    tiles = [
        Number(
            f"{states['done']:,}",
            f"of {counted(total, 'video')} labelled",
            _still(states["open"], states["quarantined"]),
        ),
        Number(f"{frames / settings.rate / 3600:,.1f} h", "of video labelled", counted(frames, "frame")),
    ]
    if worked:
        speed = sum(stretch.frames for stretch in stretches) / worked
        tiles.append(Number(f"{speed:,.0f}", "frames/s over the time worked", f"{length(worked)} of work"))
    if doubted is not None:
        tiles.append(Number(f"{doubted:.1%}", "of frames are low_confidence", f"less sure than {settings.doubt:g}"))
    report.section("In short").numbers(*tiles)
    if states["open"]:
        report.text(
            f"**Not finished:** {counted(states['open'], 'video')} still to be labelled. The same `vpt label` command goes on "
            "where this ended, and writes this page anew."
        )
    if not states["done"]:
        report.text("**No video is labelled yet**, so there is nothing to say of labels.")


def _still(still_open: int, given_up: int) -> str:
    parts = [f"{still_open:,} still to do"] if still_open else []
    parts += [f"{given_up:,} given up"] if given_up else []
    return ", ".join(parts) or "none left, none given up"


def _confidence(report: Report, overview: Overview, settings: JobSettings) -> None:
    report.section(
        "How sure the labels are",
        "Confidence is the model's own, after calibration: for keys that of the least sure one, for the camera the probability "
        "of the likeliest bin. It says what to look at and what to filter, not whether labels are right: that takes "
        "recorded actions and `vpt eval-idm`.",
    )
    if can_draw():
        report.image(confidence_chart(overview, settings.doubt), "All labelled frames, and all labelled videos.")
    else:
        report.text(MISSING_CHARTS)
        shares = overview.confidence.reshape(-1, 2).sum(1) / max(overview.confidence.sum(), 1)
        report.table(
            [{"confidence": f"{n / 10:.1f} to {(n + 1) / 10:.1f}", "frames": f"{s:.1%}"} for n, s in enumerate(shares)]
        )
        report.table(
            quantile_rows(overview), "So many percent of the videos have this mean confidence, or this share, or less."
        )
    report.table(flag_rows(overview, settings))


def _given_up(report: Report, listing: Listing) -> None:
    if not listing.count:
        return
    report.section(
        "Given up",
        f"{counted(listing.count, 'video')} could not be labelled, after several tries each. The others did not suffer from "
        "it. Once the cause is mended, the same `vpt label` command with `--retry-quarantined` tries them again.",
    )
    _kinds_or_list(report, listing, "error", "Given up, one by one")


def _kinds_or_list(report: Report, listing: Listing, what: str, elsewhere: str) -> None:
    """A few are listed here; of many the kinds are, and a section at the page's end lists them."""
    if listing.count <= _FEW:
        _list(report, listing, what)
    else:
        _kinds(report, listing, what)
        report.text(f"Which they are is told at the end, under **{elsewhere}**.")


def _kinds(report: Report, listing: Listing, what: str) -> None:
    most = listing.kinds.most_common(_KINDS_SHOWN)
    rows: list[dict[str, Cell]] = [{"videos": count, what: clean(kind, 120)} for kind, count in most]
    left = len(listing.kinds) - len(most)
    report.table(rows, f"And {counted(left, 'other kind')}, each of fewer videos." if left else "")


def _list(report: Report, listing: Listing, what: str) -> None:
    lines = []
    for video, told in listing.first:
        lines.append(clean(video.url, 1000))
        for line in told:
            wrapped = textwrap.wrap(
                clean(line.removeprefix(f"{video.url}: "), 1200), _LINE, break_long_words=False, break_on_hyphens=False
            ) or [""]
            lines += [f"    {part}" for part in wrapped]
    report.code("\n".join(lines))
    if listing.count > len(listing.first):
        column = "column `error`" if what == "error" else "column `problems`"
        report.text(f"The first {len(listing.first):,} of {listing.count:,}; all are in `manifest.parquet`, {column}.")


def _worth_a_look(report: Report, overview: Overview, place: Place) -> None:
    least = overview.least_sure.videos()
    if not least and not overview.odd.count:
        return
    report.section("Worth a look")
    if least:
        report.text("**The least sure videos.** Watch some seconds of them with what was labelled drawn below:")
        report.table([sure_row(video) for video in least], "Means over a video's frames, and shares of them.")
        report.code("\n".join(look_at(video, place) for video in least[:5]))
        if not place.local or any(local_path(video.url) is None for video in least):
            report.text("`vpt inspect` reads local files: get a video and its table first.")
    if overview.resampled:
        report.text(
            f"**{counted(overview.resampled, 'video')} had another frame rate** than the model's, or an uneven one; frames "
            "whose motion runs at the wrong speed are flagged `resampled`."
        )
    if overview.odd.count:
        report.text(f"**{counted(overview.odd.count, 'video')} had something wrong**, and were labelled nevertheless:")
        _kinds_or_list(report, overview.odd, "problem", "Problems, one by one")


def _time(report: Report, overview: Overview, stretches: Sequence[Stretch]) -> None:
    report.section("What it took")
    if not stretches:
        report.text("No `progress.jsonl` lies beside the books, so how fast it went is not known.")
    else:
        report.text(_bottleneck(stretches))
        if can_draw():
            caption = "Means of the last 90 seconds. Pauses, in which no run was at work, are drawn as narrow bands."
            report.image(speed_chart(stretches), caption)
        shown = stretches[-_RUNS_SHOWN:]
        note = f"The last {len(shown)} of {len(stretches)}." if len(shown) < len(stretches) else ""
        report.table(time_rows(shown), note)
    if slowest := overview.slowest.videos():
        report.text("**Slowest, by the time for a frame:**").table([work_row(video) for video in slowest])
    if longest := [video for video in overview.longest.videos() if video.seconds]:
        report.text("**Those that took longest:**").table(
            [work_row(video) for video in longest],
            "Time is what tasks took, lost tries too; a worker has several videos at a time, and they share its model.",
        )
    if overview.seconds["quarantined"]:
        lost = overview.seconds["quarantined"] / sum(overview.seconds.values())
        report.text(f"{lost:.1%} of the time of all tasks went to videos that were given up in the end.")


def _bottleneck(stretches: Sequence[Stretch]) -> str:
    workers = sum(stretch.worker_seconds for stretch in stretches)
    busy = sum(stretch.model_seconds for stretch in stretches) / workers if workers else 0.0
    deaths = sum(stretch.deaths for stretch in stretches)
    told = f"Workers were there for {length(workers)} in all, and their models computed in **{busy:.0%}** of it. "
    if busy >= 0.85:
        told += "They are the limit: more or faster devices make it faster."
    elif busy < 0.6:
        told += (
            "The models mostly wait, for decoding, downloads or other programs: more `--cpus` and `--decoders` for each "
            "worker, or videos that lie nearer, make it faster."
        )
    else:
        told += "Decoding and model hold each other up a little."
    return told + (f" {counted(deaths, 'worker')} died and were replaced." if deaths else "")


def _next(report: Report, overview: Overview, place: Place) -> None:
    report.section("What next", "\n\n".join(place.advice(overview)))
    report.code("\n".join(place.commands(overview)))
    report.text(
        "In this folder: `labels/`, a table a video; `manifest.parquet`, a row a video with state, error, hashes and the "
        "numbers above; `SHA256SUMS`; `job.json`."
    )
