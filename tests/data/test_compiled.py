"""Small C files, built on first use."""

from __future__ import annotations

import ctypes
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data.compiled import compiled

pytestmark = pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler")
TAKES = {"answer": [ctypes.POINTER(ctypes.c_int)]}


def build(source: Path) -> ctypes.CDLL | None:
    return compiled(source, ("-shared", "-fPIC"), "all is slow", "it does not build", TAKES)


def test_threads_that_need_it_at_once_all_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a first search do: each but one once found that another had moved the file away."""
    monkeypatch.setenv("VPT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.c"
    source.write_text("void answer(int *to) { *to = 42; }\n")
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("error")
        libraries = list(pool.map(build, [source] * 8))
    for library in libraries:
        assert library is not None
        answer = ctypes.c_int()
        library.answer(ctypes.byref(answer))
        assert answer.value == 42


def test_what_does_not_build_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.c"
    source.write_text("void answer(int *to) { *to = }\n")
    with pytest.warns(UserWarning, match=r"it does not build.*answer\.c"):
        assert build(source) is None
