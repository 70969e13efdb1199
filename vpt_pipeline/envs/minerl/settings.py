"""Where MineRL runs and how long it may take: said once, by environment variables, so that every command and worker agrees.

Exactly one of these says where; without any, the interpreter that runs this, if it has MineRL:

* ``VPT_MINERL_PYTHON``      an interpreter with MineRL, /home/me/minerl/bin/python
* ``VPT_MINERL_CONDA``       a conda environment, by name or folder
* ``VPT_MINERL_CONTAINER``   a container image (run by ``VPT_MINERL_ENGINE``, docker by default)
* ``VPT_MINERL_SERVER``      HOST:PORT of a server started by hand, with ``VPT_MINERL_KEY_FILE``

``VPT_MINERL_HERE=1`` plays in this very process, without watchdog. ``MINERL_SRC``: a source checkout, put before
installed packages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vpt_pipeline.envs.minerl.server.minecraft_log import FOLDER
from vpt_pipeline.envs.minerl.server.owned import OWNER

SERVER = Path(__file__).resolve().parent / "server"
GIB = 1 << 30
WHERE = ("VPT_MINERL_PYTHON", "VPT_MINERL_CONDA", "VPT_MINERL_CONTAINER", "VPT_MINERL_SERVER")
FAKE = "Fake-v0"
"""The game that needs no MineRL."""
PASSED = (OWNER, FOLDER, "PYTHONDONTWRITEBYTECODE", "VPT_MINERL_FAKE")
"""Variables of ``environment`` that a container is given. Without its owner's mark others would take it for an orphan."""


@dataclass(frozen=True)
class MinerlSettings:
    """python, conda, container, server: where (one of them, the others empty); the times in seconds.

    start_timeout: of the server and of opening an env; reset_timeout: of a new world, the first time with Minecraft's start;
    memory_limit: bytes that an env and its Java may use; from three quarters of it on, the env is restarted between episodes.
    restart_every: episodes after which it is restarted in any case (0: never).
    """

    python: str = ""
    conda: str = ""
    container: str = ""
    server: str = ""
    key_file: str = ""
    here: bool = False
    source: str = ""
    engine: str = "docker"
    start_timeout: float = 120.0
    reset_timeout: float = 600.0
    step_timeout: float = 60.0
    close_timeout: float = 30.0
    memory_limit: int = 12 * GIB
    restart_every: int = 20

    @property
    def where(self) -> str:
        """In words."""
        if self.here:
            return "this process"
        for kind in ("python", "conda", "container", "server"):
            if value := getattr(self, kind):
                return f"{kind} {value}"
        return "nowhere"


def settings_from(environment: Mapping[str, str] = os.environ) -> MinerlSettings:
    """The settings that the environment says. Raises ValueError where it says two places, or nonsense."""
    said = {name: environment[name] for name in WHERE if environment.get(name)}
    if len(said) > 1:
        raise ValueError(f"{' and '.join(said)} are both set: MineRL runs in one place; unset all but one of them")
    numbers = {}
    for field in ("start_timeout", "reset_timeout", "step_timeout", "close_timeout", "memory_limit", "restart_every"):
        name = f"VPT_MINERL_{field.upper()}" + ("_GIB" if field == "memory_limit" else "")
        if name in environment:
            try:
                value = float(environment[name])
            except ValueError:
                raise ValueError(f"{name} is {environment[name]!r}; expected a number") from None
            whole = field in ("memory_limit", "restart_every")
            numbers[field] = int(value * GIB) if field == "memory_limit" else int(value) if whole else value
    python = said.get("VPT_MINERL_PYTHON", "")
    here = environment.get("VPT_MINERL_HERE", "") not in ("", "0")
    if said and here:
        raise ValueError(
            f"VPT_MINERL_HERE and {next(iter(said))} are both set: MineRL runs in one place; unset one of them"
        )
    if not said and not here and importlib.util.find_spec("minerl") is not None:
        python = sys.executable
    return MinerlSettings(
        python=python,
        conda=said.get("VPT_MINERL_CONDA", ""),
        container=said.get("VPT_MINERL_CONTAINER", ""),
        server=said.get("VPT_MINERL_SERVER", ""),
        key_file=environment.get("VPT_MINERL_KEY_FILE", ""),
        here=here,
        source=environment.get("MINERL_SRC", ""),
        engine=environment.get("VPT_MINERL_ENGINE", "docker"),
        **numbers,  # type: ignore[arg-type]
    )


