"""Frames with their actions: pairing, what is left out, cursors, and what is reported."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from data.actions import ENV_BUTTONS
from data.contractor_frames import RecordedSamples, Sample, agent_frame
from data.contractor_record import BrokenRecordError
from data.contractor_rules import AS_PUBLISHED, MENDED, ContractorRules
from data.cursor import Cursor
from data.video import VideoError
from data.video_writer import VideoWriter
from tests.data.test_contractor import record

SIZE = (72, 96)


def frame(index: int) -> NDArray[np.uint8]:
    return np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def write(tmp_path: Path, records: list[Any]) -> Path:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in records]
    (tmp_path / "play.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "play.jsonl"


def read(
    tmp_path: Path, records: list[Any], rules: ContractorRules = MENDED, frames: int | None = None, **options: Any
) -> tuple[list[Sample], list[str]]:
    count = len(records) if frames is None else frames
    reader = RecordedSamples(write(tmp_path, records), (frame(index) for index in range(count)), rules, **options)
    return list(reader), reader.problems


def rows(samples: list[Sample]) -> list[int]:
    return [sample.row for sample in samples]


def in_gui(x: float, y: float, keys: str = "w") -> dict[str, Any]:
    item = record(keys, gui=True)
    item["mouse"] |= {"x": x, "y": y}
    return item


def test_each_action_comes_with_its_frame_and_null_ones_are_left_out(tmp_path: Path) -> None:
    records = [record("w"), record(), record(dx=10, dy=-4), record("escape")]
    samples, problems = read(tmp_path, records)
    assert rows(samples) == [0, 2] and problems == []
    for row, picture, action in samples:
        np.testing.assert_array_equal(picture, cv2.resize(frame(row), (128, 128), interpolation=cv2.INTER_LINEAR))
        assert set(action) == {*ENV_BUTTONS, "camera"}
    assert samples[0].action["forward"] == 1 and samples[0].action["back"] == 0
    assert samples[1].action["camera"].dtype == np.float64
    np.testing.assert_allclose(samples[1].action["camera"], [-0.6, 1.5])
    assert rows(read(tmp_path, records, keep_null=True)[0]) == [0, 1, 2, 3]


def test_as_published_degrees_are_whole_and_null_is_what_nothing_was_recorded_for(tmp_path: Path) -> None:
    records = [record("w"), record(), record(dx=10, dy=-4), record("escape"), record(hotbar=2)]
    samples, _ = read(tmp_path, records, AS_PUBLISHED)
    assert rows(samples) == [0, 2, 3] and samples[2].action["ESC"] == 1
    assert samples[1].action["camera"].dtype == np.int64 and samples[1].action["camera"].tolist() == [0, 1]
    samples, _ = read(tmp_path, records)
    assert rows(samples) == [0, 2, 4] and samples[2].action["hotbar.3"] == 1


def test_the_cursor_is_drawn_on_the_whole_frame_where_a_gui_is_open(tmp_path: Path) -> None:
    samples, _ = read(tmp_path, [in_gui(305, 411), record("w")])
    expected = frame(0)
    Cursor().draw(expected, 30, 41)
    np.testing.assert_array_equal(samples[0].frame, agent_frame(expected))
    np.testing.assert_array_equal(samples[1].frame, agent_frame(frame(1)))
    mine = Cursor(np.full((3, 3, 4), 255, np.uint8))
    samples, _ = read(tmp_path, [in_gui(305, 411)], cursor=mine, size=(96, 72))
    assert (samples[0].frame[41:44, 30:33] == 255).all()


def test_frames_are_left_as_they_are_whatever_their_channels(tmp_path: Path) -> None:
    path = write(tmp_path, [in_gui(10, 10)])
    rgb, bgr = frame(0), frame(0)[..., ::-1].copy()
    rgb.flags.writeable = bgr.flags.writeable = False
    one = list(RecordedSamples(path, [rgb]))
    other = list(RecordedSamples(path, [bgr], channels="bgr"))
    np.testing.assert_array_equal(one[0].frame, other[0].frame)


def test_a_cursor_outside_the_frame_is_cut_off_and_ends_the_recording_as_published(tmp_path: Path) -> None:
    records = [record("w"), in_gui(-30, 50), record("w"), in_gui(-300, 50)]
    samples, problems = read(tmp_path, records)
    assert rows(samples) == [0, 1, 2, 3] and problems == []
    expected = frame(1)
    Cursor().draw(expected, -3, 5)
    np.testing.assert_array_equal(samples[1].frame, agent_frame(expected))
    np.testing.assert_array_equal(samples[3].frame, agent_frame(frame(3)))
    reader = RecordedSamples(write(tmp_path, records), map(frame, range(4)), AS_PUBLISHED)
    taken: list[Sample] = []
    with pytest.raises(BrokenRecordError, match=r"play\.jsonl:2: broken record \(ValueError: a cursor") as caught:
        taken.extend(reader)
    assert caught.value.row == 1 and caught.value.kind == "ValueError"


def test_a_broken_record_costs_its_frame_only(tmp_path: Path) -> None:
    records = [record("w"), "broken", record("w") | {"mouse": None}, record("d")]
    samples, problems = read(tmp_path, records)
    assert rows(samples) == [0, 3] and samples[1].action["right"] == 1
    np.testing.assert_array_equal(samples[1].frame, agent_frame(frame(3)))
    assert [problem.split(": ")[0] for problem in problems] == [f"{tmp_path / 'play.jsonl'}:{n}" for n in (2, 3)]


def test_as_published_a_broken_record_ends_it_when_it_is_reached(tmp_path: Path) -> None:
    reader = RecordedSamples(
        write(tmp_path, [record("w"), record("w") | {"mouse": None}, record("d")]), map(frame, range(3)), AS_PUBLISHED
    )
    samples = iter(reader)
    assert next(samples).row == 0
    with pytest.raises(BrokenRecordError, match="TypeError") as caught:
        next(samples)
    assert (caught.value.row, caught.value.kind) == (1, "TypeError")
    with pytest.raises(BrokenRecordError, match=r"play\.jsonl:2: broken record \(JSONDecodeError"):
        RecordedSamples(write(tmp_path, [record("w"), "broken"]), [], AS_PUBLISHED)


def test_as_published_the_gui_is_asked_for_only_with_a_frame_and_an_action(tmp_path: Path) -> None:
    idle, late = record(), record("w")
    del idle["isGuiOpen"], late["isGuiOpen"]
    samples, problems = read(tmp_path, [idle, record("w"), late], AS_PUBLISHED, frames=2)
    assert rows(samples) == [1] and len(problems) == 1
    with pytest.raises(BrokenRecordError, match="isGuiOpen"):
        read(tmp_path, [idle, record("w"), late], AS_PUBLISHED)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_that_is_shorter(tmp_path: Path, frames: int) -> None:
    records = [record("w")] * 3
    samples, problems = read(tmp_path, records, frames=frames)
    assert rows(samples) == list(range(frames))
    assert len(problems) == 1 and f"3 records, but the video has {frames} frames" in problems[0]
    samples, problems = read(tmp_path, records, AS_PUBLISHED, frames=frames)
    assert rows(samples) == list(range(frames))
    assert [problem.split(": ")[0] for problem in problems] == [
        f"{tmp_path / 'play.jsonl'}:{row + 1}" for row in range(frames, 3)
    ]


def test_a_video_that_is_longer(tmp_path: Path) -> None:
    samples, problems = read(tmp_path, [record("w")] * 3, frames=5)
    assert rows(samples) == [0, 1, 2] and len(problems) == 1 and "3 records, but the video goes on" in problems[0]
    samples, problems = read(tmp_path, [record("w")] * 3, AS_PUBLISHED, frames=5)
    assert rows(samples) == [0, 1, 2] and problems == []


def test_rules_can_be_mixed(tmp_path: Path) -> None:
    rules = replace(MENDED, integer_camera=True, compare_lengths=False)
    samples, problems = read(tmp_path, ["broken", record(dx=6), record(dx=7)], rules, frames=4)
    assert rows(samples) == [2] and len(problems) == 1


def test_frames_are_read_one_at_a_time(tmp_path: Path) -> None:
    given = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index in range(100):
            given.append(index)
            yield frame(index)

    samples = iter(RecordedSamples(write(tmp_path, [record("w")] * 100), frames()))
    next(samples), next(samples)
    assert len(given) == 2


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [record("w")])
    with pytest.raises(ValueError, match=r"play\.jsonl: frame 0 is float64 of shape \(4, 4, 3\); expected uint8"):
        list(RecordedSamples(path, [np.zeros((4, 4, 3))]))  # type: ignore[list-item]


def test_a_video_and_what_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path, [record("w"), record(), in_gui(100, 100), record("w"), record("w")])
    with VideoWriter(tmp_path / "play.mp4", (96, 72), 20) as writer:
        for index in range(4):
            writer.write(np.full((72, 96, 3), 40 + 40 * index, np.uint8))
    reader = RecordedSamples.of_video(tmp_path / "play.mp4")
    samples = list(reader)
    assert rows(samples) == [0, 2, 3] and len(reader.problems) == 1
    for sample in samples:
        assert abs(float(np.median(sample.frame)) - (40 + 40 * sample.row)) < 5
    capture = cv2.VideoCapture(str(tmp_path / "play.mp4"))
    published = (capture.read()[1] for _ in range(4))
    for ours, theirs in zip(samples, RecordedSamples(reader.path, published, channels="bgr"), strict=True):
        assert int(np.abs(ours.frame.astype(int) - theirs.frame).max()) <= 3
    with pytest.raises(VideoError, match="no such file"):
        list(RecordedSamples.of_video(tmp_path / "none.mp4", reader.path))


def test_a_damaged_video_is_reported_also_when_left_early(tmp_path: Path) -> None:
    write(tmp_path, [record("w")] * 40)
    with VideoWriter(tmp_path / "play.mp4", (96, 72), 20) as writer:
        for index in range(40):
            writer.write(frame(index))
    content = bytearray((tmp_path / "play.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\x00" * 400
    (tmp_path / "play.mp4").write_bytes(content)
    reader = RecordedSamples.of_video(tmp_path / "play.mp4")
    assert 0 < len(list(reader)) <= 40
    assert any("play.mp4: " in problem for problem in reader.problems)
