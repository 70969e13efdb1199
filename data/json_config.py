"""Settings as frozen dataclasses that live in JSON files, and presets of them by name."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

Config = TypeVar("Config")
Own = TypeVar("Own", bound="JsonConfig")


class JsonConfig:
    """For dataclasses to inherit from."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_dict(cls: type[Own], values: Mapping[str, Any], source: str = "config") -> Own:
        """Raises ValueError that names ``source`` for settings that this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{source}: unknown settings {unknown}; this version knows {sorted(known)}")
        try:
            return cls(**values)
        except (TypeError, ZeroDivisionError) as error:
            raise ValueError(f"{source}: settings of the wrong kind ({error})") from error

    @classmethod
    def read(cls: type[Own], path: Path) -> Own:
        """Raises ValueError where the file is not a JSON object of known settings."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON ({error}); write or convert the model again") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path} holds a {type(values).__name__}, expected an object of settings")
        return cls.from_dict(values, str(path))


def preset_of(presets: Mapping[str, Config], name: str, what: str) -> Config:
    """A preset by name; a wrong name is answered with the nearest right one. what: for the message, as in "IDM"."""
    if name not in presets:
        near = difflib.get_close_matches(name, presets, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} preset {name!r}{hint} (there are {', '.join(presets)})")
    return presets[name]
