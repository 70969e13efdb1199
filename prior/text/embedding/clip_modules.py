"""open_clip, imported here alone: the networks, the loss and the tokenizer of this package are made of its parts.

open_clip imports torchvision, whose stock build is linked to CUDA and fails to import beside a CPU build of torch: the names of
its own operators are not there. None of them is used here, so it is enough to make the names known.
"""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from typing import Any

import torch

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # names vanish with the object that defined them


@lru_cache(maxsize=1)
def open_clip() -> Any:
    """The package. Raises ValueError that says how to install it where it is missing."""
    try:
        _import_torchvision()
        return importlib.import_module("open_clip")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the package {error.name!r} is missing, which texts and clips are embedded with; "
            "pip install -c constraints.txt -e '.[text]'"
        ) from error


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in _OPERATORS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _libraries.append(library)
        importlib.import_module("torchvision")
