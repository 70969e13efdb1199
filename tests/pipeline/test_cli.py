"""The command itself, whatever its verb."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    """As with `vpt label --help | head -1`."""
    command = [sys.executable, "-m", "vpt_pipeline", "label", "--help"]
    told = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert told.stdout is not None and told.stderr is not None
    told.stdout.close()
    assert told.stderr.read() == ""
    assert told.wait(60) == 128 + 13
