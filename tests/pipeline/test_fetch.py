"""`vpt data fetch`: the hours that were asked for, the same ones whatever happens on the way, nothing twice."""

from __future__ import annotations

import functools
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.download import Patience
from data.index_file import read_index
from data.recording import find_recordings
from tests.data.file_server import FileServer, serving
from tests.pipeline.label_files import write_recording
from vpt_pipeline import fetch as fetch_module
from vpt_pipeline.cli import VERBS
from vpt_pipeline.cli import main as vpt
from vpt_pipeline.fetch import FetchConfig, fetch_recordings

SECONDS = 2  # of each recording
NAMES = [f"8.0/player-{letter}.mp4" for letter in "abcdef"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Path on the server -> content."""
    folder = tmp_path_factory.mktemp("published")
    files = {}
    for number, name in enumerate(NAMES):
        video = write_recording(folder, Path(name).stem, 20 * SECONDS, size=(64, 48 + 2 * number))
        files[f"/{name}"] = video.read_bytes()
        files[f"/{name.removesuffix('.mp4')}.jsonl"] = video.with_suffix(".jsonl").read_bytes()
    return files


@pytest.fixture
def server(recordings: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(fetch_module, "Patience", functools.partial(Patience, pause_s=0.01))
    with serving(files=dict(recordings)) as running:
        yield running


@pytest.fixture
def run(server: FileServer, tmp_path: Path) -> Callable[..., Path]:
    """Fetch into a folder; index order and a little patience unless told otherwise."""

    def fetch(recordings: float = 2, out: str = "out", relpaths: list[str] | None = None, **options: Any) -> Path:
        index = tmp_path / "index.json"
        index.write_text(json.dumps({"basedir": server.url, "relpaths": relpaths or NAMES}))
        hours = (recordings - 0.5) * SECONDS / 3600
        given = {"shuffle": False, "attempts": 3, "timeout": 5.0, **options}
        fetch_recordings(FetchConfig(str(index), hours, tmp_path / out, **given))
        return tmp_path / out

    return fetch


def listed(out: Path) -> dict[str, Any]:
    recordings: dict[str, Any] = json.loads((out / "fetched.json").read_text())["recordings"]
    return recordings


def there(out: Path) -> list[str]:
    """The recordings that have both their files, checked against what was written."""
    found = find_recordings(out)
    for recording in found:
        assert len(recording.load_actions()) == 20 * SECONDS
    return [recording.video.relative_to(out).as_posix() for recording in found]


def test_so_many_hours_and_what_came_from_where(run: Callable[..., Path], server: FileServer) -> None:
    out = run(3)
    assert there(out) == NAMES[:3]
    entry = listed(out)[NAMES[0]]
    content = server.files[f"/{NAMES[0]}"]
    assert entry["status"] == "done" and entry["recorder"] == "8.0" and entry["seconds"] == SECONDS
    assert entry["video"] == {
        "url": f"{server.url}{NAMES[0]}",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert entry["actions"]["url"] == f"{server.url}8.0/player-a.jsonl" and entry["problem"] is None


def test_the_same_command_again_asks_for_nothing_and_more_hours_go_on(
    run: Callable[..., Path], server: FileServer
) -> None:
    out = run(2, workers=1)
    first = (out / "fetched.json").read_bytes()
    server.forget()
    run(2)
    assert server.asked == [] and (out / "fetched.json").read_bytes() == first
    run(5)
    assert there(out) == NAMES[:5]
    assert not {f"/{name}" for name in NAMES[:2]} & set(server.paths())
    assert all(server.sent[f"/{name}"] <= len(server.files[f"/{name}"]) for name in NAMES)


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_the_choice_depends_on_the_seed_alone(run: Callable[..., Path], server: FileServer, workers: int) -> None:
    chosen = [there(run(3, f"out{seed}", shuffle=True, seed=seed, workers=workers)) for seed in range(4)]
    assert len({tuple(names) for names in chosen}) > 1
    assert chosen == [there(run(3, f"again{seed}", shuffle=True, seed=seed, workers=2)) for seed in range(4)]
    # one that comes late is waited for: those behind it do not take its place
    entries = read_index(run(1, "x", workers=1).parent / "index.json").entries
    first = fetch_module.in_order(FetchConfig("", 1), entries)[0].video
    server.faults[f"/{first}"] = ["503", "drop"]
    assert there(run(3, "late", shuffle=True, workers=workers)) == chosen[0] and first in chosen[0]


def test_one_that_was_begun_in_vain_does_not_appear(
    run: Callable[..., Path], server: FileServer, tmp_path: Path
) -> None:
    """After a short one, two are begun; the first of them turns out to be long, and late."""
    long = write_recording(tmp_path, "long", 20 * SECONDS * 4, size=(64, 48))
    server.files["/8.0/long.mp4"] = long.read_bytes()
    server.files["/8.0/long.jsonl"] = long.with_suffix(".jsonl").read_bytes()
    server.faults["/8.0/long.mp4"] = ["stall"]
    out = run(3, relpaths=[NAMES[0], "8.0/long.mp4", NAMES[1]], timeout=1.0)
    assert list(listed(out)) == ["8.0/long.mp4", NAMES[0]]
    server.forget()
    run(6, relpaths=[NAMES[0], "8.0/long.mp4", NAMES[1]])
    assert NAMES[1] in listed(out) and server.asked == []  # it was here, hidden


def test_an_index_that_grows_keeps_its_order(run: Callable[..., Path]) -> None:
    few = there(run(2, "few", relpaths=NAMES[:4], shuffle=True))
    more = there(run(4, "more", shuffle=True))
    assert set(few) <= set(more) | set(NAMES[4:])


def test_dropped_connections_and_ignored_ranges_are_lived_with(run: Callable[..., Path], server: FileServer) -> None:
    server.faults[f"/{NAMES[0]}"] = ["drop", "500"]
    server.faults[f"/{NAMES[1]}"] = ["drop", "whole"]
    server.faults["/8.0/player-b.jsonl"] = ["drop", "drop"]
    assert there(run(2)) == NAMES[:2]
    assert server.sent[f"/{NAMES[0]}"] == len(server.files[f"/{NAMES[0]}"])


def test_a_silent_server_costs_its_recording_only(run: Callable[..., Path], server: FileServer) -> None:
    server.faults[f"/{NAMES[0]}"] = ["stall"] * 3
    out = run(2, timeout=0.3)
    assert there(out) == NAMES[1:3]
    assert listed(out)[NAMES[0]]["status"] == "failed" and "3 attempts failed" in listed(out)[NAMES[0]]["problem"]
    server.forget()
    run(3)  # a failed one is tried again, from where it was
    assert there(out) == NAMES[:3]
    size = len(server.files[f"/{NAMES[0]}"])
    assert server.sent[f"/{NAMES[0]}"] < size


def test_missing_and_broken_ones_are_told_and_skipped(
    run: Callable[..., Path], server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    actions = {n: f"/8.0/player-{letter}.jsonl" for n, letter in enumerate("abcdef")}
    del server.files[f"/{NAMES[0]}"]
    del server.files[actions[1]]
    server.files[f"/{NAMES[2]}"] = server.files[f"/{NAMES[2]}"][:700]
    server.files[actions[3]] = b"<html>busy</html>\n"
    server.files[actions[4]] = b"{broken}\n" + server.files[actions[4]].partition(b"\n")[2]
    out = run(2)
    told = capsys.readouterr().err.replace("\n", "")
    assert [listed(out)[name]["status"] for name in NAMES] == ["missing"] * 2 + ["broken"] * 2 + ["done"] * 2
    assert listed(out)[NAMES[4]]["broken_records"] == 1
    assert "skipped, missing:" in told and "skipped, broken:" in told and "player-d.jsonl: 1: not a whole" in told
    assert there(out) == NAMES[4:] and f"/{NAMES[1]}" not in server.paths()  # actions are asked for first
    hidden = [path.name for path in out.rglob(".*.part*")]
    assert hidden == []
    server.forget()
    run(3)
    assert server.asked == []  # known to be of no use
    server.files[f"/{NAMES[0]}"] = server.files[f"/{NAMES[5]}"]
    run(3, retry=True)
    assert NAMES[0] in there(out)


def test_actions_under_the_name_up_to_the_first_dot(run: Callable[..., Path], server: FileServer) -> None:
    server.files["/8.0/x.1.mp4"] = server.files[f"/{NAMES[0]}"]
    server.files["/8.0/x.jsonl"] = server.files["/8.0/player-a.jsonl"]
    out = run(1, relpaths=["8.0/x.1.mp4"])
    assert there(out) == ["8.0/x.1.mp4"]
    assert listed(out)["8.0/x.1.mp4"]["actions"]["url"] == f"{server.url}8.0/x.jsonl"


def test_what_is_there_though_the_list_is_lost_is_taken_up(run: Callable[..., Path], server: FileServer) -> None:
    out = run(2, workers=1)
    before = listed(out)
    (out / "fetched.json").unlink()
    server.forget()
    run(2)
    assert server.asked == [] and listed(out) == before


def test_the_beginning_of_a_new_file_never_takes_the_place_of_a_whole_one(
    run: Callable[..., Path], server: FileServer
) -> None:
    out = run(1, workers=1)
    (out / "fetched.json").unlink()
    (out / "8.0" / ".player-a.mp4.part").write_bytes(b"beginning")
    run(1)
    assert (out / NAMES[0]).read_bytes() == server.files[f"/{NAMES[0]}"]


def test_what_was_removed_or_changed_is_fetched_again(run: Callable[..., Path], server: FileServer) -> None:
    out = run(2, workers=1)
    (out / NAMES[0]).unlink()
    (out / "8.0/player-b.jsonl").write_text("{}")
    server.forget()
    run(2, workers=1)
    assert there(out) == NAMES[:2] and set(server.paths()) >= {f"/{name}" for name in NAMES[:2]}


def test_an_index_with_too_little(run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(100)
    assert there(out) == NAMES
    index = str(tmp_path / "index.json")
    assert vpt(["data", "fetch", index, "--hours", "1", "--out", str(out)]) == 1
    assert "0.00 of 1 hours: the index has no more" in capsys.readouterr().err
    assert vpt(["data", "fetch", index, "--hours", "inf", "--out", str(out)]) == 0
    assert vpt(["data", "fetch", index, "--hours", "0.001", "--out", str(out)]) == 0


def test_a_dead_server_ends_the_job_with_what_to_do(
    run: Callable[..., Path], server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(fetch_module.HOPELESS, "failed", 3)
    for name in NAMES:
        server.faults[f"/{name}"] = ["503"] * 3
    with pytest.raises(ValueError, match=r"3 recordings in a row are failed, .*503.*the same command again goes on"):
        run(2)
    server.faults.clear()
    run(6)
    assert there(tmp_path / "out") == NAMES


@pytest.mark.parametrize("bad", [{"hours": 0.0}, {"hours": float("nan")}, {"workers": 0}, {"timeout": 0.0}])
def test_wrong_settings(bad: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected hours and timeout above 0"):
        fetch_recordings(FetchConfig(**{"index": "x", "hours": 1.0, "out": tmp_path, **bad}))


def test_another_source_for_the_same_names_is_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    run(1)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"basedir": "http://example.org/", "relpaths": NAMES}))
    with pytest.raises(ValueError, match=r"player-a\.mp4: came from http://127.*give another --out"):
        fetch_recordings(FetchConfig(str(other), 1, tmp_path / "out"))


def test_two_at_once_in_one_folder_are_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    with fetch_module._alone(tmp_path / "out"), pytest.raises(ValueError, match="another `vpt data fetch` is at work"):
        run(1)
    run(1)


def test_a_broken_list_is_told(run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for content in ("{", "[]", '{"version": 1, "recordings": {"a": {"status": "odd"}}}'):
        (tmp_path / "out" / "fetched.json").write_text(content)
        with pytest.raises(ValueError, match=r"fetched\.json: expected the list of what was fetched"):
            run(1)


def command(index: Path, recordings: int, out: Path, first: str = "") -> list[str]:
    """The command as a person would give it, in a process of its own."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs ignore it
        f"{first}\nfrom vpt_pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    hours = (recordings - 0.5) * SECONDS / 3600
    options = ["--hours", str(hours), "--no-shuffle", "--workers", "2", "--out", str(out)]
    return [sys.executable, "-c", code, "data", "fetch", str(index), *options]


def test_a_disk_that_fills_up_ends_the_job(run: Callable[..., Path], server: FileServer, tmp_path: Path) -> None:
    whole = run(2, "whole")
    size = len(server.files["/8.0/player-a.jsonl"])
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 1000}, resource.RLIM_INFINITY))"
    full = subprocess.run(
        command(tmp_path / "index.json", 2, tmp_path / "out", limit), capture_output=True, text=True, timeout=100
    )
    assert full.returncode == 2 and "cannot write" in full.stderr and "File too large; free space" in full.stderr
    assert there(run(2)) == there(whole)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_goes_on_and_ends_with_the_same(
    how: signal.Signals, run: Callable[..., Path], server: FileServer, tmp_path: Path
) -> None:
    whole = run(4, "whole")
    server.forget()
    server.faults[f"/{NAMES[2]}"] = ["stall"]
    process = subprocess.Popen(command(tmp_path / "index.json", 4, tmp_path / "out"), stderr=subprocess.PIPE, text=True)
    listing, part = tmp_path / "out" / "fetched.json", tmp_path / "out" / "8.0" / ".player-c.mp4.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        arrived = part.exists() and part.stat().st_size == len(server.files[f"/{NAMES[2]}"]) // 2
        if arrived and listing.exists() and len(listed(tmp_path / "out")) == 2:
            break
        time.sleep(0.05)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130 and "The same command again goes on where it stopped" in told
    assert there(tmp_path / "out") == NAMES[:2]
    out = run(4)
    assert there(out) == there(whole) and listed(out) == listed(whole)
    assert all(server.sent[f"/{name}"] <= len(server.files[f"/{name}"]) for name in NAMES)


def test_verbs_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data fetch" in VERBS
    for arguments, code, expected in (
        (["data"], 2, "there is no verb 'data'. There is `vpt data fetch`."),
        (["data", "fecth"], 2, "Did you mean `vpt data fetch`?"),
        (["data", "zzz"], 2, "There is `vpt data fetch`."),
        (["fetch"], 2, "Did you mean `vpt data fetch`?"),
        (["data", "--help"], 0, "data fetch download published recordings"),
        (["--help"], 0, "data fetch download published recordings"),
        (["data", "fetch", "none.json", "--hours", "1"], 2, "vpt data fetch: none.json: cannot be read as an index"),
    ):
        assert vpt(arguments) == code
        captured = capsys.readouterr()
        assert expected in " ".join((captured.out + captured.err).split())  # the table is padded to its longest verb


def test_help_of_the_verb_names_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        vpt(["data", "fetch", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "usage: vpt data fetch" in told and "--hours" in told and "INDEX" in told


def test_threads_end_with_the_job(run: Callable[..., Path]) -> None:
    run(2)
    assert not [thread for thread in threading.enumerate() if thread.name == "fetch"]
