"""What a labelling job leaves: proof that finds every kind of damage, and a page that holds whatever files are called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.files import sha256_file
from data.labels import FLAGS, LabelTable
from data.sources import Source, find_sources
from tests.pipeline.cluster_jobs import CALIBRATION, make_job, make_model, make_video, make_worker, run_in_process
from tests.pipeline.test_report import Outline
from vpt_pipeline.cluster.books import Books
from vpt_pipeline.cluster.ending import write_ending
from vpt_pipeline.cluster.history import read_stretches
from vpt_pipeline.cluster.job import Job, JobSettings, find_version
from vpt_pipeline.cluster.manifest import COLUMNS, read_manifest
from vpt_pipeline.cluster.summary_charts import length
from vpt_pipeline.cluster.verify import find_versions, main, problems, repair

HOSTILE = '<script>alert("1")</script>&amp;\u202e\n$(reboot) \'`x`'
FRAMES = {"a": 60, "b": 60, "c": 45}
SETTINGS = JobSettings("0123abcd", 0.6, 20, 16, 1, 1, "pyav", "cpu", "float32")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with three videos and one that could not be read, ended as the driver would."""
    folder = tmp_path_factory.mktemp("job")
    model = make_model(folder / "model")
    for seed, (name, frames) in enumerate(FRAMES.items()):
        make_video(folder / "videos" / f"{name}.mp4", frames, seed)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    job = make_job(folder / "out" / "v1", model)
    find_version(folder / "out", job.settings)
    job.books.add(find_sources([str(folder / "videos")]))
    worker = make_worker(model, job)
    run_in_process(job, worker)
    worker.close()
    write_ending(job)
    job.close()
    return folder


@pytest.fixture
def out(labelled: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    shutil.copytree(labelled / "out", tmp_path / "out")
    return tmp_path / "out"


def reopened(out: Path) -> Job:
    return Job(
        out / "v1", str(out / "v1"), JobSettings(**json.loads((out / "v1" / "job.json").read_text())), CALIBRATION
    )


def without_books(out: Path) -> None:
    for path in (out / "v1").glob("books.sqlite*"):
        path.unlink()


def found(out: Path) -> list[str]:
    (version,) = find_versions(str(out), None)
    return list(problems(version, {}))


def sums_pass(version: Path) -> bool:
    done = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=version, capture_output=True)
    return done.returncode == 0


def table(out: Path, name: str) -> Path:
    return out / "v1" / "labels" / f"{name}.parquet"


def remove(out: Path) -> None:
    table(out, "a").unlink()


def truncate(out: Path) -> None:
    table(out, "a").write_bytes(table(out, "a").read_bytes()[:-7])


