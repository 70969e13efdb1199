"""Writing video: what is read back is what was written, and failures leave nothing."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data.video import VideoReader, VideoWriter, probe
from tests.data.clips import SIZE, number_of, picture


def write(path: Path, count: int = 25, fps: int | Fraction = 20) -> Path:
    with VideoWriter(path, SIZE, fps=fps, crf=5) as writer:
        for number in range(count):
            writer.write(picture(number))
    return path


@pytest.mark.parametrize("fps", [20, Fraction(30000, 1001)])
def test_frames_come_back_in_order_with_exact_times(tmp_path: Path, fps: int | Fraction) -> None:
    path = write(tmp_path / "a.mp4", fps=fps)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [number_of(f.rgb) for f in frames] == list(range(25))
    assert [f.pts * f.time_base for f in frames] == [number / Fraction(fps) for number in range(25)]
    assert np.abs(frames[9].rgb.astype(int) - picture(9)).mean() < 6
    info = probe(path)
    assert info.frame_rate == fps and info.frames == 25 and not reader.problems


def test_the_index_is_in_front_and_bytes_repeat(tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert write(tmp_path / "b.mp4").read_bytes() == content


def test_the_file_appears_only_at_the_end_and_not_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the game crashed"), VideoWriter(tmp_path / "a.mp4", SIZE) as writer:
        for number in range(30):
            writer.write(picture(number))
        assert not (tmp_path / "a.mp4").exists()
        raise RuntimeError("the game crashed")
    assert list(tmp_path.iterdir()) == []


def test_misuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"63x48.*even"):
        VideoWriter(tmp_path / "a.mp4", (63, 48))
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "a.mp4", SIZE, fps=0)
    with pytest.raises(ValueError, match="not open"):
        VideoWriter(tmp_path / "a.mp4", SIZE).write(picture(0))
    with (
        pytest.raises(ValueError, match=r"a\.mp4: frame is uint8 \(64, 48, 3\)"),
        VideoWriter(tmp_path / "a.mp4", SIZE) as w,
    ):
        w.write(picture(0).transpose(1, 0, 2))
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "a.mp4", SIZE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/a\.mp4"), VideoWriter(tmp_path / "file" / "a.mp4", SIZE):
        pass
    assert (tmp_path / "file").read_text() == ""


FULL_DISK = """
import resource, sys
import numpy as np
from data.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
generator = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], (64, 48), crf=5) as writer:
        for _ in range(60):
            writer.write(generator.integers(0, 256, (48, 64, 3), dtype=np.uint8))
except OSError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("room", [10, 60_000])
def test_running_out_of_room_leaves_nothing(tmp_path: Path, room: int) -> None:
    """A limit on file size stands in for a full disk: the system refuses the write in the same way."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.mp4"), str(room)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert "cannot write" in result.stdout and "a.mp4" in result.stdout and "free space" in result.stdout, result
    assert list(tmp_path.iterdir()) == []
