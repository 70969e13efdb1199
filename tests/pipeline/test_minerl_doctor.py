"""`vpt doctor minerl` names exactly what is missing, in order, and what mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vpt_pipeline import cli
from vpt_pipeline.checks import Check
from vpt_pipeline.envs.minerl.server.facts import _said
from vpt_pipeline.envs.minerl.server.owned import has_owner
from vpt_pipeline.envs.minerl.settings import WHERE, MinerlSettings
from vpt_pipeline.minerl_doctor import MinerlDoctorConfig, judge, main, walk

GOOD: dict[str, Any] = {
    "folder": "/opt/MCP-Reborn",
    "script": True,
    "jars": ["/opt/mcprec-6.13.jar"],
    "worlds": 3,
}


def facts(**more: Any) -> dict[str, Any]:
    """An installation where all is well, but for ``more``."""
    return {
        "python": "3.9.18",
        "executable": "/opt/minerl/bin/python",
        "numpy": {"version": "1.23.5"},
        "gym": {"version": "0.23.1"},
        "minerl": {"version": "", "file": "/opt/minerl/minerl/__init__.py"},
        "human_controls": True,
        "java": 'openjdk version "1.8.0_382"',
        "minecraft": GOOD,
        "display": "",
        "xvfb": True,
        **more,
    }


def test_a_good_installation_has_nothing_to_mend() -> None:
    checks = list(judge(facts()))
    assert {check.status for check in checks} == {"ok"} and not any(check.fix for check in checks)
    assert [c.name for c in checks] == ["Python", "numpy", "gym", "MineRL", "Java 8", "Minecraft", "X server"]


@pytest.mark.parametrize(
    ("name", "wrong", "found", "fix"),
    [
        ("Python", {"python": "3.12.1"}, "3.12.1", "Python 3.8 to 3.11"),
        ("numpy", {"numpy": {"version": "1.26.4"}}, "1.26.4", "/opt/minerl/bin/python -m pip install 'numpy<1.24'"),
        ("gym", {"gym": {"version": "0.26.2"}}, "0.26.2", "pip install 'gym>=0.19,<=0.23.1'"),
        ("gym", {"gym": {"error": "ModuleNotFoundError: No module named 'gym'"}}, "No module named", "pip install"),
        ("MineRL", {"minerl": {"error": "ImportError: lxml"}, "minecraft": GOOD}, "import: ImportError: lxml", "git clone"),
        ("MineRL", {"human_controls": False}, "interface of 0.4", "git clone"),
        ("Java 8", {"java": 'openjdk version "17.0.15"'}, "17.0.15", "openjdk=8"),
        ("Java 8", {"java": ""}, "no java on PATH", "openjdk=8"),
        ("Minecraft", {"minecraft": {**GOOD, "jars": []}}, "lacks build/libs/mcprec-*.jar", "gradle"),
        ("X server", {"xvfb": False}, "neither DISPLAY nor xvfb-run", "xvfb"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_what_mends_it(name: str, wrong: dict[str, Any], found: str, fix: str) -> None:
    (check,) = [check for check in judge(facts(**wrong)) if check.status == "missing"]
    assert check.name == name and found in check.found and fix in check.fix


def test_old_worlds_are_a_note() -> None:
    (note,) = [check for check in judge(facts(minecraft={**GOOD, "worlds": 900})) if check.status == "warning"]
    assert "900" in note.found and "/opt/MCP-Reborn/run/saves" in note.fix


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_this_interpreter_has_a_server_and_lacks_minerl() -> None:
    checks = by_name(list(walk(play=True, settings=MinerlSettings(python=sys.executable))))
    assert checks["our server"].status == "ok" and "steps/s" in checks["our server"].found
    assert checks["MineRL"].status == "missing" and "No module named" in checks["MineRL"].found
    assert checks["MineRL behind it"].found == checks["Minecraft plays"].found == "not tried: see above"


def test_an_interpreter_that_does_not_answer_is_the_first_thing_said(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'bad interpreter' >&2\nexit 126\n")
    python.chmod(0o755)
    *_, last = walk(settings=MinerlSettings(python=str(python)))
    assert last.status == "missing" and "ended with code 126: bad interpreter" in last.found


def test_javas_note_on_its_options_is_not_its_version(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("""#!/bin/sh
echo 'Picked up _JAVA_OPTIONS: -Xmx2g' >&2
echo 'openjdk version "1.8.0_382"' >&2
""")
    java.chmod(0o755)
    assert _said(str(java), "-version") == 'openjdk version "1.8.0_382"'


def test_what_the_doctor_starts_belongs_to_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$VPT_MINERL_OWNER" > {tmp_path}/mark\n')
    python.chmod(0o755)
    list(walk(settings=MinerlSettings(python=str(python))))
    assert has_owner((tmp_path / "mark").read_text())  # so no client takes it for what a dead one has left


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*WHERE, "VPT_MINERL_HERE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["doctor", "minerl", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["minerl"] is False and "VPT_MINERL_PYTHON" in report["checks"][0]["fix"]
    assert main(MinerlDoctorConfig()) == 1
    assert "docs/minerl.md" in capsys.readouterr().out
    with pytest.raises(SystemExit):  # the help of `doctor` itself, not the list of verbs
        cli.main(["doctor", "--help"])
    assert "--runs" in capsys.readouterr().out


@pytest.mark.skipif(
    not (os.environ.get("MINERL_SRC") and os.environ.get("VPT_MINERL_PYTHON")),
    reason="MINERL_SRC and VPT_MINERL_PYTHON are not both set",
)
def test_with_minerls_own_code_its_python_layer_is_found_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vpt_pipeline", "doctor", "minerl", "--json"], capture_output=True, text=True
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for name in ("Python", "numpy", "gym", "MineRL", "our server", "MineRL behind it"):
        assert checks[name]["status"] == "ok", checks[name]
