"""ViZDoom as a second embedded game: pip installs all of it, no display and no system packages."""

from vpt_pipeline.envs.vizdoom.env import TASKS, VizdoomEnv
from vpt_pipeline.envs.vizdoom.map import Landscape

__all__ = ["TASKS", "Landscape", "VizdoomEnv"]
