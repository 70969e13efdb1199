"""Joining a Ray cluster."""

from __future__ import annotations

import logging
import os
from typing import Any

import ray
from ray.exceptions import RayError


def connect(address: str, show_workers: bool = False) -> None:
    """Join a Ray cluster ("local" starts one on this machine). show_workers: print here what they print.

    Raises ValueError where there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        return
    options: dict[str, Any] = {
        "log_to_driver": show_workers,
        "logging_level": logging.ERROR,
        "configure_logging": False,
    }
    if address == "local":
        options |= {"address": "local", "include_dashboard": False, "num_cpus": os.cpu_count()}
    else:
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise ValueError(
            f"--cluster {address}: no Ray cluster answers there ({error}); expected local, auto (the one this machine belongs "
            "to) or HOST:PORT of its head, which `ray start --head` prints"
        ) from error


def last_line(error: BaseException) -> str:
    """What an error of Ray's says in the end: its traceback from the other process comes first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
