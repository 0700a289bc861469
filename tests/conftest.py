"""Options and fixtures for all tests."""

import sys
from functools import partial

import numpy as np
import pytest
from example_runs import EXAMPLES
from torch_oracle import SOURCES, case_values

import pydl
from pydl import _core


def pytest_addoption(parser):
    parser.addoption(
        "--bench",
        action="store_true",
        help="time the cases of test_kernels.py instead of checking them",
    )


def pytest_collection_modifyitems(config, items):
    """Timings run with --bench and nothing else of their file does; without, they do not."""
    bench = config.getoption("--bench")
    timed = {item.path for item in items if "bench" in item.keywords}
    left_out = {i for i in items if i.path in timed and ("bench" in i.keywords) != bench}
    items[:] = [item for item in items if item not in left_out]
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))


def pytest_configure(config):
    config.addinivalue_line("markers", "bench: a timing, run with --bench")
    config.stash[BENCH_LINES] = []


BENCH_LINES = pytest.StashKey[list]()


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[BENCH_LINES]:
        terminalreporter.section("timings")
        for line in config.stash[BENCH_LINES]:
            terminalreporter.write_line(line)


@pytest.fixture
def bench_lines(pytestconfig):
    """Lines to print after the run."""
    return pytestconfig.stash[BENCH_LINES]


@pytest.fixture(params=SOURCES)
def torch_values(request):
    """torch_values(name, case): what torch computed for a case, live and as it is stored."""
    return partial(case_values, request.param)


@pytest.fixture(autouse=True)
def same_numbers_in_every_run():
    """Of what programs for pycaffe use: numpy's global generator."""
    np.random.seed(0)


@pytest.fixture(autouse=True)
def process_settings():
    """What a test sets for the process is set back after it."""
    threads, limit, isa = pydl.num_threads(), pydl.memory_limit(), _core.kernels.isa()
    yield
    pydl.set_num_threads(threads)
    pydl.set_memory_limit(limit)
    _core.kernels.set_isa(isa)


@pytest.fixture
def module(monkeypatch):
    """Imports a module of an example's folder; names that several examples have do not stay."""
    pytest.importorskip("matplotlib")
    loaded = []

    def load(folder, name):
        names = [path.stem for path in (EXAMPLES / folder).glob("*.py")]
        loaded.extend(names)
        for one in names:
            monkeypatch.delitem(sys.modules, one, raising=False)
        monkeypatch.syspath_prepend(str(EXAMPLES / folder))
        return __import__(name)

    yield load
    for name in loaded:
        sys.modules.pop(name, None)
