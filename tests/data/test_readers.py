"""Every backend gives ffmpeg's own frames, at their own times, scaled within the tolerance, and speaks of damage."""

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from data.readers import COLOUR_TOLERANCE, READERS, SCALING_TOLERANCE, FrameReader, Size, open_reader
from data.resample import at_rate
from data.video import VideoError, VideoFrame, VideoReader
from tests.data.clips import SIZE, make_video, number_of, picture
from tests.data.test_video import faststart, without_index

CLIPS = Path(__file__).parents[3] / "shared/minecraft_videos"
STEADY = [20 * n for n in range(40)]
UNEVEN = [0, 7, 40, 41, 100, 600, 1801, *range(2000, 2600, 30)]


@pytest.fixture(params=sorted(READERS))
def backend(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "decord":
        pytest.importorskip("decord")
    if name == "ffmpeg":
        needs_ffmpeg()
    return name


def needs_ffmpeg() -> None:
    pytest.importorskip("ffmpeg")
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg program is not installed")


def read(path: Path, backend: str, size: Size | None = None) -> tuple[list[VideoFrame], FrameReader]:
    with open_reader(path, backend, size) as reader:
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(len(frames))) and reader.frames_read == len(frames)
    assert all(frame.rgb.shape == (reader.info.height, reader.info.width, 3) for frame in frames)
    return frames, reader


def by_ffmpeg(path: Path, size: Size, scale: bool = False) -> NDArray[np.uint8]:
    """What the ffmpeg program alone makes of a file: uint8 (frames, height, width, 3)."""
    needs_ffmpeg()
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vsync", "passthrough"]
    command += ["-vf", f"scale={size[0]}:{size[1]}:flags=bilinear"] if scale else []
    out = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(out.stdout, np.uint8).reshape(-1, size[1], size[0], 3)


def pts_by_ffprobe(path: Path) -> list[int]:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "frame=best_effort_timestamp",
        "-of",
        "csv=p=0",
    ]
    said = subprocess.run([*command, str(path)], capture_output=True, check=True, text=True).stdout
    return [int(line.strip(",")) for line in said.split()]


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "constant rate, B-frames": ("a.mp4", {"pts": STEADY, "options": {"bf": "3"}}),
    "variable rate, B-frames": ("a.mp4", {"pts": UNEVEN, "options": {"bf": "3"}}),
    "late start": ("a.mkv", {"pts": [3000 + 100 * n for n in range(20)], "time_base": Fraction(1, 1000)}),
    "turned left": ("a.mp4", {"pts": STEADY, "rotation": 90}),
    "turned right": ("a.mp4", {"pts": STEADY, "rotation": -90}),
    "upside down": ("a.mp4", {"pts": STEADY, "rotation": 180}),
    "odd size": ("a.mkv", {"pts": STEADY, "size": (63, 47), "pix_fmt": "yuv444p"}),
    "odd size, halved colour": ("a.avi", {"pts": STEADY, "size": (63, 47), "codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "transport stream": ("a.ts", {"pts": STEADY, "options": {"bf": "3"}}),
    "MPEG-1": ("a.mpg", {"pts": range(40), "time_base": Fraction(1, 25), "codec": "mpeg1video"}),
    "10 bits": ("a.mov", {"pts": STEADY, "pix_fmt": "yuv420p10le"}),
    "full range": ("a.mp4", {"pts": STEADY, "options": {"x264-params": "fullrange=on:colormatrix=bt709"}}),
    "BT.709": ("a.mp4", {"pts": STEADY, "options": {"x264-params": "colormatrix=bt709"}}),
}
BLENDED_BY_PYAV = ("odd size, halved colour", "10 bits")
FALSE_ALARM_OF_PYAV = ("late start",)  # takes Matroska's duration, which counts from 0, for the length of the video


@pytest.mark.parametrize("case", CASES)
def test_frames_and_times_are_those_of_ffmpeg(tmp_path: Path, backend: str, case: str) -> None:
    name, settings = CASES[case]
    path = make_video(tmp_path / name, noise=1, **settings)  # type: ignore[arg-type]
    frames, reader = read(path, backend)
    expected = by_ffmpeg(path, (reader.info.width, reader.info.height))
    assert len(frames) == len(expected) and (not reader.damaged or case in FALSE_ALARM_OF_PYAV)
    apart = np.abs(np.stack([frame.rgb for frame in frames]).astype(np.int16) - expected)
    if case in BLENDED_BY_PYAV and backend != "ffmpeg":
        assert apart.mean() <= COLOUR_TOLERANCE[0] and apart.max() <= COLOUR_TOLERANCE[1]
    else:
        assert apart.max() == 0
    if case != "MPEG-1":  # which stores some times only; ffprobe leaves the others out
        assert [frame.pts for frame in frames] == pts_by_ffprobe(path)
    with VideoReader(path) as ours:
        assert [(f.pts, f.time_base) for f in frames] == [(f.pts, f.time_base) for f in ours]


def test_decord_itself_decodes_the_ordinary_and_not_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    assert read(make_video(tmp_path / "a.mp4", UNEVEN, options={"bf": "3"}), "decord")[1].problems == []
    problems = read(make_video(tmp_path / "b.mp4", STEADY, rotation=90), "decord")[1].problems
    assert len(problems) == 1 and "PyAV decodes instead of decord" in problems[0]


def test_a_mirrored_video_is_shown_upright(tmp_path: Path, backend: str) -> None:
    one, path = 1 << 16, tmp_path / "mirrored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.set_display_matrix([0, one, 0, one, 0, 0, 0, 0, 1 << 30])
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(13), format="rgb24")))
        container.mux(stream.encode(None))
    frames, reader = read(path, backend)
    assert np.array_equal(frames[0].rgb, by_ffmpeg(path, (reader.info.width, reader.info.height))[0])
    check_scaling(path, backend, (36, 40))


