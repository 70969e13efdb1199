"""The words of a labelling job's summary: rows of its tables, commands, and foreign text made fit to show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from data.labels import FLAGS
from data.stores import absolute, local_path
from vpt_pipeline.cluster.books import Video
from vpt_pipeline.cluster.history import Stretch
from vpt_pipeline.cluster.job import JobSettings
from vpt_pipeline.cluster.manifest import table_file
from vpt_pipeline.cluster.overview import Overview, least_confidence
from vpt_pipeline.cluster.summary_charts import length
from vpt_pipeline.report import Cell

MISSING_CHARTS = 'Charts need matplotlib, where the job runs: `pip install "vpt-pipeline[viz]"`. Here are the numbers.'

_MEANINGS = {
    "null": "nothing is done: no key, no turn",
    "gui": "a menu or inventory is open",
    "resampled": "from video at another rate, motion runs at the wrong speed",
    "cut": "a new scene begins here: no action leads here",
}
_NAME = 60


def clean(text: str, most: int = 400) -> str:
    """Foreign text to show: what would not show, or would turn the text around, as an escape; long text shortened."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def settings_rows(settings: JobSettings) -> list[dict[str, Cell]]:
    spans = f"of about {settings.span_parts} parts each" if settings.span_parts else "never"
    told = (
        ("model", settings.model_sha256, "its hash"),
        ("rate", f"{settings.rate}", "frames a second; videos of other rates are resampled"),
        ("doubt", f"{settings.doubt:g}", "rows less sure than this are flagged low_confidence"),
        ("device", settings.device, f"computed in {settings.precision}"),
        ("reader", clean(settings.backend), "which decoded the videos"),
        ("windows", f"{2 * settings.block}", f"frames that the model sees at once, in steps of {settings.block}"),
        ("long videos shared", spans, "among workers, which does not change the labels"),
    )
    return [{"setting": name, "value": value, "what it is": meaning} for name, value, meaning in told]


def flag_rows(overview: Overview, settings: JobSettings) -> list[dict[str, Cell]]:
    meanings = _MEANINGS | {"low_confidence": f"less sure than {settings.doubt:g}"}
    return [
        {
            "flag": flag,
            "frames": overview.flags[flag],
            "share": f"{overview.share(flag):.2%}",
            "hours": f"{overview.flags[flag] / settings.rate / 3600:.2f}",
            "meaning": meanings[flag],
        }
        for flag in FLAGS
        if overview.counted[flag]
    ]


def quantile_rows(overview: Overview) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    told = (("keys", overview.buttons), ("camera", overview.camera), ("share of null actions", overview.null))
    for name, values in told:
        quantiles: dict[str, Cell] = {
            f"{q} %": round(float(np.percentile(values, q)), 3) for q in (0, 10, 25, 50, 75, 90, 100)
        }
        rows.append({"of a video": name, **quantiles})
    return rows


def time_rows(stretches: Sequence[Stretch]) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for stretch in stretches:
        begun = datetime.fromtimestamp(float(stretch.time[0]), timezone.utc)
        busy = stretch.model_seconds / stretch.worker_seconds if stretch.worker_seconds else 0.0
        rows.append(
            {
                "begun (UTC)": begun.strftime("%Y-%m-%d %H:%M"),
                "worked": length(stretch.seconds),
                "frames": stretch.frames,
                "frames/s": f"{stretch.frames / stretch.seconds:,.0f}",
                "model busy": f"{busy:.0%}",
                "workers": f"{stretch.worker_seconds / stretch.seconds:,.1f}",
                "workers lost": stretch.deaths,
            }
        )
    return rows


def sure_row(video: Video) -> dict[str, Cell]:
    """Of a video that has labels."""
    rows, labels = video.rows or 1, video.facts["labels"]
    return {
        "video": _short(video.name),
        "frames": video.rows,
        "lesser of both": round(least_confidence(video), 3),
        "keys": round(labels["conf_buttons"], 3),
        "camera": round(labels["conf_camera"], 3),
        "low confidence": f"{labels['low_confidence'] / rows:.0%}",
        "null": f"{labels['null'] / rows:.0%}",
        "gui": f"{labels['gui'] / rows:.0%}",
    }


def work_row(video: Video) -> dict[str, Cell]:
    return {
        "video": _short(video.name),
        "seconds": f"{video.seconds:,.1f}",
        "ms/frame": f"{1000 * video.seconds / video.rows:,.1f}" if video.rows else None,
        "frames": video.rows,
        "MiB": None if video.bytes is None else f"{video.bytes / 2**20:,.1f}",
        "state": "given up" if video.state == "quarantined" else video.state,
    }


def _short(name: str) -> str:
    name = clean(name)
    return name if len(name) <= _NAME else f"{name[: _NAME - 17]}…{name[-16:]}"


def look_at(video: Video, place: Place) -> str:
    table = f"{place.out}/{table_file(video.name)}"
    return f"vpt inspect {_quoted(video.url)} \\\n    --labels {_quoted(table)}"


def _quoted(text: str) -> str:
    """As a shell takes it back, on one line."""
    if text.isprintable():
        return shlex.quote(text)
    inner = "".join(c if c.isprintable() else _escaped(c) for c in text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{inner}'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


class Place:
    """Where the labels are, and what can be done with them there. out: folder or URL of the job's version."""

    def __init__(self, out: str) -> None:
        self.local = local_path(out) is not None
        self.out = absolute(out).rstrip("/") or "/"
        above, _, last = self.out.rpartition("/")
        self.root = above if re.fullmatch(r"v\d+", last) else self.out

    def advice(self, overview: Overview) -> list[str]:
        told = ["**Prove** that every table is there and as it was written, here or where you copied this folder to."]
        if overview.states["done"]:
            where = (
                "" if self.local else " It reads local tables: copy this folder to where it runs, and name that one."
            )
            told.append(f"**Clean:** `vpt filter` keeps spans that are sure, active and unbroken.{where}")
        return told

    def commands(self, overview: Overview) -> list[str]:
        lines = [f"vpt label --verify {_quoted(self.root)}"]
        if overview.states["done"]:
            labels = f"{self.out}/labels" if self.local else "FOLDER/labels"
            sums = _quoted(self.out) if self.local else "FOLDER"
            lines.append(f"(cd {sums} && sha256sum --quiet -c SHA256SUMS)    # the same without this package")
            lines.append(f"vpt filter {_quoted(labels)}")
        return lines
