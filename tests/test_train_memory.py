"""keep="outputs" in training: the same bits in less memory."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from net_text import conv, dense, fill_params, input_layers, layer, make_net, normal, run_python

import pydl
from pydl import Error, _core

IMAGES = {"x": (4, 3, 12, 12), "t": (4,)}
LOSS = layer("SoftmaxWithLoss", bottoms="f t", tops="loss")


def lenet():
    return (
        conv("6 kernel_size: 3", bottoms="x", tops="c1")
        + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "c1", "p1")
        + conv("8 kernel_size: 3 pad: 1", bottoms="p1", tops="c2")
        + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "c2", "p2")
        + dense(20, "p2", "h", params="param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }")
        + layer("ReLU", bottoms="h", tops="h", name="r")
        + layer("Dropout", bottoms="h", tops="h", name="d")
        + dense(5, "h", "f")
        + LOSS
    )


def vgg():
    """ReLU before maximum pooling, whose windows overlap once; a pooled blob changed in place."""
    text, below = "", "x"
    for i, kernel in enumerate((2, 3, 2)):
        text += conv("8 kernel_size: 3 pad: 1", bottoms=below, tops=f"c{i}")
        text += layer("ReLU", bottoms=f"c{i}", tops=f"c{i}", name=f"r{i}")
        pool = f"pooling_param {{ kernel_size: {kernel} stride: 2 }}"
        text += layer("Pooling", pool, f"c{i}", below := f"p{i}")
    text += layer("Dropout", bottoms="p2", tops="p2", name="d")
    return text + dense(5, "p2", "f") + LOSS


def normalised(name, relu=True):
    text = layer("BatchNorm", bottoms=name, tops=name, name=f"{name}_bn")
    text += layer("Scale", "scale_param { bias_term: true }", name, name, f"{name}_scale")
    return text + (layer("ReLU", bottoms=name, tops=name, name=f"{name}_relu") if relu else "")


def residual():
    """Blocks whose inputs have two readers, BatchNorm chains with and without ReLU."""
    text = conv("8 kernel_size: 3 pad: 1", bottoms="x", tops="y0") + normalised("y0")
    text += layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "y0", "s0")
    for i in (1, 2):
        a, b, c = f"a{i}", f"b{i}", f"c{i}"
        text += conv("8 kernel_size: 1 bias_term: false", bottoms=f"s{i - 1}", tops=a)
        text += normalised(a)
        text += conv("8 kernel_size: 3 pad: 1 bias_term: false", bottoms=a, tops=b)
        text += normalised(b)
        text += conv("8 kernel_size: 1 bias_term: false", bottoms=b, tops=c)
        text += normalised(c, relu=False)
        text += layer("Eltwise", bottoms=f"s{i - 1} {c}", tops=f"s{i}")
        text += layer("ReLU", bottoms=f"s{i}", tops=f"s{i}", name=f"s{i}_relu")
    text += layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", "s2", "g")
    return text + dense(5, "g", "f") + LOSS


def shortcuts():
    """Sums at the end of BatchNorm chains, of blobs that are read before, between and after them,
    that learn nothing, that are added first or last, and without ReLU."""
    text = conv("8 kernel_size: 1", bottoms="x", tops="s0")
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 } "
    frozen += "convolution_param { num_output: 8 kernel_size: 1 }"
    text += layer("Convolution", frozen, "x", "z")

    def block(name, bottom, sum_of, relu=True, between=""):
        branch = conv("8 kernel_size: 3 pad: 1", bottoms=bottom, tops=f"c{name}")
        branch += normalised(f"c{name}", relu=False) + between
        branch += layer("Eltwise", bottoms=sum_of.format(f"c{name}"), tops=name)
        return branch + (layer("ReLU", bottoms=name, tops=name, name=f"{name}_r") if relu else "")

    text += block("s1", "s0", "s0 {}")
    text += block("s2", "s1", "{} s1", relu=False)
    text += block("s3", "s2", "{} s2", between=conv("8 kernel_size: 1", bottoms="s2", tops="u"))
    text += block("s4", "s3", "z {}")
    text += block("s5", "s4", "s3 {}")
    text += block("s6", "s5", "s5 {}")
    text += layer("Eltwise", bottoms="s6 s5 u", tops="s7")
    text += layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", "s7", "g")
    return text + dense(5, "g", "f") + LOSS


def branches():
    """Concat, LRN, Split, Flatten, a blob with a loss weight that is read on, other activations."""
    return (
        conv("6 kernel_size: 3 pad: 1", bottoms="x", tops="c")
        + layer("ReLU", bottoms="c", tops="r")
        + layer("LRN", bottoms="r", tops="n")
        + conv("4 kernel_size: 1", bottoms="n", tops="u")
        + layer("TanH", bottoms="u", tops="ut")
        + layer("Pooling", "pooling_param { kernel_size: 3 stride: 1 pad: 1 }", "n", "v")
        + conv("4 kernel_size: 3 pad: 1 group: 2", bottoms="v", tops="w")
        + layer("PReLU", bottoms="w", tops="w", name="wp")
        + layer("Split", bottoms="ut", tops="ut1 ut2", name="split")
        + layer("Concat", bottoms="ut1 w n", tops="j")
        + layer("Eltwise", "eltwise_param { operation: PROD } loss_weight: 0.01", "ut2 w", "m")
        + layer("Eltwise", "eltwise_param { operation: MAX }", "m w", "k")
        + layer("Concat", bottoms="j k", tops="jk")
        + layer("ELU", bottoms="jk", tops="e")
        + layer("Flatten", bottoms="e", tops="flat")
        + dense(7, "flat", "h", fields="transpose: true")
        + layer("Sigmoid", bottoms="h", tops="h", name="sigmoid")
        + layer("Scale", bottoms="h", tops="h", name="scale")
        + dense(5, "h", "f")
        + LOSS
    )


def shared():
    """Weights that two layers share, a frozen layer, a learnable one that no gradient reaches."""
    mine = 'param { name: "w" } param { name: "b" }'
    return (
        layer("Flatten", bottoms="x", tops="flat")
        + dense(9, "flat", "in", params="param { lr_mult: 0 } param { lr_mult: 0 }")
        + dense(9, "in", "h1", params=mine)
        + layer("TanH", bottoms="h1", tops="h1", name="tanh")
        + dense(9, "h1", "h2", params=mine)
        + dense(3, "h2", "aside")
        + layer("Silence", bottoms="aside", tops="", name="silence")
        + dense(5, "h2", "f")
        + LOSS
    )


NETS = {f.__name__: f() for f in (lenet, vgg, residual, shortcuts, branches, shared)}
FIELDS = {
    "plain": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "l1": {"momentum": 0.9, "weight_decay": 0.01, "regularization_type": "L1"},
    "clipped": {"momentum": 0.9, "clip_gradients": 0.1},
    "twice": {"momentum": 0.9, "iter_size": 2},
}


def make_solver(text, keep, fields=FIELDS["momentum"], **options):
    net = make_net(text, IMAGES, keep=keep, **options)
    fill_params(net)
    # Fresh: nobody holds arrays of its weights.
    fresh = make_net(text, IMAGES, keep=keep, **options)
    for row in net._core.param_rows():
        index = fresh._core.layer_index(row["layer"])
        fresh._core.set_param(index, row["index"], net.params[row["layer"]][row["index"]].data)
    return _core.Solver({"base_lr": 0.05} | fields, fresh._core), fresh


def feed(net, step):
    net.blobs["x"].data[...] = normal(*IMAGES["x"], seed=step)
    net.blobs["t"].data[...] = np.arange(4) % 5


def run(text, keep, fields=FIELDS["momentum"], steps=4, **options):
    """Losses, weights and histories after some steps."""
    solver, net = make_solver(text, keep, fields, **options)
    losses = []
    for step in range(steps):
        feed(net, step)
        losses.append(solver.step())
    weights = [np.array(b.data) for blobs in net.params.values() for b in blobs]
    return [np.array(losses), *weights, *solver.history()]


def assert_equal(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@contextlib.contextmanager
def threads(count):
    before = pydl.num_threads()
    pydl.set_num_threads(count)
    try:
        yield
    finally:
        pydl.set_num_threads(before)


@pytest.mark.parametrize("count", (1, 2))
@pytest.mark.parametrize("precision", ("FLOAT32", "BF16"))
@pytest.mark.parametrize("name", NETS)
def test_training_is_the_same_to_the_bit(name, precision, count):
    with threads(count):
        want, got = (run(NETS[name], keep, precision=precision) for keep in ("all", "outputs"))
    assert_equal(got, want)
    assert len(set(want[0])) > 1  # it did train


@pytest.mark.parametrize("fields", FIELDS)
def test_every_way_to_update_is_the_same(fields):
    want, got = (run(NETS["lenet"], keep, FIELDS[fields]) for keep in ("all", "outputs"))
    assert_equal(got, want)


@pytest.mark.parametrize("text", NETS.values(), ids=NETS)
def test_layers_one_by_one_are_the_same(text):
    """Hooks keep layers from running as one, but not from sharing memory."""
    results = []
    for keep in ("all", "outputs"):
        solver, net = make_solver(text, keep)
        seen = []
        net._core.before_forward(lambda i, seen=seen: seen.append(i))
        net._core.after_backward(lambda i, seen=seen: seen.append(-i))
        losses = []
        for step in range(3):
            feed(net, step)
            losses.append(solver.step())
        results.append([np.array(losses), np.array(seen), *solver.history()])
    assert_equal(*results)


def test_large_weights_are_updated_part_by_part():
    """More than 16 MiB of them: the gradient of none is there as a whole."""
    text = layer("Flatten", bottoms="x", tops="flat") + dense(10007, "flat", "h")
    text += layer("ReLU", bottoms="h", tops="h", name="r")
    text += dense(450, "h", "g", fields="transpose: true") + dense(5, "g", "f") + LOSS
    assert_equal(*(run(text, keep, steps=3) for keep in ("all", "outputs")))


def test_a_new_shape_is_planned_anew():
    results = []
    for keep in ("all", "outputs"):
        solver, net = make_solver(NETS["residual"], keep)
        losses = []
        for size in (4, 2, 8, 4):
            net.blobs["x"].reshape(size, 3, 12, 12)
            net.blobs["t"].reshape(size)
            net.blobs["x"].data[...] = normal(size, 3, 12, 12)
            net.blobs["t"].data[...] = np.arange(size) % 5
            losses.append(solver.step())
        results.append([np.array(losses), *solver.history()])
    assert_equal(*results)


def test_steps_and_passes_by_hand_take_turns():
    """A pass between two steps has its gradients where they can be seen."""
    results = []
    for keep in ("all", "outputs"):
        solver, net = make_solver(NETS["residual"], keep)
        feed(net, 0)
        solver.step()
        net.forward()
        net._core.clear_param_diffs()
        net.backward()
        diffs = [b.diff.copy() for blobs in net.params.values() for b in blobs]
        assert any(d.any() for d in diffs)
        loss = solver.step()
        results.append([np.array(loss), *diffs, *solver.history()])
    assert_equal(*results)


def test_gradients_that_somebody_looks_at_are_kept_from_then_on():
    (plain, all_), (solver, net) = (make_solver(NETS["lenet"], k) for k in ("all", "outputs"))
    for n in (all_, net):
        feed(n, 0)
    plain.step(), solver.step()
    diff = net.params["c1"][0].diff
    assert not diff.any()
    plain.step(), solver.step()
    assert diff.any()
    np.testing.assert_array_equal(diff, all_.params["c1"][0].diff)


def test_snapshots_go_on_in_either_mode(tmp_path):
    path = str(tmp_path / "state.safetensors")
    want = run(NETS["residual"], "all", steps=4)
    solver, net = make_solver(NETS["residual"], "outputs")
    for step in range(2):
        feed(net, step)
        solver.step()
    solver.snapshot(path)
    for keep in ("all", "outputs"):
        solver, net = make_solver(NETS["residual"], keep)
        solver.restore(path)
        losses = []
        for step in (2, 3):
            feed(net, step)
            losses.append(solver.step())
        np.testing.assert_array_equal(losses, want[0][2:])
        assert_equal(solver.history(), want[-len(solver.history()) :])


# Memory


@pytest.mark.parametrize("name", ("lenet", "vgg", "residual", "shortcuts", "branches"))
def test_it_takes_less_memory(name):
    sizes = []
    for keep in ("all", "outputs"):
        solver, net = make_solver(NETS[name], keep)
        feed(net, 0)
        solver.step()
        sizes.append(net._core.activation_bytes)
    assert sizes[1] < 0.7 * sizes[0]


def test_chains_that_can_be_done_again_are_not_kept():
    """Of a deep net of convolutions with BatchNorm chains, about the convolutions' tops stay."""
    deep = "".join(
        conv("16 kernel_size: 1", bottoms="x" if i == 0 else f"y{i - 1}", tops=f"y{i}")
        + normalised(f"y{i}")
        for i in range(20)
    )
    deep += layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", "y19", "g")
    solver, net = make_solver(deep + dense(5, "g", "f") + LOSS, "outputs")
    feed(net, 0)
    solver.step()
    blob = 4 * 4 * 16 * 12 * 12
    assert 20 * blob < net._core.activation_bytes < 25 * blob


