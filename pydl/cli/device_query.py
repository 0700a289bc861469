"""``pydl device_query``: the processor, and what pydl uses of it."""

from __future__ import annotations

import argparse
import platform

from pydl.cli import flags

_EPILOG = """example:
  pydl device_query
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``device_query`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "device_query", "Shows the processor and what pydl uses of it.", _EPILOG
    )
    parser.set_defaults(run=run)
    parser.add_argument("--gpu", nargs="?", const="all", help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl device_query``; returns the exit status."""
    import numpy

    import pydl
    from pydl import _core

    rows = {
        "pydl": pydl.__version__,
        "Python": f"{platform.python_version()}, numpy {numpy.__version__}",
        "Processor": _processor(),
        "Instructions": f"{_core.kernels.isa()} (of {', '.join(_core.kernels.available_isas())})",
        "Threads": str(pydl.num_threads()),
        "Memory limit": f"{pydl.memory_limit() / 2**30:.1f} GiB",
        "CUDA": "not in this build",
    }
    for name, value in rows.items():
        print(f"{name + ':':<14}{value}")
    return 0


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
