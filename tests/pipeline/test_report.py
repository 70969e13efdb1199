"""The report is one file: well-formed, safe, with nothing loaded from elsewhere; and its tables say what was measured."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data.actions import BUTTONS, ActionTrack
from idm.metrics import Predictions
from vpt_pipeline.quality import Case, add_quality, baseline_rows, camera_rows, data_rows, headline, judge, key_rows
from vpt_pipeline.report import Number, Report

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "br", "hr", "link"}


class Outline(HTMLParser):
    """Checks that tags are balanced, and gathers what a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def clip(folder: Path, name: str = "clip.mp4") -> Path:
    path = folder / name
    path.write_bytes(b"\x00\x00\x00\x18ftypmp42 not really a film")
    return path


def test_everything_is_in_the_one_file(tmp_path: Path) -> None:
    report = Report("Title", "Subtitle")
    report.section("One", "First.\n\nSecond, **bold** and `code`.").numbers(Number("0.5", "score", "chance: 0.1"))
    report.section("Two").image(PNG, "A picture").video(clip(tmp_path), "A clip").code("vpt demo --out <folder>")
    report.table([{"a": 1, "b": 0.25, "c": None}, {"a": 20000, "b": -1.5, "c": "x"}], "A note", faint=[1])
    report.write(tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.tags.count("section") == 2 and outline.tags.count("p") >= 4
    assert [s[:16] for s in outline.sources] == ["#s1", "#s2", "data:image/png;b", "data:video/mp4;b"]
    assert "script" not in outline.tags and "@import" not in text and "url(" not in text
    assert "<strong>bold</strong>" in text and "&lt;folder&gt;" in text
    assert (
        '<td class="num">20,000</td>' in text
        and '<td class="num">&minus;1.500</td>' in text
        and "<td>&ndash;</td>" in text
    )
    assert list(tmp_path.glob("**/.*")) == []


def test_text_cannot_become_markup() -> None:
    nasty = '<script>alert("x")</script>'
    report = Report(nasty, nasty).section(nasty, nasty).table([{nasty: nasty}], nasty).image(PNG, f'" onload="{nasty}')
    report.numbers(Number(nasty, nasty, nasty)).code(nasty)
    outline = Outline(report.html())
    assert "script" not in outline.tags
    assert 'alt="&quot; onload=' in report.html()


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    report = Report("Title").section("One")
    with pytest.raises(ValueError, match=r"clip\.avi cannot be embedded: expected \.mp4 or \.webm"):
        report.video(clip(tmp_path, "clip.avi"))
    with pytest.raises(ValueError, match="expected PNG, JPEG or WebP"):
        report.image(b"BM....")
    with pytest.raises(ValueError, match=r"row 1 of the table has columns \['b'\], the first row has \['a'\]"):
        report.table([{"a": 1}, {"b": 1}])
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(26 * 2**20)
    with pytest.raises(ValueError, match=r"large\.mp4 has 26 MiB, the limit .* is 25"):
        report.video(large)


def test_a_failed_write_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    Report("Old").write(path)
    broken = Report("New")
    monkeypatch.setattr(broken, "html", lambda: "\ud800")  # cannot be encoded, so that writing fails half-way
    with pytest.raises(UnicodeEncodeError):
        broken.write(path)
    assert "Old" in path.read_text(encoding="utf-8") and [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.fixture
def cases() -> list[Case]:
    """Two recordings in which forward and jump are pressed every 10 frames; labels know the first and guess the second."""
    rng = np.random.default_rng(0)
    out = []
    for name in ("a", "b"):
        buttons = np.zeros((600, 20), bool)
        for key in ("forward", "jump"):
            buttons[:, BUTTONS.index(key)] = np.arange(600) // 10 % 2 == 1
        buttons[50:60, BUTTONS.index("drop")] = True
        camera = rng.normal(size=(600, 2)).astype(np.float32)
        said = buttons.astype(float)
        said[:, BUTTONS.index("jump")] = 0.1
        out.append(Case(name, ActionTrack(buttons, camera), Predictions(said, camera / 2, np.ones(600), np.ones(600))))
    return out


def test_tables_say_what_was_measured(cases: list[Case]) -> None:
    scores = judge(cases)
    rows = {str(row["key"]): row for row in key_rows(scores)}
    assert list(rows) == ["mean of 2", "forward", "jump", "drop *"]
    one = next(column for column in rows["forward"] if "±1" in column and column.startswith("F1"))
    assert (rows["forward"][one], rows["jump"][one], rows["mean of 2"][one]) == (1.0, 0.0, 0.5)
    assert rows["forward"]["events"] == 2 * 59
    by_labeller = {row["labeller"]: row for row in baseline_rows(scores)}
    assert by_labeller["these labels"][one] == 0.5 and by_labeller["always released"][one] == 0.0
    assert [row["scale ratio"] for row in camera_rows(scores)] == pytest.approx([0.5, 0.5])
    assert headline(scores)[0].value == "0.500" and "always released 0" in headline(scores)[0].compare
    data = data_rows({"held out": [case.truth for case in cases]})
    assert data == [{"part": "held out", "recordings": 2, "minutes": "1.0", "forward": 60, "jump": 60, "drop": 2}]


def test_quality_sections_hold_their_charts(cases: list[Case]) -> None:
    pytest.importorskip("matplotlib")
    report = Report("Labels")
    add_quality(report, judge(cases), cases)
    outline = Outline(report.html())
    assert outline.tags.count("img") == 6 and outline.tags.count("table") == 3
    assert len(re.findall(r"alt=\"[^\"]{5,}\"", report.html())) == 6


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(ValueError, match="no recording to judge"):
        judge([])
