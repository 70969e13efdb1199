"""A gymnasium environment on ViZDoom with MineRL's actions, byte for byte repeatable: the game that pip alone installs.

Time. The engine runs 35 tics a second and a step is a twentieth: steps last 1, 2, 2 and 2 tics in turn, which is 20
steps a second exactly. An action shows between the frame on which it was chosen and the next.

Which keys show, and when. ``forward back left right jump`` move the view; ``sprint`` speeds up what moves; ``sneak``
lowers the eye; ``attack`` fires; ``use`` sinks a gate within two metres and shows nothing elsewhere; ``drop`` throws
the weapon in hand; ``hotbar.N`` changes to weapon N (it goes down first, so the change takes about half a second) and
shows nothing for the one in hand. ``ESC`` ends the episode and is not sent to the game. ``inventory``, ``pickItem``
and ``swapHands`` have no counterpart here and do nothing. The camera turns in whole mouse counts of 0.15 degrees; what
rounding leaves is added to the next frame. The engine looks no further than 32 degrees up and 56 degrees down.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from data.actions import DEGREES_PER_COUNT, ENV_BUTTONS
from data.names import require_name
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.envs.vizdoom.engine import BUTTONS, Engine, picture_size
from vpt_pipeline.envs.vizdoom.map import Landscape, write_map
from vpt_pipeline.envs.vizdoom.truths import TICS_PER_SECOND, EpisodeTruth, to_metres

STEPS_PER_SECOND = 20
LUANTI_OPTIONS = ("inventory", "animals")
"""Accepted, so that one task serves both games, and without effect: the kit is always the nine weapons."""
QUERIES = ("objects", "gates")
OPTIONS = ("task", "landscape", "map_seed", *LUANTI_OPTIONS)
MINIMUM_SIDE = 64

Observation = dict[str, NDArray[np.uint8]]

TASKS: Mapping[str, Callable[[GameTruth], float]] = {
    "travel": lambda truth: truth["max_distance"],
    "collect": lambda truth: float(sum(truth["gained"].values())),
}
"""Tasks with a score; a step's reward is by how much the score grew."""


def tics_of_step(tick: int) -> int:
    """How many of the engine's tics the step from ``tick`` lasts: 1, 2, 2, 2, 1, ..."""
    return (tick + 1) * TICS_PER_SECOND // STEPS_PER_SECOND - tick * TICS_PER_SECOND // STEPS_PER_SECOND


