"""ZIP as its team played it: the published rules (search_agent/zip_rules.py) over a set of demonstrations.

For comparison, and for sets made with VPT's foundation-model-1x, whose latents its limits were chosen for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, Action
from data.contractor_frames import agent_frame
from search_agent.demos import DemoSet
from search_agent.encoder import Encoder
from search_agent.session import chosen, encoder_of
from search_agent.zip_rules import ZipRules, ZipSettings, ZipStep

PANEL_GREY = 198
"""Of Minecraft's inventory windows."""
PANEL_PLACES = (((60, 81), (60, 88), (45, 60)), ((58, 91), (40, 92)), ((58, 76), (40, 77)))
"""(row, column) in a frame of 128 x 128, where three kinds of window are nothing but panel."""


def inventory_shows(frame: NDArray[np.uint8]) -> bool:
    """Whether a frame of 128 x 128 looks like one of Minecraft's windows, as ZIP tells it by a few pixels."""
    away = (np.abs(np.stack([frame[place] for place in group]).astype(int) - PANEL_GREY) for group in PANEL_PLACES)
    return min(float(differences.mean()) for differences in away) < 0.35


class ZipAgent:
    """Plays the enabled demonstrations, with tags given those that have one of them, by the published rules.

    Turns are whole degrees, cut off as in the published data. There is no ESC among our buttons, so none is pressed.
    """

    def __init__(
        self,
        demos: DemoSet,
        encoder: Encoder | None = None,
        tags: Sequence[str] = (),
        settings: ZipSettings | None = None,
        aliasing: bool = True,
    ) -> None:
        self.encoder = encoder or encoder_of(demos)
        self.demos = chosen(demos.folder, demos.read(), tags)
        buttons = np.concatenate([demo.track.buttons for demo in self.demos])
        self.rules = ZipRules(
            np.concatenate([demo.latents for demo in self.demos]),
            [len(demo) for demo in self.demos],
            np.concatenate([buttons, np.zeros((len(buttons), 1), bool)], 1),
            np.trunc(np.concatenate([demo.track.camera for demo in self.demos])).astype(int),
            (*BUTTONS, "ESC"),
            settings or ZipSettings(),
            aliasing=aliasing,
        )
        self.step: ZipStep | None = None
        self.reset()

    def reset(self, observation: Mapping[str, Any] | None = None) -> None:
        """An episode begins."""
        self.rules.reset()
        self._stream = self.encoder.stream()

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing ``observation["pov"]``, uint8 (H, W, 3)."""
        pov = observation["pov"]
        step = self.step = self.rules.step(self._stream.look(pov), inventory_shows(agent_frame(pov)))
        held = frozenset(name for name, down in zip(BUTTONS, step.buttons, strict=False) if down)
        return Action(held, (float(step.camera[0]), float(step.camera[1])))
