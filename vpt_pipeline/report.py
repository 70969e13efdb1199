"""A report as one HTML file that needs nothing else: text, tables, charts and short clips, readable anywhere.

Pictures and videos are embedded, so the file can be mailed or archived as it is. It follows the reader's light or
dark setting, fits a phone, and prints. There is no script in it and nothing is loaded from elsewhere.

    report = Report("How good are the labels?", "4 recordings, 12 minutes")
    report.section("In short").numbers(Number("0.82", "event F1 within ±1 frame", "random presses: 0.04"))
    report.section("Keys", "Means over **9 keys**.").table(rows).image(png, "Event F1 by key")
    report.write(Path("runs/report.html"))
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from data.files import atomic_path
from vpt_pipeline.report_style import STYLE

MAX_CLIP_BYTES = 25 * 2**20
"""A clip larger than this makes a report that browsers choke on."""

_VIDEO_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
_IMAGE_MARKS = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Number:
    """A headline number: what it is, and what it should be compared with."""

    value: str
    label: str
    compare: str = ""


class Report:
    """Collects parts in reading order. Every method but ``write`` returns the report, so that calls can be chained.

    Text is plain, with three marks: ``**bold**``, `` `code` `` and blank lines between paragraphs.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._sections: list[str] = []
        self._parts: list[str] = []

    def section(self, title: str, text: str = "") -> Report:
        """Begin a section; it also gets an entry in the table of contents."""
        anchor = f"s{len(self._sections) + 1}"
        self._sections.append(title)
        closing = "</section>" if len(self._sections) > 1 else ""
        self._parts.append(f'{closing}<section id="{anchor}"><h2>{html.escape(title)}</h2>')
        return self.text(text) if text else self

    def text(self, words: str) -> Report:
        self._parts.extend(f"<p>{_marked(part)}</p>" for part in re.split(r"\n\s*\n", words.strip()))
        return self

    def numbers(self, *numbers: Number) -> Report:
        """Headline numbers, side by side."""
        tiles = "".join(
            f'<div class="tile"><div class="value">{html.escape(n.value)}</div><div class="label">{_marked(n.label)}</div>'
            + (f'<div class="compare">{_marked(n.compare)}</div>' if n.compare else "")
            + "</div>"
            for n in numbers
        )
        self._parts.append(f'<div class="tiles">{tiles}</div>')
        return self

    def table(self, rows: Sequence[Mapping[str, Cell]], note: str = "", *, faint: Sequence[int] = ()) -> Report:
        """Rows with the same columns; the first row gives their order. None shows as a dash; numbers, also written as
        text, stand to the right.

        faint: the indices of rows that are only there for comparison. Raises ValueError where columns differ.
        """
        if not rows:
            return self.text(note or "Nothing to show.")
        columns = list(rows[0])
        for index, row in enumerate(rows):
            if set(row) != set(columns):
                raise ValueError(
                    f"row {index} of the table has columns {sorted(row)}, the first row has {sorted(columns)}"
                )
        numeric = {
            c for c in columns if all(_is_number(row[c]) for row in rows) and any(row[c] is not None for row in rows)
        }
        head = "".join(f"<th{_class('num' if c in numeric else '')}>{_marked(c)}</th>" for c in columns)
        body = "".join(
            f"<tr{_class('faint' if index in faint else '')}>"
            + "".join(f"<td{_class('num' if c in numeric else '')}>{_cell(row[c])}</td>" for c in columns)
            + "</tr>"
            for index, row in enumerate(rows)
        )
        self._parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )
        return self._note(note)

    def image(self, data: bytes, caption: str = "", *, chart: bool = True) -> Report:
        """A PNG, JPEG or WebP. A chart (dark on white) is inverted where the reader prefers dark; a photo is not."""
        kind = next((kind for mark, kind in _IMAGE_MARKS if data.startswith(mark)), None)
        if kind is None:
            raise ValueError(f"an image of the report begins with {data[:8]!r}; expected PNG, JPEG or WebP bytes")
        # All charts at one scale, so that their letters are of one size: 160 dots an inch, shown at 110.
        size = f' width="{round(_png_width(data) * 110 / 160)}"' if chart and kind == "image/png" else ""
        name = "chart" if chart else "photo"
        return self._figure(
            f'<img class="{name}"{size} src="{_embedded(kind, data)}" alt="{_plain(caption)}">', caption
        )

    def video(self, path: Path, caption: str = "") -> Report:
        """A short clip (.mp4 with H.264, or .webm). Raises ValueError for other types and for large files."""
        kind = _VIDEO_TYPES.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path} cannot be embedded: expected {' or '.join(_VIDEO_TYPES)}, found {path.suffix!r}")
        if path.stat().st_size > MAX_CLIP_BYTES:
            raise ValueError(
                f"{path} has {path.stat().st_size / 2**20:.0f} MiB, the limit for a clip in a report is "
                f"{MAX_CLIP_BYTES // 2**20}: cut it with `vpt inspect --start S --frames N`"
            )
        source = _embedded(kind, path.read_bytes())
        return self._figure(f'<video controls muted loop playsinline src="{source}"></video>', caption)

    def code(self, text: str) -> Report:
        """Commands or other text that is kept as it is."""
        self._parts.append(f"<pre><code>{html.escape(text.strip())}</code></pre>")
        return self

    def html(self) -> str:
        links = "".join(f'<a href="#s{n}">{html.escape(title)}</a>' for n, title in enumerate(self._sections, 1))
        subtitle = f'<p class="subtitle">{_marked(self.subtitle)}</p>' if self.subtitle else ""
        written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style></head><body>"
            f"<header><h1>{html.escape(self.title)}</h1>{subtitle}<nav>{links}</nav></header><main>"
            + "".join(self._parts)
            + ("</section>" if self._sections else "")
            + f"</main><footer>vpt-pipeline, written {written}</footer></body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the report; the file is complete or absent."""
        with atomic_path(path) as part:
            part.write_text(self.html(), encoding="utf-8")

    def _figure(self, inner: str, caption: str) -> Report:
        below = f"<figcaption>{_marked(caption)}</figcaption>" if caption else ""
        self._parts.append(f"<figure>{inner}{below}</figure>")
        return self

    def _note(self, note: str) -> Report:
        if note:
            self._parts.append(f'<p class="note">{_marked(note)}</p>')
        return self


def _marked(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


def _plain(text: str) -> str:
    return html.escape(re.sub(r"[`*]", "", text))


def _png_width(data: bytes) -> int:
    return int.from_bytes(data[16:20], "big")


def _embedded(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _is_number(value: Cell) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[-+]?\d[\d.,]*( ?%)?", value) is not None
    return value is None or not isinstance(value, bool)


def _cell(value: Cell) -> str:
    if value is None:
        return "&ndash;"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
        return text.replace("-", "&minus;")
    return f"{value:,}" if isinstance(value, int) else _marked(value)
