#!/usr/bin/env python3
"""Times pydl beside its peers: matrix products, single layers, whole nets.

    python benchmarks/run.py [--only gemm|layers|nets] [--quick] [--threads N] [--json FILE]

Both sides first compute the same (checked), then take turns; each number is the best of at least
five samples. `peer/pydl` is the fastest peer's time over pydl's: above 1, pydl is faster. The
machine's peak is measured in the same run; `% peak` is the share of the peak FLOP/s or, marked m,
of the memory's bandwidth (above 100 where data stays in a cache).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

TABLES = ("gemm", "layers", "nets")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times pydl beside numpy and PyTorch.")
    parser.add_argument("--only", choices=TABLES, help="one table instead of all")
    parser.add_argument("--quick", action="store_true", help="a few small cases")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON too")
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error("--threads must be at least 1")
    return arguments


def main() -> None:
    arguments = parse()
    for name in THREAD_VARIABLES:  # read when the libraries are loaded
        os.environ[name] = str(arguments.threads)

    import peers
    from load import OtherLoad
    from peak import Probe
    from table import Table

    set_threads(arguments.threads)
    about = machine(arguments.threads)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    if peers.torch is None:
        print(peers.MISSING)
    probe = Probe(arguments.threads)
    peak = probe.measure()
    print(f"peak: {peak}")
    results = {"machine": about, "peak_flops": peak.flops, "peak_bandwidth": peak.bandwidth}
    for name in [arguments.only] if arguments.only else TABLES:
        module, load = importlib.import_module(name), OtherLoad()
        table = Table(module.TITLE, module.sides(), peak)
        rows = table.fill(module.rows(arguments.quick))
        results[name] = [row.plain(peak) for row in rows]
        if load.warning():
            print(f"warning: {load.warning()}; these times are too high")
    print(f"\npeak, measured again: {probe.measure()}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


def set_threads(count: int) -> None:
    import peers

    import pydl

    pydl.set_num_threads(count)
    if peers.torch is not None:
        peers.torch.set_num_threads(count)


def machine(threads: int) -> dict[str, str]:
    import numpy
    import peers

    import pydl
    from pydl import _core

    versions = {"pydl": pydl.__version__, "numpy": numpy.__version__}
    if peers.torch is not None:
        versions["torch"] = peers.torch.__version__
    return {
        "cpu": f"{cpu_name()}, threads: {threads}, kernels: {_core.kernels.isa()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
