"""Fixtures of the embedded games' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vpt_pipeline.envs.luanti import LuantiEnv, missing_requirements


@pytest.fixture(scope="session")
def luanti_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache, so that compiling and world generation are tested too. Skips where the game cannot run."""
    missing = missing_requirements()
    if missing:
        pytest.skip(f"Luanti cannot run here: missing {'; '.join(missing)}")
    folder = tmp_path_factory.mktemp("vpt-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def luanti(luanti_cache: Path) -> Iterator[LuantiEnv]:
    """One environment for a module's tests; they reset it, fast where that is enough."""
    env = LuantiEnv((160, 96))
    yield env
    env.close()
