"""Artefacts are whole or absent."""

import errno
import hashlib
from pathlib import Path

import pytest

from data.files import atomic_path, sha256_file, write_json_atomic


def test_the_file_appears_only_when_the_block_succeeds(tmp_path: Path) -> None:
    final = tmp_path / "new" / "folder" / "a.bin"
    with atomic_path(final) as part:
        part.write_bytes(b"new")
        assert part.suffix == ".bin" and part.parent == final.parent and part.name.startswith(".")
        assert not final.exists()
    assert final.read_bytes() == b"new" and list(final.parent.iterdir()) == [final]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(RuntimeError, match="broken half-way"), atomic_path(final) as part:
        part.write_text("half")
        raise RuntimeError("broken half-way")
    assert final.read_text() == "old" and list(tmp_path.iterdir()) == [final]


def test_errors_name_the_artefact_not_its_temporary_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/a.txt"), atomic_path(tmp_path / "file" / "a.txt"):
        pass
    with pytest.raises(FileNotFoundError, match=r"cannot write .*/a\.txt"), atomic_path(tmp_path / "a.txt"):
        pass  # the block wrote nothing
    full = pytest.raises(OSError, match=r"cannot write .*/a\.txt.*No space left.*free space")
    with full, atomic_path(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_an_unrelated_os_error_passes_through_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text()


def test_equal_json_gives_equal_bytes_and_nan_is_refused(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    write_json_atomic(tmp_path / "b.json", {"a": [1.5, "é"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_sha256_reads_more_than_one_block(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192 + b"end"
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
