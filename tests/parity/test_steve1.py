"""STEVE-1 against its reference outputs; the policy of the published size is a slow test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity import policies, schemas, steve1, steve1_policies
from tests.parity.finding import GOLDEN
from tests.parity.test_parity import SMALL, assert_all_pass

FOLDER = GOLDEN.parent / "steve1"

needs_golden = pytest.mark.skipif(not FOLDER.exists(), reason="no reference outputs at ../shared/golden/steve1")


@needs_golden
def test_small_policy_prior_relabelling_and_training() -> None:
    assert_all_pass(steve1.check(FOLDER, most_parameters=SMALL), 20)


@needs_golden
@pytest.mark.slow
def test_policy_of_the_published_size() -> None:
    assert_all_pass(steve1_policies.check_policy(FOLDER / "policy_2x.npz"), 5)


@needs_golden
def test_both_layouts_are_found_and_the_checks_of_vpt_leave_these_files_alone() -> None:
    assert steve1.find(GOLDEN) == steve1.find(FOLDER.parent) == steve1.find(FOLDER) == FOLDER
    assert not list(schemas.check(FOLDER)) and not list(policies.check(FOLDER))


def test_a_folder_without_reference_outputs_has_no_findings(tmp_path: Path) -> None:
    assert not list(steve1.check(tmp_path))