def flip_a_bit(out: Path) -> None:
    content = bytearray(table(out, "a").read_bytes())
    content[len(content) // 2] ^= 1
    table(out, "a").write_bytes(content)


def swap(out: Path) -> None:
    both = table(out, "a").read_bytes(), table(out, "b").read_bytes()
    table(out, "b").write_bytes(both[0])
    table(out, "a").write_bytes(both[1])


@pytest.mark.parametrize("books", [True, False])
@pytest.mark.parametrize(
    ("spoil", "spoilt", "words"),
    [
        (remove, ["a"], "its table is missing"),
        (truncate, ["a"], "changed since it was written"),
        (flip_a_bit, ["a"], "changed since it was written"),
        (swap, ["a", "b"], "changed since it was written"),
    ],
)
def test_damage_is_found_and_mended(
    out: Path, spoil: Callable[[Path], None], spoilt: list[str], words: str, books: bool, labelled: Path
) -> None:
    assert found(out) == []
    assert sums_pass(out / "v1")
    whole = {name: sha256_file(table(out, name)) for name in FRAMES}
    spoil(out)
    if not books:
        without_books(out)
    lines = found(out)
    assert [Path(line.split(": ", 1)[0]).stem for line in lines] == spoilt
    assert all(words in line and "--repair" in line for line in lines)
    assert not sums_pass(out / "v1")
    assert main(str(out), None) == 1
    if not books:
        return
    job = reopened(out)
    assert repair(job) == len(spoilt)
    assert job.books.counts()["open"] == len(spoilt)
    assert repair(job) == 0  # what is open is known to be missing
    if spoil is not swap:  # labelling anew takes a while
        job.close()
        return
    worker = make_worker(labelled / "model", job)
    run_in_process(job, worker)
    worker.close()
    job.close()
    assert {name: sha256_file(table(out, name)) for name in FRAMES} == whole
    assert main(str(out), None) == 0


@pytest.mark.parametrize("books", [True, False])
def test_stray_tables_are_found(out: Path, books: bool) -> None:
    if not books:
        without_books(out)
    for stray in ("other.parquet", "broken.parquet", "below/a.parquet", "notes.txt"):
        (out / "v1" / "labels" / stray).parent.mkdir(exist_ok=True)
        shutil.copy(table(out, "a"), out / "v1" / "labels" / stray)
    lines = found(out)
    assert [line.split(": ")[0].rsplit("labels/")[1] for line in lines] == [
        "below/a.parquet", "broken.parquet", "notes.txt", "other.parquet",
    ]  # fmt: skip
    assert "given up" in lines[1]
    assert all("not a table of this job" in line for line in lines if "broken" not in line)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([0, 1, 1, 2], "found 61 rows"),  # one twice
        ([0, 1, 3], "found 59 rows"),  # one missing
        ([0, 2, 1, 3], "found 60 rows"),  # two exchanged
    ],
)
def test_rows_that_are_not_every_frame_once_are_found_though_the_hash_is_right(
    out: Path, rows: list[int], words: str
) -> None:
    whole = pq.read_table(table(out, "a"))
    pq.write_table(whole.take([*rows, *range(max(rows) + 1, 60)]), table(out, "a"))
    note_hash(out, "a", 60)
    (line,) = found(out)
    assert "expected frames 0 to 59, each once and in order" in line and words in line


def test_a_table_of_another_video_is_found_though_the_hash_is_right(out: Path) -> None:
    shutil.copy(table(out, "b"), table(out, "a"))
    note_hash(out, "a", 60)
    assert "its rows are of another video than 'a'" in found(out)[0]


def note_hash(out: Path, name: str, rows: int) -> None:
    books = Books(out / "v1" / "books.sqlite")
    (video,) = (video for video in books.videos() if video.name == name)
    books.finish(video.id, sha256_file(table(out, name)), rows, video.facts)
    books.close()


