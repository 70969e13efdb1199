"""Minecraft through MineRL 1.0, which plays in an interpreter of its own (docs/minerl.md)."""

from vpt_pipeline.envs.minerl.connection import MinerlDied
from vpt_pipeline.envs.minerl.env import MinerlEnv
from vpt_pipeline.envs.minerl.settings import MinerlSettings

__all__ = ["MinerlDied", "MinerlEnv", "MinerlSettings"]
