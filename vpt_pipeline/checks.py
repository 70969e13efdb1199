"""What is on this machine, found without importing or starting anything heavy.

Each check looks at metadata, at files, or at a program's ``--version``, so that all of them together take well
under two seconds. A check says what it found, what that is needed for, and the command that mends it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warning", "missing"]

GIB = 2**30
VERSION_TIMEOUT_S = 1.5
MINIMUM_DISK = 2 * GIB
MINIMUM_SHARED_MEMORY = 64 * 2**20
MINIMUM_MEMORY = 4 * GIB

SYSTEM_PACKAGES = "apt-get update && apt-get install -y --no-install-recommends"
REINSTALL = "pip install -c constraints.txt -e '.[dev,viz]'"

REQUIRED_PACKAGES: tuple[tuple[str, str, str], ...] = (
    # module, distribution, what it does here
    ("numpy", "numpy", "arrays"),
    ("av", "av", "video, read and written (PyAV)"),
    ("cv2", "opencv-python-headless", "image resizing"),
    ("gymnasium", "gymnasium", "the games' interface"),
    ("pyarrow", "pyarrow", "label tables"),
    ("safetensors", "safetensors", "weights"),
    ("sklearn", "scikit-learn", "label quality"),
    ("tyro", "tyro", "the command line"),
    ("rich", "rich", "tables and progress"),
)


@dataclass(frozen=True)
class Check:
    """One line of the report. ``fix`` is empty when there is nothing to do."""

    name: str
    status: Status
    found: str
    needed_for: str
    fix: str = ""


def run_all(runs: Path) -> list[Check]:
    """Every check, in the order of the report. ``runs`` is the folder that results will be written to."""
    checks: list[Callable[[], list[Check]]] = [
        _python, _torch, _gpu, _packages, _vizdoom, _luanti, _display, _compiler, _software_gl, _ffmpeg,
        _optional_packages, _minerl, lambda: _room(runs), _machine,
    ]  # fmt: skip
    with ThreadPoolExecutor(len(checks)) as pool:  # the slow ones wait for child processes, not for the CPU
        return [check for found in pool.map(lambda check: check(), checks) for check in found]


def can_play(checks: list[Check]) -> list[str]:
    """The games that can run here, the better one for the demo first: some of ``luanti``, ``vizdoom``."""
    by_name = {check.name: check for check in checks}
    games = []
    if all(by_name[name].status == "ok" for name in ("Luanti", "Xvfb", "C compiler", "software OpenGL")):
        games.append("luanti")
    if by_name["ViZDoom"].status == "ok":
        games.append("vizdoom")
    return games


def demo_obstacles(checks: list[Check]) -> list[str]:
    """Why the demo cannot run, one line each; empty when it can."""
    required = {"torch", "disk", *(distribution for _, distribution, _ in REQUIRED_PACKAGES)}
    obstacles = [
        f"{check.name}: {check.found}" for check in checks if check.name in required and check.status == "missing"
    ]
    if not can_play(checks):
        obstacles.append("no game: neither Luanti (with Xvfb, a C compiler and software OpenGL) nor ViZDoom is usable")
    return obstacles


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    """What a program prints, stdout before stderr; None when it cannot be run or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr


def _python() -> list[Check]:
    return [Check("Python", "ok", ".".join(map(str, sys.version_info[:3])), "everything")]


def _torch() -> list[Check]:
    version, spec = _version("torch"), importlib.util.find_spec("torch")
    if version is None or spec is None or spec.origin is None:
        return [Check("torch", "missing", "not installed", "training and labelling", REINSTALL)]
    purpose = "training and labelling"
    cuda = _torch_cuda(Path(spec.origin).parent / "version.py")
    build = f"{version} (CUDA {cuda})" if cuda else f"{version} (CPU build)"
    mend = f"pip install --force-reinstall 'torch=={version.split('+')[0]}' --index-url"
    gpu = shutil.which("nvidia-smi") is not None
    if gpu and not cuda:
        found = f"{build} beside a GPU: the GPU stays idle"
        return [Check("torch", "warning", found, purpose, f"{mend} https://pypi.org/simple")]
    if cuda and not gpu:
        found = f"{build} beside no GPU: works, but takes about 4 GB of disk more than it needs"
        return [Check("torch", "warning", found, purpose, f"{mend} https://download.pytorch.org/whl/cpu")]
    return [Check("torch", "ok", build, purpose)]


