#!/usr/bin/env python3
"""Times pydl beside its peers and writes docs/performance.md.

    python benchmarks/run.py                                  # everything; about an hour
    python benchmarks/run.py --only nets --net resnet50       # one table, one net
    python benchmarks/run.py --only nets --match "(1) inference"
    python benchmarks/run.py --from-json                      # remake the pages only

Tables: nets (whole nets beside PyTorch, ONNX Runtime and OpenVINO), layers (where a net's time
goes), scaling (all threads against one), memory (of a training step), gemm, bandwidth (layers that
memory limits), start (reading weights), precision (training curves). Every part runs in a process
of its own. Sides first compute the same (checked), then take turns; each time is the best of at
least five. `peer/pydl` is the fastest peer's time over pydl's: above 1, pydl is faster. The
machine's peak is measured in the same run; `% peak` is the share of the peak FLOP/s or, marked m,
of the memory's bandwidth.

Raw results go to a JSON file; those of separate invocations merge there. A run of everything writes
the pages too.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "performance.json"
BY_NET = ("nets", "layers", "scaling")
TABLES = (*BY_NET, "memory", "gemm", "bandwidth", "start", "precision")
NETS = ("lenet", "alexnet", "vgg16", "googlenet", "resnet50", "lstm", "transformer")
SERVED = ("mobilenet_v1", "mobilenet_v2", "ssd300")  # inference only, and beside those who serve
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=TABLES, help="one table instead of all")
    parser.add_argument("--net", choices=NETS + SERVED, help="one net instead of all")
    parser.add_argument("--match", default="", metavar="TEXT", help="only cases that contain TEXT")
    parser.add_argument("--quick", action="store_true", help="LeNet and the products only")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="raw results")
    parser.add_argument("--from-json", action="store_true", help="measure nothing, write the pages")
    chosen = parser.parse_args(arguments)
    if chosen.threads < 1:
        parser.error("--threads must be at least 1")
    if chosen.net and chosen.only not in BY_NET:
        parser.error(f"--net goes with --only {', '.join(BY_NET)}")
    return chosen


def main() -> None:
    chosen = parse()
    parts = list(parts_of(chosen))
    if chosen.from_json:
        write_pages(chosen.json)
    elif len(parts) == 1:
        run_part(chosen, *parts[0])
    else:
        for part in parts:
            run_apart(chosen, *part)
        if not (chosen.only or chosen.match or chosen.quick):
            write_pages(chosen.json)


def parts_of(chosen: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """Tables with the net, if they are made net by net."""
    tables = [chosen.only] if chosen.only else ["nets", "gemm"] if chosen.quick else TABLES
    for table in tables:
        nets = NETS if table == "scaling" else NETS + SERVED
        nets = [chosen.net] if chosen.net else NETS[:1] if chosen.quick else nets
        for net in nets if table in BY_NET else [None]:
            yield table, net


def run_apart(chosen: argparse.Namespace, table: str, net: str | None) -> None:
    """A part in a fresh process, so that none sees another's memory, caches or threads."""
    command = [sys.executable, __file__, "--only", table, "--match", chosen.match]
    command += ["--threads", str(chosen.threads), "--json", str(chosen.json)]
    command += ["--net", net] if net else []
    if subprocess.run(command).returncode:
        raise SystemExit(f"{table} {net or ''} failed")


def run_part(chosen: argparse.Namespace, table: str, net: str | None) -> None:
    for name in THREAD_VARIABLES:  # read when the libraries are loaded
        os.environ[name] = str(chosen.threads)
    import onnx_peer
    import torch_peer
    from load import OtherLoad
    from peak import Probe
    from results import Results

    missing = onnx_peer.missing() + ([] if torch_peer.torch else [torch_peer.MISSING])
    print("\n".join(missing), end="\n" * bool(missing))
    set_threads(chosen.threads)
    about, load = machine(chosen.threads), OtherLoad()
    peak = Probe(chosen.threads).measure()
    results = Results(chosen.json, about | {"peak": asdict(peak)})
    print(f"{about['cpu']}, {about['kernels']}; {about['versions']}\n{peak}")
    for row in FILLERS[table](chosen, net, peak):
        results.add(table, row)
    if load.warning():
        print(f"warning: {load.warning()}; these times are too high")


