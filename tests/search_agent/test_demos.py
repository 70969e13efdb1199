"""Sets of demonstrations: written and read, damaged and told of, and changed by several at once without loss."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.actions import ActionTrack
from search_agent.demos import DemoSet, SetInfo

INFO = SetInfo("runs/prior", "a" * 64, 8, 20)


def add(
    demos: DemoSet,
    name: str,
    frames: int = 30,
    tags: tuple[str, ...] = (),
    seed: int = 0,
    video: str = "",
    only_new: bool = False,
) -> str | None:
    latents, track = made(frames, seed)
    where = Path(video or f"/videos/{name}.mp4")
    rows, copied = np.arange(frames), np.ones(frames, bool)
    return demos.add(name, latents, track, rows, copied, video=where, tags=tags, only_new=only_new)


def made(frames: int, seed: int) -> tuple[np.ndarray, ActionTrack]:
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(frames, 8)).astype(np.float16)
    return latents, ActionTrack(rng.random((frames, 20)) < 0.2, rng.normal(size=(frames, 2)).astype(np.float32))


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
    add(demos, "d1", frames=12, seed=9)  # in the place of the old one; tags stay
    again = DemoSet(demos.folder).read().demos
    np.testing.assert_array_equal(again["d1"].latents, made(12, 9)[0])
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


def _rewrite(**arrays: Any) -> Callable[[Path], None]:
    """Puts other arrays into a demonstration's actions.npz."""

    def damage(folder: Path) -> None:
        with np.load(folder / "actions.npz") as kept:
            found = dict(kept)
        np.savez(folder / "actions.npz", **found | arrays)

    return damage


def _latents(change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    """Puts other latents in the place of a demonstration's."""

    def damage(folder: Path) -> None:
        latents = np.load(folder / "latents.npy")
        changed = change(latents)
        np.save(folder / "latents.npy", latents if changed is None else changed)

    return damage


def _cut(folder: Path) -> None:
    path = folder / "actions.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "actions.npz").read_bytes())
    content[400] ^= 255
    (folder / "actions.npz").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_cut, "File is not a zip file"),
        (_flip_a_bit, "Bad CRC-32"),
        (lambda folder: shutil.copy(folder / "latents.npy", folder / "actions.npz"), "object"),
        (lambda folder: shutil.copy(folder / "actions.npz", folder / "latents.npy"), "object"),
        (
            _latents(np.asfortranarray),
            r"latents.npy: float16 \(30, 8\) by columns, expected float16 \(frames, 8\) by rows",
        ),
        (
            _latents(lambda x: x.__setitem__((20, 3), np.nan)),
            "latents.npy: expected finite numbers, found others in row 20",
        ),
        (_latents(lambda x: x.astype(">f2")), "latents.npy: >f2"),
        (_latents(lambda x: x[0, 0]), r"latents.npy: float16 \(\)"),
        (_rewrite(camera=np.full((30, 2), np.inf, np.float32)), "camera holds turns that are not finite"),
        (_rewrite(copied=np.ones(30)), "copied is float64"),
        (_rewrite(copied=np.zeros(30, bool)), "no frame of it is to be copied"),
        (_rewrite(rows=np.array(["x"] * 30)), "rows is <U1"),
        (_rewrite(rows=np.array(3)), r"rows is int64 \(\)"),
        (_rewrite(buttons=np.array(True)), "buttons is bool"),
        (_rewrite(buttons=np.zeros((30, 5), bool)), "buttons has shape"),
        (_rewrite(gui_open=np.zeros(0, bool)), "30 latents but 0 actions"),
    ],
)
def test_a_damaged_demonstration_costs_the_others_nothing(
    demos: DemoSet, damage: Callable[[Path], None], expected: str
) -> None:
    damage(demos.folder / "demos" / "d1")
    found = demos.read()
    assert list(found.demos) == ["d0", "d2"] and len(found.problems) == 1
    assert re.search(rf"demos/d1: damaged or not there \(.*{expected}.*vpt demos remove .* d1", found.problems[0])


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "../demos/d0", "/d0", "a/b", "a\\u0000b"])
def test_a_name_that_leads_elsewhere_is_none(demos: DemoSet, name: str) -> None:
    path = demos.folder / "demos.toml"
    path.write_text(f'{path.read_text()}\n["{name}"]\nenabled = true\n')
    found = demos.read()
    assert (
        list(found.demos) == ["d0", "d1", "d2"] and "demos.toml: a demonstration cannot be called" in found.problems[0]
    )
    with pytest.raises(ValueError, match="cannot be called"):
        add(demos, name)


def test_what_could_not_be_used_is_not_added(demos: DemoSet) -> None:
    found = demos.read().demos["d0"]
    track = ActionTrack(found.track.buttons, np.full((30, 2), np.nan, np.float32))
    nan = np.full((30, 8), np.nan, np.float16)
    for latents, actions in (
        (nan, found.track),
        (np.asfortranarray(found.latents), found.track),
        (found.latents, track),
    ):
        with pytest.raises(ValueError, match=r"v\.mp4: cannot be added to .* as d9 \("):
            demos.add("d9", latents, actions, found.rows, found.copied, video=Path("v.mp4"))
    assert [path.name for path in (demos.folder / "demos").iterdir() if path.name not in ("d0", "d1", "d2")] == []


