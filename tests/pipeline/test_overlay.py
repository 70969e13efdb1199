"""The overlay is read back from its pixels: lit keys, the turn's direction, and red exactly where sides differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.actions import BUTTON_INDEX, BUTTONS
from vpt_pipeline.overlay import LIT, PANEL_HEIGHT, PANEL_WIDTH, STATUS_HEIGHT, WRONG, History, Panel, compose

PICTURE = np.full((360, 640, 3), 90, np.uint8)


def panel(*held: str, camera: tuple[float, float] = (0.0, 0.0), title: str = "predicted") -> Panel:
    states = np.array([name in held for name in BUTTONS])
    return Panel(title, states.astype(float), states, camera, (0.9, 0.5))


def near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """bool (H, W): where the colour is."""
    return np.asarray(np.abs(image.astype(int) - colour).max(-1) < 40)


def side(image: np.ndarray, second: bool = False) -> np.ndarray:
    """One panel of an overlay that is 640 wide."""
    begin = PANEL_WIDTH * second
    return image[-PANEL_HEIGHT:, begin : begin + PANEL_WIDTH]


def test_each_button_lights_a_key_of_its_own() -> None:
    dark = side(compose(PICTURE, (panel(),), ""))
    taken = np.zeros(dark.shape[:2], bool)
    for button in BUTTONS:
        lit = side(compose(PICTURE, (panel(button),), ""))
        changed = (dark != lit).any(-1)
        height, width = np.ptp(np.argwhere(changed), axis=0) + 1
        assert height <= 30 and width <= 90, button  # one key and nothing else
        assert near(lit, LIT).sum() - near(dark, LIT).sum() > 150, button
        assert not (changed & taken).any(), button
        taken |= changed


def test_probability_shows_as_brightness() -> None:
    sums = []
    for probability in (0.0, 0.3, 0.6, 1.0):
        shown = panel()
        shown.probabilities[BUTTON_INDEX["jump"]] = probability
        sums.append(int(side(compose(PICTURE, (shown,), ""))[116:142, 10:30].astype(int).sum()))
    assert sums == sorted(set(sums))


@pytest.mark.parametrize(
    ("camera", "axis", "sign"), [((0, 5), 1, 1), ((0, -5), 1, -1), ((5, 0), 0, 1), ((-5, 0), 0, -1)]
)
def test_the_arrow_points_where_the_view_turns(camera: tuple[float, float], axis: int, sign: int) -> None:
    dial = near(side(compose(PICTURE, (panel(camera=camera),), ""))[20:112, 165:254], LIT)
    centre = np.array([66 - 20, 209 - 165])
    offset = np.argwhere(dial).mean(0) - centre
    assert offset[axis] * sign > 5 and abs(offset[1 - axis]) < 2


def test_red_marks_what_differs_and_only_that() -> None:
    said, true = panel("forward", "jump", camera=(0, 2)), panel("forward", "sneak", camera=(0, 2.3), title="true")
    assert said.disagreements(true) == ("jump", "sneak")
    image = compose(PICTURE, (said, true), "frame 0")
    red = np.argwhere(near(side(image), WRONG))
    assert red[:, 0].min() >= 26 + 60 - 2 and red[:, 1].max() <= 98  # on space and shift, below W A S D
    assert not near(side(image, second=True), WRONG).any()
    assert near(image[360 : 360 + STATUS_HEIGHT, 320:], WRONG).any()
    same = compose(PICTURE, (said, replace(said, title="true")), "frame 0")
    assert not near(same[360:], WRONG).any()
    assert said.disagreements(panel("forward", "jump", camera=(0, -2))) == ("camera",)


def test_a_broken_record_is_not_a_disagreement() -> None:
    unknown = replace(panel(), known=False)
    assert panel("forward").disagreements(unknown) == () == unknown.disagreements(panel("forward"))
    assert not near(side(compose(PICTURE, (panel("forward"), unknown), ""), second=True), LIT).any()


@pytest.mark.parametrize("shape", [(360, 640), (720, 1280), (90, 160), (481, 853), (640, 360)])
def test_any_size_of_video_gives_a_wide_even_picture_with_the_frame_intact(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    two, one = compose(picture, (panel(), panel()), ""), compose(picture, (panel(),), "")
    assert two.shape == one.shape and two.dtype == np.uint8
    height, width = two.shape[:2]
    assert width >= 640 and height % 2 == width % 2 == 0
    above = height - round(width * (STATUS_HEIGHT + PANEL_HEIGHT) / 640 / 2) * 2
    assert above / width == pytest.approx(shape[0] / shape[1], rel=0.01)
    if shape[1] >= 640 and not shape[1] % 2:
        assert (two[:above] == picture).all()


def test_history_shows_the_seconds_around() -> None:
    around = np.zeros((81, 20))
    around[60:, BUTTON_INDEX["jump"]] = 1.0
    image = side(compose(PICTURE, (panel(),), "", History(around, 40, ("forward", "jump"))), second=True)
    lit = np.argwhere(near(image, LIT))
    assert lit[:, 0].min() > 24 and lit[:, 0].max() < 44  # the second row
    assert lit[:, 1].min() == pytest.approx(70 + 240 * 60 / 81, abs=3)
