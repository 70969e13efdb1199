"""Everything that reference outputs exist for; the true sizes of the networks are slow tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity import actions, cloning, heads, inverse, loader, policies, recipes, schemas
from tests.parity.finding import GOLDEN, Finding

SMALL = 1e7

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="no reference outputs at ../shared/golden/vpt")


def assert_all_pass(findings: Iterator[Finding], least: int) -> None:
    found = list(findings)
    assert len(found) >= least
    assert not [str(finding) for finding in found if not finding.passed]


@pytest.mark.parametrize(
    ("check", "least"),
    [(schemas.check, 4), (actions.check, 20), (heads.check, 8), (loader.check, 20), (cloning.check, 10)],
    ids=["schemas", "actions", "heads", "loader", "cloning"],
)
def test_files(check, least: int) -> None:  # type: ignore[no-untyped-def]
    assert_all_pass(check(GOLDEN), least)


def test_small_policy() -> None:
    assert_all_pass(policies.check(GOLDEN, most_parameters=SMALL), 20)


def test_small_inverse_dynamics_model() -> None:
    assert_all_pass(inverse.check(GOLDEN, most_parameters=SMALL), 18)


@pytest.mark.slow
def test_policies_of_the_published_sizes() -> None:
    assert_all_pass(policies.check(GOLDEN), 40)


@pytest.mark.slow
def test_inverse_dynamics_model_of_the_published_size() -> None:
    assert_all_pass(inverse.check(GOLDEN), 24)


def test_a_wrong_weight_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a hundred-thousandth more on one weight of thousands is a miss in float64."""
    right = recipes.weight

    def wrong(name: str, shape: tuple[int, ...], seed: int, index: int) -> NDArray[np.float32]:
        values = right(name, shape, seed, index)
        if name == "net.recurrent_layer.blocks.0.r.orc_block.b_nd":
            values.flat[0] += 1e-5
        return values

    monkeypatch.setattr(recipes, "weight", wrong)
    monkeypatch.setattr(recipes, "fill", _fill_without_digests(recipes.fill))
    missed = next(f for f in policies.check(GOLDEN, most_parameters=SMALL) if not f.passed)
    assert "float64" in missed.name and missed.error < 1e-3


def _fill_without_digests(fill: Callable[..., None]) -> Callable[..., None]:
    return lambda module, seed, digests=None: fill(module, seed)


def test_a_folder_without_reference_outputs_has_no_findings(tmp_path: Path) -> None:
    checks = (schemas, actions, heads, loader, cloning, policies, inverse)
    assert not [finding for module in checks for finding in module.check(tmp_path)]