def require_place(settings: MinerlSettings) -> None:
    """Raises ValueError where nobody has said where MineRL runs."""
    if settings.where == "nowhere":
        raise ValueError(
            "nothing says where MineRL runs: it needs an interpreter of its own (gym <= 0.23.1, numpy < 1.24, Java 8). Set "
            f"one of {', '.join(WHERE)}; `vpt doctor minerl` and docs/minerl.md lead through it. {FAKE} needs no MineRL"
        )


def command(
    settings: MinerlSettings, arguments: list[str], folder: Path | None, name: str, screen: bool = False
) -> list[str]:
    """What starts the server with these arguments. folder: shared with it; name: of the container, to end it by; screen: give
    it an X server where there is none."""
    if settings.container:
        return [*_engine(settings, folder, name), settings.container, "python3", "/vpt-server", *arguments]
    python = interpreter(settings)
    display = []
    if screen and not os.environ.get("DISPLAY") and shutil.which("xvfb-run"):
        display = ["xvfb-run", "-a", "-s", "-screen 0 1024x768x24"]  # Minecraft needs an X server
    return [*display, str(python), "-u", str(SERVER), *arguments]


def _engine(settings: MinerlSettings, folder: Path | None, name: str) -> list[str]:
    """What begins a container. MineRL writes to the working directory; rootless podman gives our user another number
    inside, to which the folder would be closed."""
    podman = Path(settings.engine).name.startswith("podman") and os.getuid() != 0
    shared = [] if folder is None else ["-v", f"{folder}:{folder}", "-w", str(folder)]
    return [
        *(settings.engine, "run", "--rm", "-i", "--name", name),
        *(["--userns=keep-id"] if podman else []),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *shared,
        *(word for variable in PASSED for word in ("-e", variable)),
        *("-v", f"{SERVER}:/vpt-server:ro"),
    ]


def interpreter(settings: MinerlSettings) -> Path:
    """The interpreter with MineRL. Raises ValueError where there is none."""
    if settings.conda:
        return _conda_folder(settings.conda) / "bin" / "python"
    found = shutil.which(settings.python)
    if found is None:
        raise ValueError(
            f"VPT_MINERL_PYTHON is {settings.python!r}, which is no program; expected the path of an interpreter"
        )
    return Path(found)


def _conda_folder(name: str) -> Path:
    if (Path(name) / "bin" / "python").exists():
        return Path(name)
    conda = os.environ.get("CONDA_EXE") or shutil.which("conda") or shutil.which("mamba") or shutil.which("micromamba")
    if conda is None:
        raise ValueError(
            f"VPT_MINERL_CONDA is {name!r}, but there is no conda here; expected it on PATH, or the folder itself"
        )
    listed = subprocess.run([conda, "env", "list", "--json"], capture_output=True, text=True, timeout=60)
    folders = [Path(folder) for folder in json.loads(listed.stdout or "{}").get("envs", [])]
    for folder in folders:
        if folder.name == name and (folder / "bin" / "python").exists():
            return folder
    raise ValueError(f"there is no conda environment {name!r}; found {', '.join(f.name for f in folders) or 'none'}")


def environment(settings: MinerlSettings, mark: str, folder: Path) -> dict[str, str]:
    """Of the server's processes. mark: whose they are; folder: where Minecraft's last words go."""
    ours = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    ours |= {OWNER: mark, FOLDER: str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    if settings.source:
        ours["PYTHONPATH"] = str(Path(settings.source).resolve())
    if settings.conda:
        home = _conda_folder(settings.conda)
        ours |= {"PATH": f"{home / 'bin'}:{ours.get('PATH', '')}"}
        if (home / "bin" / "java").exists():
            ours["JAVA_HOME"] = str(home)
    return ours
