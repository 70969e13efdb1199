"""``python3 PATH/TO/server``: the folder runs by itself, wherever it lies."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    folder = Path(__file__).resolve().parent
    sys.path[0] = str(folder.parent)
    __package__ = folder.name
    __import__(__package__)
    del sys.path[0]  # our client's modules beside this folder are none of MineRL's business

from .main import main

sys.exit(main())
