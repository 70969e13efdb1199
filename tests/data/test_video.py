"""Reading video: every kind of file, exact times, and everything that can be had from damaged ones."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data.video import VideoError, VideoReader, VideoWriter, probe, read_frames
from tests.data.clips import SIZE, make_video, number_of, picture

THIRTY = [20 * n for n in range(30)]  # 30 frames/s in a time base of 1/600


def read_all(path: Path, threads: int = 1) -> tuple[list[int], list[Fraction], VideoReader]:
    """Numbers shown, times in seconds, and the finished reader."""
    with VideoReader(path, threads) as reader:
        frames = list(reader)
    assert [f.index for f in frames] == list(range(len(frames))) and reader.frames_read == len(frames)
    return [number_of(f.rgb) for f in frames], [f.pts * f.time_base for f in frames], reader


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv444p"),
        ("a.mov", "libx264", "yuv420p10le"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.flv", "libx264", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mpg", "mpeg1video", "yuv420p"),
        ("a.nut", "ffv1", "gray"),
        ("no suffix.gif", "gif", "rgb8"),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_containers_and_codecs_give_all_frames_in_order(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, threads: int
) -> None:
    path = make_video(tmp_path / name, range(40), time_base=Fraction(1, 25), codec=codec, pix_fmt=pix_fmt)
    numbers, times, reader = read_all(path, threads)
    assert numbers == list(range(40))
    assert not reader.damaged and reader.problems == []
    seconds = [float(when - times[0]) for when in times]
    # FLV and MKV count milliseconds, GIF hundredths of a second.
    assert seconds == pytest.approx([n / 25 for n in range(40)], abs=0.006)
    assert (reader.info.width, reader.info.height) == SIZE and reader.info.codec
    assert reader.info.frames in (None, 40)


def test_times_of_variable_rate_video_are_exact(tmp_path: Path) -> None:
    pts = [0, 7, 40, 41, 100, 600, 1801]
    path = make_video(tmp_path / "vfr.mp4", pts)
    with VideoReader(path) as reader:
        times = [frame.pts * frame.time_base for frame in reader]
    assert times == [Fraction(when, 600) for when in pts]


def test_a_non_zero_first_pts_is_kept(tmp_path: Path) -> None:
    path = make_video(tmp_path / "late.mkv", [3000 + n * 100 for n in range(5)], time_base=Fraction(1, 1000))
    assert read_all(path)[1] == [Fraction(30 + n, 10) for n in range(5)]


def test_colours_and_odd_sizes(tmp_path: Path) -> None:
    size = (63, 47)
    path = make_video(tmp_path / "odd.mkv", THIRTY[:3], size=size, pix_fmt="yuv444p", options={"crf": "5"})
    with VideoReader(path) as reader:
        frames = list(reader)
    assert frames[1].rgb.shape == (47, 63, 3) and frames[1].rgb.dtype == np.uint8
    assert np.abs(frames[1].rgb.astype(int) - picture(1, size)).mean() < 6


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_display_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "turned.mp4", THIRTY[:2], rotation=rotation, options={"crf": "5"})
    with VideoReader(path) as reader:
        frame = next(iter(reader))
        info = reader.info
    expected = np.rot90(picture(0), rotation // 90)  # the writer's angles count against the clock
    assert info.rotation == -rotation % 360 and (info.height, info.width) == expected.shape[:2]
    assert frame.rgb.shape == expected.shape and np.abs(frame.rgb.astype(int) - expected).mean() < 8


def test_a_mirrored_and_turned_video_is_shown_upright(tmp_path: Path) -> None:
    one = 1 << 16
    # Stored x runs down and stored y runs right: the transpose, which is a mirror and a quarter turn.
    matrix = [0, one, 0, one, 0, 0, 0, 0, 1 << 30]
    path = tmp_path / "mirrored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.set_display_matrix(matrix)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(13), format="rgb24")))
        container.mux(stream.encode(None))
    with VideoReader(path) as reader:
        shown = next(iter(reader)).rgb
    assert np.abs(shown.astype(int) - picture(13).transpose(1, 0, 2)).mean() < 8


def test_frames_without_timestamps_are_counted_at_the_rate_and_it_is_said(tmp_path: Path) -> None:
    path = make_video(tmp_path / "raw.h264", range(12), time_base=Fraction(1, 25))
    with VideoReader(path) as reader:
        frames = list(reader)
    rate = reader.info.frame_rate
    assert rate and [f.pts * f.time_base for f in frames] == [n / rate for n in range(12)]
    assert len(reader.problems) == 1 and "12 x frames without a timestamp" in reader.problems[0]
    assert not reader.damaged


def test_a_single_frame_is_a_video(tmp_path: Path) -> None:
    path = make_video(tmp_path / "one.mp4", [0])
    assert read_all(path)[0] == [0] and probe(path).frames == 1


def test_probe(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mp4", THIRTY))
    assert (info.width, info.height, info.codec, info.rotation, info.frames) == (*SIZE, "h264", 0, 30)
    assert info.frame_rate == 30 and info.duration_s == pytest.approx(1.0, abs=0.04)


def test_a_name_with_a_colon_is_a_file_not_a_protocol(tmp_path: Path) -> None:
    path = make_video(tmp_path / "plain.mp4", THIRTY[:3]).rename(tmp_path / "http:what%3f #1.mp4")
    assert read_all(path)[0] == [0, 1, 2]


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def unknown_codec(path: Path) -> None:
    content = make_video(path, THIRTY[:3]).read_bytes()
    assert content.count(b"avc1") >= 1
    head, tail = content.rsplit(b"avc1", 1)  # the sample description comes after the brands
    path.write_bytes(head + b"zzzz" + tail)


def without_index(path: Path) -> None:
    content = make_video(path, THIRTY).read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "found a folder"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(bytes(range(7, 256)) * 40), "expected a video file, found something else"),
        (lambda path: path.write_bytes(bytes(5000)), "zeros"),
        (lambda path: path.write_text('{"tick": 1}\n' * 100), "expected a video"),
        (audio_only, "found only: audio"),
        (unknown_codec, "no decoder"),
        (without_index, "index \\(moov\\) is missing"),
    ],
    ids=["missing", "folder", "empty", "garbage", "zeros", "text", "audio", "codec", "no-index"],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_no_video_is_refused_with_its_name_and_reason(tmp_path, make, says, threads) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(VideoError, match=rf"clip\.mp4: .*{says}") as caught:
        VideoReader(path, threads)
    assert isinstance(caught.value, ValueError) and caught.value.frames_read == 0


def faststart(path: Path, count: int = 60) -> bytes:
    """An MP4 with its index in front, so that a cut leaves it readable."""
    with VideoWriter(path, SIZE, fps=20, crf=10) as writer:
        generator = np.random.default_rng(5)
        for number in range(count):
            rgb = picture(number)
            writer.write(np.where(rgb == 0, generator.integers(0, 64, rgb.shape, dtype=np.uint8), rgb))
    return path.read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_truncated_file_gives_every_frame_before_the_cut_and_says_so(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "cut.mp4"
    content = faststart(path)
    path.write_bytes(content[: len(content) * 6 // 10])
    numbers, _, reader = read_all(path, threads)
    assert numbers == list(range(len(numbers))) and 20 <= len(numbers) < 50
    assert reader.damaged and any("60 frames announced" in line for line in reader.problems)
    with pytest.raises(VideoError, match=rf"cut\.mp4: damaged; {len(numbers)} frames") as caught:
        for _ in read_frames(path, threads):
            pass
    assert caught.value.frames_read == len(numbers)


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_truncation_without_an_index_is_noticed_by_the_announced_length(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / f"cut.{suffix}", [20 * n for n in range(90)], noise=1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    numbers, _, reader = read_all(path)
    assert numbers[:30] == list(range(30))
    assert suffix == "ts" or (reader.damaged and "3.00 s announced" in reader.problems[-1])  # TS announces nothing


@pytest.mark.parametrize("suffix", ["mkv", "nut"])
def test_a_late_start_is_no_missing_end_but_a_cut_still_is(tmp_path: Path, suffix: str) -> None:
    """These announce when they end, not how long they last; as where the sound came first and was taken out."""
    path = make_video(tmp_path / f"late.{suffix}", [3000 + 20 * n for n in range(90)], noise=1)
    numbers, times, reader = read_all(path)
    assert numbers == list(range(90)) and times[0] == pytest.approx(5, abs=0.01)
    assert not reader.damaged and reader.problems == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    _, times, reader = read_all(path)
    assert times[-1] < 7.5
    assert suffix == "nut" or (reader.damaged and "8.00 s announced" in reader.problems[-1])  # NUT says it at its end


@pytest.mark.parametrize("threads", [1, 3])
def test_damage_in_the_middle_costs_only_its_surroundings(tmp_path: Path, threads: int) -> None:
    path = make_video(tmp_path / "hole.mp4", [20 * n for n in range(60)], noise=1)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    path.write_bytes(content)
    with VideoReader(path, threads) as reader:
        frames = list(reader)
    times = [frame.pts * frame.time_base * 30 for frame in frames]
    assert reader.damaged and reader.problems
    assert 40 <= len(frames) <= 60 and times[-1] == 59 and times == sorted(set(times))
    assert all(number_of(f.rgb) == t for f, t in zip(frames[:15] + frames[-15:], times[:15] + times[-15:], strict=True))


def test_threads_never_change_which_frames_come(tmp_path: Path) -> None:
    path = tmp_path / "spoilt.mp4"
    content = make_video(path, [20 * n for n in range(60)], noise=1).read_bytes()
    generator = np.random.default_rng(3)
    body = content.index(b"mdat") + 8, content.index(b"moov")
    for _ in range(12):
        spoilt = bytearray(content)
        for place in generator.integers(*body, 6):
            spoilt[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(spoilt)
        one, three = read_all(path, 1), read_all(path, 3)
        assert one[1] == three[1] and one[2].problems == three[2].problems


def test_a_shipped_unfinished_recording_is_refused_with_the_reason() -> None:
    path = Path(__file__).parents[3] / "shared/minecraft_videos/truncated.mp4"
    if not path.exists():
        pytest.skip(f"optional sample {path.name} is not here")
    with pytest.raises(VideoError, match="moov"):
        probe(path)


def test_a_reader_is_for_one_pass(tmp_path: Path) -> None:
    with VideoReader(make_video(tmp_path / "a.mp4", THIRTY[:2])) as reader:
        assert len(list(reader)) == 2
        with pytest.raises(ValueError, match="iterated once"):
            next(iter(reader))
    with pytest.raises(ValueError, match="threads"):
        VideoReader(tmp_path / "a.mp4", threads=0)


def test_pixels_are_those_of_opencv(tmp_path: Path) -> None:
    """The published models were trained on frames that OpenCV decoded."""
    cv2 = pytest.importorskip("cv2")
    path = make_video(tmp_path / "a.mp4", THIRTY, noise=1)
    capture = cv2.VideoCapture(str(path))
    for frame in read_frames(path):
        read, bgr = capture.read()
        assert read and np.abs(bgr[:, :, ::-1].astype(int) - frame.rgb).max() <= 3
    capture.release()
