"""`vpt doctor`: quick, light, and honest about what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vpt_pipeline import checks
from vpt_pipeline.checks import Check, can_play, demo_obstacles
from vpt_pipeline.doctor import DoctorConfig, main


def all_well() -> list[Check]:
    names = ["Python", "torch", "GPU", "ViZDoom", "Luanti", "Xvfb", "C compiler", "software OpenGL", "disk"]
    names += [distribution for _, distribution, _ in checks.REQUIRED_PACKAGES]
    return [Check(name, "ok", "1.0", "the test") for name in names]


def without(*missing: str) -> list[Check]:
    return [Check(c.name, "missing" if c.name in missing else "ok", c.found, c.needed_for) for c in all_well()]


def test_answers_quickly_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from vpt_pipeline.doctor import DoctorConfig, main; main(DoctorConfig(json=True));"
        "print({'torch', 'numpy', 'av', 'cv2', 'gymnasium', 'vizdoom', 'pyarrow'} & set(sys.modules), file=sys.stderr)"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 10  # alone it takes 0.3 s; the rest is room for a loaded machine
    assert done.stderr.strip() == "set()"
    assert {"Python", "torch", "Luanti", "Java 8", "memory"} <= {c["name"] for c in json.loads(done.stdout)["checks"]}


def test_json_and_exit_code_agree(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(DoctorConfig(json=True))
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["demo"] else 1)
    assert report["demo"] == (not report["obstacles"])


@pytest.mark.parametrize(
    ("missing", "games", "demo"),
    [
        ((), ["luanti", "vizdoom"], True),
        (("Luanti",), ["vizdoom"], True),
        (("Xvfb",), ["vizdoom"], True),
        (("ViZDoom",), ["luanti"], True),
        (("ViZDoom", "C compiler"), [], False),
        (("torch",), ["luanti", "vizdoom"], False),
        (("av",), ["luanti", "vizdoom"], False),
        (("disk",), ["luanti", "vizdoom"], False),
    ],
)
def test_what_the_demo_needs(missing: tuple[str, ...], games: list[str], demo: bool) -> None:
    found = without(*missing)
    assert can_play(found) == games
    assert (not demo_obstacles(found)) == demo
    for name in missing:
        if not demo and name != "C compiler":
            assert any(name in line for line in demo_obstacles(found))


def test_a_missing_package_is_named_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = ("no_such_module", "no-such-package", "this test")
    monkeypatch.setattr(checks, "REQUIRED_PACKAGES", (*checks.REQUIRED_PACKAGES, package))
    assert main(DoctorConfig()) == 1
    printed = capsys.readouterr().out
    assert "no-such-package" in printed
    assert checks.REINSTALL in printed


def test_plain_table_where_rich_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    main(DoctorConfig())
    assert "Luanti" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("printed", "status"),
    [
        ("Minetest 5.6.1 (Linux)\n", "ok"),
        ("Luanti 5.10.0 (Linux)\n", "warning"),
        ("Minetest 4.0.17\n", "warning"),
        ("Segmentation fault", "warning"),
    ],
)
def test_only_the_luanti_that_lock_step_supports_counts(
    printed: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "luanti"
    binary.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [check] = checks._luanti()
    assert check.status == status
    assert bool(check.fix) == (status != "ok")


def test_reads_the_cuda_version_without_importing_torch(tmp_path: Path) -> None:
    version = tmp_path / "version.py"
    version.write_text("__version__ = '2.13.0'\ncuda: Optional[str] = '12.8'\n")
    assert checks._torch_cuda(version) == "12.8"
    version.write_text("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")
    assert checks._torch_cuda(version) is None


@pytest.mark.parametrize(
    ("cuda", "gpu", "status"), [(None, True, "warning"), ("12.8", True, "ok"), (None, False, "ok")]
)
def test_cpu_build_beside_a_gpu_is_noticed(
    cuda: str | None, gpu: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_torch_cuda", lambda path: cuda)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi" if gpu else None)
    [check] = checks._torch()
    assert check.status == status


def test_a_runs_folder_that_cannot_be_written_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    disk = checks._room(Path("runs/not/made/yet"))[0]
    assert disk.status == "missing"
    assert "not writable" in disk.found
