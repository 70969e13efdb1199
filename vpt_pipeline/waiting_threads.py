"""How the threads of a numerical library wait for each other. Imports no torch: it has to be said before that."""

from __future__ import annotations

import os


def threads_wait_asleep() -> None:
    """Unless the environment says otherwise. Threads that wait by spinning starve everything else on a busy machine: training
    beside a game or a decoder was several times slower. A few microseconds of spinning they may have: networks are full of
    short steps. To be called before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
