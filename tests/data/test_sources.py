"""Which videos are meant, and what is said where none can be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources import Source, default_name, find_sources, stamp_of, unique_name
from data.stores import look
from tests.data.failing_fs import failing_store
from tests.data.file_server import serving

TREE = ["b/2.mkv", "a.mp4", "b/c/3.MP4", "b.webm", "b/notes.txt", ".trash/x.mp4", "b/.half.part.mp4", "z é[1] %#.mp4"]
VIDEOS = ["a.mp4", "b/2.mkv", "b/c/3.MP4", "b.webm", "z é[1] %#.mp4"]


@pytest.fixture(params=["", "memory://tree/", "flaky://tree/"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, here or in a store (one lists all at once, one folder by folder and fails often)."""
    base: str = request.param
    with failing_store(tmp_path / "store") as store:
        for name in TREE:
            if base.startswith("memory"):
                fsspec.filesystem("memory").pipe_file(f"/tree/{name}", name.encode())
            else:
                path = tmp_path / ("store/tree" if base else "local") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(name.encode())
        store.chance = 0.05
        yield base or f"{tmp_path}/local/"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.stores.time.sleep", lambda _: None)


def urls(*given: str) -> list[str]:
    return [source.url for source in find_sources(given)]


def test_a_folder_is_searched_in_order_each_video_once(tree: str) -> None:
    wanted = [tree + name for name in VIDEOS]
    for given in (tree, tree.rstrip("/")):
        assert urls(given) == wanted
    assert urls(tree + "b.webm", tree, tree) == [tree + "b.webm", *(url for url in wanted if url != tree + "b.webm")]
    for source in find_sources([tree]):
        found = look(source.url)
        assert found is not None and source.stamp == found.stamp == stamp_of(source.url) != "" and source.name is None


def test_patterns(tree: str) -> None:
    def below(pattern: str) -> list[str]:
        return [url[len(tree) :] for url in urls(tree + pattern)]

    assert below("*.mp4") == ["a.mp4", "z é[1] %#.mp4"]
    assert below("**/*.m*") == ["a.mp4", "b/2.mkv", "z é[1] %#.mp4"]
    assert below("**") == VIDEOS
    assert below("b/*/[0-9].MP4") == ["b/c/3.MP4"]
    assert below("?/*") == ["b/2.mkv"]
    assert below("b/*.txt") == ["b/notes.txt"]  # a suffix that is asked for
    assert below("z é[1] %#.mp4") == ["z é[1] %#.mp4"]  # a name before a pattern
    with pytest.raises(ValueError, match=r"\*\.avi.*none in .*\*\*"):
        urls(tree + "*.avi")


def test_under_many_failures_no_video_is_lost(tmp_path: Path) -> None:
    with failing_store(tmp_path, chance=0.2, seed=5) as store:
        for number in range(300):
            path = tmp_path / f"v/{number % 50:02d}/{number:03d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        complete, refused = 0, 0
        for _ in range(20):
            try:
                assert urls("flaky://v/") == [
                    f"flaky://v/{folder:02d}/{number:03d}.mp4"
                    for folder in range(50)
                    for number in range(folder, 300, 50)
                ]
                complete += 1
            except OSError as error:
                assert "flaky://v/: could not be listed: 4 tries failed" in str(error)
                refused += 1
        assert store.failed["ls"] > 150 and complete > 5 and refused > 0


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.mp4").touch()
    (tmp_path / "top/link").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "top")
    (tmp_path / "top/dead.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert urls(str(tmp_path / "top")) == [str(tmp_path / "top/link/x.mp4")]


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert urls("a.mp4", "./x/../a.mp4", f"file://{tmp_path}/a.mp4", ".", "*.mp4") == [str(tmp_path / "a.mp4")]


def test_a_missing_video_is_given_without_a_stamp(tree: str) -> None:
    assert list(find_sources([tree + "gone.mp4"])) == [Source(tree + "gone.mp4", "")]


ENTRIES: list[dict[str, Any]] = [
    {"video": "a b.mp4", "name": "first", "more": 1},
    {"video": "../up.mp4", "name": None, "more": 2},
    {"video": "two\nlines,é%#.mp4", "name": "", "more": 3},
    {"video": "s/gone.mp4", "name": "x/y", "more": 4},
    {"video": "memory://else/c.mp4", "name": None, "more": 5},
    {"video": "https://host/d.mp4?sig=a,b", "name": None, "more": 6},
    {"video": "a b.mp4", "name": "again", "more": 7},
]


def write_list(path: Path, entries: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(entries), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(entry) + "\n\n" for entry in entries), "utf-8")
    else:
        quoted = [[str(v if v is not None else "").replace('"', '""') for v in entry.values()] for entry in entries]
        lines = ['"' + '","'.join(row) + '"' for row in [list(entries[0]), *quoted]]
        path.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("where", ["local", "store"])
def test_lists(tmp_path: Path, suffix: str, where: str) -> None:
    folder = tmp_path / where / "lists"
    write_list(folder / f"l{suffix}", ENTRIES)
    (folder / "a b.mp4").write_bytes(b"x")
    base = f"{tmp_path}/local" if where == "local" else "flaky://"
    slash = "/" if where == "local" else ""
    with failing_store(tmp_path / "store", chance=0.1):
        sources = list(find_sources([f"{base}{slash}lists/l{suffix}"]))
        pattern = list(find_sources([f"{base}{slash}lists/*{suffix}"]))
    assert [(source.url, source.name) for source in sources] == [
        (f"{base}{slash}lists/a b.mp4", "first"),
        (f"{base}{slash}up.mp4", None),
        (f"{base}{slash}lists/two\nlines,é%#.mp4", None),
        (f"{base}{slash}lists/s/gone.mp4", "x/y"),
        ("memory://else/c.mp4", None),
        ("https://host/d.mp4?sig=a,b", None),
    ]
    assert [bool(source.stamp) for source in sources] == [where == "local", *[False] * 5]
    assert pattern == sources


