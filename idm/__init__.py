"""The inverse dynamics model: which actions were taken between the frames of a video."""
