"""How data is read: LMDB's file, batches ahead of their use, processes that decode, resuming."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cli_tools import NET, start_pydl, write_run
from data_files import message, records, write_datums, write_images, write_lmdb
from net_text import layer, make_net, run_python

import pydl
from pydl import _core, hooks
from pydl.data import open_source
from pydl.data.lmdb_file import LmdbFile
from pydl.data.workers import Workers
from pydl.formats.binaryproto import Datum

SHAPE = (3, 6, 7)


# LMDB's file


def open_lmdb(folder):
    return LmdbFile(folder / "data.mdb", str(folder))


@pytest.mark.parametrize(
    "count, sizes", [(1, [10]), (300, [10]), (5000, [10, 5000, 100]), (40, [70000])]
)
def test_lmdb_file_gives_what_lmdb_gives(tmp_path, count, sizes):
    values = [os.urandom(sizes[i % len(sizes)]) for i in range(count)]
    file = open_lmdb(write_lmdb(tmp_path / "db", values))
    assert len(file) == count
    for i, value in enumerate(values):
        assert file.key(i) == f"{i:08d}".encode() and bytes(file.value(i)) == value


def test_lmdb_file_after_changes(tmp_path):
    lmdb = pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    folder = write_lmdb(tmp_path / "db", [b"x" * (i % 700) for i in range(2000)])
    with lmdb.open(str(folder), map_size=1 << 26) as environment:
        for step in range(3):
            with environment.begin(write=True) as transaction:
                for i in range(step, 2000, 7):
                    transaction.delete(f"{i:08d}".encode())
                    transaction.put(f"new{i * 31 % 977}-{step}".encode(), os.urandom(9000))
        with environment.begin() as transaction:
            want = list(transaction.cursor())
    file = open_lmdb(folder)
    assert [(file.key(i), bytes(file.value(i))) for i in range(len(file))] == want


def test_lmdb_with_other_databases_in_it(tmp_path):
    lmdb = pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    with lmdb.open(str(tmp_path / "db"), max_dbs=2) as environment:
        environment.open_db(b"other")
    assert "several databases" in message(open_lmdb, tmp_path / "db")


def test_damaged_lmdb_files_are_errors(tmp_path):
    """Whatever the bytes are, reading ends in records or in Error; LMDB itself would crash."""
    folder = write_lmdb(tmp_path / "db", [bytes(900 + 10 * i) for i in range(40)])
    path = folder / "data.mdb"
    good, chance, errors = path.read_bytes(), random.Random(0), 0
    for i in range(600):
        content = bytearray(good)
        if i % 4 == 0:
            content = content[: chance.randrange(len(good))]
        for _ in range(chance.choice([1, 3, 30]) if content and i % 4 else 0):
            content[chance.randrange(len(content))] = chance.choice(
                [0, 1, 255, chance.randrange(256)]
            )
        path.write_bytes(content)
        try:
            file = open_lmdb(folder)
            for n in range(len(file)):
                file.key(n), bytes(file.value(n))
        except pydl.Error as error:
            errors += 1
            assert str(folder) in str(error)
    assert 100 < errors < 600


# Reading ahead


class Source:
    """Records 0 to 9, whose labels are their numbers; counts and may delay or fail."""

    def __init__(self, size=10):
        self.read, self.threads, self.size = [], set(), size
        self.wait, self.fail = threading.Event(), set()
        self.wait.set()

    def open(self, request):
        return _core.python_source(self.size, self._records)

    def _records(self, numbers):
        self.wait.wait(60)
        self.threads.add(threading.get_ident())
        self.read += numbers
        if self.fail & set(numbers):
            raise pydl.Error(f"cannot read {numbers}")
        image = np.zeros((1, 2, 2), np.uint8)
        return [image] * len(numbers), [float(n) for n in numbers], [f"r{n}" for n in numbers]


OTHER_HOOKS = (
    hooks._open_windows,
    hooks._open_rows,
    hooks._open_output,
    hooks._read_mean,
    hooks._read_label_names,
    hooks._change_picture,
)


@pytest.fixture
def source():
    """What every Data layer opens."""
    hooks.install()  # before others take its place
    found = Source()
    _core.set_data_hooks(found.open, *OTHER_HOOKS)
    yield found
    _core.set_data_hooks(hooks._open, *OTHER_HOOKS)


def net_of(fields, **options):
    params = f'data_param {{ source: "s" {fields} }}'
    return make_net(layer("Data", params, "", "x t", "data"), **options)


def labels(net):
    net._core.forward()
    return net.blobs["t"].data.astype(int).tolist()


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("prefetch", [1, 3])
def test_batches_are_read_ahead_in_another_thread(source, prefetch):
    net = net_of(f"batch_size: 2 prefetch: {prefetch}")
    assert source.read == [0]  # for the shape
    assert labels(net) == [0, 1]
    wait_for(lambda: len(source.read) == 1 + 2 * (1 + prefetch))
    time.sleep(0.05)
    assert len(source.read) == 1 + 2 * (1 + prefetch)  # and no further
    assert labels(net) == [2, 3]
    wait_for(lambda: len(source.read) == 1 + 2 * (2 + prefetch))
    assert source.read[1:] == list(range(8 + 2 * (prefetch - 1)))[: len(source.read) - 1]
    assert len(source.threads) == 2


def test_nothing_is_read_ahead_without_prefetch(source):
    net = net_of("batch_size: 2 prefetch: 0")
    for first in (0, 2, 4):
        assert labels(net) == [first, first + 1]
    assert source.read == [0, 0, 1, 2, 3, 4, 5] and source.threads == {threading.get_ident()}


def test_absurd_numbers(source, tmp_path):
    assert "at most 1024" in message(net_of, "batch_size: 2 prefetch: 4000000000")
    assert "memory" in message(net_of, "batch_size: 4000000000")
    dataset = open_source(write_datums(tmp_path / "db", records([SHAPE])))
    assert "at most 256" in message(Workers, dataset, 4000000000)


def test_what_was_read_ahead_does_not_count_as_used(source):
    net = net_of("batch_size: 3 prefetch: 4")
    labels(net)
    wait_for(lambda: len(source.read) >= 10)
    assert net._core.layer_state() == {"data": [3]}
    net._core.set_layer_state({"data": [7]})
    assert labels(net) == [7, 8, 9]
    net._core.set_layer_state({"data": [3]})
    assert [labels(net) for _ in range(3)] == [[3, 4, 5], [6, 7, 8], [9, 0, 1]]


def test_another_seed_gives_another_order_at_once(source):
    net = net_of("batch_size: 10 prefetch: 2 shuffle: true", seed=1)
    first = labels(net)
    net._core.seed = 5
    net._core.set_layer_state({"data": [0]})
    second = labels(net)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    other = net_of("batch_size: 10 shuffle: true", seed=5)
    assert labels(other) == second


def test_an_error_comes_when_its_batch_is_due(source):
    source.fail = {4}
    net = net_of("batch_size: 2 prefetch: 4")
    assert [labels(net), labels(net)] == [[0, 1], [2, 3]]
    for _ in range(2):
        assert 'layer "data" (Data): cannot read [4, 5]' in message(labels, net)
    source.fail = set()
    assert labels(net) == [4, 5]


def test_a_net_is_dropped_while_its_data_is_being_read(source):
    net = net_of("batch_size: 2 prefetch: 4")
    labels(net)
    source.wait.clear()
    threading.Timer(0.2, source.wait.set).start()
    del net  # waits for the thread, which needs the GIL to finish
    assert source.wait.is_set() or len(source.read) == 11


def test_a_program_may_end_while_data_is_read():
    """Nets in global variables, threads in the middle of a batch."""
    run_python("""