def test_a_list_on_a_web_server() -> None:
    with serving() as server:
        server.files["/lists/l.csv?sig=1"] = b"url\n../a b.mp4\nhttps://h/x.mp4\n"
        assert urls(f"{server.url}lists/l.csv?sig=1") == [f"{server.url}a%20b.mp4", "https://h/x.mp4"]
    assert urls("https://h/x.mp4?sig=1*") == ["https://h/x.mp4?sig=1*"]


def test_other_names_of_columns_and_their_precedence(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("url, Path \nb.mp4,a.mp4\n\n")
    assert urls(str(tmp_path / "l.csv")) == [str(tmp_path / "a.mp4")]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"file;name\nx.mp4;y\n", r"a\.csv: expected a column video, path or url, found file;name"),
        ("a.csv", b"", r"a\.csv: expected a column video.* found nothing"),
        ("a.csv", b"name,video\nx,a.mp4\ny,\n", r"a\.csv:3: expected a path or URL of a video, found ''"),
        ("a.csv", b"video\n\xff\xfe.mp4\n", r"a\.csv: expected text in UTF-8"),
        ("a.csv", b"video\n" + b"x" * 200_000 + b"\n", r"a\.csv:2: expected comma-separated values.*field"),
        (
            "a.jsonl",
            b'{"video": "a.mp4"}\n{"video": "b',
            r"a\.jsonl:2: expected a JSON object.*found '\{\"video\": \"b'",
        ),
        ("a.jsonl", b'["a.mp4"]\n', r"a\.jsonl:1: expected a JSON object"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: expected a JSON object.*\.\.\."),
        ("a.jsonl", b'{"video": 3}\n', r"a\.jsonl:1: expected a path or URL of a video, found 3"),
        ("a.jsonl", b'{"movie": "a.mp4"}\n', r"a\.jsonl:1: expected a column .* found movie"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet: expected a Parquet file"),
        (
            "a.csv",
            b"video\nnope://x/a.mp4\n",
            r"a\.csv:2: nope://x/a\.mp4: nope:// is not known; expected a local path",
        ),
    ],
)
def test_broken_lists_are_told_by_file_and_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        urls(str(tmp_path / name))


def test_a_parquet_list_without_the_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file": ["a.mp4"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: expected a column .* found file"):
        urls(str(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"video": ["a.mp4", None]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: row 2: expected a path or URL of a video, found None"):
        urls(str(tmp_path / "a.parquet"))


def test_what_cannot_be_meant_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for item, told in {
        str(tmp_path / "empty"): r"empty: no video in this folder \(looked for \.avi",
        "memory://no/where/": r"memory://no/where/: no video in this folder",
        str(tmp_path / "gone"): r"gone: expected a video, a folder, a list .* found nothing there",
        str(tmp_path / "gone.csv"): r"gone\.csv: expected .* found nothing there",
        "nope://x/": r"nope://x/: nope:// is not known",
        "zip::memory://x.zip": r"zip::memory:// is not known",
    }.items():
        with pytest.raises(ValueError, match=told):
            urls(item)
    with pytest.raises(ValueError, match="no video given"):
        urls()

    def absent(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("data.stores.fsspec.get_filesystem_class", absent)
    with pytest.raises(ValueError, match=r"s3a://b/x\.mp4: s3a:// needs a package .*`pip install s3fs`"):
        urls("s3a://b/x.mp4")


def test_names_are_safe_anywhere() -> None:
    assert default_name("/v/play one.mp4") == default_name("s3://b/v/play one.mp4") == "play one"
    assert default_name("https://host/v/play%20one.mp4?X-Sig=a/b.c#t=1") == "play one"
    assert default_name("memory://v/100%#1?.mp4") == "100__1_"
    assert default_name("/v/two\nlines\\x:y.mp4") == "two_lines_x_y"
    assert default_name("/v/e\u0301\udc80.mp4") == "é_"
    assert [default_name(f"/v/{name}") for name in ("con.mp4", "..mp4", ".mp4", " .mp4", "-rf.mp4")] == [
        "_con", "_", "mp4", "_", "rf",
    ]  # fmt: skip
    assert len(default_name("/" + "é" * 200 + ".mp4").encode()) == 120


def test_taken_names_get_digits_of_the_url() -> None:
    taken: set[str] = set()
    found = []
    for url in ("/a/x.mp4", "/b/x.mp4", "/c/x.mkv"):
        found.append(unique_name(url, taken.__contains__))
        taken.add(found[-1])
    assert found[0] == "x" and len(set(found)) == 3 and all(len(name) == 8 for name in found[1:])
    assert unique_name("/b/x.mp4", {"x"}.__contains__) == found[1]  # of the URL alone
    assert unique_name("/b/x.mp4", taken.__contains__) == found[1] + unique_name("/b/x.mp4", taken.__contains__)[8:]
    assert unique_name("/a/x.mp4", taken.__contains__, "../up") == "_up"
    with pytest.raises(ValueError, match=r"/a/x\.mp4: x and its longer forms are taken"):
        unique_name("/a/x.mp4", lambda name: True)
