"""The ``pydl`` command: `main`, and one file for each sub-command."""
