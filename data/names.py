"""What is said to who names something that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def require_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raises ValueError, with the nearest of the ``known`` names, where ``name`` is none of them. what: "task", say."""
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}{meant} (there are {', '.join(names)})")
