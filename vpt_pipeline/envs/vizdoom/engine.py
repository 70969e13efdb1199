"""The engine behind the environment: one ViZDoom process, driven tic by tic, that looks at whole pictures only.

Where the engine's own ways would show through, they are mended here: a turn is applied once and not once a tic, is
rounded to the nearest of the engine's angle units instead of downwards, and what rounding leaves is made up for later.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import vizdoom
from numpy.typing import NDArray

ANGLE_UNITS = 65536
"""The engine's unit of angle: a full turn has so many."""
FIRST_TIC = 14
"""The engine ignores input in the tics before."""

BUTTONS: Mapping[str, str] = {
    "attack": "ATTACK", "back": "MOVE_BACKWARD", "forward": "MOVE_FORWARD", "jump": "JUMP", "left": "MOVE_LEFT",
    "right": "MOVE_RIGHT", "sneak": "CROUCH", "sprint": "SPEED", "use": "USE", "drop": "DROP_SELECTED_WEAPON",
    **{f"hotbar.{slot}": f"SELECT_WEAPON{slot}" for slot in range(1, 10)},
}  # fmt: skip
"""Keys of the action dictionary that the game has, and the engine's names for them."""

_TURNS = ("TURN_LEFT_RIGHT_DELTA", "LOOK_UP_DOWN_DELTA")
_VARIABLES = (
    "POSITION_X", "POSITION_Y", "POSITION_Z", "VELOCITY_X", "VELOCITY_Y", "VELOCITY_Z", "ANGLE", "PITCH", "HEALTH",
    "KILLCOUNT", "SELECTED_WEAPON", *(f"WEAPON{slot}" for slot in range(1, 10)),
)  # fmt: skip
_ARGUMENTS = "+freelook 1 +sv_allowjump 1 +sv_allowcrouch 1 +sv_infiniteammo 1"
_WIDE = ((256, 144), (320, 180), (400, 225), (512, 288), (640, 360), (800, 450), (1024, 576), (1280, 720), (1600, 900),
         (1920, 1080))  # fmt: skip

Place = tuple[float, float, float]


@dataclass(frozen=True)
class Moment:
    """The game after a step. Lengths in map units, angles in the engine's degrees, speeds in units a tic."""

    rgb: NDArray[np.uint8]
    variables: Mapping[str, float]
    objects: tuple[tuple[int, str, Place], ...]  # (the engine's number, name, position), the player left out


def picture_size(size: tuple[int, int]) -> tuple[int, int]:
    """The smallest 16:9 picture that the engine draws with no side shorter than asked.

    Every size shows the same view: what is asked for is made from this picture by squashing, as VPT's 128x128 is.
    """
    width, height = size
    for native in _WIDE:
        if native[0] >= width and native[1] >= height:
            return native
    raise ValueError(f"size {size} is too large: expected (width, height) of at most {_WIDE[-1]} pixels")


class Engine:
    """One process playing one map. ViZDoom's own exceptions say when the process ended by itself."""

    def __init__(self, map_file: Path, seed: int, picture: tuple[int, int]) -> None:
        game = vizdoom.DoomGame()
        folder = map_file.parent
        game.set_vizdoom_path(str(_bound_to_us(folder)))
        game.set_doom_config_path(str(folder / "engine.ini"))
        game.set_doom_game_path(str(Path(vizdoom.__file__).parent / "freedoom2.wad"))
        game.set_doom_scenario_path(str(map_file))
        game.set_doom_map("MAP01")
        game.set_doom_skill(2)
        game.set_seed(seed % 2**31)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{picture[0]}X{picture[1]}"))
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_render_hud(True)
        game.set_render_minimal_hud(True)  # the status bar would hide a sixth of the view
        game.set_render_crosshair(True)
        game.set_render_messages(False)
        game.set_objects_info_enabled(True)
        game.set_episode_timeout(0)
        game.set_episode_start_time(FIRST_TIC)
        for button in (*BUTTONS.values(), *_TURNS):
            game.add_available_button(getattr(vizdoom.Button, button))
        for variable in _VARIABLES:
            game.add_available_game_variable(getattr(vizdoom.GameVariable, variable))
        game.add_game_args(_ARGUMENTS)
        with _inside(folder):  # the engine may leave a folder where it starts
            game.init()
        self._game = game
        self._turned = np.zeros(2)  # (yaw, pitch) degrees asked for since the start
        self._sent = np.zeros(2, np.int64)  # the same in angle units, as sent
        self.moment = self._look()

    def step(self, keys: Collection[str], turn: tuple[float, float], tics: int) -> Moment:
        """Hold keys and turn by (yaw, pitch) degrees, right and up positive, for a number of tics.

        When the player dies there is no new picture: the last one comes again, with HEALTH 0.
        """
        if self._game.is_episode_finished():
            raise RuntimeError("the episode is over; call reset() to start another")
        held = [float(name in keys) for name in BUTTONS]
        self._turned += turn
        units = np.round(self._turned * ANGLE_UNITS / 360).astype(np.int64) - self._sent
        self._sent += units
        self._game.set_action([*held, *(_as_delta(int(count)) for count in units)])
        self._game.advance_action(1, tics == 1)
        if tics > 1 and not self._game.is_episode_finished():
            self._game.set_action([*held, 0.0, 0.0])
            self._game.advance_action(tics - 1, True)
        if self._game.is_episode_finished():
            self.moment = replace(self.moment, variables={**self.moment.variables, "HEALTH": 0.0})
        else:
            self.moment = self._look()
        return self.moment

    def close(self) -> None:
        self._game.close()

    def _look(self) -> Moment:
        state = self._game.get_state()
        if state is None or state.game_variables is None or state.screen_buffer is None:
            raise RuntimeError("ViZDoom shows no picture: the episode ended by itself; call reset() to start another")
        values = [float(value) for value in state.game_variables]
        things = [thing for thing in state.objects or () if thing.id != 0]
        objects = tuple((o.id, o.name, (o.position_x, o.position_y, o.position_z)) for o in things)
        return Moment(np.array(state.screen_buffer), dict(zip(_VARIABLES, values, strict=True)), objects)


def _as_delta(units: int) -> float:
    """Degrees that the engine, which rounds down, takes for exactly so many angle units."""
    return 0.0 if units == 0 else (units + 0.5) * 360 / ANGLE_UNITS


def _bound_to_us(folder: Path) -> Path:
    """The engine's program, by way of a script that has the system end it when this process is killed.

    By itself it would wait for ever for the next command. Without ``setpriv`` (util-linux) it is started as it is.
    """
    program, setpriv = Path(vizdoom.__file__).parent / "vizdoom", shutil.which("setpriv")
    if setpriv is None:
        return program
    script = folder / "vizdoom"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(setpriv)} --pdeathsig KILL {shlex.quote(str(program))} "$@"\n')
    script.chmod(0o755)
    return script


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
