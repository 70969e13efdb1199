"""Luanti (Minetest 5.6), driven frame by frame: a Minecraft-like game that Debian installs in a minute."""

from vpt_pipeline.envs.luanti.env import LuantiEnv
from vpt_pipeline.envs.luanti.game import GameDied
from vpt_pipeline.envs.luanti.shim import LuantiUnavailable, missing_requirements
from vpt_pipeline.envs.luanti.tasks import TASKS

__all__ = ["TASKS", "GameDied", "LuantiEnv", "LuantiUnavailable", "missing_requirements"]
