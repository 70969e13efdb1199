"""Scripted players: one behaviour for each task, several styles."""

from vpt_pipeline.players.scripted import ScriptedPlayer
from vpt_pipeline.players.style import STYLES, PlayerStyle

__all__ = ["STYLES", "PlayerStyle", "ScriptedPlayer", "player_of"]


def player_of(game: str) -> type[ScriptedPlayer]:
    """The scripted player of a game: ``luanti`` or ``vizdoom``."""
    if game == "vizdoom":
        from vpt_pipeline.players.vizdoom_player import VizdoomPlayer

        return VizdoomPlayer
    return ScriptedPlayer
