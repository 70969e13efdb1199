"""Spans read from the middle of a video hold exactly the frames of a full reading, or are refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pytest

from data.video import VideoError, VideoFrame, VideoReader
from data.video_decode import DecodePass
from data.video_index import IrregularVideo, SpanReader, VideoIndex
from tests.data.clips import make_video

STEADY = [20 * n for n in range(40)]
UNEVEN = [0, 7, 40, 41, 100, 600, 1801, *range(2000, 2660, 20)]
CLOSED = {"bf": "3", "x264-params": "open-gop=0:scenecut=0"}
REPEATED = {"bf": "0", "x264-params": "repeat-headers=1:scenecut=0"}
OTHERS = {"bf": "0", "x264-params": "repeat-headers=1:cabac=0"}
Packets: TypeAlias = "list[av.Packet[Any]]"
PacketEdit: TypeAlias = "Callable[[Packets], Packets]"
MOVING = "testsrc2=s=96x64:r=20:d=2"


def by_ffmpeg(path: Path, *options: str, source: str = MOVING) -> Path:
    """A clip of 40 frames made by the ffmpeg program; skips where that or its encoder is missing."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg program is not installed")
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)],
        capture_output=True,
        text=True,
    )
    if "Unknown encoder" in made.stderr:
        pytest.skip(f"this ffmpeg has no such encoder: {options}")
    assert made.returncode == 0, made.stderr
    return path


def told(frame: VideoFrame) -> tuple[object, ...]:
    return frame.index, frame.pts, frame.time_base, frame.damaged, frame.rgb.shape, frame.rgb.tobytes()


def read_span(path: Path, index: VideoIndex, first: int, last: int) -> list[tuple[object, ...]]:
    pts, start_pts = index.span(first, last)
    with SpanReader(path, pts, first, index.time_base, start_pts) as reader:
        frames = [told(frame) for frame in reader]
        assert reader.problems == [] and reader.frames_read == last - first and not reader.damaged
    return frames