import time
import numpy as np
from pydl import _core, hooks, prototxt
import pydl

def read(numbers):
    count = len(numbers)
    time.sleep(0.01 * count)
    return [np.zeros((1, 2, 2), np.uint8)] * count, [0.0] * count, ["x"] * count

hooks.install()
_core.set_data_hooks(lambda request: _core.python_source(100, read), *[hooks._open_windows] * 6)
text = 'layer { name: "d" type: "Data" top: "x" data_param { source: "s" batch_size: 5 } }'
nets = [pydl.Net(prototxt.parse(text)) for _ in range(3)]
for net in nets:
    net.forward()
""")


def test_a_net_that_its_own_thread_collects_ends_in_the_main_thread():
    """Python collects cycles in whatever thread it runs; this one cannot wait for its own end."""
    run_python("""
import gc
import threading
import time
import weakref
import numpy as np
from pydl import _core, hooks, prototxt
import pydl

dropped = threading.Event()

def read(numbers):
    if numbers[0] > 0:  # the second batch: in the other thread
        dropped.wait()
        gc.collect()
    count = len(numbers)
    return [np.zeros((1, 2, 2), np.uint8)] * count, [0.0] * count, ["x"] * count

hooks.install()
_core.set_data_hooks(lambda request: _core.python_source(100, read), *[hooks._open_windows] * 6)
text = 'layer { name: "d" type: "Data" top: "x" data_param { source: "s" batch_size: 5 } }'
net = pydl.Net(prototxt.parse(text))
net.forward()
_core.set_data_hooks(*[hooks._open_windows] * 7)
in_use = weakref.ref(read)
net.itself = net
gc.disable()
del net, read
dropped.set()
end = time.monotonic() + 60
while in_use():
    assert time.monotonic() < end
    time.sleep(0.001)
