"""Every benchmark's small version runs: a figure in the documents is worth as much as the command that prints it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8"))
SECONDS = {"action_conversion", "cloning_speed", "cuts", "guidance_speed", "minerl_server"}
"""Those that take no more than a few."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SECONDS else pytest.mark.slow) for name in SCRIPTS]
)
def test_the_small_version_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    found = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1500
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.strip(), "it prints what it measured"


def test_none_is_left_out() -> None:
    for name in SCRIPTS:
        assert "    quick: bool" in (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8"), f"{name} has no --quick"
    assert set(SCRIPTS) > SECONDS
