"""``python -m vpt_pipeline`` is ``vpt``."""

import sys

from vpt_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