def test_demonstrations_that_are_not_listed_are_told_of(demos: DemoSet) -> None:
    path = demos.folder / "demos.toml"
    whole = path.read_text()
    path.write_text("\ufeff" + whole, encoding="utf-8")  # as some editors begin a file
    assert len(demos.read().demos) == 3 and not demos.read().problems
    path.write_text(whole.split("[d1]")[0])
    (demos.folder / "demos" / ".unfinished").mkdir()
    found = demos.read()
    assert list(found.demos) == ["d0"]
    assert [problem.split(": not listed in demos.toml")[0][-2:] for problem in found.problems] == ["d1", "d2"]
    for lose in (lambda: path.write_text(" \n"), path.unlink):
        lose()
        for use in (demos.read, demos.videos, lambda: add(demos, "d3")):
            with pytest.raises(
                ValueError, match=r"demos\.toml is empty, but 3 demonstrations lie in .*take the file from a"
            ):
                use()
    path.mkdir()
    with pytest.raises(ValueError, match=r"demos\.toml: cannot be read"):
        demos.read()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"version": 9, "new": 1}, "version 9, this program reads 2; make the set again"),
        (
            {"version": 1},
            "version 1, .* does not say which frames .* not to be copied; .*vpt index RECORDINGS --out` into a new",
        ),
        ({"rate": "20"}, "rate is '20', expected int"),
        ({"rate": 0}, "dims is 8, rate 0; expected 1 or more"),
        ({"dims": True}, "dims is True, expected int"),
        ({"sha256": None}, "sha256 is None, expected str"),
        ({"colour": 1}, r"unknown settings \['colour'\]"),
    ],
)
def test_what_a_set_says_of_itself_is_looked_at(demos: DemoSet, changed: dict[str, Any], expected: str) -> None:
    about = demos.folder / "set.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | changed))
    with pytest.raises(ValueError, match=f"set.json: {expected}"):
        DemoSet(demos.folder)


def test_a_set_without_its_set_json_is_not_begun_anew_and_a_model_may_move(demos: DemoSet) -> None:
    DemoSet.create(demos.folder, replace(INFO, source="elsewhere"))
    assert DemoSet(demos.folder).info == replace(INFO, source="elsewhere")
    (demos.folder / "set.json").unlink()
    for lost in ("demos and demos.toml", "demos.toml"):
        with pytest.raises(ValueError, match=f"holds {lost} but no set.json"):
            DemoSet.create(demos.folder, INFO)
        shutil.rmtree(demos.folder / "demos", ignore_errors=True)


def test_another_videos_name_is_not_taken_from_it(demos: DemoSet) -> None:
    before = np.array(demos.read().demos["d1"].latents)
    path = demos.folder / "demos.toml"
    path.write_text(path.read_text().replace("[d1]\nenabled", "[d1]\nenabeld").replace("[d2]\n", "[d2.x]\n"))
    stale = DemoSet(demos.folder)
    name = add(stale, "d1", seed=7, video="/other/d1.mp4")
    assert name is not None and re.fullmatch(r"d1-[0-9a-f]{6}", name)
    assert add(stale, "d1", seed=8, video="/other/d1.mp4") == name  # its own name it keeps
    assert add(stale, "d0", seed=8, only_new=True) is None
    assert stale.videos() == {
        "d0": Path("/videos/d0.mp4"), "d1": Path("/videos/d1.mp4"), "d2": None, name: Path("/other/d1.mp4"),
    }  # fmt: skip
    np.testing.assert_array_equal(np.load(demos.folder / "demos" / "d1" / "latents.npy"), before)
    assert not [path for path in (demos.folder / "demos").iterdir() if path.name.startswith(".")]


def test_a_set_keeps_the_embedder_that_another_process_began_with(demos: DemoSet) -> None:
    other = DemoSet(demos.folder)
    other.use_embedder("clip", "key", 3)
    with pytest.raises(ValueError, match=r"embedded with clip \(key\), not with mine \(mine\)"):
        demos.use_embedder("mine", "mine", 3)
    shutil.rmtree(demos.folder / "demos" / "d0")
    with pytest.raises(ValueError, match="d0: was removed while it was being embedded"):
        other.add_goals("d0", np.zeros((30, 3), np.float16))


def _add_many(folder: Path, who: str) -> None:
    demos = DemoSet(folder)
    for number in range(6):
        add(demos, f"{who}{number}")
        add(demos, f"r{number}", video=f"/{who}/r{number}.mp4")  # of the same name


def test_two_editors_at_once_lose_nothing(demos: DemoSet) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # what is forked from threads may wait for ever
        list(pool.map(_add_many, [demos.folder] * 2, "ab"))
    found = demos.read()
    assert not found.problems and len(found.demos) == 3 + 4 * 6
    assert set(found.demos) >= {f"{who}{n}" for who in "abr" for n in range(6)} | {"d0", "d1", "d2"}
    assert {str(demo.video) for demo in found.demos.values()} >= {f"/{who}/r{n}.mp4" for who in "ab" for n in range(6)}
