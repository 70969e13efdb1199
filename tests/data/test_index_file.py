"""Index files: what they list, and what no index may lead to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.index_file import read_index
from tests.data.file_server import serving

BASE = "https://example.org/minecraft-rl/"


def write(folder: Path, relpaths: Any, basedir: Any = BASE, **more: Any) -> Path:
    path = folder / "index.json"
    path.write_text(json.dumps({"basedir": basedir, "relpaths": relpaths, **more}))
    return path


def test_entries_in_order_with_actions_and_recorder(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, ["8.0/b.mp4", "data/6.13/a.mp4", "all_6xx_Jun_29/c.mp4", "d.mp4"], extra=1))
    assert [(e.video, e.actions, e.recorder) for e in index.entries] == [
        ("8.0/b.mp4", ("8.0/b.jsonl",), "8.0"),
        ("data/6.13/a.mp4", ("data/6.13/a.jsonl",), "6.13"),
        ("all_6xx_Jun_29/c.mp4", ("all_6xx_Jun_29/c.jsonl",), None),
        ("d.mp4", ("d.jsonl",), None),
    ]
    assert index.basedir == BASE and index.problems == ()
    assert index.url("8.0/b.mp4") == f"{BASE}8.0/b.mp4"


def test_a_byte_order_mark_newlines_and_a_missing_slash_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, ["8.0/a.mp4"], BASE.rstrip("/"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\n")
    assert read_index(str(path)).url("8.0/a.mp4") == f"{BASE}8.0/a.mp4"


def test_names_with_several_dots(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, ["8.0/a.b.c.mp4", "8.0/x.y.mp4", "8.0/x.mp4"]))
    assert [entry.actions for entry in index.entries] == [
        ("8.0/a.b.c.jsonl", "8.0/a.jsonl"),
        ("8.0/x.y.jsonl",),  # x.jsonl belongs to x.mp4
        ("8.0/x.jsonl",),
    ]


def test_strange_characters_are_quoted_in_addresses(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, ["8.0/ü b#c?d%2e.mp4"]))
    assert index.url(index.entries[0].video) == f"{BASE}8.0/%C3%BC%20b%23c%3Fd%252e.mp4"


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, ["a.mp4", "a.jsonl", "a.mp4", f"{'x' * 300}.mp4", "b.mp4"]))
    assert [entry.video for entry in index.entries] == ["a.mp4", "b.mp4"]
    assert index.problems == (
        "2 entries are no .mp4 file or too long, as 'a.jsonl'",
        "1 entries are there twice",
    )


@pytest.mark.parametrize(
    "path",
    [
        "../a.mp4",
        "8.0/../../a.mp4",
        "/etc/a.mp4",
        "8.0//a.mp4",
        "./a.mp4",
        ".hidden.mp4",
        "8.0/.ssh/a.mp4",
        "..\\a.mp4",
        "C:/a.mp4",
        "a\x00.mp4",
        "a\n.mp4",
        "",
        "8.0/",
        "a\ud800.mp4",
        "//host/a.mp4",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.json: lists .*expected a path inside its folder") as told:
        read_index(write(tmp_path, ["8.0/good.mp4", path]))
    str(told.value).encode()  # can be printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an index file in JSON"),
        (b"<html>Not found</html>", "expected an index file in JSON"),
        (b'{"basedir": "https://a/", "relpaths": ["a.mp4"', "expected an index file in JSON"),
        (b"\xff\xfe", "expected an index file in JSON"),
        (b"[" * 100_000, "expected an index file in JSON"),
        (b"[]", 'expected {"basedir": ..., "relpaths": .*found a list'),
        (b'{"version": 1, "recordings": []}', "found keys .'recordings', 'version'."),
        (b'{"basedir": "https://a/", "relpaths": {"a.mp4": 1}}', "list of texts"),
        (b'{"basedir": "https://a/", "relpaths": ["a.mp4", 3]}', "list of texts"),
        (b'{"basedir": "https://a/", "relpaths": []}', "found 0 paths"),
        (b'{"basedir": "https://a/", "relpaths": ["a.jsonl"]}', "found 1 paths, none of them"),
    ],
)
def test_other_contents_are_told(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"index\.json: .*{message}"):
        read_index(tmp_path / "index.json")


@pytest.mark.parametrize(
    "basedir",
    [
        "",
        None,
        3,
        "ftp://host/",
        "file:///etc/",
        "/home/",
        "https://",
        "https://h/?sig=1",
        "https://u:p@h/",
        "http://[/",
        "https://h/a b/",
        "https://h/#a",
    ],
)
def test_other_basedirs_are_refused(basedir: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'index\.json: "basedir" is .*expected an http or https address'):
        read_index(write(tmp_path, ["a.mp4"], basedir))


def test_from_an_address(tmp_path: Path) -> None:
    content = write(tmp_path, ["8.0/a.mp4"]).read_bytes()
    with serving(files={"/index.json": content}) as server:
        index = read_index(f"{server.url}index.json")
        assert index.source == f"{server.url}index.json" and index.entries[0].video == "8.0/a.mp4"
        with pytest.raises(ValueError, match=r"none\.json: the server answers 404"):
            read_index(f"{server.url}none.json")
    for address in ("ftp://host/index.json", "file:///etc/hostname"):
        with pytest.raises(ValueError, match="expected an http or https address"):
            read_index(address)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: cannot be read as an index: No such file"):
        read_index(tmp_path / "none.json")
    with pytest.raises(ValueError, match="Is a directory"):
        read_index(tmp_path)
