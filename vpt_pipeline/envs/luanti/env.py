"""A gymnasium environment on a stock Luanti (Minetest 5.6) with MineRL's actions, in lock-step at 20 frames a second.

An action shows between the frame on which it was chosen and the next. Which of the keys show, and when:
``forward back left right jump sneak sprint`` move the view (sneak also lowers the eye, sprint widens the view);
``attack`` swings the arm always; ``use`` swings it when it points at a node or creature in reach and shows nothing
in the air; ``drop`` shows only when something is held; ``inventory`` opens and closes the inventory; ``hotbar.N``
moves the frame around the selected slot, and shows nothing when that slot is already selected. ``ESC`` ends the
episode and is not sent to the game. ``pickItem`` and ``swapHands`` have no counterpart here and do nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import weakref
from collections.abc import Mapping
from typing import Any, Literal, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTONS, DEGREES_PER_COUNT, ENV_BUTTONS
from data.names import require_name
from vpt_pipeline.envs.luanti.cache import FolderGuard, new_run_folder
from vpt_pipeline.envs.luanti.cursor import draw_cursor
from vpt_pipeline.envs.luanti.game import KEYS, Game, GameDied
from vpt_pipeline.envs.luanti.scene import Scene, furnish
from vpt_pipeline.envs.luanti.settings import settings_text
from vpt_pipeline.envs.luanti.shim import check_available
from vpt_pipeline.envs.luanti.tasks import TASKS, EpisodeTask
from vpt_pipeline.envs.luanti.truths import EpisodeTruth, wrap
from vpt_pipeline.envs.luanti.world import LOAD_SECONDS, Start, Template, game_home, template
from vpt_pipeline.envs.truth import Vector

Observation = dict[str, NDArray[np.uint8]]
ResetMode = Literal["exact", "fast"]
QUERIES = ("near", "node", "nodes", "surface", "pointed", "path", "path_beside")
OPTIONS = ("task", "start", "yaw", "pitch", "time", "inventory", "animals", "map_seed", "reset_mode")

_CLOCK_START_S = 40.0
_DAY_TIMES = (0.35, 0.65)  # shares of a day: mid-morning to mid-afternoon


def _close_in_owner(owner: int, closing: contextlib.ExitStack) -> None:
    """For environments that nobody closed; a forked child that drops its copy leaves its parent's game alone."""
    if os.getpid() == owner:
        closing.close()