""")


# Processes


def image_net(folder, fields="", **options):
    params = (
        f'image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" '
        f"batch_size: 4 {fields} }}"
    )
    return make_net(layer("ImageData", params, "", "x t", "data"), **options)


def forward(net):
    net._core.forward()
    return np.array(net.blobs["x"].data), np.array(net.blobs["t"].data)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_workers_give_what_one_process_gives(tmp_path, count):
    write_images(tmp_path / "images", 7)
    one = image_net(tmp_path / "images", "shuffle: true")
    many = image_net(tmp_path / "images", f"shuffle: true workers: {count}")
    for _ in range(5):
        for a, b in zip(forward(one), forward(many), strict=True):
            np.testing.assert_array_equal(a, b)


def test_workers_read_databases_and_several_sizes(tmp_path):
    rows = records([(3, 4 + i, 5) for i in range(6)])
    source = write_datums(tmp_path / "db", rows)
    workers = Workers(open_source(source), 2)
    for numbers in ([0, 1, 2, 3], [5, 0], [4], [], [5, 5, 5]):
        images, found, names = workers.records(numbers)
        assert found == numbers
        assert [name[-9:] for name in names] == [f"{n:08d}'" for n in numbers]
        for image, n in zip(images, numbers, strict=True):
            np.testing.assert_array_equal(image, rows[n][0])
    floats = [Datum(np.full((1, 2, 2), i / 3, np.float32), i).serialize() for i in range(3)]
    workers = Workers(open_source(write_lmdb(tmp_path / "floats", floats)), 2)
    assert [x.dtype for x in workers.records([0, 1, 2])[0]] == [np.float32] * 3


def test_errors_of_workers_are_errors_of_the_layer(tmp_path):
    write_images(tmp_path / "images", 8)
    (tmp_path / "images" / "6.png").write_bytes(b"junk")
    net = image_net(tmp_path / "images", "workers: 2")
    forward(net)
    for _ in range(2):
        text = message(forward, net)
        assert "6.png: not a readable image" in text and "(ImageData)" in text


def test_a_killed_worker_is_an_error_and_others_take_its_place(tmp_path):
    write_images(tmp_path / "images", 6)
    dataset = open_source(write_datums(tmp_path / "db", records([SHAPE] * 6)))
    workers = Workers(dataset, 2)
    want = workers.records(range(6))[0]
    victim = workers._workers[1]._process
    os.kill(victim.pid, signal.SIGKILL)
    text = message(workers.records, range(6))
    assert f"process {victim.pid}" in text and "signal 9 (SIGKILL)" in text and "workers" in text
    again = workers.records(range(6))[0]
    assert all(np.array_equal(a, b) for a, b in zip(want, again, strict=True))
    workers.close()


def test_workers_end_with_their_set(tmp_path):
    workers = Workers(open_source(write_datums(tmp_path / "db", records([SHAPE] * 4))), 2)
    workers.records(range(4))
    processes = [worker._process for worker in workers._workers]
    assert all(process.poll() is None for process in processes)
    del workers
    assert all(process.poll() == 0 for process in processes)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_a_program_that_is_killed_and_need_no_guard_of_main(tmp_path):
    source = write_datums(tmp_path / "db", records([SHAPE] * 4))
    script = tmp_path / "program.py"
    script.write_text(f"""
