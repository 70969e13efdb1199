"""Reading the data in a pickle without running the pickle.

A pickle is a program: it may import anything and call it. Here its instructions are decoded by the standard library's
``pickletools`` and followed only as far as they build plain data. Nothing that the file names is imported and nothing is
called, so there is nothing to break out of. (Filtering ``pickle.Unpickler.find_class`` promises less: extension codes that
are already cached pass it by, five bytes can ask for a memo of gigabytes, and a small tuple of tuples as the key of a
dict takes hours to hash.)
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 64 << 20
MAX_STEPS = 100_000
"""The published files take about a hundredth of the second and hardly anything of the first."""

INERT_NAMES: frozenset[str] = frozenset(
    {f"gym3.types.{name}" for name in ("DictType", "TensorType", "Discrete", "Real", "ScalarType", "ValType")}
    | {"collections.OrderedDict", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
    | {f"{module}._reconstructor" for module in ("copyreg", "copy_reg")}  # how the oldest protocols make objects
    | {f"{module}.object" for module in ("builtins", "__builtin__")}
)
"""The classes and functions that a model description may name. They stay names (:class:`Name`) all the same."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names. It was not imported."""

    full: str


@dataclass(eq=False)
class Inert:
    """What would have become an object: of which kind, made with which arguments, and the state it would have got."""

    kind: str
    arguments: tuple[Any, ...]
    state: Any = None


class RefusedError(ValueError):
    """The pickle wants something that no plain data needs."""


def read_inert_pickle(path: Path | str) -> Any:
    """The data of a pickle of any protocol; objects of the classes in INERT_NAMES become :class:`Inert`.

    Raises ValueError, naming the file, when it is missing, damaged or not a pickle, is larger than MAX_BYTES, or names
    or asks for anything else. Whatever is in the file, none of it is executed.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError(f"{path}: expected a file, found none; check the path")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"{path}: is {size / 2**20:,.0f} MiB, expected a description of at most {MAX_BYTES >> 20} MiB; "
                "is this the file of the weights?"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from error
    if content.startswith(b"PK"):
        raise ValueError(f"{path}: expected a plain pickle, found a zip file such as torch.save writes (weights?)")
    try:
        return _follow(content)
    except RefusedError as error:
        raise ValueError(
            f"{path}: {error}, which a model description has no use for. It was refused and nothing in it was "
            "executed; do not trust this file, get it from its publisher again"
        ) from error
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        found = "an empty file" if not content else f"something else or a damaged one ({_short(error)})"
        raise ValueError(f"{path}: expected a pickle, found {found}; get it again") from error


_PUSHED_ARGUMENTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _follow(content: bytes) -> Any:
    """The value that the instructions build. Raises RefusedError, or whatever a damaged pickle leads to."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop(count: int) -> list[Any]:
        if len(stack) - count < (marks[-1] if marks else 0):
            raise ValueError("it takes more values than it gives")
        values = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return values

    def since_mark() -> list[Any]:
        return pop(len(stack) - marks.pop())

    def top() -> Any:
        (value,) = pop(1)
        stack.append(value)
        return value

    argument: Any
    for step, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if step >= MAX_STEPS:
            raise RefusedError(f"holds more than {MAX_STEPS:,} instructions")
        name: Any = instruction.name
        match name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return pop(1)[0]
            case "MARK":
                marks.append(len(stack))
            case "POP":
                _ = pop(1) if not marks or marks[-1] < len(stack) else marks.pop()
            case "POP_MARK":
                since_mark()
            case "DUP":
                stack.append(top())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}[name]())
            case "LIST":
                stack.append(since_mark())
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(_TUPLES[name])))
            case "FROZENSET":
                stack.append(frozenset(map(_key, since_mark())))
            case "DICT":
                pairs = since_mark()
                stack.append({})
                _set_items(top(), pairs)
            case "APPEND" | "APPENDS":
                values = pop(1) if name == "APPEND" else since_mark()
                _expect(top(), list).extend(values)
            case "SETITEM" | "SETITEMS":
                pairs = pop(2) if name == "SETITEM" else since_mark()
                _set_items(top(), pairs)
            case "ADDITEMS":
                values = since_mark()
                _expect(top(), set).update(map(_key, values))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = top()
            case "MEMOIZE":
                memo[len(memo)] = top()
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_named(*pop(2)))
            case "REDUCE" | "NEWOBJ":
                stack.append(_made(*pop(2)))
            case "NEWOBJ_EX":
                kind, *arguments = pop(3)
                stack.append(_made(kind, tuple(arguments)))
            case "BUILD":
                (state,) = pop(1)
                target = top()
                if isinstance(target, Inert):
                    target.state = state
                elif not isinstance(target, dict):  # an OrderedDict may have attributes, which are no data
                    raise RefusedError(f"sets the state of a {type(target).__name__}")
            case _ if name in _PUSHED_ARGUMENTS:
                stack.append(argument)
            case _:  # persistent ids, extension codes, buffers outside the file, classes of Python 2
                raise RefusedError(f"holds the instruction {name}")
    raise ValueError("it has no end")


def _named(module: Any, name: Any) -> Name:
    full = f"{_expect(module, str)}.{_expect(name, str)}"
    if full not in INERT_NAMES:
        raise RefusedError(f"names {full[:200]!r}")
    return Name(full)


def _made(kind: Any, arguments: Any) -> Any:
    """What a call would have given, as data. Arguments are kept, never copied: copies of copies fill any memory."""
    called, arguments = _expect(kind, Name).full, _expect(arguments, tuple)
    if called == "collections.OrderedDict" and not arguments:  # its items follow
        return {}
    if called.endswith("._reconstructor") and arguments:
        called = _expect(arguments[0], Name).full
    return Inert(called, arguments)


def _set_items(target: Any, pairs: Any) -> None:
    if not isinstance(pairs, (list, tuple)) or len(pairs) % 2:
        raise ValueError("a key without a value")
    _expect(target, dict).update(zip(map(_key, pairs[::2]), pairs[1::2], strict=True))


def _key(value: Any) -> Any:
    """Keys are hashed: only those whose hash is quick."""
    if not isinstance(value, (str, int, float, bytes, type(None))) or (isinstance(value, int) and abs(value) >> 64):
        raise RefusedError(f"uses a {type(value).__name__} of unusual size or kind as a key")
    return value


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _short(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) < 200 else text[:200] + " ..."
