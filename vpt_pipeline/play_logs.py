"""Logs that `vpt play` writes beside its videos: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_log(path: Path, what: str, command: str, parse: Callable[[dict[str, Any]], T]) -> list[T]:
    """Each line, parsed. what: it tells; command: that writes it. Raises ValueError, naming the line, for anything else."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected {what}, as `{command}` writes it")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(parse(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: not what `{command}` writes ({error!r}); play again") from error
    return found
