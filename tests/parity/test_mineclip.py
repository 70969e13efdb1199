"""MineCLIP against its reference outputs; its names, tokens and table of places are compared with those of STEVE-1."""

from __future__ import annotations

import pytest

from tests.parity import mineclip
from tests.parity.test_parity import assert_all_pass
from tests.parity.test_steve1 import FOLDER, needs_golden


@needs_golden
@pytest.mark.slow
def test_mineclip_of_the_published_size() -> None:
    assert_all_pass(mineclip.check_mineclip(FOLDER), 16)