def test_verify_says_what_it_went_by_and_takes_a_version_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(str(out), None) == 0
    assert "verified by the books" in capsys.readouterr().err.replace("\n", " ")
    without_books(out)
    assert main(f"{out}/", None) == 0
    assert "for want of books" in " ".join(capsys.readouterr().err.split())
    assert main(str(out / "v1"), None) == 0
    (out / "v1" / "manifest.parquet").unlink()
    with pytest.raises(ValueError, match=r"expected the labels of a `vpt label --cluster` job"):
        main(str(out), None)
    shutil.copy(table(out, "a"), out / "v1" / "manifest.parquet")
    with pytest.raises(ValueError, match=r"expected the manifest of a labelling job.*found another table"):
        main(str(out), None)
    (out / "v1" / "manifest.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(ValueError, match="expected the manifest of a labelling job"):
        main(str(out), None)


def test_the_manifest_says_what_the_tables_say(out: Path) -> None:
    rows = {row["name"]: row for row in pq.read_table(out / "v1" / "manifest.parquet").to_pylist()}
    assert list(rows) == ["a", "b", "broken", "c"]
    assert list(rows["a"]) == [name for name, _, _ in COLUMNS]
    for name, frames in FRAMES.items():
        row, labels = rows[name], LabelTable.read(table(out, name))
        assert (row["state"], row["rows"], row["error"], row["problems"]) == ("done", frames, None, [])
        assert row["table_sha256"] == sha256_file(out / "v1" / row["table"])
        assert row["source_sha256"] == sha256_file(Path(row["url"]))
        assert row["source_bytes"] == Path(row["url"]).stat().st_size
        for column in ("conf_buttons", "conf_camera", *FLAGS):
            if row[column] is not None:
                assert row[column] == pytest.approx(getattr(labels, column).mean(dtype=float), abs=1e-5), column
        assert row["null"] is not None and row["low_confidence"] is not None
    broken = rows["broken"]
    assert (broken["state"], broken["table"], broken["rows"]) == ("quarantined", None, None)
    assert "broken.mp4" in broken["error"]


# ---- the page, of books filled by hand


def fill(folder: Path, videos: dict[str, str], error: str = "no frame could be decoded") -> Job:
    """A job whose videos (url -> state) are said to be done, quarantined or open; no table exists."""
    job = Job(folder, str(folder), SETTINGS, CALIBRATION)
    ids, _ = job.books.add(Source(url, "1") for url in videos)
    for video, (url, state) in zip(ids, videos.items(), strict=True):
        labels = {"null": 3, "gui": 0, "resampled": 4, "low_confidence": 1, "confidence": [0] * 18 + [10, 0]}
        facts = {
            "problems": [f"{url}: frame {video} is damaged"],
            "report": {"resampled": 4, "source_frames": 20, "ticks": 10, "problems": ["frame 3: its time jumps"]},
        }
        job.books.note_file(video, "ab" * 32, 1000, facts)
        job.books.note_time(video, 2.5)
        if state == "done":
            job.books.finish(
                video, "cd" * 32, 10, facts | {"labels": labels | {"conf_buttons": 0.9, "conf_camera": 0.8}}
            )
        elif state == "quarantined":
            job.books.quarantine(video, error)
    return job


def page(job: Job) -> str:
    write_ending(job)
    job.close()
    text = Path(job.out, "summary.html").read_text(encoding="utf-8")
    assert all(source.startswith(("#", "data:image/png")) for source in Outline(text).sources)
    assert "script" not in Outline(text).tags
    return text


def progress(folder: Path, *runs: tuple[float, list[int]]) -> None:
    """runs: when each began, and its frames, line by line, every 5 seconds."""
    lines = [
        {"time": begun + 5 * n, "frames": count, "frames_s": 10.0, "busy": 0.5, "workers": 2, "deaths": 0}
        for begun, frames in runs
        for n, count in enumerate(frames)
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"time": 17, "fra\n[1]\n{"time": NaN}\n'
    (folder / "progress.jsonl").write_text(text, encoding="utf-8")


def test_names_and_errors_are_only_text(tmp_path: Path) -> None:
    urls = {f"/videos/{HOSTILE} {n}.mp4": "done" if n % 2 else "quarantined" for n in range(8)}
    text = page(fill(tmp_path, urls, f"/videos/{HOSTILE} 0.mp4: [/red] {HOSTILE}"))
    assert "&lt;script&gt;" in text and "\u202e" not in text and "\\u202e" in text
    manifest = list(read_manifest(str(tmp_path / "manifest.parquet")))
    assert sorted(entry.url for entry in manifest) == sorted(urls)


def test_commands_bring_hostile_names_through_a_shell(tmp_path: Path) -> None:
    from vpt_pipeline.cluster.summary_text import Place, look_at

    url = f"/videos/{HOSTILE}.mp4"
    job = fill(tmp_path / HOSTILE.replace("/", ""), {url: "done"})
    (video,) = job.books.videos()
    command = look_at(video, Place(job.out)).replace(
        "vpt ", f"{sys.executable} -c 'import sys; print(ascii(sys.argv))' ", 1
    )
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert said.strip() == ascii(["-c", "inspect", url, "--labels", f"{job.out}/labels/{video.name}.parquet"])
    job.close()


@pytest.mark.parametrize("states", [[], ["open"], ["quarantined"] * 2, ["done"], ["done", "open", "quarantined"]])
@pytest.mark.parametrize("runs", [False, True])
def test_every_state_of_a_job_has_a_page(tmp_path: Path, states: list[str], runs: bool) -> None:
    job = fill(tmp_path, {f"/v/{n}.mp4": state for n, state in enumerate(states)})
    if runs:
        progress(tmp_path, (1000, [0, 10]), (90_000, [0]))
    text = page(job)
    assert f">{states.count('done')}</div>" in text and f"of {len(states)} video" in text
    assert ("Given up" in text) == ("quarantined" in states)
    assert ("How sure the labels are" in text) == ("done" in states)
    assert ("Not finished" in text) == ("open" in states)
    assert ("is not known" in text) != runs


def test_a_page_without_matplotlib_has_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    job = fill(tmp_path, {"/v/1.mp4": "done"})
    progress(tmp_path, (1000, [0, 10]))
    text = page(job)
    assert "pip install &quot;vpt-pipeline[viz]&quot;" in text or 'pip install "vpt-pipeline[viz]"' in text
    assert "0.9 to 1.0" in text and "<img" not in text


def test_hundreds_that_were_given_up_are_listed_and_counted_by_kind(tmp_path: Path) -> None:
    text = page(fill(tmp_path, {f"/v/{n}.mp4": "quarantined" for n in range(350)}, "frame 17: it is damaged"))
    assert "The first 300 of 350" in text and "manifest.parquet" in text
    assert "<td>frame N: it is damaged</td>" in text.replace(' class="num"', "")
    assert "/v/299.mp4" in text


def test_a_small_write_that_fails_names_where(tmp_path: Path) -> None:
    job = fill(tmp_path / "state", {"/v/1.mp4": "done"})
    (tmp_path / "file").write_text("in the way")
    job.out = str(tmp_path / "file" / "v1")
    with pytest.raises(OSError, match=r"manifest\.parquet"):
        write_ending(job)
    job.close()


def test_books_and_page_may_lie_apart(tmp_path: Path) -> None:
    job = fill(tmp_path / "state", {"/v/1.mp4": "done"})
    job.out = f"file://{tmp_path}/elsewhere/v1"
    write_ending(job)
    job.close()
    assert sorted(path.name for path in (tmp_path / "elsewhere" / "v1").iterdir()) == [
        "SHA256SUMS", "job.json", "manifest.parquet", "summary.html",
    ]  # fmt: skip
    assert json.loads((tmp_path / "elsewhere" / "v1" / "job.json").read_text())["model_sha256"] == "0123abcd"


def test_runs_and_pauses_are_told_apart(tmp_path: Path) -> None:
    progress(tmp_path, (1000, [0, 100, 300]), (1020, [0, 50]), (9000, [90, 100]))
    first, second, third = read_stretches(tmp_path / "progress.jsonl")
    # A run that counts from 0 again is another; one that went silent and counts on is the same, after a pause.
    assert [stretch.frames for stretch in (first, second, third)] == [300, 50, 50]
    assert first.seconds == 15 and first.worker_seconds == 30 and first.model_seconds == 15
    assert read_stretches(tmp_path / "none.jsonl") == []
    assert [length(seconds) for seconds in (3, 600, 7200, 400_000)] == ["3 s", "10 min", "2.0 h", "4.6 days"]


def test_a_manifest_of_many_is_written_in_pieces(tmp_path: Path) -> None:
    job = fill(tmp_path, {f"/v/{n}.mp4": "open" for n in range(3)})
    with job.books.all_or_nothing():
        job.books._db.executemany(
            "INSERT INTO videos (url, name, stamp) VALUES (?, ?, '')", [(f"/w/{n}", f"w{n:05d}") for n in range(12_000)]
        )
    write_ending(job)
    job.close()
    file = pq.ParquetFile(tmp_path / "manifest.parquet")
    assert file.metadata.num_row_groups == 3 and file.metadata.num_rows == 12_003
    names = file.read(columns=["name"])["name"].to_pylist()
    assert names == sorted(names)
    assert json.loads(file.schema_arrow.metadata[b"settings"])["rate"] == 20
    assert file.schema_arrow.field("seconds").metadata[b"meaning"]