# ---- one function for each table: yields plain rows, printing them as they come ----
def fill_nets(chosen: argparse.Namespace, net: str, peak: object) -> Iterator[dict]:
    import nets

    yield from _tabled(
        "Nets (batch)", nets.sides(), nets.rows(net, chosen.threads, chosen.match), peak
    )


def fill_layers(chosen: argparse.Namespace, net: str, peak: object) -> Iterator[dict]:
    import layer_times

    for row in layer_times.rows(net, chosen.match):
        print(layer_times.summary(row), flush=True)
        yield row


def fill_scaling(chosen: argparse.Namespace, net: str, peak: object) -> Iterator[dict]:
    import scaling

    sides = [f"{n} threads" for n in (1, chosen.threads)]
    yield from _tabled("Threads", sides, scaling.rows(net, chosen.threads, chosen.match), peak)


def fill_memory(chosen: argparse.Namespace, net: None, peak: object) -> Iterator[dict]:
    import memory

    for row in memory.rows(chosen.match):
        mib = ", ".join(f"{side} {value:.0f} MiB" for side, value in row["mib"].items())
        print(f"{row['case']} training step: {mib}: {row['ratio']:.2f}x", flush=True)
        yield row


def fill_gemm(chosen: argparse.Namespace, net: None, peak: object) -> Iterator[dict]:
    import gemm

    yield from _tabled("GEMM (M x N x K)", gemm.sides(), gemm.rows(chosen.match), peak)


def fill_bandwidth(chosen: argparse.Namespace, net: None, peak: object) -> Iterator[dict]:
    import bandwidth
    from peak import Probe

    rows = bandwidth.rows(Probe(chosen.threads), chosen.match)
    yield from _tabled("Memory-bound", bandwidth.sides(), rows, peak)


def fill_start(chosen: argparse.Namespace, net: None, peak: object) -> Iterator[dict]:
    import start

    for row in start.rows():
        print(f"{row['case']}: {row['seconds']:.3f} s for {row['bytes'] / 1e6:.0f} MB", flush=True)
        yield row


def fill_precision(chosen: argparse.Namespace, net: None, peak: object) -> Iterator[dict]:
    import precision

    for row in precision.rows(chosen.match):
        print(f"{row['case']}: accuracy {row['accuracy'][-1]:.4f}", flush=True)
        yield row


FILLERS: dict[str, Callable[..., Iterator[dict]]] = {
    "nets": fill_nets,
    "layers": fill_layers,
    "scaling": fill_scaling,
    "memory": fill_memory,
    "gemm": fill_gemm,
    "bandwidth": fill_bandwidth,
    "start": fill_start,
    "precision": fill_precision,
}


def _tabled(title: str, sides: list[str], rows: Iterator, peak: object) -> Iterator[dict]:
    from table import Table

    for row in Table(title, sides, peak).fill(rows):
        yield row.plain()


def write_pages(file: Path) -> None:
    from pages import write
    from results import Results

    for path in write(Results(file), ROOT / "docs"):
        print(f"wrote {path}")


# ---- the machine ----
def set_threads(count: int) -> None:
    import torch_peer

    import pydl

    pydl.set_num_threads(count)
    if torch_peer.torch is not None:
        torch_peer.torch.set_num_threads(count)


def machine(threads: int) -> dict[str, str | int]:
    import numpy
    import onnx_peer
    import torch_peer

    import pydl
    from pydl import _core

    modules = [pydl, numpy, torch_peer.torch, onnx_peer.onnxruntime, onnx_peer.openvino]
    versions = [f"{m.__name__} {m.__version__.split('-')[0]}" for m in modules if m]
    return {
        "cpu": cpu_name(),
        "threads": threads,
        "kernels": _core.kernels.isa(),
        "versions": ", ".join(versions),
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
