"""Walk through the installation of MineRL, step by step, and say exactly what is missing and what mends it.

    vpt doctor minerl             # up to MineRL's Python layer behind our server; starts no Minecraft
    vpt doctor minerl --play      # and Minecraft: a world, and a few steps in it

Where MineRL runs is said by environment variables (docs/minerl.md). A step that cannot be tried because an earlier one
failed is not tried, and says so.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpt_pipeline.checks import Check
from vpt_pipeline.doctor import show
from vpt_pipeline.envs.minerl.server.owned import new_mark
from vpt_pipeline.envs.minerl.settings import WHERE, MinerlSettings, command, environment, settings_from

FACTS_SECONDS = 180.0
MANY_WORLDS = 200
GUIDE = "docs/minerl.md"
INSTALL = (
    "git clone https://github.com/minerllabs/minerl && pip install ./minerl, with a JDK 8 first on PATH; "
    "it downloads and builds Minecraft by gradle"
)


@dataclass(frozen=True)
class MinerlDoctorConfig:
    """Walk through the installation of MineRL and say what is missing."""

    play: bool = False
    """Start Minecraft, too: minutes the first time."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(config: MinerlDoctorConfig) -> int:
    """0 when every step that was asked for is well, 1 otherwise."""
    checks = list(walk(config.play))
    well = all(check.status != "missing" for check in checks)
    if config.json:
        print(json.dumps({"minerl": well, "checks": [dataclasses.asdict(check) for check in checks]}, indent=2))
        return 0 if well else 1
    show(checks)
    if not well:
        print(f"MineRL cannot play here yet; {GUIDE} has recipes.")
    elif not config.play:
        print("As far as can be told without Minecraft, all is well: vpt doctor minerl --play")
    else:
        print("MineRL plays: vpt play random --env minerl:MineRLHumanSurvival-v0")
    return 0 if well else 1


def walk(play: bool = False, settings: MinerlSettings | None = None) -> Iterator[Check]:
    """The steps in order, to the first that nothing after can do without."""
    try:
        settings = settings_from() if settings is None else settings
        if settings.where == "nowhere":
            raise ValueError("nothing says where")
    except ValueError as error:
        fix = f"install MineRL into an interpreter of its own ({GUIDE}), and set one of {', '.join(WHERE)}"
        yield Check("where MineRL runs", "missing", str(error), "everything", fix)
        return
    yield Check("where MineRL runs", "ok", settings.where, "everything")
    if not settings.server and not settings.here:
        facts: Mapping[str, Any] | Check = _facts(settings)
        if isinstance(facts, Check):
            yield facts
            return
        found = list(judge(facts))
        yield from found
        missing = {check.name for check in found if check.status == "missing"}
    else:
        missing = set()
    layer = not missing & {"Python", "numpy", "gym", "MineRL"}
    yield from _tried(settings, layer, play and not missing, play)


