"""`vpt label` as its user meets it: bad files, stopped runs, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from data.label_folder import LabelFolder
from data.label_parts import find_parts, write_part
from data.labels import LabelTable
from data.recording import Recording
from data.video import VideoWriter
from idm import labelling
from idm.checkpoint import save_model
from idm.config import preset
from idm.model import InverseDynamicsModel
from prior.config import preset as policy_preset
from prior.episodes import Choices, labelled_episode
from prior.nn.threads import torch_threads
from tests.idm.play import turning_world
from vpt_pipeline.cli import main as vpt
from vpt_pipeline.label import LabelConfig, find_videos, label_videos


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, InverseDynamicsModel(preset("debug")))
    return folder


def video(path: Path, frames: int, size: tuple[int, int] = (128, 72), seed: int = 0) -> Path:
    pictures, _ = turning_world(frames, seed, (size[1], size[0]))
    with VideoWriter(path, size, 20) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def encode(path: Path, frames: int, rate: int, codec: str, size: tuple[int, int], pix_fmt: str) -> Path:
    """A video of another codec, rate and size, made with PyAV directly."""
    pictures, _ = turning_world(frames, 1, (size[1], size[0]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, pix_fmt, Fraction(1, rate)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_rows_equal_frames_and_a_second_run_changes_no_byte(tmp_path: Path, model: Path) -> None:
    source = video(tmp_path / "play.mp4", 330)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "a")))
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "b"), threads=1))
    table = LabelTable.read(tmp_path / "a" / "play.parquet")
    assert table.frame.tolist() == list(range(330))
    assert table.source_frame.tolist() == list(range(330))
    assert not table.resampled.any()
    first = (tmp_path / "a" / "play.parquet").read_bytes()
    assert first == (tmp_path / "b" / "play.parquet").read_bytes()
    written = (tmp_path / "a" / "play.parquet").stat().st_mtime_ns
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "a")))
    assert (tmp_path / "a" / "play.parquet").stat().st_mtime_ns == written  # done is done
    assert not (tmp_path / "a" / "play.parts").exists()


@pytest.mark.parametrize(("name", "bias", "hotbar"), [("debug", 8.0, 3), ("debug", 0.0, -1), ("vpt_debug", None, -1)])
def test_labels_tell_the_slot_of_the_hotbar_where_the_model_is_sure(
    tmp_path: Path, name: str, bias: float | None, hotbar: int
) -> None:
    torch.manual_seed(0)
    made = InverseDynamicsModel(preset(name))
    if bias is not None:
        with torch.no_grad():
            made.pi_head.slot.linear_layer.bias[3] = bias
    save_model(tmp_path / "model", made)
    source = video(tmp_path / "play.mp4", 40)
    label_videos(LabelConfig(videos=(str(source),), model=tmp_path / "model", out=str(tmp_path / "labels")))
    table = LabelTable.read(tmp_path / "labels" / "play.parquet")
    assert table.hotbar.tolist() == [hotbar] * 40
    episode = labelled_episode(
        Recording(source), LabelFolder(tmp_path / "labels"), policy_preset("debug"), tmp_path, Choices(nulls="keep")
    )
    assert episode.hotbar.tolist() == [-1] + [hotbar] * 39  # what a frame shows the action before has selected


def test_the_bytes_do_not_depend_on_the_threads_of_torch(tmp_path: Path, model: Path) -> None:
    source = video(tmp_path / "play.mp4", 90)
    tables = []
    for count in (1, 2, 3):
        with torch_threads(count):
            label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / str(count))))
            assert torch.get_num_threads() == count  # the caller's are as they were
        tables.append((tmp_path / str(count) / "play.parquet").read_bytes())
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_a_run_stopped_between_parts_ends_with_the_same_bytes(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr(labelling, "BLOCKS_A_PART", 4)  # 64 frames a part
    source = video(tmp_path / "play.mp4", 330)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "whole")))
    written: list[LabelTable] = []

    def stopping(rows: LabelTable, folder: Path) -> Path:
        if len(written) == stop_after:
            raise KeyboardInterrupt
        written.append(rows)
        return write_part(rows, folder)

    monkeypatch.setattr(labelling, "write_part", stopping)
    with pytest.raises(KeyboardInterrupt):
        label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "cut")))
    assert len(find_parts(tmp_path / "cut" / "play.parts")) == stop_after
    monkeypatch.setattr(labelling, "write_part", write_part)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "cut")))
    assert (tmp_path / "cut" / "play.parquet").read_bytes() == (tmp_path / "whole" / "play.parquet").read_bytes()


def test_killed_with_sigkill_at_some_moment_and_started_again(tmp_path: Path, model: Path) -> None:
    source = video(tmp_path / "play.mp4", 900)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "whole")))
    code = (
        "import sys; from idm import labelling; labelling.BLOCKS_A_PART = 4\n"
        "from vpt_pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "label", str(source), "--model", str(model), "--out", str(tmp_path / "cut")]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not find_parts(tmp_path / "cut" / "play.parts") and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "cut" / "play.parquet").exists(), "the run was over before it could be killed"
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "cut" / "play.parquet").read_bytes() == (tmp_path / "whole" / "play.parquet").read_bytes()


def test_a_killed_run_goes_on_where_it_stopped_but_not_with_other_settings(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = video(tmp_path / "a.mp4", 700)
    monkeypatch.setattr(labelling, "BLOCKS_A_PART", 4)

    def killed(parts: object, table: object) -> None:
        raise KeyboardInterrupt  # after every part was written, before the manifest knows of the video

    with monkeypatch.context() as patch:
        patch.setattr("vpt_pipeline.label.merge_parts", killed)
        with pytest.raises(KeyboardInterrupt):
            label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "out")))
    written = {part: part.stat().st_mtime_ns for part in find_parts(tmp_path / "out" / "a.parts")}
    assert len(written) > 3 and not (tmp_path / "out" / "manifest.json").exists()
    for settings, kept in (({}, True), ({"precision": "bfloat16"}, False)):
        with monkeypatch.context() as patch:
            patch.setattr("vpt_pipeline.label.merge_parts", killed)
            with pytest.raises(KeyboardInterrupt):
                label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "out"), **settings))  # type: ignore[arg-type]
        again = {part: part.stat().st_mtime_ns for part in find_parts(tmp_path / "out" / "a.parts")}
        assert again.keys() == written.keys()
        untouched = sum(again[part] == when for part, when in written.items())
        assert untouched >= len(written) - 1 if kept else untouched == 0  # the last part is always written anew


def test_a_disk_that_fills_up_is_told_and_what_was_done_is_kept(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = video(tmp_path / "play.mp4", 330)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "whole")))
    size = (tmp_path / "whole" / "play.parquet").stat().st_size
    code = (
        "import resource, sys; from idm import labelling; labelling.BLOCKS_A_PART = 4\n"
        "from vpt_pipeline.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 1000}, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))"
    )  # parts still fit, the joined table does not
    command = [sys.executable, "-c", code, "label", str(source), "--model", str(model), "--out", str(tmp_path / "full")]
    filled = subprocess.run(command, capture_output=True, text=True)
    assert filled.returncode == 2
    assert "play.parquet" in filled.stderr
    assert not (tmp_path / "full" / "play.parquet").exists()
    assert len(find_parts(tmp_path / "full" / "play.parts")) > 1
    monkeypatch.setattr(labelling, "BLOCKS_A_PART", 4)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "full")))
    assert (tmp_path / "full" / "play.parquet").read_bytes() == (tmp_path / "whole" / "play.parquet").read_bytes()


def test_bad_files_are_told_and_cost_the_others_nothing(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    good = video(folder / "good.mp4", 40)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (folder / "cut.mp4").write_bytes(good.read_bytes()[:600])
    unknown = good.read_bytes().replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC")
    (folder / "codec.mp4").write_bytes(unknown)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video(folder / "one.mp4", 1)
    encode(folder / "odd.mkv", 30, 20, "ffv1", (131, 75), "bgr0")
    assert vpt(["label", str(folder), "--model", str(model), "--out", str(tmp_path / "out")]) == 1
    videos = json.loads((tmp_path / "out" / "manifest.json").read_text())["videos"]
    failed = {name for name, entry in videos.items() if entry["status"] == "failed"}
    assert failed == {"empty", "garbage", "cut", "sound", "codec"}
    assert "no decoder" in videos["codec"]["error"]
    for name in failed:
        assert f"{name}.mp4" in videos[name]["error"]
        assert not (tmp_path / "out" / f"{name}.parquet").exists()
    assert len(LabelTable.read(tmp_path / "out" / "good.parquet")) == 40
    assert len(LabelTable.read(tmp_path / "out" / "one.parquet")) == 1
    assert len(LabelTable.read(tmp_path / "out" / "odd.parquet")) == 30
    assert "3 of 8 videos labelled" in capsys.readouterr().err


def test_a_corrupt_middle_is_labelled_around_and_reported(tmp_path: Path, model: Path) -> None:
    source = video(tmp_path / "play.mp4", 300)
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    source.write_bytes(bytes(content))
    manifest = label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "out")))
    entry = manifest.videos["play"]
    assert entry.status == "done"
    assert entry.problems
    assert 150 < len(LabelTable.read(tmp_path / "out" / "play.parquet")) <= 300


def test_other_rates_are_resampled_to_20_hz_and_said_so(tmp_path: Path, model: Path) -> None:
    source = encode(tmp_path / "sixty.mp4", 180, 60, "libx264", (128, 72), "yuv420p")
    manifest = label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "out")))
    table = LabelTable.read(tmp_path / "out" / "sixty.parquet")
    assert len(table) == 60
    assert table.source_frame.tolist() == list(range(0, 180, 3))
    assert table.resampled.any()
    assert "180 frames to 60 ticks" in manifest.videos["sixty"].problems[0]


def test_contractor_output_is_read_back_as_the_same_actions(tmp_path: Path, model: Path) -> None:
    source = video(tmp_path / "play.mp4", 60)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(tmp_path / "out"), contractor=True))
    said = LabelTable.read(tmp_path / "out" / "play.parquet").to_actions()
    again = Recording(source, tmp_path / "out" / "play.jsonl", None).load_actions().actions
    np.testing.assert_array_equal(again.buttons, said.buttons)
    np.testing.assert_allclose(again.camera, said.camera, atol=1e-4)


def test_another_model_is_refused_and_a_changed_video_is_labelled_anew(tmp_path: Path, model: Path) -> None:
    source, out = video(tmp_path / "play.mp4", 40), tmp_path / "out"
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(out)))
    before = hashlib.sha256((out / "play.parquet").read_bytes()).hexdigest()
    video(source, 50, seed=5)
    label_videos(LabelConfig(videos=(str(source),), model=model, out=str(out)))
    assert hashlib.sha256((out / "play.parquet").read_bytes()).hexdigest() != before
    assert len(LabelTable.read(out / "play.parquet")) == 50
    torch.manual_seed(1)
    save_model(tmp_path / "other", InverseDynamicsModel(preset("debug")))
    with pytest.raises(ValueError, match=r"manifest\.json: this output folder holds labels of another job"):
        label_videos(LabelConfig(videos=(str(source),), model=tmp_path / "other", out=str(out)))


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder that nobody may write"
)
def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = video(tmp_path / "play.mp4", 10)
    assert vpt(["label", str(source), "--model", str(model), "--out", "/proc/nowhere"]) == 2
    assert "/proc/nowhere" in capsys.readouterr().err


def test_videos_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.mp4").write_bytes(b"")
    named = find_videos([tmp_path])
    assert len(named) == 2
    assert next(iter(named)) == "x"


def test_help_is_quick_and_wrong_verbs_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.perf_counter()
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vpt_pipeline", "--help"], capture_output=True, text=True
    )
    assert listed.returncode == 0
    assert "train-idm" in listed.stdout
    for heavy in ("torch", "numpy", "cv2", "av", "rich", "tyro"):
        assert f" {heavy}\n" not in listed.stderr
    assert time.perf_counter() - begun < 5  # 0.5 s on an idle machine; imports above are the sharp test
    assert vpt(["lable"]) == 2
    assert "Did you mean `vpt label`?" in capsys.readouterr().err
