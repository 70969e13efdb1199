"""What an embedded game knows and says about each step: the ``info`` of its environment."""

from __future__ import annotations

from typing import Any, TypedDict

Vector = tuple[float, float, float]


class GameTruth(TypedDict):
    """Ground truth of one step. Units: metres (nodes), seconds, degrees; y points up.

    Yaw grows when the view turns right, and looking along yaw ``a`` means looking along (x, z) = (sin a, cos a);
    pitch grows when the view turns down. Everything counted "since reset" starts empty at each reset.
    """

    tick: int  # 0 at reset, +1 a step
    position: Vector  # of the feet
    velocity: Vector
    yaw: float  # [-180, 180)
    pitch: float  # about [-90, 90]
    hp: int
    inventory: dict[str, int]  # item -> how many, over all slots
    slots: list[tuple[int, str, int]]  # (index from 0, item, count), empty slots left out; 0-8 are the hotbar
    hotbar: int  # selected slot, 0-8
    held_item: str  # "" for an empty hand
    gained: dict[str, int]  # items picked up or crafted since reset
    dug: dict[str, int]  # nodes dug since reset
    placed: dict[str, int]  # nodes placed since reset
    events: list[dict[str, Any]]  # of this step; each has a "type"
    gui_open: bool
    cursor: tuple[int, int]  # (x, y) in pixels of the frame; means something only while a GUI is open
    objects: list[tuple[str, str, Vector]]  # (name, item or "", position), near the player
    distance: float  # from the start, in the horizontal plane
    max_distance: float
    camera_counts: tuple[int, int]  # mouse counts (dx, dy) that the last step sent to the game
    camera_turn: tuple[float, float]  # degrees (pitch, yaw) that the view turned by in the last step
    is_dead: bool
    ended: str  # "" while the episode runs, else why it ended: "death" or "ESC"
    answers: dict[int, Any]  # request id of ask() -> answer, in the step in which the game gave it
