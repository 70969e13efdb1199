"""Sets of demonstrations: written and read, damaged and told of, and changed by several at once without loss."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from data.actions import ActionTrack
from search_agent.demos import DemoSet, SetInfo

INFO = SetInfo("runs/prior", "a" * 64, 8, 20)


def add(demos: DemoSet, name: str, frames: int = 30, tags: tuple[str, ...] = (), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(frames, 8)).astype(np.float16)
    track = ActionTrack(rng.random((frames, 20)) < 0.2, rng.normal(size=(frames, 2)).astype(np.float32))
    demos.add(
        name, latents, track, np.arange(frames), np.ones(frames, bool), video=Path(f"/videos/{name}.mp4"), tags=tags
    )
    return latents


@pytest.fixture
def demos(tmp_path: Path) -> DemoSet:
    made = DemoSet.create(tmp_path / "set", INFO)
    for number in range(3):
        add(made, f"d{number}", tags=("logs",) if number else (), seed=number)
    return made


def test_what_was_added_is_read_in_its_order(demos: DemoSet) -> None:
    found = DemoSet(demos.folder).read()
    assert list(found.demos) == ["d0", "d1", "d2"] and not found.problems
    assert found.demos["d1"].tags == ("logs",) and found.demos["d1"].enabled
    latents = add(demos, "d1", frames=12, seed=9)  # in the place of the old one; tags stay
    again = DemoSet(demos.folder).read().demos
    np.testing.assert_array_equal(again["d1"].latents, latents)
    assert list(again) == ["d0", "d1", "d2"] and again["d1"].tags == ("logs",)


def test_a_set_edited_by_hand_keeps_its_comments(demos: DemoSet) -> None:
    path = demos.folder / "demos.toml"
    path.write_text(path.read_text().replace("[d1]\nenabled = true", "# the best one\n[d1]\nenabled = false"))
    assert not demos.read().demos["d1"].enabled
    add(demos, "d3")
    assert "# the best one" in path.read_text() and not demos.read().demos["d1"].enabled


def test_damage_is_told_of_and_the_rest_can_be_used(demos: DemoSet) -> None:
    for number in range(3, 8):
        add(demos, f"d{number}", seed=number)
    folder = demos.folder / "demos"
    (folder / "d0" / "latents.npy").write_bytes((folder / "d0" / "latents.npy").read_bytes()[:100])
    np.save(folder / "d1" / "latents.npy", np.zeros((30, 5), np.float16))
    shutil.rmtree(folder / "d2")
    (folder / "d3" / "actions.npz").write_bytes(b"")
    np.save(folder / "d4" / "latents.npy", np.zeros((29, 8), np.float16))
    path = demos.folder / "demos.toml"
    path.write_text(path.read_text().replace("[d5]\n", '[d5]\ncolour = "red"\n') + '\n[d9]\nenabled = "yes"\n')
    found = DemoSet(demos.folder).read()
    assert list(found.demos) == ["d6", "d7"]
    said = "\n".join(found.problems)
    expected = (
        "d0: damaged", "(30, 5), expected float16 (frames, 8)", "d2: damaged or not there", "d3: damaged",
        "29 latents but 30 actions", "[d5] has the unknown keys colour", "[d9]: expected enabled = true or false",
    )  # fmt: skip
    for part in expected:
        assert part in said, part
    assert not demos.has("d0") and demos.has("d6") and not demos.has("nothing")


def test_toml_that_is_none_names_the_line_and_so_does_a_name_given_twice(demos: DemoSet) -> None:
    path = demos.folder / "demos.toml"
    whole = path.read_text()
    for text, expected in ((whole + "\n[half", r"demos\.toml.*line 2\d"), (whole + "\n[d1]\n", r'demos\.toml.*"d1"')):
        path.write_text(text)
        with pytest.raises(ValueError, match=expected):
            demos.read()
        with pytest.raises(ValueError, match="mend the line"):
            add(demos, "d4")
        assert path.read_text() == text


def test_latents_of_another_model_are_refused(demos: DemoSet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"runs/prior \(sha256 aaaaaaaaaaaa\), not by other \(sha256 bbbb"):
        DemoSet.create(demos.folder, replace(INFO, source="other", sha256="b" * 64))
    with pytest.raises(ValueError, match="rate 20"):
        demos.require(replace(INFO, rate=30))
    with pytest.raises(ValueError, match="cannot be called"):
        add(demos, "a/b")
    with pytest.raises(ValueError, match="expected a set of demonstrations"):
        DemoSet(tmp_path)
    about = demos.folder / "set.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"version": 9}))
    with pytest.raises(ValueError, match="version 9, this program reads 2"):
        DemoSet(demos.folder)


def _add_ten(folder: Path, who: str) -> None:
    demos = DemoSet(folder)
    for number in range(10):
        add(demos, f"{who}{number}")


def test_two_editors_at_once_lose_nothing(demos: DemoSet) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # what is forked from threads may wait for ever
        list(pool.map(_add_ten, [demos.folder] * 2, "ab"))
    assert set(demos.read().demos) == {f"{who}{n}" for who in "ab" for n in range(10)} | {"d0", "d1", "d2"}
