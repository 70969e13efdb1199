"""Messages between a model worker and its decoding processes: JSON and arrays, nothing that could be executed.

A decoding process reads files from anywhere; should one of them ever take it over, its pipe must not be a way further.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
_TYPES = {"uint8", "int8", "bool", "int32", "int64", "float16", "float32", "float64"}


def send(pipe: Connection, kind: str, values: dict[str, Any] | None = None, arrays: Arrays | None = None) -> None:
    """One message. Waits while the pipe is full, which is how a slow reader holds a fast sender back."""
    arrays = arrays or {}
    head = {
        "kind": kind,
        "values": values or {},
        "arrays": [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()],
    }
    pipe.send_bytes(json.dumps(head).encode())
    for array in arrays.values():
        if array.size:
            pipe.send_bytes(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def receive(pipe: Connection) -> tuple[str, dict[str, Any], Arrays]:
    """The next message: kind, values, arrays. Raises EOFError when the other side is gone, ValueError for nonsense."""
    head = json.loads(pipe.recv_bytes())
    arrays: Arrays = {}
    for name, dtype, shape in head["arrays"]:
        if dtype not in _TYPES:
            raise ValueError(f"a message brings an array of {dtype!r}; expected one of {', '.join(sorted(_TYPES))}")
        array = np.empty(shape, dtype)
        if array.size:
            data = pipe.recv_bytes(array.nbytes)
            if len(data) != array.nbytes:
                raise ValueError(f"a message brings {len(data)} bytes for {name}; expected {array.nbytes}")
            array = np.frombuffer(data, dtype).reshape(shape)
        arrays[str(name)] = array
    return str(head["kind"]), dict(head["values"]), arrays
