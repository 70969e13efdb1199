"""set.json: what a set's latents are, by which others can be told apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from data.json_config import JsonConfig, require_kinds

ABOUT = "set.json"
VERSION = 2
"""2: which frames are not to be copied."""


@dataclass(frozen=True)
class SetInfo(JsonConfig):
    """What the latents of a set are: made by which model (source: where it was, sha256: which it is), of D numbers each, at
    ``rate`` frames a second; nulls: whether frames in which nothing was done are left out. seen: whether what is
    seen now stands beside what the model remembers.

    embedder, embedder_key, embedder_dims: where the embedder of `goals` was, which it is, and G; "", "", 0: there are none.
    """

    source: str
    sha256: str
    dims: int
    rate: int
    drop_nulls: bool = True
    seen: bool = False
    version: int = VERSION
    embedder: str = ""
    embedder_key: str = ""
    embedder_dims: int = 0


def read_info(path: Path) -> SetInfo:
    """Raises ValueError for what `vpt index` does not write, or not any more, or not yet."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected a set of demonstrations, as `vpt index` writes it")
    again = "make the set again: `vpt index RECORDINGS --out` into a new folder"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); {again}") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        why = "; version 1 does not say which frames are slips or a novice's, not to be copied" if version == 1 else ""
        raise ValueError(f"{path}: version {version}, this program reads {VERSION}{why}; {again}")
    try:
        info = SetInfo.from_dict(values, str(path))
        require_kinds(info, str(path))
        if min(info.dims, info.rate) < 1:
            raise ValueError(f"{path}: dims is {info.dims}, rate {info.rate}; expected 1 or more of each")
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from error
    return info