def test_every_second_sum_is_not_kept():
    """Of a line of residual blocks stay the convolutions' tops and half of the sums."""
    text = conv("64 kernel_size: 1", bottoms="x", tops="s0")
    for i in range(12):
        a, total = f"a{i}", f"s{i + 1}"
        text += conv("64 kernel_size: 1", bottoms=f"s{i}", tops=a) + normalised(a, relu=False)
        text += layer("Eltwise", bottoms=f"s{i} {a}", tops=total)
        text += layer("ReLU", bottoms=total, tops=total, name=f"r{i}")
    text += layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", "s12", "g")
    text += dense(5, "g", "f") + LOSS
    solver, net = make_solver(text, "outputs")
    feed(net, 0)
    solver.step()
    blob = 4 * 4 * 64 * 12 * 12
    assert 18 * blob < net._core.activation_bytes < 22 * blob
    assert_equal(run(text, "outputs"), run(text, "all"))


def test_a_relu_before_pooling_is_not_kept():
    """Of each block only the pooled blob stays until the backward pass."""
    text, below = "", "x"
    for i in range(3):
        text += conv("64 kernel_size: 3 pad: 1", bottoms=below, tops=f"c{i}")
        text += layer("ReLU", bottoms=f"c{i}", tops=f"c{i}", name=f"r{i}")
        pool = "pooling_param { kernel_size: 2 stride: 1 pad: 1 round_mode: FLOOR }"
        text += layer("Pooling", pool, f"c{i}", below := f"p{i}")
    text += layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", below, "g")
    solver, net = make_solver(text + dense(5, "g", "f") + LOSS, "outputs")
    feed(net, 0)
    solver.step()
    blob = 4 * 4 * 64 * 14 * 14
    assert net._core.activation_bytes < 5.5 * blob  # 6 tops, and 2 diffs at a time


