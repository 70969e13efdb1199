"""Settings as frozen dataclasses that live in JSON files, and presets of them by name."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from data.files import write_json_atomic
from data.names import require_name

Config = TypeVar("Config")
Own = TypeVar("Own", bound="JsonConfig")

MODELS_BY_SETTING = {
    "camera_targets": "an inverse dynamics model (`vpt train-idm`)",
    "fovea": "a policy (`vpt train-prior`)",
    "text_width": "an embedding of texts and clips (`vpt train-clip`)",
}
"""A setting that only one kind of model has, and which: their folders look alike, and one may be given in place of another."""


class JsonConfig:
    """For dataclasses to inherit from."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_dict(cls: type[Own], values: Mapping[str, Any], source: str = "config") -> Own:
        """Raises ValueError that names ``source`` for settings of another kind of model, or that this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - known)
        found, expected = _model_of(unknown), _model_of(known)
        if found and expected:
            raise ValueError(f"{source} is that of {found}; expected {expected}")
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


def _model_of(settings: Collection[str]) -> str | None:
    """The kind of model that alone has one of these settings."""
    return next((kind for setting, kind in MODELS_BY_SETTING.items() if setting in settings), None)


def require_kinds(config: JsonConfig, source: str) -> None:
    """Raises ValueError that names ``source`` for settings that are not of the kind that their annotations say."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(value, kind):
            raise ValueError(f"{source}: {name} is {value!r:.80}, expected {getattr(kind, '__name__', kind)}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value out of JSON is of a kind: a plain one, one of several, or a list or dict of such."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is types.UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    return type(value) is kind or (kind is float and type(value) is int)


def begin_or_resume(folder: Path, about: Mapping[str, Any], what: str = "settings") -> bool:
    """Whether the folder holds a run to resume (``resume.pt``); a new one gets ``training.json``, by parts and settings.

    Raises ValueError, naming each, if the run there was begun with other settings. what: they are, for the message.
    """
    path, now = folder / "training.json", json.loads(json.dumps(about))
    if not (folder / "resume.pt").exists():
        write_json_atomic(path, now)
        return False
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != now:
        changed = sorted(
            f"{part}.{key} was {before.get(part, {}).get(key)}, is {now[part].get(key)}"
            for part in now
            for key in now[part].keys() | before.get(part, {}).keys()
            if before.get(part, {}).get(key) != now[part].get(key)
        )
        raise ValueError(
            f"{folder} holds a run with other {what} ({'; '.join(changed)}). "
            f"Use the same {what} to resume it, or another folder for a new run."
        )
    return True


def given_options(kind: type[JsonConfig], options: object) -> dict[str, Any]:
    """Of a command's options those that are settings of ``kind`` and were given (not None), to put in place of a recipe's."""
    names = (field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def preset_of(presets: Mapping[str, Config], name: str, what: str) -> Config:
    """A preset by name; a wrong name is answered with the nearest right one. what: for the message, as in "IDM"."""
    require_name(f"{what} preset", name, presets)
    return presets[name]
