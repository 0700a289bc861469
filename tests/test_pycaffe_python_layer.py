"""Layers written in Python, in nets and in training."""

import subprocess
import sys
import threading
import traceback
from pathlib import Path

import numpy as np
import pytest
from net_text import conv, dense, input_layers, layer

import pydl
from pydl import caffe, prototxt
from pydl.errors import Error

MODULE = '''
import numpy as np
import caffe


class Tenfold(caffe.Layer):
    """Multiplies by ten."""

    def setup(self, bottom, top):
        assert len(bottom) == len(top) == 1

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 10 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        assert propagate_down == [True]
        bottom[0].diff[...] = 10 * top[0].diff


class Fails(caffe.Layer):
    """Fails in the method that param_str names."""

    def setup(self, bottom, top):
        self.fail("setup")

    def reshape(self, bottom, top):
        self.fail("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")

    def fail(self, method):
        if self.param_str == method:
            raise LookupError("on purpose")


class Counter(caffe.Layer):
    """Has a learnable blob, whose gradient is always 1."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data[0]

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += 1
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff


class Phase(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Growing(caffe.Layer):
    """Data whose size is known when it is read: n records the n-th time."""

    def setup(self, bottom, top):
        self.calls = 0

    def reshape(self, bottom, top):
        self.calls += 1
        top[0].reshape(self.calls, 3)

    def forward(self, bottom, top):
        top[0].data[...] = self.calls


class Picks(caffe.Layer):
    """Gives its top the shape it needs only in the forward pass."""

    def reshape(self, bottom, top):
        top[0].reshape(1, bottom[0].shape[1])

    def forward(self, bottom, top):
        rows = bottom[0].data[bottom[0].data[:, 0] > 0]
        top[0].reshape(*rows.shape)
        top[0].data[...] = rows


class Watches(caffe.Layer):
    """Works in place and changes nothing."""

    seen = []

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        self.seen.append(bottom[0].data.sum())

    def backward(self, top, propagate_down, bottom):
        pass


class Square(caffe.Layer):
    """Half the mean square of a difference."""

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("sizes differ")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for i, sign in ((0, 1), (1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff / bottom[i].num * top[0].diff


class Made(caffe.Layer):
    def __init__(self, p_object, *args, **kwargs):
        super().__init__(p_object, *args, **kwargs)
        self.made = True

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = float(self.param_str) * self.made


class NotALayer:
    pass
'''


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory):
    """A module on Python's path that knows pydl.caffe as caffe."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "py_layers.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    caffe.install()
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("py_layers", None)


def python(name, bottoms="x", tops="y", param_str="", fields="", layer_name=None):
    text = f'param_str: "{param_str}"' if param_str else ""
    params = f'python_param {{ module: "py_layers" layer: "{name}" {text} }} {fields}'
    return layer("Python", params, bottoms, tops, layer_name)


def make(text, phase=caffe.TRAIN, **options):
    return caffe.Net(prototxt.parse(f"force_backward: true {text}"), phase, **options)


THREE = (
    input_layers({"x": (10, 9, 8)})
    + python("Tenfold", "x", "one")
    + python("Tenfold", "one", "two")
    + python("Tenfold", "two", "three")
)


# ---- in a net ----
def test_forward():
    net = make(THREE)
    net.blobs["x"].data[...] = 8
    net.forward()
    assert (net.blobs["three"].data == 8000).all()


def test_backward():
    net = make(THREE)
    net.blobs["three"].diff[...] = 7
    net.backward()
    assert (net.blobs["x"].diff == 7000).all()


def test_reshape():
    net = make(THREE)
    net.blobs["x"].reshape(4, 4, 4, 4)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(4, 4, 4, 4)}


def test_the_layer_is_the_users_own_object():
    net = make(input_layers({"x": (2,)}) + python("Counter"))
    found = net.layer_dict["y"]
    assert type(found).__name__ == "Counter" and found.type == "Python"
    assert found.blobs[0] is net.params["y"][0]


def test_learnable_blobs(tmp_path):
    net = make(input_layers({"x": (2, 3)}) + python("Counter"))
    net.forward()
    net.backward()
    blob = net.params["y"][0]
    assert (blob.data[0], blob.diff[0]) == (0, 1)
    blob.data[0] += blob.diff[0]
    net.save(tmp_path / "weights")
    blob.data[0] = -1
    net.copy_from(tmp_path / "weights")
    assert net.forward()["y"][0, 0] == 1
    other = make(input_layers({"x": (2, 3)}) + python("Counter"))
    other.share_with(net)
    assert other.params["y"][0].data[0] == 1


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_phase(phase):
    assert make(python("Phase", bottoms=""), phase).forward()["y"] == phase


def test_param_str():
    net = make(input_layers({"x": (1,)}) + python("Made", param_str="2.5"))
    assert net.forward()["y"] == 2.5
    assert net.layers[1].param_str == "2.5"


def test_a_blob_that_others_read_too():
    """Gradients of several readers add up, one of them a Python layer."""
    net = make(
        input_layers({"x": (2, 3)})
        + layer("Sigmoid", "", "x", "s")
        + python("Tenfold", "s", "ten")
        + layer("TanH", "", "s", "t")
    )
    net.blobs["x"].data[...] = np.random.rand(2, 3)
    net.forward()
    for name in ("ten", "t"):
        net.blobs[name].diff[...] = 1
    for _ in range(2):
        net.backward()
        s = net.blobs["s"].data
        want = 10 + 1 - np.tanh(s) ** 2
        np.testing.assert_allclose(net.blobs["s"].diff, want, rtol=1e-4)
        np.testing.assert_allclose(net.blobs["x"].diff, want * s * (1 - s), rtol=1e-4)


def test_between_layers_of_another_layout():
    """Convolutions work channels-last; the layer sees and writes (N, C, H, W)."""
    image = np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)
    first = conv("8 kernel_size: 3 pad: 1", bottoms="x", tops="a")
    last = conv("4 kernel_size: 3", bottoms="b", tops="y")
    net = make(input_layers({"x": image}) + first + python("Tenfold", "a", "b") + last)
    plain = make(
        input_layers({"x": image}) + first
        + layer("Scale", "scale_param { filler { value: 10 } }", "a", "b") + last
    )  # fmt: skip
    for mine, theirs in ((net.params[k], plain.params[k]) for k in ("a", "y")):
        for a, b in zip(mine, theirs, strict=True):
            a.data[...] = b.data
    outputs = [n.forward(x=image)["y"].copy() for n in (net, plain)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    for n in (net, plain):
        n.blobs["y"].diff[...] = 1
        n.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, plain.blobs["x"].diff, rtol=1e-4, atol=1e-4)


def test_a_size_that_is_known_only_when_the_data_is_read():
    net = make(python("Growing", "", "x") + dense(2))
    rows = [net.forward()["y"].shape[0] for _ in range(3)]
    assert rows == [2, 3, 4], "reshape is called once to build the net, then before each pass"
    assert (net.blobs["x"].data == 4).all()


def test_a_size_that_is_found_in_the_forward_pass():
    net = make(input_layers({"x": (4, 2)}) + python("Picks") + dense(3, "y", "z"))
    for first in ([1, -1, 1, 1], [1, -1, -1, -1], [1, 1, 1, 1]):
        data = np.stack([first, [5, 6, 7, 8]], axis=1)
        assert net.forward(x=data)["z"].shape == (sum(f > 0 for f in first), 3)


@pytest.mark.parametrize("before", ["InnerProduct", "Sigmoid", "Input"])
def test_in_place(before):
    """One blob to the layer, also where the net has to give the two versions their own memory:
    Sigmoid's backward pass reads its top."""
    start = input_layers({"x": (2, 3)})
    if before == "InnerProduct":
        start += dense(3, "x", "h")
    elif before == "Sigmoid":
        start += layer("Sigmoid", "", "x", "h")
    blob = "x" if before == "Input" else "h"
    text = start + python("Watches", blob, blob, layer_name="w") + layer("TanH", "", blob, "y")
    net, without = make(text), make(start + layer("TanH", "", blob, "y"))
    for name, blobs in without.params.items():
        for mine, theirs in zip(net.params[name], blobs, strict=True):
            mine.data[...] = theirs.data
    data = np.random.rand(2, 3)
    for n in (net, without):
        n.forward(x=data)
        n.blobs["y"].diff[...] = 1
        n.backward()
    np.testing.assert_array_equal(net.blobs["y"].data, without.blobs["y"].data)
    np.testing.assert_allclose(net.blobs["x"].diff, without.blobs["x"].diff, rtol=1e-6)
    assert net.layer_dict["w"].seen[-1] == pytest.approx(net.blobs[blob].data.sum())