PEAK = """
import sys
import numpy as np
import pydl
from pydl import _core, prototxt

def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return 1024 * int(line.split()[1])

net = pydl.Net(prototxt.parse(sys.argv[1]), phase="TRAIN", keep=sys.argv[2])
solver = _core.Solver({"base_lr": 0.01, "momentum": 0.9}, net._core)
net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal((2, 4096))
before = status("VmRSS")
for _ in range(2):
    solver.step()
print(status("VmRSS") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_gradients_take_no_memory():
    """Two layers of 64 MiB of weights: momentum comes with the first step, gradients do not."""
    text = input_layers({"x": (2, 4096), "t": (2,)})
    text += dense(4096, "x", "h1") + dense(4096, "h1", "h2") + dense(5, "h2", "f") + LOSS
    grown = {}
    for keep in ("all", "outputs"):
        grown[keep] = int(run_python(PEAK, text, keep).stdout) / 2**20
    assert grown["all"] > 250
    assert 120 < grown["outputs"] < 180


# Messages


def test_blobs_inside_are_not_kept():
    solver, net = make_solver(NETS["lenet"], "outputs")
    feed(net, 0)
    loss = solver.step()
    assert net.blobs["loss"].data == pytest.approx(loss)
    for name in ("c1", "p2", "h"):
        with pytest.raises(Error, match=rf'blob "{name}" is not kept.*keep="outputs"'):
            net.blobs[name]


def test_layers_run_in_order():
    _, net = make_solver(NETS["residual"], "outputs")
    core, last = net._core, net._core.layer_count - 1
    feed(net, 0)
    with pytest.raises(Error, match="keeps only its outputs, so that its layers run in order"):
        core.forward(3, last)
    with pytest.raises(Error, match="run in order"):
        core.backward()
    want = core.forward()
    core.backward()
    with pytest.raises(Error, match="once each; begin again with a forward pass"):
        core.backward()
    assert core.forward(0, 7) + core.forward(8, last) == want
    core.backward(last, 10)
    core.backward(9, 0)
    core.forward()
    with pytest.raises(Error, match="run in order"):
        core.backward(10, 0)


def test_a_bad_loss_stops_before_any_update():
    solver, net = make_solver(NETS["lenet"], "outputs")
    solver.stop_on_nan = True
    before = [np.array(h) for h in solver.history()]
    feed(net, 0)
    net.blobs["x"].data[0] = np.nan
    with pytest.raises(Error, match="the loss is nan"):
        solver.step()
    assert_equal(solver.history(), before)
    feed(net, 0)
    assert np.isfinite(solver.step())


def test_solver_and_command(tmp_path):
    net = "".join(
        layer("DummyData", f"dummy_data_param {{ shape {{ {shape} }} {filler} }}", "", top)
        for top, shape, filler in (
            ("x", "dim: 4 dim: 6", 'data_filler { type: "gaussian" }'),
            ("t", "dim: 4", 'data_filler { type: "constant" value: 1 }'),
        )
    )
    net += dense(8, "x", "h") + layer("ReLU", bottoms="h", tops="h", name="r")
    net += dense(3, "h", "f") + LOSS
    (tmp_path / "net.prototxt").write_text(net)
    path = tmp_path / "solver.prototxt"
    path.write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" '
        "max_iter: 5 random_seed: 3 snapshot_after_train: false"
    )
    losses = []
    for keep in ("all", "outputs"):
        solver = pydl.Solver(path, keep=keep)
        solver.solve()
        losses.append(solver.history["loss"])
        assert solver.net._core.keep == keep
    assert losses[0] == losses[1]
    with pytest.raises(Error, match='keep must be "all" or "outputs", got "none"'):
        pydl.Solver(path, keep="none")
    command = [sys.executable, "-m", "pydl", "train", "-solver", str(path), "-keep", "outputs"]
    command += ["-log", "none", "-plot", "none", "-quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
