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
from tests.parity.finding import GOLDEN, Finding, guarded

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

MOST_PARAMETERS = 1e9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=GOLDEN, help="reference outputs (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="some of the checks")
    parser.add_argument("--most-parameters", type=float, default=MOST_PARAMETERS, help="leave larger networks out")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"{args.folder} is no folder; expected one with the layout of {GOLDEN}", file=sys.stderr)
        return 2
    counts: dict[str, int] = {}
    missed = 0
    for name in args.only:
        counts[name] = 0
        begun, limit = time.monotonic(), {"most_parameters": args.most_parameters}
        found = CHECKS[name](args.folder, **(limit if name in ("policies", "inverse", "steve1") else {}))
        for finding in guarded(name, found):
            print(finding, flush=True)
            counts[name] += 1
            missed += not finding.passed
        took = f"{time.monotonic() - begun:.0f} s"
        without = f"found nothing to compare in {args.folder}"
        if args.most_parameters < MOST_PARAMETERS:
            without += f" (networks of more than {args.most_parameters:,.0f} parameters are left out)"
        print(f"---- {name}: {took if counts[name] else without}", flush=True)
    counted, empty = sum(counts.values()), [name for name, count in counts.items() if not count]
    if not counted:
        print(f"{args.folder} holds nothing to compare with")
        return 1
    none = f"; nothing to compare for {', '.join(empty)}" if empty else ""
    print(f"{counted} comparisons, {missed} missed{none}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