def test_gradients_of_a_loss():
    text = input_layers({"x": (5, 4), "z": (5, 4)}) + python(
        "Square", "x z", "y", fields="loss_weight: 2"
    )
    net = make(text)
    report = pydl.check_gradients(net, {"x": (5, 4), "z": (5, 4)})
    assert report.checked == {"x": 20, "z": 20}
    report = pydl.check_gradients(python("Tenfold"), {"x": (2, 3)}, allow_python=True)
    assert report.checked == {"x": 6}
    x, z = net.blobs["x"].data, net.blobs["z"].data
    assert net._forward(0, 2) == pytest.approx(2 * ((x - z) ** 2).sum() / 10, rel=1e-5)


# ---- in training ----
REGRESSION = (
    layer("DummyData", "dummy_data_param { shape { dim: 8 dim: 5 } shape { dim: 8 dim: 2 } "
          'data_filler { type: "gaussian" } data_filler { type: "gaussian" } }', "", "x t", "data")
    + dense(6, "x", "h")
    + layer("ReLU", "", "h", "h", "relu")
    + dense(2, "h", "y")
)  # fmt: skip


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_training_equals_that_with_a_built_in_layer(keep):
    def train(text):
        solver = prototxt.new("SolverParameter", base_lr=0.1, momentum=0.9, random_seed=5,
                              lr_policy="fixed", snapshot_after_train=False)  # fmt: skip
        solver.net_param = prototxt.parse(text)
        run = pydl.Solver(solver, keep=keep, allow_python=True)
        losses = [run.step() for _ in range(6)]
        return losses, [p.data.copy() for blobs in run.net.params.values() for p in blobs]

    if "EuclideanLoss" not in caffe.layer_type_list():
        pytest.skip("no layer EuclideanLoss in this build")
    ours = train(REGRESSION + python("Square", "y t", "loss", fields="loss_weight: 1"))
    want = train(REGRESSION + layer("EuclideanLoss", "", "y t", "loss"))
    np.testing.assert_allclose(ours[0], want[0], rtol=1e-5)
    for mine, theirs in zip(ours[1], want[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    assert ours[0][-1] < ours[0][0]


def test_memory_plan_leaves_its_blobs_alone():
    """With keep="outputs" other blobs share memory; those of a Python layer may be kept by it."""
    text = REGRESSION + python("Counter", "y", "c") + python(
        "Square", "c t", "loss", fields="loss_weight: 1")  # fmt: skip
    results = []
    for keep in ("all", "outputs"):
        param = prototxt.new("SolverParameter", base_lr=0.1, random_seed=5, lr_policy="fixed")
        param.net_param = prototxt.parse(text)
        run = pydl.Solver(param, keep=keep, allow_python=True)
        losses = [run.step() for _ in range(4)]
        results.append((losses, run.net.params["c"][0].data[0]))
        assert run.net.blobs["c"].data.shape == (8, 2)
    assert results[0] == results[1]
    assert results[0][1] == pytest.approx(-0.4)


def test_shared_blobs_under_a_memory_plan():
    """The gradient of a blob that a Python layer and another read, in memory that is reused."""
    text = (
        REGRESSION
        + python("Tenfold", "y", "ten")
        + layer("TanH", "", "y", "tanh")
        + layer("Eltwise", "", "ten tanh", "sum")
        + python("Square", "sum t", "loss", fields="loss_weight: 1")
    )
    runs = []
    for keep in ("all", "outputs"):
        param = prototxt.new("SolverParameter", base_lr=0.001, random_seed=5, lr_policy="fixed")
        param.net_param = prototxt.parse(text)
        runs.append(pydl.Solver(param, keep=keep, allow_python=True))
        for _ in range(4):
            runs[-1].step()
    assert runs[0].history["loss"] == runs[1].history["loss"]
    for name, blobs in runs[0].net.params.items():
        for a, b in zip(blobs, runs[1].net.params[name], strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_batches_that_grow_under_a_memory_plan():
    """The plan was made for the batch before."""
    text = (
        python("Growing", "", "x")
        + dense(4, "x", "h")
        + layer("Sigmoid", "", "h", "s")
        + dense(3, "s", "y")
        + python("Square", "y x", "loss", fields="loss_weight: 1")
    )
    losses = []
    for keep in ("all", "outputs"):
        param = prototxt.new("SolverParameter", base_lr=0.01, random_seed=5, lr_policy="fixed")
        param.net_param = prototxt.parse(text)
        solver = pydl.Solver(param, keep=keep, allow_python=True)
        losses.append([solver.step() for _ in range(8)])
        assert solver.net._core.layer(0).python_code.layer.calls == 9
    assert losses[0] == losses[1]


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_bfloat16_around_it(keep):
    """The layer's own blobs stay float32."""
    image = np.random.default_rng(0).standard_normal((2, 16, 6, 6)).astype(np.float32)
    text = (
        input_layers({"x": image})
        + conv("32 kernel_size: 3", bottoms="x", tops="a")
        + python("Tenfold", "a", "b")
        + conv("8 kernel_size: 3", bottoms="b", tops="y")
    )
    outputs = []
    for precision in ("FLOAT32", "BF16"):
        caffe.set_random_seed(1)
        net = make(f"precision: {precision} {text}", keep=keep)
        outputs.append(net.forward(x=image)["y"].copy())
        net.blobs["y"].diff[...] = 1
        net.backward()
        assert np.isfinite(net.blobs["x"].diff).all() and net.blobs["x"].diff.any()
    error = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
    assert error < 0.02


def test_a_view_kept_from_the_forward_pass(module):
    """A layer may keep what it was given until its backward pass."""
    (module / "py_keeper.py").write_text(
        "import caffe\n"
        "class Keeper(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top):\n"
        "        self.x = bottom[0].data\n"
        "        top[0].data[...] = self.x ** 2\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        bottom[0].diff[...] = 2 * self.x * top[0].diff\n"
    )
    text = (
        input_layers({"x": (3, 4)})
        + dense(4, "x", "a")
        + layer("Python", 'python_param { module: "py_keeper" layer: "Keeper" }', "a", "b")
        + dense(4, "b", "c")
        + layer("TanH", "", "c", "d")
        + dense(1, "d", "e")
    ).replace('name: "e"', 'name: "e" loss_weight: 1')
    nets = [make(text, keep=keep) for keep in ("all", "outputs")]
    data = np.random.rand(3, 4)
    diffs = []
    for net in nets:
        for name in net.params:
            for mine, theirs in zip(net.params[name], nets[0].params[name], strict=True):
                mine.data[...] = theirs.data
        net.forward(x=data)
        net.clear_param_diffs()
        net.backward()
        diffs.append(net.params["a"][0].diff.copy())
    np.testing.assert_array_equal(diffs[0], diffs[1])
    assert np.abs(diffs[0]).max() > 0


def test_threads():
    """The core runs without the interpreter's lock, the layers with it."""
    nets = [make(THREE) for _ in range(3)]
    failed = []

    def work(net, value):
        for _ in range(20):
            net.blobs["x"].data[...] = value
            net.forward()
            if (net.blobs["three"].data != 1000 * value).any():
                failed.append(value)

    threads = [threading.Thread(target=work, args=(net, i)) for i, net in enumerate(nets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and not any(thread.is_alive() for thread in threads)


# ---- errors ----
@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_the_users_error_comes_out_with_its_traceback(method):
    text = input_layers({"x": (2, 3)}) + python("Fails", "x", "bad", method)
    with pytest.raises(LookupError, match="on purpose") as caught:
        net = make(text)
        net.forward()
        net.backward()
    shown = "".join(traceback.format_exception(caught.value))
    assert "py_layers.py" in shown and 'raise LookupError("on purpose")' in shown
    assert f'layer "bad" (Python): {method}() of Fails' in shown


def test_a_net_goes_on_after_an_error():
    net = make(input_layers({"x": (2, 3)}) + python("Fails", "x", "y", "forward"))
    for _ in range(2):
        with pytest.raises(LookupError):
            net.forward()
    net.layers[1].param_str = ""
    net.forward()


@pytest.mark.parametrize(
    ("module_name", "name", "message"),
    [
        ("py_layerz", "Tenfold", 'no module "py_layerz".*PYTHONPATH'),
        ("py_layers", "Tenfolt", 'has no class "Tenfolt"; did you mean "Tenfold"'),
        ("py_layers", "NotALayer", "py_layers.NotALayer is not a layer: derive it from"),
        ("py_layers", "", "module and layer must be given"),
    ],
)
def test_what_cannot_be_found(module_name, name, message):
    params = f'python_param {{ module: "{module_name}" layer: "{name}" }}'
    with pytest.raises(Error, match=message) as caught:
        make(input_layers({"x": (2,)}) + layer("Python", params))
    assert 'layer "y" (Python)' in str(caught.value)


def test_a_module_that_does_not_import(module):
    (module / "py_broken.py").write_text("import no_such_thing\n")
    params = 'python_param { module: "py_broken" layer: "X" }'
    with pytest.raises(ModuleNotFoundError, match="no_such_thing") as caught:
        make(input_layers({"x": (2,)}) + layer("Python", params))
    assert "import of py_broken" in "".join(traceback.format_exception(caught.value))


def test_code_is_refused_unless_allowed(tmp_path):
    text = input_layers({"x": (2,)}) + python("Tenfold")
    with pytest.raises(Error, match=r'layer "y" \(Python\).*class Tenfold.*allow_python=True'):
        pydl.Net(prototxt.parse(text))
    net = pydl.Net(prototxt.parse(text), allow_python=True)
    assert net.forward(x=np.ones(2))["y"].tolist() == [10, 10]
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(Error, match="allow_python"):
        pydl.Net(tmp_path / "net.safetensors")
    again = pydl.Net(tmp_path / "net.safetensors", allow_python=True)
    assert again.forward(x=np.ones(2))["y"].tolist() == [10, 10]
    with pytest.raises(Error, match="allow_python"):
        caffe.Net(prototxt.parse(text), caffe.TEST, allow_python=False)
    param = prototxt.new("SolverParameter", base_lr=0.1, lr_policy="fixed")
    param.net_param = prototxt.parse(text)
    with pytest.raises(Error, match="allow_python"):
        pydl.Solver(param)


def test_the_module_is_not_even_imported_without_leave(module):
    (module / "py_harmful.py").write_text("raise SystemExit('it ran')\n")
    params = 'python_param { module: "py_harmful" layer: "X" }'
    with pytest.raises(Error, match="allow_python"):
        pydl.Net(prototxt.parse(input_layers({"x": (2,)}) + layer("Python", params)))


def run_pydl(*args, cwd):
    return subprocess.run([sys.executable, "-m", "pydl", *args], capture_output=True, text=True,
                          cwd=cwd)  # fmt: skip


def test_commands(tmp_path):
    """In a process where nothing has made `import caffe` work yet."""
    (tmp_path / "py_layers.py").write_text(MODULE)
    (tmp_path / "net.prototxt").write_text(
        REGRESSION + python("Square", "y t", "loss", fields="loss_weight: 1")
    )
    (tmp_path / "bad.prototxt").write_text(
        input_layers({"x": (2, 3)}) + python("Fails", "x", "bad", "forward")
    )
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 snapshot_prefix: "s"'
    )
    refused = run_pydl("time", "-model", "net.prototxt", "-iterations", "1", cwd=tmp_path)
    assert refused.returncode == 1 and "-allow_python" in refused.stderr
    timed = run_pydl(
        "time", "-model", "net.prototxt", "-iterations", "1", "-allow_python", cwd=tmp_path
    )
    assert timed.returncode == 0, timed.stderr
    refused = run_pydl("train", "-solver", "solver.prototxt", cwd=tmp_path)
    assert refused.returncode == 1 and "-allow_python" in refused.stderr
    trained = run_pydl(
        "train", "-solver", "solver.prototxt", "-allow_python", "-plot", "none", cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    assert Path(tmp_path / "s_iter_3.caffemodel").exists()
    caffe.Net(str(tmp_path / "bad.prototxt"), caffe.TEST).save(tmp_path / "weights")
    refused = run_pydl(
        "classify", "-model_def", "bad.prototxt", "-pretrained_model", "weights", "in.npy", "out",
        cwd=tmp_path,
    )  # fmt: skip
    assert refused.returncode == 1 and "-allow_python" in refused.stderr
    failed = run_pydl(
        "time", "-model", "bad.prototxt", "-iterations", "1", "-allow_python", cwd=tmp_path
    )
    assert failed.returncode == 1
    assert 'in fail\n    raise LookupError("on purpose")' in failed.stderr
    assert failed.stderr.splitlines()[-1].endswith(
        'layer "bad" (Python): forward() of Fails raised LookupError: on purpose'
    )
