"""What was asked for is seen below a play, and several plays side by side, in a video, a picture and a page."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.video import VideoWriter, probe, read_frames
from vpt_pipeline.overlay import BACKGROUND, LIT
from vpt_pipeline.prompts import Ask, write_asked
from vpt_pipeline.prompts_page import write_page
from vpt_pipeline.prompts_view import (
    THUMBNAIL,
    TILE,
    caption,
    said,
    spoken,
    wish_at,
    write_sheet,
    write_side_by_side,
    write_told,
)
from vpt_pipeline.rollout import Rollout

GREYS = (60, 120, 180, 220)


def write_play(video: Path, frames: int, grey: int, *asked: Ask) -> Path:
    with VideoWriter(video, (128, 72)) as writer:
        for _ in range(frames):
            writer.write(np.full((72, 128, 3), grey, np.uint8))
    write_asked(video, asked)
    return video


@pytest.fixture
def plays(tmp_path: Path) -> list[Path]:
    """Four plays, each of its own grey; the second ends early, the first is asked for something else half-way."""
    first = (Ask(0, "chop a tree"), Ask(10, "text:dig dirt"))
    return [
        write_play(tmp_path / "0.mp4", 20, GREYS[0], *first),
        write_play(tmp_path / "1.mp4", 8, GREYS[1], Ask(0, "pick flowers")),
        write_play(tmp_path / "2.mp4", 20, GREYS[2], Ask(0, "")),
        write_play(tmp_path / "3.mp4", 20, GREYS[3], Ask(0, "video:clips/a.mp4:2")),
    ]


def near(picture: np.ndarray, colour: object, by: int = 6) -> bool:
    return bool(np.abs(picture.astype(int) - colour).max() <= by)


def test_wishes_are_read_as_people_say_them() -> None:
    asked = [Ask(0, ""), Ask(30, "text:dig dirt"), Ask(50, "video:clips/a.mp4:2"), Ask(60, "fälle 木")]
    assert said(asked) == "nothing; 1.5 s: dig dirt; 2.5 s: as in a.mp4 at 2 s; 3 s: falle"
    assert [wish_at(asked, frame) for frame in (0, 29, 30, 99)] == ["", "", "text:dig dirt", "fälle 木"]
    assert "cannot be drawn" in spoken("木を切る")


def test_a_caption_is_as_high_whatever_it_says() -> None:
    strips = [caption(wish, 0, 640, 2) for wish in ("", "dig", "dig dirt and " * 40)]
    assert len({strip.shape for strip in strips}) == 1
    lit = [(np.abs(strip.astype(int) - LIT).max(-1) < 40).sum() for strip in strips]
    assert lit[0] == 0 < lit[1] < lit[2]


def test_a_play_with_captions_keeps_every_frame(plays: list[Path]) -> None:
    told = write_told(plays[0])
    assert told.name == "0.told.mp4"
    frames = [frame.rgb for frame in read_frames(told)]
    assert len(frames) == 20 and frames[0].shape[1] == 640
    assert all(near(frame[:360], GREYS[0]) for frame in frames)
    words = slice(0, 500)  # the clock stands beside them
    below = [frame[362:, words].astype(int) for frame in frames]
    assert np.abs(below[2] - below[8]).mean() < 2 < np.abs(below[8] - below[12]).mean()


def test_plays_stand_side_by_side_until_the_last_one_ends(plays: list[Path], tmp_path: Path) -> None:
    out = write_side_by_side(plays, tmp_path / "all.mp4")
    frames = [frame.rgb for frame in read_frames(out)]
    assert len(frames) == 20
    height, width = frames[0].shape[:2]
    assert width == 2 * TILE + 4 and height % 2 == 0
    tile = (height - 4) // 2
    middles = [(tile - 60 + row * (tile + 4), TILE // 2 + column * (TILE + 4)) for row in (0, 1) for column in (0, 1)]

    def greys(frame: np.ndarray) -> list[float]:
        return [float(frame[y - 9 : y + 9, x - 9 : x + 9].mean()) for y, x in middles]

    assert greys(frames[0]) == pytest.approx(GREYS, abs=4)
    dimmed = 0.4 * GREYS[1] + 0.6 * np.mean(BACKGROUND)
    assert greys(frames[15]) == pytest.approx([GREYS[0], dimmed, *GREYS[2:]], abs=4)
    three = write_side_by_side(plays[:3], tmp_path / "three.mp4")
    assert probe(three).width == 3 * TILE + 8


def test_a_sheet_has_a_row_for_each_play(plays: list[Path], tmp_path: Path) -> None:
    picture = cv2.imread(str(write_sheet(plays, tmp_path / "sheet.png", moments=5)))
    assert picture is not None and picture.shape[1] == 5 * THUMBNAIL + 4 * 4
    rows = (picture.shape[0] - 32) // 4
    for n, grey in enumerate(GREYS):
        row = picture[32 + (n + 1) * rows - 60, :]
        assert row[THUMBNAIL // 2].mean() == pytest.approx(grey, abs=4)
        assert (abs(row[-THUMBNAIL // 2].mean() - grey) < 4) == (n != 1)  # that one had ended


def test_a_page_holds_all_and_says_what_came_of_each(plays: list[Path], tmp_path: Path) -> None:
    measures = {"dirt": 3.0, "logs": 0.0, "freeplay": 7.0}
    played = [
        Rollout("runs/text:x", "dirt", 5, 1, 3.0, True, 20, video=str(video), measures=measures) for video in plays
    ]
    page = write_page(played, "luanti", tmp_path / "out-0.5")
    assert {path.name for path in tmp_path.glob("out*")} == {"out-0.5.html", "out-0.5.mp4", "out-0.5.png"}
    html = page.read_text(encoding="utf-8")
    assert "data:video/mp4;base64," in html and "data:image/png;base64," in html
    rows = re.findall(r"<tr><td[^>]*>(.*?)</td>", html)
    assert rows == ["chop a tree; 0.5 s: dig dirt", "pick flowers", "nothing", "as in a.mp4 at 2 s"]
    assert "dirt (blocks)" in html and "logs (logs)" in html and "freeplay (" not in html
    assert "runs/text" in html and str(tmp_path) not in html
    with pytest.raises(ValueError, match="expected plays of one start"):
        write_page([], "luanti", tmp_path / "x")
    with pytest.raises(ValueError, match="expected plays of one start"):
        write_page([played[0], Rollout("a", "dirt", 6, 1, 3.0, True, video=str(plays[1]))], "luanti", tmp_path / "x")
    with pytest.raises(ValueError, match=r"with videos, found none of random"):
        write_page([Rollout("random", "dirt", 5, 1, 3.0, True)], "luanti", tmp_path / "x")
