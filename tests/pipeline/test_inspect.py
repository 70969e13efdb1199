"""`vpt inspect` shows the right label under the right frame, for tables and records, at any frame rate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.contractor import ContractorWriter
from data.video import probe, read_frames
from tests.pipeline.label_files import actions, labels_of, write_recording, write_table
from vpt_pipeline.inspect import InspectConfig, main, overlay_frames
from vpt_pipeline.label_view import find_labels, read_view
from vpt_pipeline.overlay import LIT, WRONG

FORWARD = slice(26, 52), slice(42, 62)  # rows and columns of the W key within a panel of a 640 wide overlay


def lit(image: np.ndarray, second: bool = False) -> bool:
    rows, columns = FORWARD
    key = image[-150:][rows][:, slice(columns.start + 320 * second, columns.stop + 320 * second)]
    return bool((np.abs(key.astype(int) - LIT).max(-1) < 60).mean() > 0.4)


def has_red(image: np.ndarray) -> bool:
    return bool((np.abs(image[360:].astype(int) - WRONG).max(-1) < 40).any())


def forward_held(frames: int) -> list[bool]:
    return ["forward" in action.buttons for action in actions(frames)]


def test_each_frame_shows_its_own_label_beside_its_truth(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 40)
    labels = write_table(tmp_path / "labels.parquet", labels_of("play", 40, late=2))
    images = list(overlay_frames(video, labels, tmp_path / "play.jsonl"))
    assert len(images) == 40 and {image.shape for image in images} == {(530, 640, 3)}
    assert [lit(image, second=True) for image in images] == forward_held(40)
    assert [lit(image) for image in images] == [False, False, *forward_held(38)]
    assert has_red(images[11]) and not has_red(images[13])
    # The picture itself is the frame's: it brightens by 3 a frame.
    assert [int(image[:360].mean()) for image in images[:3]] == pytest.approx([10, 13, 16], abs=2)


def test_truth_alone_can_be_looked_at(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 24)
    images = list(overlay_frames(video, tmp_path / "play.jsonl"))
    assert [lit(image) for image in images] == forward_held(24)


def test_a_span_begins_where_it_was_asked_to(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 40)
    images = list(overlay_frames(video, tmp_path / "play.jsonl", start=15, frames=10))
    assert [lit(image) for image in images] == forward_held(40)[15:25]


def test_video_of_another_rate_shows_ticks_and_the_records_of_their_frames(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "fast", 40, fps=40)
    images = list(overlay_frames(video, tmp_path / "fast.jsonl"))
    assert len(images) == 20
    assert [lit(image) for image in images] == forward_held(40)[::2]


def test_frames_without_a_record_are_shown_without_a_label(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 16)
    with ContractorWriter(tmp_path / "short.jsonl") as short:
        for action in actions(13):
            short.write(action)
    labels = write_table(tmp_path / "labels.parquet", labels_of("play", 16))
    images = list(overlay_frames(video, labels, tmp_path / "short.jsonl"))
    assert [lit(image, second=True) for image in images] == [*forward_held(13), False, False, False]
    assert lit(images[15]) and not has_red(images[15])


def test_the_command_writes_a_film_that_plays_or_a_picture(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 30)
    labels = write_table(tmp_path / "labels.parquet", labels_of("other", 30), labels_of("play", 30))
    assert (
        main(InspectConfig(video, labels, truth=tmp_path / "play.jsonl", out=tmp_path / "out" / "film.mp4", frames=12))
        == 0
    )
    info = probe(tmp_path / "out" / "film.mp4")
    assert (info.width, info.height, info.codec) == (640, 530, "h264")
    assert len(list(read_frames(tmp_path / "out" / "film.mp4"))) == 12
    assert main(InspectConfig(video, labels, out=tmp_path / "one.png", start=12)) == 0
    image = cv2.imread(str(tmp_path / "one.png"))
    assert image is not None and lit(image[..., ::-1])


def test_mistakes_are_explained(tmp_path: Path) -> None:
    video = write_recording(tmp_path, "play", 10)
    labels = write_table(tmp_path / "labels.parquet", labels_of("a", 10), labels_of("b", 10))
    with pytest.raises(ValueError, match=r"expected labels of one video named 'play', found those of a, b"):
        main(InspectConfig(video, labels))
    with pytest.raises(ValueError, match="has no frame 50 at 20 frames a second"):
        main(InspectConfig(video, tmp_path / "play.jsonl", out=tmp_path / "x.mp4", start=50))
    with pytest.raises(ValueError, match=r"ends in \.mp4 or \.png, found '\.gif'"):
        main(InspectConfig(video, tmp_path / "play.jsonl", out=tmp_path / "x.gif"))
    with pytest.raises(ValueError, match=r"expected a folder or a file that ends in .*, found nothing there"):
        read_view(tmp_path / "nowhere.parquet")
    with pytest.raises(ValueError, match=r"ends in \.jsonl, found a \.mp4 file"):
        find_labels([video], (".jsonl",))
    assert not (tmp_path / "x.mp4").exists()
