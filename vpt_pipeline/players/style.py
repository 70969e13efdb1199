"""How scripted players differ: the hand on the mouse, the fingers on the keys, and their habits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FRAMES_A_MINUTE = 1200
"""At the game's 20 a second: what rates of events a minute are divided by."""


@dataclass(frozen=True)
class PlayerStyle:
    """One person's way of playing. Rates are events a minute of the time in which the habit makes sense."""

    name: str
    # the hand on the mouse
    turn_peak: float  # degrees a frame at the fastest point of an ordinary stroke
    stroke_frames: float  # frames that even the smallest stroke takes
    reach: float  # mean share of the wanted turn that a stroke covers: below 1 falls short, above 1 overshoots
    spread: float  # standard deviation of that share
    tremor: float  # degrees of unsteadiness while the mouse moves
    patience: float  # mean frames between a stroke and the next
    tolerance: float  # degrees of error that are left alone while walking
    pursuit: float  # share of time in which the view follows smoothly instead of in strokes; 1: no strokes at all
    gaze_pitch: float  # where the view rests while walking, degrees down
    fidgets: float  # small strokes a minute that serve nothing
    fidget_size: float  # degrees, standard deviation
    # the fingers on the keys
    tap: tuple[int, int]  # frames that a tap lasts, from and to (both included)
    hold: tuple[int, int]  # shortest frames that a movement key stays down, from and to
    # habits while moving
    strafes: float
    hops: float
    sprints: float
    sprint_frames: float  # mean length of a sprint
    crouches: float
    hotbar_taps: float
    swings: float
    glances: float
    # what they like to do: weights of the freeplay activities, 1 where not named
    likes: Mapping[str, float]
    jogs: float = 0.0
    """Times a minute that the hand is jogged, and the view with it."""
    slips: float = 0.0
    """Moments of inattention a minute (players/slips.py)."""
    single_minded: bool = False
    """Goes for what is in sight, as one who learns from the picture could, and does nothing between two pieces of work."""


_STYLES = (
    PlayerStyle(
        name="steady",
        turn_peak=4.5, stroke_frames=5.0, reach=0.96, spread=0.06, tremor=0.10, patience=4.0, tolerance=4.0, pursuit=0.5,
        gaze_pitch=12.0, fidgets=45.0, fidget_size=5.0, tap=(2, 3), hold=(5, 9),
        strafes=12.0, hops=9.0, sprints=45.0, sprint_frames=26.0, crouches=9.0, hotbar_taps=14.0, swings=5.0, glances=6.0,
        likes={"gather": 1.4, "build": 1.3, "pillar": 1.2, "back_off": 1.2},
    ),
    PlayerStyle(
        name="twitchy",
        turn_peak=9.5, stroke_frames=3.0, reach=1.04, spread=0.13, tremor=0.25, patience=1.5, tolerance=2.5, pursuit=0.15,
        gaze_pitch=5.0, fidgets=80.0, fidget_size=8.0, tap=(2, 3), hold=(3, 6),
        strafes=24.0, hops=18.0, sprints=75.0, sprint_frames=14.0, crouches=14.0, hotbar_taps=20.0, swings=8.0, glances=9.0,
        likes={"hunt": 1.4, "crouch": 1.3, "dance": 1.4, "hotbar": 1.2, "travel": 1.2},
    ),
    PlayerStyle(
        name="wanderer",
        turn_peak=6.5, stroke_frames=4.0, reach=1.00, spread=0.09, tremor=0.15, patience=3.0, tolerance=5.0, pursuit=0.35,
        gaze_pitch=8.0, fidgets=60.0, fidget_size=7.0, tap=(2, 4), hold=(4, 8),
        strafes=15.0, hops=12.0, sprints=50.0, sprint_frames=22.0, crouches=11.0, hotbar_taps=15.0, swings=6.0, glances=12.0,
        likes={"wander": 1.4, "look": 1.5, "inventory": 1.2, "throw": 1.2, "flowers": 1.3},
    ),
    PlayerStyle(
        name="brisk",
        turn_peak=7.5, stroke_frames=3.5, reach=1.01, spread=0.10, tremor=0.18, patience=2.5, tolerance=3.5, pursuit=0.25,
        gaze_pitch=10.0, fidgets=65.0, fidget_size=7.0, tap=(2, 3), hold=(4, 7),
        strafes=18.0, hops=14.0, sprints=60.0, sprint_frames=18.0, crouches=11.0, hotbar_taps=17.0, swings=7.0, glances=8.0,
        likes={"travel": 1.3, "gather": 1.2, "throw": 1.2, "back_off": 1.3},
    ),
    PlayerStyle(
        name="focused",
        turn_peak=6.0, stroke_frames=4.0, reach=1.00, spread=0.05, tremor=0.08, patience=2.0, tolerance=2.5, pursuit=1.0,
        gaze_pitch=10.0, fidgets=8.0, fidget_size=5.0, tap=(2, 3), hold=(4, 7),
        strafes=4.0, hops=0.0, sprints=0.0, sprint_frames=20.0, crouches=0.0, hotbar_taps=0.0, swings=0.0, glances=0.0,
        likes={"gather": 2.0, "travel": 1.5}, jogs=30.0, slips=20.0, single_minded=True,
    ),
)  # fmt: skip

STYLES: Mapping[str, PlayerStyle] = {style.name: style for style in _STYLES}
"""The players by name. ``brisk`` is the one to hold out: train on the others, judge on it. ``focused`` does what is asked and
nothing besides: the one to learn tasks from, as the others are for learning to tell every key from video."""