import os, signal
from pydl.data import open_source
from pydl.data.workers import Workers

workers = Workers(open_source({str(source)!r}), 2)
workers.records(range(4))
print(*[worker._process.pid for worker in workers._workers], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""")
    done = subprocess.run(
        [os.sys.executable, str(script)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(os.sys.path)},
    )  # fmt: skip
    pids = [int(pid) for pid in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL and len(pids) == 2
    wait_for(lambda: not any(map(alive, pids)))


# Resuming


@pytest.mark.parametrize("how", ["", "workers: 2", "prefetch: 0"])
def test_a_run_on_images_resumes_bit_for_bit(tmp_path, how):
    """What was read ahead when the snapshot was taken is read again."""
    images = tmp_path / "images"
    write_images(images, 13, 32, 32)
    data = (
        f'type: "ImageData" image_data_param {{ source: "{images}/list.txt" batch_size: 5 '
        f'root_folder: "{images}/" shuffle: true is_color: false rand_skip: 5 {how} }} '
        "transform_param { mirror: true crop_size: 28 scale: 0.01 }"
    )
    (images / "list.txt").write_text("".join(f"{i}.png {i % 10}\n" for i in range(13)))
    parts = NET.split("layer {")
    train = f'name: "data" {data} top: "data" top: "label" include {{ phase: TRAIN }} }}\n'
    text = "layer {".join([parts[0], train, *parts[2:]])
    folder = tmp_path / "run"
    folder.mkdir()
    write_run(folder, text, test_iter=1, test_interval=1000, test_initialization="false")
    solver = pydl.Solver(folder / "solver.prototxt", snapshot_prefix=str(folder / "a"))
    solver.step(20)
    solver.snapshot()
    solver.step(17)
    resumed = pydl.Solver(folder / "solver.prototxt", snapshot_prefix=str(folder / "b"))
    resumed.restore(folder / "a_iter_20.solverstate")
    resumed.step(17)
    for name, blobs in solver.net.params.items():
        for mine, theirs in zip(blobs, resumed.net.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)
    np.testing.assert_array_equal(solver.net.blobs["data"].data, resumed.net.blobs["data"].data)


def test_ctrl_c_reaches_the_run_and_not_its_workers(tmp_path):
    data = (
        f'data_param {{ source: "{tmp_path}/db" batch_size: 4 workers: 2 }} '
        "transform_param { scale: 0.01 }"
    )
    write_datums(tmp_path / "db", records([(1, 28, 28)] * 8))
    train = layer("Data", data + " include { phase: TRAIN }", "", "data label", "data")
    parts = NET.split("layer {")
    text = "layer {".join([parts[0] + train, *parts[2:]])
    folder = tmp_path / "run"
    folder.mkdir()
    write_run(folder, text, max_iter=1000000, snapshot=0, test_interval=1000000)
    run = start_pydl(
        "train", "-solver", "solver.prototxt", "-plot", "none", cwd=folder, start_new_session=True
    )
    for line in run.stderr:
        if "Iteration 10 " in line:
            break
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of the group
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "Stopped at iteration" in out and "worker" not in out + err
