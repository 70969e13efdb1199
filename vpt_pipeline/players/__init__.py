"""Scripted players: one behaviour for each task, several styles."""

from vpt_pipeline.players.scripted import ScriptedPlayer
from vpt_pipeline.players.style import STYLES, PlayerStyle

__all__ = ["STYLES", "PlayerStyle", "ScriptedPlayer"]
