"""Files that are whole or absent: write under a temporary name, then rename. Also hashes, JSON, and the cache's place.

A process that is killed while it writes leaves only a hidden ``.NAME.*.part.EXT``, which no reader here takes for
an artefact. (A power cut may still lose the last seconds: nothing is forced to the disk.)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PART_MARK = ".part"


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """A temporary path beside ``final``: renamed to it when the block succeeds, removed when the block fails.

    The temporary name keeps the suffix of ``final`` (libraries guess formats by it) and is unique, so several
    processes may write the same artefact and the last to finish wins. Parent folders are made. Raises OSError,
    naming ``final``, when the folder cannot be made or written, or when the block left no file there.
    """
    final = Path(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(final, error) from error
    part = final.with_name(f".{final.stem}.{secrets.token_hex(4)}{PART_MARK}{final.suffix}")
    try:
        yield part
        part.replace(final)
    except OSError as error:
        if error.filename == str(part) or error.errno in _FULL:
            raise _cannot_write(final, error) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def folder_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """A folder that is made once, whole or not at all: ``write`` fills a temporary one, which then gets the name.

    If it is there already, or another process is quicker, that one stays. What ``write`` raises goes on, and nothing is left.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            write(fresh)
            fresh.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def _cannot_write(final: Path, error: OSError) -> OSError:
    """The same error with a message about the artefact instead of its temporary name."""
    reason = error.strerror or str(error)
    return type(error)(
        error.errno or 0, f"cannot write {final}: {reason}; free space there or choose another folder", str(final)
    )


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes as 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json_atomic(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys: equal values give equal bytes.

    Raises ValueError for NaN or infinity (which are not JSON), TypeError for what JSON cannot hold.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """``$VPT_CACHE``, else ``$XDG_CACHE_HOME/vpt_pipeline``, else ``~/.cache/vpt_pipeline``; made if missing."""
    chosen = os.environ.get("VPT_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else base / "vpt_pipeline"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()
