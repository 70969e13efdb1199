"""Files as others published them: OpenAI's ``.model`` (how a network is built) and ``.weights``, and what fits what.

No file is trusted: a ``.model`` is read as data (prior/inert_pickle.py), weights through torch's ``weights_only`` or as
safetensors. Weights are mapped into memory, not read: a tensor takes memory only once it is copied or written to.
"""

from __future__ import annotations

import pickle
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prior.inert_pickle import read_inert_pickle

WRAPPERS = ("model", "state_dict")
"""Names under which training scripts store the weights beside other things."""

_MOST_VALUES = 10_000
_MOST_LINES = 20


@dataclass(frozen=True)
class PublishedModel:
    """How a published network is built.

    net: keyword arguments of the network. pi_head: keyword arguments of the action head, among them always
    ``temperature``, a float above 0. function: what made the model, such as ``ypt.model.inverse_action_model:create``.
    version: of the file; both None where the file does not say. The two dicts are plain data with text as keys.
    """

    net: dict[str, Any]
    pi_head: dict[str, Any]
    function: str | None
    version: int | str | None


def read_model_file(path: Path | str) -> PublishedModel:
    """Read a ``.model``. What else it holds is ignored.

    Raises ValueError, naming the file, when it is missing, damaged, asks for anything but plain data (and executes none
    of it), or is nested otherwise.
    """
    content = read_inert_pickle(path)
    arguments = _inside(path, content, "model", "args")
    net = _keywords(path, _inside(path, arguments, "net", "args", above=("model", "args")), "model/args/net/args")
    head = _keywords(path, arguments.get("pi_head_opts") or {}, "model/args/pi_head_opts")
    temperature = head.get("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 < temperature < 1e6:
        found = reprlib.repr(temperature)
        raise ValueError(f"{path}: model/args/pi_head_opts/temperature is {found}, expected a number above 0")
    head["temperature"] = float(temperature)
    function, version = content["model"].get("function"), content.get("version")
    return PublishedModel(
        net,
        head,
        function if isinstance(function, str) else None,
        version if isinstance(version, (int, str)) else None,
    )


def _inside(path: Path | str, content: Any, *keys: str, above: tuple[str, ...] = ()) -> dict[Any, Any]:
    """The dict at ``keys``; the error says how far the way went and what is there."""
    for depth, key in enumerate((*keys, None)):
        if not isinstance(content, dict) or (key is not None and key not in content):
            there = f"keys {_listed(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
            where, expected = "/".join((*above, *keys[:depth])) or "the top", f"the key {key!r}" if key else "a dict"
            raise ValueError(
                f"{path}: expected {expected} at {where}, found {there}; "
                "is this one of OpenAI's .model files (model/args/net/args)?"
            )
        content = content if key is None else content[key]
    assert isinstance(content, dict)
    return content


def _listed(keys: Iterable[Any], most: int = 8) -> str:
    names = [f"{key!r:.60}" for key in keys]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "(none)"


def _keywords(path: Path | str, content: Any, where: str) -> dict[str, Any]:
    """A copy of a dict that can be passed as ``**keywords``. Raises ValueError where something in it is no plain data."""
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: expected a dict with text as keys at {where}, found {reprlib.repr(content)}")
    todo: list[tuple[str, Any]] = [(where, content)]
    for _ in range(_MOST_VALUES):
        if not todo:
            return dict(content)
        place, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{place}/{key}", inner) for key, inner in value.items()]
        elif isinstance(value, (list, tuple)):
            todo += [(place, inner) for inner in value]
        elif not isinstance(value, (str, int, float, bytes, type(None))):
            kind = getattr(value, "kind", type(value).__name__)
            raise ValueError(f"{path}: {place} is a {kind}, expected a number, a text or a list or dict of these")
    raise ValueError(f"{path}: {where} holds more than {_MOST_VALUES:,} values or itself; expected some thirty")


def read_weights(path: Path | str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The tensors of a ``.weights``, ``.pt``, ``.pth`` or ``.safetensors`` file, on the CPU, by name.

    They are mapped into memory where the format permits (all but torch's oldest), and writing to them leaves the file as
    it is; do not change the file while they are in use. dtype: cast the floating-point ones to it, one after the other.
    Weights that lie under "model" or "state_dict", beside other things, are found if only one of these holds tensors.

    Raises ValueError, naming the file, when it is missing or damaged, holds pickled code (none of which is executed),
    or holds something other than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of weights, found none; check the path")
    tensors = _flat(path, _read(path))
    if dtype is not None:
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = tensor.to(dtype)
    return tensors


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as stream:
            zipped = stream.read(4) == b"PK\x03\x04"
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, found none ({error}); get it again") from error
    except pickle.UnpicklingError as error:  # torch's message advises to load the file without this protection
        code = re.search(r"(?:[Uu]nsupported.*?(?:GLOBAL|class)|unrecognized function) ([\w.]+)", str(error))
        if code:
            raise ValueError(
                f"{path}: holds pickled code ({code[1]}), expected tensors only. None of it was executed; "
                "do not trust this file, get weights from their publisher"
            ) from error
        raise ValueError(
            f"{path}: expected tensors written by torch.save, found something else, of which nothing was executed; "
            "get the file again"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may lead anywhere in the reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as weights ({reason:.200}); get the file again") from error


def _flat(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict) and not any(isinstance(value, Tensor) for value in content.values()):
        wrapped = [key for key in WRAPPERS if _holds_tensors(content.get(key))]
        if len(wrapped) == 1:
            content = content[wrapped[0]]
        elif wrapped:
            raise ValueError(f'{path}: has tensors under both "model" and "state_dict"; save the right ones alone')
    if not isinstance(content, dict) or not content:
        found = reprlib.repr(content)
        raise ValueError(f"{path}: expected tensors by name, found {found}; is this a file of weights?")
    odd = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if odd:
        raise ValueError(f"{path}: expected tensors by name, found something else under {_listed(odd)}")
    sparse = [name for name, value in content.items() if value.layout != torch.strided or value.is_quantized]
    if sparse:
        raise ValueError(f"{path}: expected dense tensors, found sparse or quantized ones: {_listed(sparse)}")
    return {name: value.detach() for name, value in content.items()}


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, Tensor) for inner in value.values())


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_into` did.

    loaded: how many tensors of the module now have the file's values. missing_harmless: names that keep the values they
    had. unexpected_harmless: names in the file that the module has no use for. without_values: parameters and buffers
    that are still on the meta device, which the caller must give values (all of missing_harmless, if the module was built
    there, and buffers that are never saved).
    """

    loaded: int
    missing_harmless: tuple[str, ...]
    unexpected_harmless: tuple[str, ...]
    without_values: tuple[str, ...]


@torch.no_grad()
def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str, harmless: Iterable[str] = ()
) -> LoadReport:
    """Give a module's parameters and buffers the values of ``tensors``, in the module's own dtypes.

    A tensor of a module on the meta device becomes the given one itself (a cast copy if dtypes differ); others are
    copied into. So no second copy of all the weights exists at any time. Each parameter keeps its requires_grad, and
    parameters that the module shares stay shared. harmless: names that may be missing or unexpected, as beginnings
    (``aux_value_head.``) or patterns (``*.running_mean``). source: where the tensors come from, for messages.

    Raises ValueError, listing every missing, unexpected or unfit tensor; the module is then as it was.
    """
    allowed = (harmless,) if isinstance(harmless, str) else tuple(harmless)
    own: dict[str, Tensor] = module.state_dict(keep_vars=True)
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    both = sorted(own.keys() & tensors.keys())
    problems = {
        "missing from the file": [name for name in missing if not _matches(name, allowed)],
        "unknown to the model": [name for name in unexpected if not _matches(name, allowed)],
        "unfit": [text for name in both for text in _unfit(name, tensors[name], own[name])],
    }
    if any(problems.values()):
        raise ValueError(
            f"{source} does not fit this {type(module).__name__}; check that both are the same model and size:\n"
            + "\n".join(_lines(problems))
        )
    assigned: dict[int, Tensor] = {}
    for name in both:
        old, new = own[name], tensors[name]
        if not old.is_meta:
            old.copy_(new)
            continue
        if id(old) not in assigned:
            value = new.to(old.dtype)
            assigned[id(old)] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
        _replace(module, name, assigned[id(old)])
    return LoadReport(
        len(both),
        tuple(missing),
        tuple(unexpected),
        tuple(sorted(name for name, value in _everything(module) if value.is_meta)),
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, p) if set(p) & set("*?[") else bool(p) and name.startswith(p) for p in patterns)


def _unfit(name: str, given: Tensor, own: Tensor) -> list[str]:
    if given.shape != own.shape:
        return [f"{name} is {tuple(given.shape)}, expected {tuple(own.shape)}"]
    if given.is_floating_point() != own.is_floating_point() or given.is_complex() != own.is_complex():
        return [f"{name} is {given.dtype}, expected {own.dtype}"]
    return []


def _lines(problems: dict[str, list[str]]) -> Iterator[str]:
    """A heading a kind, then its names, as many as there is room for."""
    kinds = {kind: names for kind, names in problems.items() if names}
    room = (_MOST_LINES - 2 * len(kinds)) // len(kinds)
    for kind, names in kinds.items():
        yield f"  {kind} ({len(names)}):"
        yield from (f"    {name}" for name in names[:room])
        if len(names) > room:
            yield f"    ... and {len(names) - room} more"


def _everything(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _replace(module: nn.Module, name: str, value: Tensor) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, value)