@pytest.mark.parametrize("case", CASES)
def test_made_up_video_is_scaled_within_the_tolerance(tmp_path: Path, backend: str, case: str) -> None:
    name, settings = CASES[case]
    path = make_video(tmp_path / name, noise=1, **{"size": (320, 180), **settings})  # type: ignore[arg-type]
    check_scaling(path, backend, (96, 64))


@pytest.mark.parametrize("clip", ["build_gate_5", "build_pillar_0", "combat_spider_7"])
def test_real_video_is_scaled_within_the_tolerance(tmp_path: Path, backend: str, clip: str) -> None:
    path = CLIPS / f"{clip}.mp4"
    if not path.exists():
        pytest.skip(f"optional sample {path.name} is not here")
    check_scaling(path, backend, (128, 128))


def check_scaling(path: Path, backend: str, size: Size) -> None:
    frames, reader = read(path, backend, size)
    assert (reader.info.width, reader.info.height) == size
    expected = by_ffmpeg(path, size, scale=True)
    assert len(frames) == len(expected)
    for frame, right in zip(frames, expected, strict=True):
        assert np.abs(frame.rgb.astype(np.int16) - right).max() <= SCALING_TOLERANCE
    with VideoReader(path) as ours:
        assert [frame.pts for frame in frames] == [frame.pts for frame in ours]


def test_the_ticks_are_the_same(tmp_path: Path, backend: str) -> None:
    path = make_video(tmp_path / "a.mp4", UNEVEN)
    with open_reader(path, backend) as one, VideoReader(path) as two:
        ticks = [(tick.tick, tick.source_index, tick.pts, tick.resampled) for tick in at_rate(one)]
        assert ticks == [(tick.tick, tick.source_index, tick.pts, tick.resampled) for tick in at_rate(two)]


