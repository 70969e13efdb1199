"""The cursor: arithmetic, edges, and pictures handed over."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.cursor import SIDE, Cursor


def noise(height: int = 30, width: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def some_cursor() -> Cursor:
    return Cursor(np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8))


def blended(frame: np.ndarray, cursor: Cursor, x: int, y: int) -> np.ndarray:
    """Pixel by pixel, whatever lies outside left out."""
    out = frame.copy()
    for row in range(SIDE):
        for column in range(SIDE):
            at = y + row, x + column
            if 0 <= at[0] < len(frame) and 0 <= at[1] < frame.shape[1]:
                *colour, opacity = (float(part) for part in cursor.rgba[row, column])
                a = opacity / 255
                out[at] = [int(int(under) * (1 - a) + over * a) for under, over in zip(frame[at], colour, strict=True)]
    return out


EDGES = [(0, 0), (7, 3), (24, 14), (25, 15), (39, 29), (40, 5), (5, 30), (500, 500), (-1, 4), (4, -1), (-15, -15),
         (-16, 0), (-40, 3), (3, -500), (39, -3)]  # fmt: skip


@pytest.mark.parametrize(("x", "y"), EDGES)
def test_it_is_cut_off_at_every_edge(x: int, y: int) -> None:
    frame, cursor = noise(), some_cursor()
    expected = blended(frame, cursor, x, y)
    cursor.draw(frame, x, y)
    np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize(("x", "y"), [edge for edge in EDGES if min(edge) >= 0])
def test_the_published_way_is_the_same_inside(x: int, y: int) -> None:
    ours, published, cursor = noise(), noise(), some_cursor()
    cursor.draw(ours, x, y)
    cursor.draw(published, x, y, wraps=True)
    np.testing.assert_array_equal(ours, published)


def test_the_published_way_left_of_the_frame() -> None:
    cursor = some_cursor()
    for x, y in ((-1, 4), (4, -15), (-16, 0), (-3, -3), (-41, 5)):
        frame = noise()
        with pytest.raises(ValueError, match="does not fit"):
            cursor.draw(frame, x, y, wraps=True)
        np.testing.assert_array_equal(frame, noise())
    frame, expected = noise(), blended(noise(), cursor, 40 - 17, 30 - 20)
    cursor.draw(frame, -17, -20, wraps=True)
    np.testing.assert_array_equal(frame, expected)
    cursor.draw(frame, 40, -3, wraps=True)  # beyond an edge nothing is drawn, whatever the other coordinate is
    np.testing.assert_array_equal(frame, expected)


def test_a_small_frame_takes_part_of_it() -> None:
    frame, expected = noise(6, 5), blended(noise(6, 5), some_cursor(), 0, 0)
    some_cursor().draw(frame, 0, 0)
    np.testing.assert_array_equal(frame, expected)


def test_positions_are_those_of_a_window_720_high() -> None:
    cursor = Cursor()
    assert cursor.at(639.5, 359.5, 360) == (319, 179) and cursor.at(100, 50, 720) == (100, 50)
    assert cursor.at(-0.5, -3, 360) == (-1, -2) and cursor.at(-0.5, -3, 360, wraps=True) == (0, -1)


def test_our_arrow_has_its_tip_at_the_position() -> None:
    frame = np.full((40, 40, 3), 100, np.uint8)
    Cursor().draw(frame, 10, 12)
    assert frame[12, 10].tolist() == [0, 0, 0] and frame[15, 11].tolist() == [255] * 3
    changed = np.argwhere((frame != 100).any(-1))
    assert changed.min(0).tolist() == [12, 10] and (changed.max(0) < [28, 26]).all()


def test_a_picture_is_read_and_its_corner_taken(tmp_path: Path) -> None:
    rgba = np.random.default_rng(2).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "c.png"), rgba[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(Cursor.read(tmp_path / "c.png").rgba, rgba[:16, :16])


def test_what_is_no_cursor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.png: cannot be read as a cursor image: No such file"):
        Cursor.read(tmp_path / "none.png")
    cv2.imwrite(str(tmp_path / "rgb.png"), noise())
    with pytest.raises(
        ValueError, match=r"rgb\.png: expected an image of 8 bits with transparency \(RGBA\), found uint8"
    ):
        Cursor.read(tmp_path / "rgb.png")
    for content in (b"", b"hello"):
        (tmp_path / "text.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"text\.png: expected an image.*found no image"):
            Cursor.read(tmp_path / "text.png")
    with pytest.raises(ValueError, match=r"the cursor is uint8 of shape \(16, 16, 3\)"):
        Cursor(np.zeros((16, 16, 3), np.uint8))
