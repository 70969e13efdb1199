"""What the interpreter that runs this has of MineRL, as JSON: `vpt doctor minerl` asks wherever the server would run."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def _version(module: str) -> dict[str, Any]:
    try:
        found = importlib.import_module(module)
    except Exception as error:  # half-installed packages raise anything
        return {"error": f"{type(error).__name__}: {error}"}
    return {"version": str(getattr(found, "__version__", "")), "file": str(getattr(found, "__file__", "") or "")}


def _said(*command: str) -> str:
    """The first line that a program says of itself, but for Java's note on its options; empty where there is none."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.decode(errors="replace").splitlines()
    return next((line for line in lines if not line.startswith("Picked up ")), "")


def _minecraft(package: str) -> dict[str, Any]:
    """MineRL builds Minecraft into its own folder: the script and the jar that the script starts."""
    folder = Path(package).parent / "MCP-Reborn"
    jars = sorted(str(path) for path in folder.glob("build/libs/mcprec-*.jar"))
    saves = folder / "run" / "saves"
    worlds = len(list(saves.iterdir())) if saves.is_dir() else 0
    return {"folder": str(folder), "script": (folder / "launchClient.sh").is_file(), "jars": jars, "worlds": worlds}


def _human_controls() -> bool:
    try:
        envs = importlib.import_module("minerl.herobraine.envs")
        return any(spec.name == "MineRLHumanSurvival-v0" and "ESC" in spec.action_space.spaces for spec in envs.ENVS)
    except Exception:
        return False


def gather() -> dict[str, Any]:
    """python, numpy, gym, minerl, java, minecraft, display: each what was found, as JSON values."""
    found: dict[str, Any] = {"python": sys.version.split()[0], "executable": sys.executable}
    for module in ("numpy", "gym", "minerl"):
        found[module] = _version(module)
    found["java"] = _said("java", "-version")
    found["java_home"] = os.environ.get("JAVA_HOME", "")
    found["bash"] = bool(shutil.which("bash"))
    found["display"] = os.environ.get("DISPLAY", "")
    found["xvfb"] = bool(shutil.which("xvfb-run"))
    if "file" in found["minerl"]:
        found["human_controls"] = _human_controls()
        found["minecraft"] = _minecraft(found["minerl"]["file"])
    return found


def tell() -> None:
    """Print the facts on the last line of stdout: MineRL and gym print warnings of their own."""
    print("\n" + json.dumps(gather()), flush=True)
