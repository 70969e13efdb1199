"""The games, all with MineRL's actions and a GameTruth beside each frame: two embedded ones, and Minecraft through MineRL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

GAMES = ("luanti", "vizdoom")
MINERL = "minerl:"
"""Before the name of a MineRL environment."""


def make_env(game: str, size: tuple[int, int] = (640, 360), **options: Any) -> gymnasium.Env[Any, Any]:
    """An environment of a game (one of GAMES, or minerl:NAME), frames of ``size`` = (width, height); ``options`` are
    its class's further arguments.

    Raises ValueError for an unknown game.
    """
    if game == "luanti":
        from vpt_pipeline.envs.luanti import LuantiEnv

        return LuantiEnv(size, **options)
    if game == "vizdoom":
        from vpt_pipeline.envs.vizdoom import VizdoomEnv

        return VizdoomEnv(size, **options)
    require_game(game)
    from vpt_pipeline.envs.minerl import MinerlEnv

    return MinerlEnv(game.removeprefix(MINERL), size, **options)


def require_game(game: str) -> None:
    """Raises ValueError for an unknown game, and for MineRL where nothing says where it runs."""
    if game.startswith(MINERL):
        from vpt_pipeline.envs.minerl.settings import FAKE, require_place, settings_from

        if game != MINERL + FAKE:
            require_place(settings_from())
    elif game not in GAMES:
        raise ValueError(
            f"unknown game {game!r}; expected one of {', '.join(GAMES)}, or {MINERL}NAME of a MineRL environment"
        )


def native_size(game: str) -> tuple[int, int]:
    """The (width, height) that evaluations play a game at: VPT's own in MineRL, a quarter of its pixels in the embedded
    games."""
    return (640, 360) if game.startswith(MINERL) else (320, 180)
