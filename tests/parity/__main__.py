"""Compare this package with reference outputs of the published code (``make parity DIR=FOLDER``).

Prints a line for each file or group of arrays with the largest error; exits with 1 if one is larger than allowed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.parity import actions, cloning, heads, inverse, loader, policies, schemas, search, steve1
from tests.parity.finding import GOLDEN, Finding

CHECKS: dict[str, Callable[[Path], Iterator[Finding]]] = {
    "schemas": schemas.check,
    "actions": actions.check,
    "heads": heads.check,
    "loader": loader.check,
    "cloning": cloning.check,
    "policies": policies.check,
    "inverse": inverse.check,
    "search": search.check,
    "steve1": steve1.check,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=GOLDEN, help="reference outputs (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="some of the checks")
    parser.add_argument("--most-parameters", type=float, default=1e9, help="leave larger networks out")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"{args.folder} is no folder; expected one with the layout of {GOLDEN}", file=sys.stderr)
        return 2
    missed = counted = 0
    for name in args.only:
        begun, limit = time.monotonic(), {"most_parameters": args.most_parameters}
        found = CHECKS[name](args.folder, **(limit if name in ("policies", "inverse", "steve1") else {}))
        try:
            for finding in found:
                print(finding, flush=True)
                counted += 1
                missed += not finding.passed
        except Exception as error:  # the other checks are worth their lines
            print(f"MISS {name}: the check failed: {type(error).__name__}: {error}", flush=True)
            counted, missed = counted + 1, missed + 1
        print(f"---- {name}: {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{counted} comparisons, {missed} missed" if counted else f"{args.folder} holds nothing to compare with")
    return 1 if missed or not counted else 0


if __name__ == "__main__":
    sys.exit(main())