def _facts(settings: MinerlSettings) -> Mapping[str, Any] | Check:
    """What the interpreter has; a Check if it cannot be asked."""
    fix = f"the command above should start; look at {GUIDE}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            line = command(settings, ["--facts"], None, f"vpt-minerl-facts-{time.time_ns()}")
            options: dict[str, Any] = {"env": environment(settings, new_mark(), Path(folder)), "cwd": folder}
            done = subprocess.run(line, capture_output=True, text=True, timeout=FACTS_SECONDS, **options)
        except (ValueError, OSError, subprocess.TimeoutExpired) as error:
            return Check("its interpreter", "missing", str(error), "everything", fix)
    try:
        facts: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        what = f"{' '.join(line)}: ended with code {done.returncode}: {' / '.join(said)}"
        return Check("its interpreter", "missing", what, "everything", fix)
    return facts


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def judge(facts: Mapping[str, Any]) -> Iterator[Check]:
    """What the facts of server/facts.py mean, a step each."""
    python = _numbers(facts["python"])[:2]
    what, fix = f"{facts['python']} ({facts['executable']})", "make the environment with Python 3.8 to 3.11"
    yield Check(
        "Python",
        "ok" if (3, 8) <= python <= (3, 11) else "missing",
        what,
        "MineRL: 3.8 to 3.11",
        fix * (python < (3, 8) or python > (3, 11)),
    )
    for name, low, high, say in (
        ("numpy", (1, 16), (1, 24), "numpy<1.24"),
        ("gym", (0, 19), (0, 23, 2), "gym>=0.19,<=0.23.1"),
    ):
        version = facts[name].get("version", "")
        if not version:
            yield Check(
                name, "missing", facts[name]["error"], "MineRL", f"{facts['executable']} -m pip install '{say}'"
            )
            continue
        fits = low <= _numbers(version) < high
        fix = "" if fits else f"{facts['executable']} -m pip install '{say}'"
        yield Check(name, "ok" if fits else "missing", version, f"MineRL: {say}", fix)
    if "error" in facts["minerl"]:
        yield Check("MineRL", "missing", f"does not import: {facts['minerl']['error']}", "Minecraft", INSTALL)
    elif not facts.get("human_controls"):
        old = "it has no human controls: that is the interface of 0.4, as on PyPI"
        yield Check("MineRL", "missing", f"{facts['minerl']['file']}: {old}", "Minecraft", INSTALL)
    else:
        yield Check("MineRL", "ok", f"1.0 ({facts['minerl']['file']})", "Minecraft")
    java = facts["java"]
    fix = (
        ""
        if '"1.8' in java
        else "install a JDK 8 (conda install -c conda-forge openjdk=8), first on PATH; set JAVA_HOME"
    )
    yield Check("Java 8", "missing" if fix else "ok", java or "no java on PATH", "Minecraft, and building it", fix)
    yield from _minecraft(facts.get("minecraft"))
    display, virtual = facts["display"], facts["xvfb"]
    found = f"DISPLAY={display}" if display else "xvfb-run" if virtual else "neither DISPLAY nor xvfb-run"
    fix = (
        ""
        if display or virtual
        else "apt-get install -y xvfb, or start where there is an X server (EGL alone does not do)"
    )
    yield Check("X server", "missing" if fix else "ok", found, "Minecraft's window", fix)


def _minecraft(found: Mapping[str, Any] | None) -> Iterator[Check]:
    if found is None:
        yield Check("Minecraft", "missing", "not looked for: MineRL does not import", "playing")
        return
    if not (found["script"] and found["jars"]):
        lacks = [
            name
            for name, there in (("launchClient.sh", found["script"]), ("build/libs/mcprec-*.jar", found["jars"]))
            if not there
        ]
        fix = f"MineRL's installation builds it, from the network, and did not: {INSTALL}"
        yield Check("Minecraft", "missing", f"{found['folder']} lacks {' and '.join(lacks)}", "playing", fix)
        return
    yield Check("Minecraft", "ok", found["jars"][0], "playing")
    if found["worlds"] > MANY_WORLDS:
        folder = f"{found['folder']}/run/saves"
        yield Check(
            "old worlds",
            "warning",
            f"{found['worlds']} in {folder}",
            "disk: MineRL never removes them",
            f"rm -r {folder}/mcpworld*",
        )


def _tried(settings: MinerlSettings, layer: bool, game: bool, play: bool) -> Iterator[Check]:
    """What only shows when it is tried: our server, MineRL's Python layer behind it, Minecraft."""
    yield _played("our server", settings, "Fake-v0", 200, "every frame goes through it")
    if not layer:
        yield Check("MineRL behind it", "missing", "not tried: see above", "its specifications, VPT's settings")
    else:
        name, why = "MineRLHumanSurvival-v0", "its specifications, VPT's settings"
        yield _played("MineRL behind it", settings, name, 20, why, mode="fake_minecraft")
    if play and not game:
        yield Check("Minecraft plays", "missing", "not tried: see above", "playing")
    elif play:
        yield _played("Minecraft plays", settings, "MineRLHumanSurvival-v0", 100, "playing")


def _played(what: str, settings: MinerlSettings, name: str, steps: int, why: str, **choices: Any) -> Check:
    from vpt_pipeline.envs.minerl.env import MinerlEnv

    try:
        with MinerlEnv(name, settings=settings, **choices) as env:
            begun = time.monotonic()
            env.reset(seed=1)
            ready = time.monotonic()
            for _ in range(steps):
                env.step({"forward": 1})
            rate = steps / (time.monotonic() - ready)
    except (ValueError, RuntimeError, OSError) as error:
        return Check(what, "missing", str(error), why, f"see {GUIDE}")
    return Check(what, "ok", f"ready after {ready - begun:.1f} s, {rate:.0f} steps/s", why)