def test_a_truncated_file_gives_what_pyav_gives_and_says_so(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "cut.mp4"
    content = faststart(path)
    path.write_bytes(content[: len(content) * 6 // 10])
    frames, reader = read(path, backend)
    assert [number_of(frame.rgb) for frame in frames] == list(range(len(frames)))
    assert len(frames) == len(read(path, "pyav")[0]) >= 20
    assert reader.damaged and reader.problems


def test_damage_in_the_middle_costs_only_its_surroundings(tmp_path: Path, backend: str) -> None:
    path = make_video(tmp_path / "hole.mp4", [20 * n for n in range(60)], noise=1)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    path.write_bytes(content)
    frames, reader = read(path, backend)
    assert reader.damaged and reader.problems
    assert [frame.pts for frame in frames] == [frame.pts for frame in read(path, "pyav")[0]]
    for frame in frames[:15] + frames[-15:]:
        assert number_of(frame.rgb) == frame.pts * frame.time_base * 30


def test_flipped_bits_spoil_the_same_frames_in_every_backend(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "spoilt.mp4"
    # Looking ahead, x264 writes other bytes now and then, and of some spoilt ones ffmpeg guesses other times.
    options = {"bf": "3", "rc-lookahead": "0"}
    content = make_video(path, [20 * n for n in range(60)], noise=1, options=options).read_bytes()
    generator = np.random.default_rng(3)
    body = content.index(b"mdat") + 8, content.index(b"moov")
    for _ in range(6):
        spoilt = bytearray(content)
        for place in generator.integers(*body, 6):
            spoilt[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(spoilt)
        (ours, our_reader), (frames, reader) = read(path, "pyav"), read(path, backend)
        assert [frame.pts for frame in frames] == [frame.pts for frame in ours]
        # decord does not tell what its decoder concealed; what it notices, it leaves to PyAV.
        assert reader.damaged == our_reader.damaged or (backend == "decord" and reader.problems == [])


def missing(path: Path) -> None:
    pass


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(7, 256)) * 40)


@pytest.mark.parametrize(
    ("make", "says"), [(missing, "no such file"), (garbage, "expected a video"), (without_index, "moov")]
)
def test_what_is_no_video_is_refused_alike(
    tmp_path: Path, backend: str, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / "clip.mp4")
    with pytest.raises(VideoError, match=rf"clip\.mp4: .*{says}"):
        open_reader(tmp_path / "clip.mp4", backend)


def test_a_reader_is_for_one_pass_and_may_be_left_early(tmp_path: Path, backend: str) -> None:
    path = make_video(tmp_path / "http:what%3f #1.mp4", STEADY, size=(640, 360), noise=1)
    with open_reader(path, backend) as reader:
        assert next(iter(reader)).index == 0
        with pytest.raises(ValueError, match="iterated once"):
            next(iter(reader))


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.mp4: backend is 'vlc'; expected one of pyav, decord, ffmpeg"):
        open_reader(tmp_path / "a.mp4", "vlc")
    with pytest.raises(ValueError, match=r"a\.mp4: size is 0x5"):
        open_reader(tmp_path / "a.mp4", size=(0, 5))


@pytest.mark.parametrize(("name", "module"), [("decord", "decord"), ("ffmpeg", "ffmpeg")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    path = make_video(tmp_path / "a.mp4", STEADY[:2])
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(ValueError, match=rf"a\.mp4: .*{name}.*pip install"):
        open_reader(path, name)


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ffmpeg")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="program ffmpeg, which is not on the PATH; install it"):
        open_reader(make_video(tmp_path / "a.mp4", STEADY[:2]), "ffmpeg")


def test_a_failing_program_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ffmpeg")
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho '[fatal] out of luck' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(VideoError, match=r"out of luck.*return code 3"):
        open_reader(make_video(tmp_path / "a.mp4", STEADY[:2]), "ffmpeg")


def test_decord_refuses_to_be_read_after_a_fork(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    with open_reader(make_video(tmp_path / "a.mp4", STEADY), "decord") as reader:

        def child() -> None:
            try:
                next(iter(reader))
            except ValueError as error:
                answers.put(str(error))

        process = fork.Process(target=child)
        process.start()
        process.join(20)
        hung = process.is_alive()
        process.kill()
        assert not hung and "open the reader after the fork" in answers.get()
        assert len(list(reader)) == len(STEADY)  # the parent's is as good as before


def test_decord_failing_late_loses_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord")
    from data import reader_decord

    monkeypatch.setattr(reader_decord, "_BATCH_BYTES", SIZE[0] * SIZE[1] * 3 * 8)  # batches of eight

    class Failing:
        def __init__(self, decord: object) -> None:
            self.decord = decord

        def get_batch(self, indices: Sequence[int]) -> object:
            if 21 in indices:
                raise RuntimeError("one bad frame\nand a stack trace")
            return self.decord.get_batch(indices)  # type: ignore[attr-defined]

    path = make_video(tmp_path / "a.mp4", STEADY, noise=1)
    with open_reader(path, "decord") as reader:
        monkeypatch.setattr(reader, "_decord", Failing(reader._decord))  # type: ignore[attr-defined]
        frames = list(reader)
    assert [number_of(frame.rgb) for frame in frames] == list(range(len(STEADY)))
    assert "decord fails at frame 16: RuntimeError: one bad frame" in reader.problems[0] and not reader.damaged
