"""The embedded games, all with MineRL's actions and a GameTruth beside each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

GAMES = ("luanti", "vizdoom")


def make_env(game: str, size: tuple[int, int] = (640, 360), **options: Any) -> gymnasium.Env[Any, Any]:
    """An environment of a game, frames of ``size`` = (width, height); ``options`` are its class's further arguments.

    Raises ValueError for an unknown game.
    """
    if game == "luanti":
        from vpt_pipeline.envs.luanti import LuantiEnv

        return LuantiEnv(size, **options)
    if game == "vizdoom":
        from vpt_pipeline.envs.vizdoom import VizdoomEnv

        return VizdoomEnv(size, **options)
    raise ValueError(f"unknown game {game!r}; expected one of {', '.join(GAMES)}")
