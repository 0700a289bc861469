"""``python -m pydl``: the ``pydl`` command."""

import sys

from pydl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