class LuantiEnv(gymnasium.Env[Observation, dict[str, Any]]):
    """Luanti with MineRL's observation ``{"pov": uint8 (H, W, 3)}`` and action dictionary; ``info`` is a GameTruth.

    size: (width, height) of the frames in pixels.
    map_seed: which world; each has several regions and many places to start (see ``starts``).
    viewing_range: how far the game draws, in nodes; by default 40, or 30 for frames lower than 300 pixels.
    reset_mode: "exact" (a fresh process and world at each reset: equal seeds and actions give equal games) or "fast"
        (the same process goes on: nodes that the player changed are put back, but clouds, animations and live growth
        are not, so episodes are alike rather than equal).
    step_timeout: real seconds without an answer after which the game counts as hanging.
    settings: further lines of minetest.conf.

    Raises LuantiUnavailable where the game cannot run, and GameDied from ``step`` when it ended; ``reset`` then
    starts a new one.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's name for it
    render_mode = "rgb_array"

    def __init__(
        self,
        size: tuple[int, int] = (640, 360),
        map_seed: int = 1,
        viewing_range: int | None = None,
        reset_mode: ResetMode = "exact",
        step_timeout: float = 60.0,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        check_available()
        if min(size) < 64:
            raise ValueError(f"size {size} is too small: expected (width, height), both at least 64 pixels")
        self.size = (int(size[0]), int(size[1]))
        self.map_seed, self.reset_mode, self.step_timeout = map_seed, reset_mode, step_timeout
        self._viewing_range = viewing_range or (40 if size[1] >= 300 else 30)
        self._settings = dict(settings or {})
        self._template: Template | None = None
        self._game: Game | None = None
        self._closing = contextlib.ExitStack()
        weakref.finalize(self, _close_in_owner, os.getpid(), self._closing)
        self._task: EpisodeTask | None = None
        self._frame: NDArray[np.uint8] = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        pov = gymnasium.spaces.Box(0, 255, self._frame.shape, np.uint8)
        self.observation_space = cast("gymnasium.Space[Observation]", gymnasium.spaces.Dict({"pov": pov}))
        keys: dict[str, gymnasium.Space[Any]] = {name: gymnasium.spaces.Discrete(2) for name in ENV_BUTTONS}
        keys["camera"] = gymnasium.spaces.Box(-180.0, 180.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Dict(keys)

    # ------------------------------------------------------------ gymnasium
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. ``seed`` chooses the place, the direction and the time of day (default 0).

        options, all of them optional: task (a name of TASKS), start (index into ``starts``), yaw and pitch (degrees),
        time (share of a day, 0.5 is noon), inventory (items such as "default:cobble 20"), animals (how many pigs),
        map_seed, reset_mode.
        """
        super().reset(seed=seed)
        wanted = dict(options or {})
        unknown = sorted(set(wanted) - set(OPTIONS))
        if unknown:
            raise ValueError(f"unknown reset options {unknown}; expected some of {', '.join(OPTIONS)}")
        name = wanted.get("task")
        if name is not None:
            require_name("task", name, TASKS)
        self._task = TASKS[name] if name is not None else None
        mode = wanted.get("reset_mode", self.reset_mode)
        if mode not in ("exact", "fast"):
            raise ValueError(f'unknown reset_mode {mode!r}; expected "exact" or "fast"')
        map_seed = int(wanted.get("map_seed", self.map_seed))
        if self._template is None or self._template.map_seed != map_seed:
            self._shut()
            self._template = template(map_seed)
        starts = self._template.starts
        dice = random.Random(f"luanti {0 if seed is None else seed}")
        place, yaw, day_time = dice.randrange(len(starts)), dice.uniform(-180, 180), dice.uniform(*_DAY_TIMES)
        place = wanted.get("start", place)
        if not 0 <= place < len(starts):
            raise ValueError(f"start {place}: the world of map seed {map_seed} has starts 0 to {len(starts) - 1}")
        scene = Scene(
            position=starts[place].position,
            yaw=float(wanted.get("yaw", yaw)),
            pitch=float(wanted.get("pitch", 0.0)),
            day_time=float(wanted.get("time", day_time)),
            inventory=tuple(wanted.get("inventory", self._task.inventory if self._task else ())),
            animals=int(wanted.get("animals", self._task.animals if self._task else 0)),
            seed=dice.randrange(1 << 30),
        )
        game = self._game
        if mode == "exact" or game is None or game.truth["hp"] <= 0:
            self._shut()
            game = self._open(scene.position)
        try:
            furnish(game, scene)
        except BaseException:
            self._shut()
            raise
        self._truth = EpisodeTruth(game, wrap(-game.truth["yaw"]), float(game.truth["pitch"]))
        self._tick, self._remainder, self._score = 0, np.zeros(2), 0.0
        info = self._truth.info(game, 0)
        if self._task is not None:
            self._score = self._task.score(info)
        return self._observe(game), cast(dict[str, Any], info)

    def step(self, action: Mapping[str, Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action's keys and turn its camera for one frame. Missing keys count as released."""
        game = self._running()
        wish = np.asarray(action.get("camera", (0.0, 0.0)), np.float64).reshape(2) + self._remainder
        pitch_counts, yaw_counts = (round(degrees / DEGREES_PER_COUNT) for degrees in wish)
        self._remainder = wish - np.array([pitch_counts, yaw_counts]) * DEGREES_PER_COUNT
        counts = (yaw_counts, pitch_counts)
        try:
            game.step([KEYS[name] for name in BUTTONS if action.get(name)], counts)
        except GameDied:
            self._shut()
            raise
        self._tick += 1
        turn = self._truth.turn(game, counts)
        info = self._truth.info(game, self._tick, counts, turn, "ESC" if action.get("ESC") else "")
        reward = 0.0
        if self._task is not None:
            score = self._task.score(info)
            reward, self._score = score - self._score, score
        return self._observe(game), reward, bool(info["ended"]), False, cast(dict[str, Any], info)

    def render(self) -> NDArray[np.uint8]:
        """The last frame, uint8 (H, W, 3)."""
        return self._frame

    def close(self) -> None:
        """End the game and remove its files."""
        self._shut()

    # ------------------------------------------------------------ beyond gymnasium
    def ask(self, op: str, **arguments: Any) -> int:
        """Ask the game something with the next step; ``info["answers"]`` of that step has the answer under the
        returned id. Nothing that can be asked changes the game.

        near(names, radius=24, below=4, above=6, limit=12) -> [[x, y, z, squared distance], ...], nearest first
        node(pos) -> name;  nodes(positions) -> [name, ...];  surface(x, z, top=60, bottom=-5) -> [y, name] or None
        pointed(range=4) -> ["node" | "object", name, x, y, z] or None
        path(to, radius=12, up=1, down=3), path_beside(to, ...) -> [[x, y, z], ...] or None
        """
        require_name("question", op, QUERIES)
        return self._running().request(op, **arguments)

    @property
    def starts(self) -> tuple[Start, ...]:
        """The places where episodes of this world begin."""
        if self._template is None:
            self._template = template(self.map_seed)
        return self._template.starts

    # ------------------------------------------------------------ inside
    def _running(self) -> Game:
        if self._game is None:
            raise RuntimeError("no game is running: call reset() first (also after GameDied or close())")
        return self._game

    def _shut(self) -> None:
        self._game = None
        self._closing.close()

    def _open(self, position: Vector) -> Game:
        """A new process on a fresh copy of the world, its virtual clock at the same value every time."""
        assert self._template is not None
        guard = FolderGuard(new_run_folder())
        self._closing.callback(guard.remove)
        try:
            world = guard.folder / "world"
            self._template.copy_to(world)
            conf = settings_text(self.size, self._viewing_range, self._template.map_seed, position, self._settings)
            game = Game(guard.folder, world, game_home(), self.size, conf, LOAD_SECONDS)
            self._closing.callback(game.close)
            loaded = False
            while not loaded:
                loaded = game.truths > 0
                # a frame of loading takes a millisecond of virtual time more or less: on to a full second again
                game.step(seconds=math.ceil(game.frame.clock_s + 0.5) - game.frame.clock_s)
            while game.frame.clock_s < _CLOCK_START_S:
                game.step(seconds=0.5)
            game.call("release_clouds")
        except BaseException:
            self._shut()
            raise
        game.timeout = self.step_timeout
        self._game = game
        return game

    def _observe(self, game: Game) -> Observation:
        frame = game.pixels.copy()
        if game.frame.gui_open:
            draw_cursor(frame, game.frame.pointer)
        self._frame = frame
        return {"pov": frame}