class VizdoomEnv(gymnasium.Env[Observation, dict[str, Any]]):
    """ViZDoom with MineRL's observation ``{"pov": uint8 (H, W, 3)}`` and action dictionary; ``info`` is a GameTruth.

    size: (width, height) of the frames in pixels. 16:9 sizes that the engine draws itself (640x360, 320x180, ...) are
        passed on as they are; another size is shrunk from the next larger one (cv2 INTER_AREA).
    landscape: how much of everything the maps have; the seed decides where.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": STEPS_PER_SECOND}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, size: tuple[int, int] = (640, 360), landscape: Landscape | None = None) -> None:
        if min(size) < MINIMUM_SIDE:
            raise ValueError(f"size {size} is too small: expected (width, height), both at least {MINIMUM_SIDE} pixels")
        self.size = (int(size[0]), int(size[1]))
        self._picture = picture_size(self.size)
        self._landscape = landscape or Landscape()
        self._engine: Engine | None = None
        self._closing = contextlib.ExitStack()
        self._frame: NDArray[np.uint8] = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        frames = gymnasium.spaces.Box(0, 255, (self.size[1], self.size[0], 3), np.uint8)
        self.observation_space = cast(gymnasium.Space[Observation], gymnasium.spaces.Dict({"pov": frames}))
        keys: dict[str, gymnasium.Space[Any]] = {name: gymnasium.spaces.Discrete(2) for name in ENV_BUTTONS}
        keys["camera"] = gymnasium.spaces.Box(-180.0, 180.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Dict(keys)

    # ------------------------------------------------------------ gymnasium
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode on the map of this seed (default 0): equal seeds and actions give equal frames.

        options, all of them optional: task (a name of TASKS), landscape (a Landscape), map_seed (another map than the
        seed's own); inventory and animals are accepted and have no effect.
        """
        super().reset(seed=seed)
        wanted = dict(options or {})
        unknown = sorted(set(wanted) - set(OPTIONS))
        if unknown:
            raise ValueError(f"unknown reset options {unknown}; expected some of {', '.join(OPTIONS)}")
        name = wanted.get("task")
        if name is not None:
            require_name("task", name, TASKS)
        self._score_of = TASKS[name] if name is not None else None
        self.close()
        folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="vpt-vizdoom-")))
        game_seed = 0 if seed is None else seed
        map_seed = int(wanted.get("map_seed", game_seed))
        self._gates = write_map(folder / "map.wad", map_seed, wanted.get("landscape", self._landscape))
        self._engine = Engine(folder / "map.wad", game_seed, self._picture)
        self._closing.callback(self._engine.close)
        self._truth = EpisodeTruth(self._engine.moment)
        self._tick, self._remainder, self._score = 0, np.zeros(2), 0.0
        self._questions: list[tuple[int, str]] = []
        self._asked = 0
        info = self._truth.info(self._engine.moment, 0, (0, 0), "", {})
        return self._observe(self._engine), cast(dict[str, Any], info)

    def step(self, action: Mapping[str, Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action's keys and turn its camera for one frame. Missing keys count as released."""
        engine = self._running()
        wish = np.asarray(action.get("camera", (0.0, 0.0)), np.float64).reshape(2) + self._remainder
        pitch_counts, yaw_counts = (round(degrees / DEGREES_PER_COUNT) for degrees in wish)
        self._remainder = wish - np.array([pitch_counts, yaw_counts]) * DEGREES_PER_COUNT
        turn = (yaw_counts * DEGREES_PER_COUNT, -pitch_counts * DEGREES_PER_COUNT)
        moment = engine.step([name for name in BUTTONS if action.get(name)], turn, tics_of_step(self._tick))
        self._tick += 1
        ended = "ESC" if action.get("ESC") else "death" if moment.variables["HEALTH"] <= 0 else ""
        answers = {number: self._answer(op) for number, op in self._questions}
        self._questions = []
        info = self._truth.info(moment, self._tick, (yaw_counts, pitch_counts), ended, answers)
        reward = 0.0
        if self._score_of is not None:
            score = self._score_of(info)
            reward, self._score = score - self._score, score
        return self._observe(engine), reward, bool(ended), False, cast(dict[str, Any], info)

    def render(self) -> NDArray[np.uint8]:
        """The last frame, uint8 (H, W, 3)."""
        return self._frame

    def close(self) -> None:
        """End the game and remove its files."""
        self._engine = None
        self._closing.close()

    # ------------------------------------------------------------ beyond gymnasium
    def ask(self, op: str, **question: Any) -> int:
        """Ask about the game; ``info["answers"]`` of the next step has the answer under the returned id.

        objects -> every thing on the map, as in ``info["objects"]`` but however far;
        gates -> [(where to stand, the gate), ...], positions in metres. Asking never changes the game.
        """
        if op not in QUERIES:
            raise ValueError(f"unknown question {op!r}; ViZDoom answers {', '.join(QUERIES)}")
        if question:
            raise ValueError(f"the question {op!r} takes no arguments, but got {', '.join(question)}")
        self._running()
        self._asked += 1
        self._questions.append((self._asked, op))
        return self._asked

    # ------------------------------------------------------------ inside
    def _answer(self, op: str) -> list[Any]:
        if op == "objects":
            return self._truth.everything()
        return [(to_metres((*gate.before, 0.0)), to_metres((*gate.at, 0.0))) for gate in self._gates]

    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("no game is running: call reset() first (also after close())")
        return self._engine

    def _observe(self, engine: Engine) -> Observation:
        frame = engine.moment.rgb
        if self._picture != self.size:
            frame = np.asarray(cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        self._frame = frame
        return {"pov": frame}
