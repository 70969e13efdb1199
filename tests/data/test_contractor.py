"""Contractor files: VPT's rules of reading with their mends, and what we write reads back."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.actions import BUTTON_INDEX, BUTTONS, ENV_BUTTONS, UNMODELLED_BUTTONS, Action
from data.contractor import (
    AS_PUBLISHED,
    MENDED,
    ContractorRules,
    ContractorTrack,
    ContractorWriter,
    read_contractor,
    read_records,
)
from data.contractor_rules import recorder_version

GOLDEN = Path(__file__).parents[3] / "shared/golden/vpt"


def record(
    keys: str = "", *, dx: float = 0, dy: float = 0, buttons: Any = (), new: Any = (), hotbar: Any = 0, gui: Any = False
) -> dict[str, Any]:
    """keys: names of keyboard keys, separated by blanks."""
    mouse = {"x": 10.5, "y": 20.5, "dx": dx, "dy": dy, "buttons": list(buttons), "newButtons": list(new)}
    return {
        "mouse": mouse,
        "keyboard": {"keys": [f"key.keyboard.{key}" for key in keys.split()]},
        "hotbar": hotbar,
        "isGuiOpen": gui,
    }


def read(
    tmp_path: Path, records: list[Any], rules: ContractorRules = MENDED, version: str | None = None
) -> ContractorTrack:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in records]
    (tmp_path / "play.jsonl").write_text("\n".join(lines) + "\n")
    return read_contractor(tmp_path / "play.jsonl", rules, version)


def held(track: ContractorTrack, row: int) -> set[str]:
    names = {name for name, down in zip(BUTTONS, track.actions.buttons[row], strict=True) if down}
    return names | {name for name, down in zip(UNMODELLED_BUTTONS, track.unmodelled[row], strict=True) if down}


def test_every_key_and_mouse_button_has_its_button(tmp_path: Path) -> None:
    keys = ["escape", "s", "q", "w", "e", "space", "a", "d", "left.shift", "left.control", "f", *"123456789"]
    expected = ["ESC", "back", "drop", "forward", "inventory", "jump", "left", "right", "sneak", "sprint", "swapHands"]
    expected += [f"hotbar.{slot}" for slot in range(1, 10)]
    track = read(tmp_path, [record(key) for key in keys] + [record(buttons=[n]) for n in range(4)])
    assert [held(track, row) for row in range(len(keys))] == [{name} for name in expected]
    assert [held(track, row) for row in range(20, 24)] == [{"attack"}, {"use"}, {"pickItem"}, set()]
    assert set(expected) | {"attack", "use", "pickItem"} == set(ENV_BUTTONS)


def test_unknown_keys_and_fields_are_no_action(tmp_path: Path) -> None:
    track = read(tmp_path, [record("f3 grave.accent", buttons=[7, "x"]) | {"stats": {"a": 1}}])
    assert held(track, 0) == set() and track.actions.is_null.all() and track.problems == []


def test_camera_keeps_fractions_of_a_degree_and_its_axes(tmp_path: Path) -> None:
    track = read(tmp_path, [record(dx=1, dy=-2), record(dx=0.5), record(dx=5000)])
    assert track.actions.camera.dtype == np.float32
    np.testing.assert_allclose(track.actions.camera, np.array([[-0.30, 0.15], [0, 0.075], [0, 750]]), rtol=1e-6)


def test_a_stuck_attack_is_released_until_its_next_press(tmp_path: Path) -> None:
    down = record(buttons=[0, 1])
    again = record(buttons=[0], new=[0])
    track = read(tmp_path, [record(buttons=[0, 1], new=[0]), down, again, record(buttons=[0])])
    assert [held(track, row) for row in range(4)] == [{"use"}, {"use"}, {"attack"}, {"attack"}]


@pytest.mark.parametrize("new", [[], [1], [0, 1], [1, 0]])
def test_only_a_lone_new_left_click_at_the_start_is_stuck(tmp_path: Path, new: list[int]) -> None:
    track = read(tmp_path, [record(buttons=[0], new=new), record(buttons=[0])])
    assert held(track, 0) == held(track, 1) == {"attack"}


def test_a_change_of_slot_presses_its_key_once_whatever_chose_it(tmp_path: Path) -> None:
    slots = [4, 4, 7, 7, 0]
    track = read(tmp_path, [record(hotbar=slot) for slot in slots])
    assert [held(track, row) for row in range(5)] == [set(), set(), {"hotbar.8"}, set(), {"hotbar.1"}]
    assert track.hotbar.tolist() == slots and not track.actions.is_null[2]


def test_every_rule_is_mended_unless_published() -> None:
    differ = [f.name for f in fields(ContractorRules) if getattr(MENDED, f.name) != getattr(AS_PUBLISHED, f.name)]
    assert differ == [f.name for f in fields(ContractorRules) if f.name != "esc_is_inventory"]


def test_whole_degrees_are_cut_towards_zero(tmp_path: Path) -> None:
    counts = [6, -6, 7, 13, -13, 14, 40, -1]
    track = read(tmp_path, [record(dx=n, dy=-n) for n in counts], replace(MENDED, integer_camera=True))
    assert track.actions.camera[:, 1].tolist() == [0, 0, 1, 1, -1, 2, 6, 0]
    assert track.actions.camera[:, 0].tolist() == [0, 0, -1, -1, 1, -2, -6, 0]
    assert track.null.tolist() == [True, True, False, False, False, False, False, True]  # what is cut to 0 is no turn


def test_what_is_null(tmp_path: Path) -> None:
    records = [
        record(), record("w"), record("escape"), record("f"), record(buttons=[2]), record("f3"), record(dx=0.5),
        record(buttons=[0]), record(buttons=[5]),
    ]  # fmt: skip
    agents = [True, False, True, True, True, True, False, False, True]
    recorded = [True, False, False, False, False, True, False, False, True]
    assert read(tmp_path, records).null.tolist() == agents
    assert read(tmp_path, records, replace(MENDED, agent_null=False)).null.tolist() == recorded
    assert read(tmp_path, records, AS_PUBLISHED).null.tolist() == recorded
    assert not read(tmp_path, [record(), "broken"]).null[1]


def test_a_slot_chosen_with_the_wheel_counts(tmp_path: Path) -> None:
    records = [record(), record(hotbar=3), record(hotbar=3), record("5", hotbar=4)]
    for rules, null in ((MENDED, [True, False, True, False]), (AS_PUBLISHED, [True, True, True, False])):
        track = read(tmp_path, records, rules)
        assert [held(track, row) for row in range(4)] == [set(), {"hotbar.4"}, set(), {"hotbar.5"}]
        assert track.null.tolist() == null
    assert read(tmp_path, records, replace(MENDED, wheel_counts=False)).null.tolist() == [True, True, True, False]


def test_starting_on_another_slot(tmp_path: Path) -> None:
    records = [record(hotbar=4), record(hotbar=4)]
    assert held(read(tmp_path, records), 0) == set()
    track = read(tmp_path, records, replace(MENDED, press_first_slot=True))
    assert held(track, 0) == {"hotbar.5"} and held(track, 1) == set()
    assert held(read(tmp_path, records, AS_PUBLISHED), 0) == {"hotbar.5"}


def test_escape_can_be_the_inventory(tmp_path: Path) -> None:
    records = [record("escape", gui=True), record("escape w"), record("escape", gui=True, dx=0)]
    rules = replace(MENDED, esc_is_inventory=True)
    track = read(tmp_path, records, rules)
    assert [held(track, row) for row in range(3)] == [{"inventory"}, {"forward"}, {"inventory"}]
    assert track.null.tolist() == [False, False, False]
    assert held(read(tmp_path, records), 0) == {"ESC"} and held(read(tmp_path, records, AS_PUBLISHED), 0) == {"ESC"}


def test_gui_counts_are_scaled_where_the_recorder_is_known(tmp_path: Path) -> None:
    records = [record(dx=100, gui=True), record(dx=100)]
    assert read(tmp_path, records).actions.camera[:, 1].tolist() == [15, 15]
    assert read(tmp_path, records, version="6.8").actions.camera[:, 1].tolist() == [30, 15]
    assert read(tmp_path, records, version="5.7").actions.camera[:, 1].tolist() == [7.5, 15]
    assert read(tmp_path, records, version="6.13").actions.camera[:, 1].tolist() == [15, 15]
    assert read(tmp_path, records, AS_PUBLISHED, version="6.8").actions.camera[:, 1].tolist() == [15, 15]
    folder = tmp_path / "data" / "6.7"
    folder.mkdir(parents=True)
    assert read(folder, records).actions.camera[:, 1].tolist() == [30, 15]


def test_the_recorders_version_is_a_folders_whole_name() -> None:
    assert recorder_version("data/6.13/some-name-20220421.jsonl") == "6.13"
    assert recorder_version(Path("/a/5.7/6.7/x/b.jsonl")) == "6.7"
    assert recorder_version("data/v6.7/6.7.jsonl") is None


BROKEN: dict[str, tuple[Any, str]] = {
    "no json": ('{"mouse": {"x": 1', "not a whole JSON object"),
    "blank": ("", "not a whole JSON object"),
    "a list": ([1, 2], "expected a JSON object, found list"),
    "mouse null": (record() | {"mouse": None}, "field mouse is null or missing"),
    "keyboard missing": ({k: v for k, v in record().items() if k != "keyboard"}, "field keyboard is null or missing"),
    "keys null": (record() | {"keyboard": {"keys": None}}, "field keys is null"),
    "buttons null": (record() | {"mouse": record()["mouse"] | {"buttons": None}}, "field buttons is null"),
    "dx text": (record() | {"mouse": record()["mouse"] | {"dx": "3"}}, "mouse.dx is '3', expected a finite number"),
    "dx huge": (record() | {"mouse": record()["mouse"] | {"dx": 10**400}}, "mouse.dx is 1000"),
    "dx nan": (record(dx=float("nan")), "mouse.dx is nan"),
    "hotbar missing": (record() | {"hotbar": None}, "field hotbar is null or missing"),
    "hotbar bool": (record(hotbar=True), "field hotbar is bool, expected int"),
    "hotbar large": (record(hotbar=9), "field hotbar is 9, expected 0 to 8"),
    "gui missing": (record() | {"isGuiOpen": None}, "field isGuiOpen is null"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_record_costs_that_record_only(tmp_path: Path, case: str) -> None:
    broken, says = BROKEN[case]
    track = read(tmp_path, [record("w", hotbar=2), broken, record("d", hotbar=3)])
    assert track.actions.valid.tolist() == [True, False, True] and len(track) == 3
    assert [held(track, row) for row in range(3)] == [{"forward"}, set(), {"right", "hotbar.4"}]
    assert track.hotbar.tolist() == [2, 2, 3]
    assert len(track.problems) == 1 and says in track.problems[0]
    assert track.problems[0].startswith(f"{tmp_path / 'play.jsonl'}:2: ")


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("mouse null", "TypeError"), ("keyboard missing", "KeyError"), ("keys null", "TypeError"),
        ("buttons null", "TypeError"), ("dx text", "TypeError"), ("dx nan", "ValueError"),
        ("hotbar missing", "TypeError"), ("a list", "TypeError"),
    ],
)  # fmt: skip
def test_as_published_a_broken_record_ends_the_recording(tmp_path: Path, case: str, kind: str) -> None:
    records = [record("w"), BROKEN[case][0], record("d")]
    track = read(tmp_path, records, AS_PUBLISHED)
    assert len(track) == 1 and held(track, 0) == {"forward"}
    assert len(track.problems) == 1
    assert track.problems[0].startswith(f"{tmp_path / 'play.jsonl'}:2: broken record ({kind}: ")
    with pytest.raises(ValueError, match=rf"play\.jsonl:1: broken record \({kind}"):
        read(tmp_path, records[1:], AS_PUBLISHED)


def test_as_published_a_field_fails_only_where_it_is_needed(tmp_path: Path) -> None:
    missing_flag = record("w")
    del missing_flag["isGuiOpen"]
    idle = record()
    del idle["isGuiOpen"], idle["mouse"]["x"]
    no_cursor = record("w")
    del no_cursor["mouse"]["x"]
    track = read(tmp_path, [idle, no_cursor, record("w") | {"isGuiOpen": None}, missing_flag], AS_PUBLISHED)
    assert len(track) == 3 and "KeyError: no field 'isGuiOpen'" in track.problems[0]
    assert track.cursor[:2].tolist() == [[640, 360]] * 2
    assert read(tmp_path, [record(), idle]).actions.valid.tolist() == [True, False]  # mended, every field is checked


@pytest.mark.parametrize("line", ['{"mouse"', "", "   ", "[" * 100_000])
def test_as_published_a_line_that_is_not_json_takes_the_whole_recording(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"play\.jsonl:2: broken record \((JSONDecode|Recursion)Error"):
        read(tmp_path, [record("w"), line, record("w")], AS_PUBLISHED)


def test_as_published_new_buttons_are_needed_at_the_start_and_while_stuck(tmp_path: Path) -> None:
    item = record(buttons=[0])
    del item["mouse"]["newButtons"]
    with pytest.raises(ValueError, match="no field 'newButtons'"):
        read(tmp_path, [item], AS_PUBLISHED)
    assert len(read(tmp_path, [record(), item, item], AS_PUBLISHED)) == 3
    assert len(read(tmp_path, [record(buttons=[0], new=[0]), item], AS_PUBLISHED)) == 1


def test_a_broken_first_record_keeps_the_alignment(tmp_path: Path) -> None:
    track = read(tmp_path, ["garbage \x00", record(hotbar=5, buttons=[0], new=[0])])
    assert track.actions.valid.tolist() == [False, True] and held(track, 1) == {"attack"}


def test_undecodable_bytes_marks_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "play.jsonl"
    line = json.dumps(record("w")).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\xff\xfe{}\r\n" + line + b"\r\n\r\n")
    track = read_contractor(path)
    assert track.actions.valid.tolist() == [True, False, True] and held(track, 2) == {"forward"}


def test_missing_new_buttons_is_no_problem(tmp_path: Path) -> None:
    item = record(buttons=[0])
    del item["mouse"]["newButtons"]
    track = read(tmp_path, [item, item])
    assert held(track, 0) == {"attack"} and track.problems == []


@pytest.mark.parametrize(("content", "says"), [("", "found no line"), ("a,b\n1,2\n", "found 2 lines, none of them")])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "play.jsonl").write_text(content)
    with pytest.raises(ValueError, match=rf"play\.jsonl: expected contractor records.*{says}"):
        read_contractor(tmp_path / "play.jsonl")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.jsonl: cannot be read.*No such file"):
        read_contractor(tmp_path / "none.jsonl")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [name for name in ENV_BUTTONS if not name.startswith("hotbar")]
    actions, slots, cursors, guis = [], [], [], []
    slot = 3
    for index in range(200):
        buttons = {name for name in names if generator.random() < 0.3} | ({"attack"} if index == 0 else set())
        if index and generator.random() < 0.2:
            new = int(generator.integers(9))
            if new != slot:
                slot = new
                buttons.add(f"hotbar.{slot + 1}")
        actions.append(Action(frozenset(buttons), tuple(generator.normal(0, 5, 2).tolist())))
        slots.append(slot)
        cursors.append((float(index), 100.0))
        guis.append(bool(generator.random() < 0.5))
    path = tmp_path / "play.jsonl"
    with ContractorWriter(path) as writer:
        for action, slot, cursor, gui in zip(actions, slots, cursors, guis, strict=True):
            writer.write(action, cursor=cursor, gui_open=gui, hotbar=slot)
        assert not path.exists()
    track = read_contractor(path)
    assert [held(track, row) for row in range(200)] == [set(action.buttons) for action in actions]
    np.testing.assert_array_equal(track.actions.camera, np.array([a.camera for a in actions], np.float32))
    assert track.hotbar.tolist() == slots and track.actions.gui_open.tolist() == guis
    np.testing.assert_array_equal(track.cursor, np.array(cursors, np.float32))
    assert track.actions.valid.all() and track.problems == []


def test_the_written_fields_are_those_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "play.jsonl"
    with ContractorWriter(path) as writer:
        writer.write(Action(frozenset({"attack"})), extra={"yaw": np.float32(1.5), "xpos": 3.0, "inventory": []})
        writer.write(Action(frozenset({"attack", "use", "left", "jump"}), (0.3, 1.05)), cursor=(600, 400), hotbar=2)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["yaw"], first["xpos"], first["tick"], second["tick"], second["milli"]) == (1.5, 3.0, 0, 1, 50)
    assert first["mouse"]["buttons"] == [0] and first["mouse"]["newButtons"] == []  # else readers take it for stuck
    assert second["mouse"] == {
        "x": 600.0, "y": 400.0, "dx": 7.0, "dy": 2.0, "scaledX": -40.0, "scaledY": 40.0, "dwheel": 0.0,
        "buttons": [0, 1], "newButtons": [1],
    }  # fmt: skip
    keys = ["key.keyboard.a", "key.keyboard.space"]
    assert second["keyboard"] == {"keys": keys, "newKeys": keys, "chars": "a "}
    assert second["hotbar"] == 2 and second["isGuiOpen"] is False


def test_misuse_of_the_writer_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "play.jsonl"
    with pytest.raises(ValueError, match="not open"):
        ContractorWriter(path).write(Action())
    with pytest.raises(ValueError, match="record 1: hotbar is 9"), ContractorWriter(path) as writer:
        writer.write(Action())
        writer.write(Action(), hotbar=9)
    with pytest.raises(ValueError, match=r"extra holds \['hotbar'\]"), ContractorWriter(path) as writer:
        writer.write(Action(), extra={"hotbar": 1})
    with pytest.raises(TypeError, match="extra holds a set"), ContractorWriter(path) as writer:
        writer.write(Action(), extra={"inventory": {1}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not (GOLDEN / "loader.npz").exists(), reason="optional reference outputs are not here")
def test_equal_to_the_published_loader_except_for_the_mends() -> None:
    arrays = np.load(GOLDEN / "loader.npz")
    names = json.loads((GOLDEN / "loader.json").read_text())["button_names"]
    columns = [names.index(name) for name in BUTTONS]
    compared = 0
    for path in sorted((GOLDEN / "loader").glob("*.jsonl")):
        if f"{path.stem}/raw_buttons" not in arrays or not len(arrays[f"{path.stem}/raw_buttons"]):
            continue
        expected, degrees = arrays[f"{path.stem}/raw_buttons"], arrays[f"{path.stem}/raw_camera"]
        rows = len(expected)  # the published loader stops at a broken record
        track = read_contractor(path)
        records, _ = read_records(path)
        valid = track.actions.valid[:rows]
        published = read_contractor(path, AS_PUBLISHED)
        both = min(rows, len(published))
        np.testing.assert_array_equal(published.actions.camera[:both], degrees[:both], err_msg=path.stem)
        np.testing.assert_array_equal(published.null[:both], arrays[f"{path.stem}/is_null"][:both], err_msg=path.stem)
        # Before the hotbar rule: take away the presses that a change of slot added without a key.
        buttons = track.actions.buttons[:rows].copy()
        for row, item in enumerate(records[:rows]):
            for slot in range(1, 10):
                if item is not None and f"key.keyboard.{slot}" not in item.keys:
                    buttons[row, BUTTON_INDEX[f"hotbar.{slot}"]] = False
        np.testing.assert_array_equal(buttons[valid], expected[:, columns][valid].astype(bool), err_msg=path.stem)
        # Its degrees are ours, cut to integers (float32 may fall just short of a whole degree).
        truncated = np.trunc(np.round(track.actions.camera[:rows][valid].astype(np.float64), 5))
        np.testing.assert_array_equal(truncated, degrees[valid], err_msg=path.stem)
        compared += int(valid.sum())
    assert compared > 500
