"""Where a policy that follows texts lies; nothing heavy is imported here."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

ABOUT, GOAL_PRIOR = "text.json", "goal_prior.safetensors"


def is_follower(folder: Path) -> bool:
    """Whether a folder is one of `vpt train-text`, complete."""
    with suppress(OSError):  # a long text is no name of a folder
        return (folder / ABOUT).is_file()
    return False


def split_name(name: str) -> tuple[str, str]:
    """An embedder's name -> its kind and what stands behind it. The kind is "" where a folder or file alone is named, as in
    followers of before kinds were always written."""
    kind, colon, rest = name.partition(":")
    return (kind, rest) if colon and len(kind) > 1 else ("", name)  # one letter is a drive


def embedder_of(folder: Path) -> tuple[str, str]:
    """The name of the embedder that a folder was trained with, and its key. Raises ValueError where it does not tell."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return str(about["embedder"]), str(about["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected what `vpt train-text` writes, an embedder and its key, found something else ({error!r}); get "
            "the file again, or train again"
        ) from error