def assert_spans_are_the_full_reading(path: Path, cuts: Sequence[int] = (1, 13, 14, 20, 31)) -> VideoIndex:
    """Raises IrregularVideo if the index or any of the spans between the cuts is refused."""
    with VideoReader(path) as reader:
        frames = [told(frame) for frame in reader]
    index = VideoIndex.of(path)
    inner = sorted({cut for cut in cuts if 0 < cut < len(index.pts)})
    parts = [read_span(path, index, *cut) for cut in pairwise([0, *inner, len(index.pts)])]
    assert [frame for part in parts for frame in part] == frames and reader.problems == []
    assert set(index.keyframes) <= set(index.pts)
    return index


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("pts", [STEADY, UNEVEN], ids=["steady", "uneven"])
def test_h264_with_b_frames_is_read_from_every_key_frame(tmp_path: Path, suffix: str, pts: list[int]) -> None:
    path = make_video(tmp_path / f"a.{suffix}", pts, options=CLOSED, noise=1)
    index = assert_spans_are_the_full_reading(path)
    assert len(index.keyframes) == 4 and list(index.keyframes) == [index.pts[n] for n in (0, 10, 20, 30)]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("10 bits.mp4", {"pix_fmt": "yuv420p10le"}),
        ("full colour.mkv", {"pix_fmt": "yuv444p", "size": (63, 47)}),
        ("turned.mp4", {"rotation": 90}),
        ("intra.mp4", {"options": {"g": "1"}}),
        ("slices.mp4", {"options": {"x264-params": "slices=3:cabac=0"}}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"g": "10", "lag-in-frames": "8", "cpu-used": "5"}}),
    ],
)
def test_other_pictures_and_codecs_are_accepted(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    index = assert_spans_are_the_full_reading(make_video(tmp_path / name, STEADY, noise=1, **settings))
    assert len(index.keyframes) >= 4


H264 = ("-c:v", "libx264", "-g", "10")


@pytest.mark.parametrize(
    ("name", "options", "keyframes"),
    [
        ("late.mkv", (*H264, "-output_ts_offset", "5"), 4),
        ("late.mp4", (*H264, "-output_ts_offset", "5"), 4),
        ("fragments.mp4", (*H264, "-movflags", "frag_keyframe+empty_moov"), 4),
        ("repeated parameters.mkv", (*H264, "-x264-params", "repeat-headers=1"), 4),
        ("open.mp4", (*H264, "-x264-params", "open-gop=1:bframes=3"), 1),
        ("refresh.mkv", (*H264, "-x264-params", "intra-refresh=1"), 1),
        ("av1.mp4", ("-c:v", "libsvtav1", "-preset", "12", "-g", "10"), 4),
    ],
)
def test_decoding_begins_only_where_nothing_reaches_across(
    tmp_path: Path, name: str, options: tuple[str, ...], keyframes: int
) -> None:
    index = assert_spans_are_the_full_reading(by_ffmpeg(tmp_path / name, *options))
    assert len(index.keyframes) == keyframes


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("a.ts", H264, "mpegts"),
        ("a.avi", ("-c:v", "mpeg4", "-bf", "2"), "avi"),
        ("a.mp4", ("-c:v", "mpeg4", "-bf", "2"), "mpeg4"),
        ("a.mkv", ("-c:v", "mjpeg"), "mjpeg"),
        ("a.webm", ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "10"), "vp8"),
        ("hevc.mp4", ("-c:v", "libx265", "-x265-params", "log-level=none"), "hevc"),
        ("fields.mp4", (*H264, "-flags", "+ildct+ilme"), "fields"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_reason(
    tmp_path: Path, name: str, options: tuple[str, ...], says: str
) -> None:
    path = by_ffmpeg(tmp_path / name, *options)
    with pytest.raises(IrregularVideo, match=rf"{path.name}: .*{says}.*from the start") as caught:
        VideoIndex.of(path)
    assert isinstance(caught.value, ValueError)


def test_an_edit_list_that_hides_frames_is_refused(tmp_path: Path) -> None:
    whole = by_ffmpeg(tmp_path / "whole.mp4", *H264)
    cut = tmp_path / "cut.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "0.75", "-i", whole, "-c", "copy", cut], check=True)
    with pytest.raises(IrregularVideo, match=r"cut\.mp4: .*edit list"):
        VideoIndex.of(cut)


def remux(path: Path, header_of: Path, packets_of: Sequence[Path], edit: PacketEdit | None = None) -> Path:
    """Packets one file after the other, 5000 units of time apart, under the codec header of ``header_of``."""
    with av.open(str(path), "w") as container, av.open(str(header_of)) as header:
        stream = container.add_stream_from_template(header.streams.video[0])
        for number, name in enumerate(packets_of):
            with av.open(str(name)) as source:
                packets = [packet for packet in source.demux(video=0) if packet.size]
                for packet in packets:
                    assert packet.pts is not None
                    packet.pts += 5000 * number
                    packet.dts = packet.pts  # the clips have no B-frames
                for packet in edit(packets) if edit else packets:
                    packet.stream = stream
                    container.mux(packet)
    return path


def test_parameters_that_change_on_the_way_are_refused(tmp_path: Path) -> None:
    """Two films in one stream, as some recorders join them: each needs its own parameters, which stand in its packets."""
    one = make_video(tmp_path / "one.mkv", STEADY, options=REPEATED)
    two = make_video(tmp_path / "two.mkv", STEADY, options=OTHERS)
    with pytest.raises(IrregularVideo, match="parameters change"):
        VideoIndex.of(remux(tmp_path / "joined.mkv", one, [one, two]))


def test_decoding_begins_only_at_key_frames_that_bring_all_that_the_first_brought(tmp_path: Path) -> None:
    """Where the header says other than the packets do, a key frame without parameters hangs on those before."""
    one = make_video(tmp_path / "one.mkv", STEADY, options=REPEATED)
    two = make_video(tmp_path / "two.mkv", STEADY, options=OTHERS)

    def without_parameters(packets: Packets) -> Packets:
        content, kept = bytes(packets[20]), b""
        while content:
            end = 4 + int.from_bytes(content[:4])
            kept += content[:end] if content[4] & 31 not in (7, 8) else b""
            content = content[end:]
        bare = av.Packet(kept)
        bare.pts, bare.dts, bare.time_base = packets[20].pts, packets[20].dts, packets[20].time_base
        bare.is_keyframe = True
        return [*packets[:20], bare, *packets[21:]]

    index = assert_spans_are_the_full_reading(remux(tmp_path / "mixed.mkv", two, [one], without_parameters))
    assert list(index.keyframes) == [index.pts[n] for n in (0, 10, 30)]


@pytest.mark.parametrize(("early", "keyframes"), [(14, [0, 10, 20, 30]), (19, [0, 10, 30])])
def test_frames_that_swap_their_times_are_noticed(tmp_path: Path, early: int, keyframes: list[int]) -> None:
    """All times are there, once each, yet two frames would be shown in each other's place: only decoding tells."""

    def swap(packets: Packets) -> Packets:
        one, two = packets[early : early + 2]
        one.pts, two.pts = two.pts, one.pts
        two.dts = two.pts  # a frame cannot be shown before it is decoded
        return packets

    right = make_video(tmp_path / "right.mkv", STEADY, options=REPEATED)
    wrong = remux(tmp_path / "wrong.mkv", right, [right], swap)
    index = VideoIndex.of(wrong)
    assert list(index.keyframes) == [index.pts[n] for n in keyframes]
    for first, last in ((early, 23), (early + 2, 23)):  # the second only passes over them
        with pytest.raises(IrregularVideo, match=rf"wrong\.mkv: frame ({early}|{early + 2})\b"):
            read_span(wrong, index, first, last)


def test_a_frame_that_was_lost_in_recording_is_noticed_by_the_count(tmp_path: Path) -> None:
    """The decoder would make one up, and the frames after it from that."""
    whole = make_video(tmp_path / "whole.mkv", STEADY, options=REPEATED)
    lossy = remux(tmp_path / "lossy.mkv", whole, [whole], lambda packets: packets[:14] + packets[15:])
    with pytest.raises(IrregularVideo, match=r"lossy\.mkv: .*gap in the count"):
        VideoIndex.of(lossy)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_what_is_no_video_raises_as_the_reader_does(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        VideoIndex.of(path)


def test_a_span_begins_at_the_last_key_frame_before_it(tmp_path: Path) -> None:
    index = VideoIndex.of(make_video(tmp_path / "a.mp4", STEADY, options=CLOSED))
    for first, key in ((0, 0), (9, 0), (10, 10), (11, 10), (39, 30)):
        pts, start_pts = index.span(first, first + 1)
        assert list(pts) == [index.pts[first]] and start_pts == index.pts[key]
    for bad in ((-1, 3), (3, 3), (5, 41)):
        with pytest.raises(ValueError, match="0 <= first < last <= 40"):
            index.span(*bad)


def test_no_more_is_decoded_than_from_the_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mkv", STEADY, options=CLOSED)
    index = VideoIndex.of(path)
    decoded: list[int] = []
    stored: list[int] = []
    in_order, packets = SpanReader._in_order, DecodePass.packets

    def decoding(reader: SpanReader) -> Iterator[tuple[int, av.VideoFrame]]:
        for pts, frame in in_order(reader):
            decoded.append(pts)
            yield pts, frame

    def reading(source: DecodePass) -> Iterator[av.Packet[av.VideoStream] | None]:
        for packet in packets(source):
            assert packet is not None and packet.pts is not None
            stored.append(packet.pts)
            yield packet

    pts, start_pts = index.span(25, 27)
    with SpanReader(path, pts, 25, index.time_base, start_pts) as reader:
        monkeypatch.setattr(SpanReader, "_in_order", decoding)
        monkeypatch.setattr(DecodePass, "packets", reading)
        list(reader)
    assert decoded == list(index.pts[20:28])  # one beyond, which proves that nothing stands between
    assert min(stored) == index.pts[20]


def test_the_reader_is_described_as_a_full_one_and_read_once(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", STEADY, rotation=90, options=CLOSED)
    index = VideoIndex.of(path)
    pts, start_pts = index.span(15, 17)
    with VideoReader(path) as full, SpanReader(path, pts, 15, index.time_base, start_pts) as reader:
        assert reader.info == full.info and reader.path == path
        assert len(list(reader)) == 2
        with pytest.raises(ValueError, match="SpanReader can be iterated once"):
            next(iter(reader))


@pytest.mark.parametrize("wrong", ["shifted", "one left out", "one more", "no key frame", "unknown start", "clock"])
def test_a_file_that_is_not_as_the_index_says_is_refused(tmp_path: Path, wrong: str) -> None:
    path = make_video(tmp_path / "a.mp4", STEADY, options=CLOSED)
    index = VideoIndex.of(path)
    pts, start_pts = index.span(12, 40)
    time_base = index.time_base
    step = int(pts[1] - pts[0])
    if wrong == "shifted":
        pts = pts + 1
    elif wrong == "one left out":
        pts = np.delete(pts, 5)
    elif wrong == "one more":
        pts = np.append(pts, pts[-1] + step)
    elif wrong == "no key frame":
        start_pts += step
    elif wrong == "unknown start":
        start_pts -= 1
    else:
        time_base = Fraction(1, 7)
    with (
        pytest.raises(IrregularVideo, match=r"a\.mp4: frame \d+"),
        SpanReader(path, pts, 12, time_base, start_pts) as reader,
    ):
        list(reader)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "b.webm"])
def test_damage_never_gives_other_frames_than_a_full_reading(tmp_path: Path, name: str) -> None:
    options = {"g": "10", "cpu-used": "8", "deadline": "realtime"} if name == "b.webm" else CLOSED
    codec = "libvpx-vp9" if name == "b.webm" else "libx264"
    path = make_video(tmp_path / name, STEADY, codec=codec, options=options, noise=1)
    content = path.read_bytes()
    generator = np.random.default_rng(4)
    refused = 0
    for trial in range(40):
        spoilt = bytearray(content)
        place = int(generator.integers(len(content)))
        if trial % 4 == 0:
            del spoilt[place:]
        elif trial % 4 == 1:
            spoilt[place : place + 200] = bytes(len(spoilt[place : place + 200]))
        else:
            spoilt[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(spoilt)
        try:
            assert_spans_are_the_full_reading(path, [int(cut) for cut in generator.integers(1, 40, 2)])
        except (IrregularVideo, VideoError):
            refused += 1
    assert refused >= 5  # else the damage was none
