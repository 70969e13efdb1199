"""Scripted players, one behaviour for each task, several styles."""