def _torch_cuda(version_file: Path) -> str | None:
    """The CUDA version that torch was built for, read from its ``version.py`` without importing torch."""
    try:
        match = re.search(r"^cuda\b.*=\s*'([^']+)'", version_file.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return match.group(1) if match else None


def _gpu() -> list[Check]:
    text = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if text is None:
        return [Check("GPU", "warning", "none: the CPU trains small models only", "full-size models")]
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return [Check("GPU", "ok", "; ".join(names), "full-size models")]


def _packages() -> list[Check]:
    checks = []
    for module, distribution, purpose in REQUIRED_PACKAGES:
        if importlib.util.find_spec(module) is None:
            checks.append(Check(distribution, "missing", "not installed", purpose, REINSTALL))
        else:  # OpenCV goes by several distribution names
            found = _version(distribution) or _version("opencv-python") or "installed"
            checks.append(Check(distribution, "ok", found, purpose))
    return checks


def _vizdoom() -> list[Check]:
    purpose = "the demo where Luanti is missing"
    version = _version("vizdoom")
    if version is None or importlib.util.find_spec("vizdoom") is None:
        return [Check("ViZDoom", "missing", "not installed", purpose, "pip install -c constraints.txt vizdoom")]
    return [Check("ViZDoom", "ok", version, purpose)]


def find_luanti() -> str | None:
    """The game's binary: on PATH, or where Debian puts games (which root's PATH often lacks)."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/games", "/usr/local/games"))
    return shutil.which("luanti", path=places) or shutil.which("minetest", path=places)


def _luanti() -> list[Check]:
    purpose, fix = "the embedded game", f"{SYSTEM_PACKAGES} minetest minetest-data"
    binary = find_luanti()
    if binary is None:
        return [Check("Luanti", "missing", "not installed", purpose, fix)]
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", _output(binary, "--version") or "")
    if match is None:
        return [Check("Luanti", "warning", f"{binary} does not tell its version", purpose, fix)]
    version = match.group(0)
    if (int(match.group(1)), int(match.group(2))) == (5, 6):
        return [Check("Luanti", "ok", f"{version} ({binary})", purpose)]
    found = f"{version} ({binary}): lock-step needs 5.6.x; newer builds draw through SDL2, which it does not hook"
    return [Check("Luanti", "warning", found, purpose, f"Debian 12's or Ubuntu 24.04's own package: {fix}")]


def _display() -> list[Check]:
    return _program("Xvfb", ("Xvfb",), "Luanti without a screen", "xvfb xauth")


def _compiler() -> list[Check]:
    return _program(
        "C compiler",
        ("cc", "gcc", "clang"),
        "Luanti's lock-step shim and fast networks on the CPU (built once)",
        "gcc libc6-dev",
    )


def _ffmpeg() -> list[Check]:
    return _program("ffmpeg", ("ffmpeg",), "looking into videos by hand; PyAV brings its own", "ffmpeg", "warning")


def _program(
    name: str, commands: tuple[str, ...], purpose: str, package: str, absent: Status = "missing"
) -> list[Check]:
    for command in commands:
        path = shutil.which(command)
        if path:
            return [Check(name, "ok", path, purpose)]
    return [Check(name, absent, "not installed", purpose, f"{SYSTEM_PACKAGES} {package}")]


def _software_gl() -> list[Check]:
    for pattern in (
        "lib*/dri/swrast_dri.so",
        "lib/*/dri/swrast_dri.so",
        "lib*/libgallium-*.so",
        "lib/*/libgallium-*.so",
    ):
        for driver in Path("/usr").glob(pattern):
            return [Check("software OpenGL", "ok", str(driver), "Luanti without a GPU")]
    fix = f"{SYSTEM_PACKAGES} libgl1-mesa-dri"
    return [Check("software OpenGL", "missing", "no Mesa software driver", "Luanti without a GPU", fix)]


def _optional_packages() -> list[Check]:
    checks = []
    wanted = (
        ("matplotlib", "pictures in reports", "viz"),
        ("tensorboard", "training curves", "viz"),
        ("open_clip_torch", "texts and clips", "text"),
    )
    for name, purpose, extra in wanted:
        version = _version(name)
        fix = "" if version else f"pip install -c constraints.txt -e '.[{extra}]'"
        checks.append(Check(name, "ok" if version else "warning", version or "not installed", purpose, fix))
    return checks


def _minerl() -> list[Check]:
    version, java = _version("minerl"), _output("java", "-version")
    purpose = "playing in Minecraft itself (optional)"
    said = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("VPT_MINERL_") and value]
    if said or (version and version.startswith("1.")):
        minerl = Check("MineRL", "ok", ", ".join(said) or f"{version}", f"{purpose}; vpt doctor minerl looks closer")
    else:
        found = f"{version} here: the old interface" if version else "nothing says where it runs"
        fix = "install it into an interpreter of its own: `vpt doctor minerl` leads through it (docs/minerl.md)"
        minerl = Check("MineRL", "warning", found, purpose, fix)
    match = re.search(r'version "([^"]+)"', java or "")
    fix = "install a JDK 8, such as Temurin 8 from https://adoptium.net, and put its bin folder first on PATH"
    if match and match.group(1).startswith("1.8."):
        return [minerl, Check("Java 8", "ok", match.group(1), "MineRL")]
    return [minerl, Check("Java 8", "warning", match.group(1) if match else "not installed", "MineRL", fix)]


def _room(runs: Path) -> list[Check]:
    """Disk where results go, and shared memory (frames pass through it)."""
    place = runs.absolute()
    while not place.exists():  # the folder is made by the first command that needs it
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GiB free for {runs}"
    writable = os.access(place, os.W_OK)
    if not writable:
        text += ", but not writable"
    enough = free >= MINIMUM_DISK and writable
    fix = "" if enough else "free 2 GiB, or choose another folder with --runs"
    checks = [Check("disk", "ok" if enough else "missing", text, "recordings, features, models", fix)]
    shared = Path("/dev/shm")
    size = shutil.disk_usage(shared).total if shared.is_dir() else 0
    if size >= MINIMUM_SHARED_MEMORY:
        checks.append(Check("/dev/shm", "ok", f"{size / GIB:.1f} GiB", "Luanti's frames, loader workers"))
    else:
        fix = "docker run --shm-size=1g ..., or: mount -o remount,size=1G /dev/shm"
        checks.append(Check("/dev/shm", "warning", f"{size / 2**20:.0f} MiB", "Luanti's frames, loader workers", fix))
    return checks


def _machine() -> list[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = memory >= MINIMUM_MEMORY
    return [
        Check("cores", "ok" if cores > 1 else "warning", str(cores), "speed: the demo's times are for two"),
        Check("memory", "ok" if enough else "warning", f"{memory / GIB:.1f} GiB", "training; 4 GiB is the least tried"),
    ]
