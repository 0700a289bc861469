"""DBNs: layer-wise training from Python and from prototxt, snapshots, and what they unroll into."""

import numpy as np
import pytest

import pydl
from pydl import DBN, Error, prototxt
from pydl.cli.main import main
from pydl.run import Listener

BARS = np.kron(np.eye(6), np.ones((1, 2))).astype(np.float32)  # 6 patterns of 12 values


def bars(count=60, seed=0):
    rng = np.random.default_rng(seed)
    x = BARS[rng.integers(0, 6, count)]
    return np.abs(x - (rng.random(x.shape) < 0.02)).astype(np.float32)


def small(**options):
    return DBN([12, 10, 6], epochs=30, batch_size=20, learning_rate=0.1, **options)


class Losses(Listener):
    def __init__(self):
        self.seen = {}

    def on_iteration(self, solver, loss):
        self.seen.setdefault(solver.net.name, []).append(loss)


def test_fit_trains_one_rbm_after_another():
    x, listener = bars(), Losses()
    dbn = small()
    dbn.listeners.append(listener)
    assert dbn.fit(x) is dbn
    assert list(listener.seen) == ["DBN_rbm1", "DBN_rbm2"]
    assert [len(errors) for errors in dbn.errors_] == [90, 90]
    for errors in dbn.errors_:
        assert np.mean(errors[-10:]) < 0.8 * np.mean(errors[:10])
    assert [w.shape for w, _, _ in dbn.weights_] == [(10, 12), (6, 10)]
    h = dbn.transform(x)
    assert h.shape == (60, 6) and h.min() >= 0 and h.max() <= 1
    assert ((dbn.inverse_transform(h) - x) ** 2).mean() < ((x - x.mean(0)) ** 2).mean()


def test_a_lower_rbm_keeps_its_weights():
    dbn = small().fit(bars())
    first, second = dbn.solvers
    for below, above in zip(first.net.params["rbm1"], second.net.params["rbm1"], strict=True):
        np.testing.assert_array_equal(below.data, above.data)


def test_transform_is_what_the_layers_compute():
    x = bars(20)
    dbn = small().fit(x)
    net = dbn.solvers[-1].net
    net._core.layer(0).set_arrays(x.reshape(20, 12, 1, 1), np.zeros(20, np.float32))
    net.forward()
    np.testing.assert_allclose(net.blobs["h2"].data, dbn.transform(x), rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_weights():
    x = bars()
    one, two, other = (small(random_state=seed).fit(x).weights_ for seed in (1, 1, 2))
    for a, b, c in zip(one, two, other, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert np.any(a[0] != c[0])


def test_batches_are_filled_up_and_images_are_flattened():
    dbn = DBN([12, 4], epochs=1, batch_size=7).fit(bars(30).reshape(30, 1, 3, 4))
    assert len(dbn.errors_[0]) == 5
    assert dbn.transform(bars(3)).shape == (3, 4)


def test_gaussian_units_at_both_ends():
    x = np.random.default_rng(0).standard_normal((200, 8)) @ np.random.default_rng(1).normal(
        size=(8, 12)
    )
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    dbn = DBN(
        [12, 16, 4],
        visible="GAUSSIAN",
        code="GAUSSIAN",
        epochs=30,
        batch_size=20,
        learning_rate=0.01,
    ).fit(x)
    assert np.mean(dbn.errors_[0][-10:]) < 0.9 * np.mean(dbn.errors_[0][:10])
    assert dbn.transform(x).min() < 0


NET = """name: "tiny"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.00390625 } data_param { source: "mnist_sample/train" batch_size: 50 } }
layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }
layer { name: "low" type: "RBM" bottom: "flat" top: "h1" rbm_param { num_hidden: 30 } }
layer { name: "high" type: "RBM" bottom: "h1" top: "h2"
  rbm_param { num_hidden: 10 persistent: true } }
"""
SOLVER = """net: "net.prototxt" random_seed: 3
solver { base_lr: 0.1 lr_policy: "fixed" momentum: 0.5 max_iter: 12 }
solver { base_lr: 0.05 lr_policy: "fixed" max_iter: 10 snapshot: 4 }
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    path = tmp_path / "dbn.prototxt"
    path.write_text(SOLVER)
    return path


def test_from_prototxt(files):
    dbn = DBN.load(files).solve()
    assert [len(errors) for errors in dbn.errors_] == [12, 10]
    assert [w.shape for w, _, _ in dbn.weights_] == [(30, 784), (10, 30)]
    names = {path.name for path in files.parent.glob("*.solverstate")}
    assert names == {"dbn_low_iter_12.solverstate", "dbn_high_iter_4.solverstate",
                     "dbn_high_iter_8.solverstate", "dbn_high_iter_10.solverstate"}  # fmt: skip


def test_from_a_message_that_was_read_from_a_file(files):
    """Its net is found beside that file."""
    message = prototxt.load_dbn_solver(files)
    message.solver[0].max_iter = 3
    assert [len(errors) for errors in DBN.load(message).solve().errors_] == [3, 10]


def test_from_the_command_line(files, monkeypatch, capsys):
    monkeypatch.chdir(files.parent)
    quiet = ["-plot", "none", "-progress", "off", "-quiet"]
    assert main(["train", "-solver", "dbn.prototxt", *quiet]) == 0
    shown = capsys.readouterr().out
    assert "Snapshot: dbn_low_iter_12" in shown and "Snapshot: dbn_high_iter_10" in shown
    more = ["-snapshot", "dbn_high_iter_4.solverstate"]
    assert main(["train", "-solver", "dbn.prototxt", *quiet, *more]) == 0
    assert main(["train", "-solver", "dbn.prototxt", "-iterations", "3"]) == 1
    assert "-iterations is not for it" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["dbn_low_iter_12", "dbn_high_iter_4"])
def test_a_resumed_dbn_is_the_same_bit_for_bit(files, state):
    whole = DBN.load(files).solve()
    again = DBN.load(files).solve(resume=files.with_name(f"{state}.solverstate"))
    for a, b in zip(whole.weights_, again.weights_, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_request_to_stop_ends_it(files):
    dbn = DBN.load(files)

    class Stop(Listener):
        def on_iteration(self, solver, loss):
            if solver.iter == 5:
                dbn.request("stop_without_snapshot")

    dbn.listeners.append(Stop())
    dbn.solve()
    assert [len(errors) for errors in dbn.errors_] == [5]
    with pytest.raises(Error, match="not trained yet: high; call fit or solve"):
        dbn.transform(np.zeros((1, 784)))


def test_the_classifier_has_the_weights_of_the_stack(files, tmp_path):
    dbn = DBN.load(files).solve()
    text, model = dbn.classifier(10).save(tmp_path / "out" / "digits")
    message = prototxt.load_net(text)
    kinds = [layer.type for layer in message.layer]
    assert kinds == ["Data", "Flatten", "InnerProduct", "Sigmoid", "InnerProduct", "Sigmoid",
                     "InnerProduct", "SoftmaxWithLoss", "Accuracy", "Softmax"]  # fmt: skip
    net = pydl.Net(text, model, phase="TRAIN")
    net.forward()
    x = np.array(net.blobs["data"].data)
    np.testing.assert_allclose(net.blobs["high"].data, dbn.transform(x), rtol=1e-3, atol=1e-5)


def test_the_autoencoder_goes_up_and_down():
    x = bars(20)
    dbn = small().fit(bars())
    unrolled = dbn.autoencoder()
    assert [layer.name for layer in unrolled.net.layer if layer.type == "InnerProduct"] == [
        "rbm1", "rbm2", "rbm2_down", "rbm1_down"]  # fmt: skip
    net = pydl.Net(unrolled.net)
    unrolled.copy_to(net)
    out = net.forward(data=x, label=np.zeros(20))
    want = dbn.inverse_transform(dbn.transform(x))
    found = net.blobs["reconstruction"].data
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out["error"], ((want - x) ** 2).sum() / 40, rtol=1e-4)


def fine_tuned(net, weights, test):
    """The share of the test digits that a classifier gets right."""
    param = prototxt.new("SolverParameter", base_lr=0.1, lr_policy="fixed", momentum=0.9,
                         max_iter=200, random_seed=1, snapshot_after_train=False,
                         weights=weights)  # fmt: skip
    param.net_param.CopyFrom(net)
    solver = pydl.Solver(param)
    solver.solve()
    images, labels = test
    core = pydl.Net(net, phase="TRAIN")
    for name, blobs in solver.net.params.items():
        for target, blob in zip(core.params[name], blobs, strict=True):
            target.data[...] = blob.data
    first = core._core.layer_index("rbm1")
    right = 0
    for begin in range(0, len(images), 100):
        core.blobs["data"].data[...] = images[begin : begin + 100]
        core._core.forward(first, core._core.layer_index("score"))
        scores = core.blobs["score"].data
        right += np.count_nonzero(scores.argmax(1) == labels[begin : begin + 100])
    return right / len(images)


def test_pretraining_beats_random_weights_where_labels_are_few(tmp_path):
    x, labels, x_test, y_test = pydl.data.load("mnist_sample")
    x, x_test = x / np.float32(255), x_test / np.float32(255)
    few = tmp_path / "few.npz"
    chosen = np.concatenate([np.flatnonzero(labels == digit)[:10] for digit in range(10)])
    np.savez(few, x=(x[chosen] * 255).astype(np.uint8), y=labels[chosen])
    dbn = DBN([784, 200, 100], epochs=8, random_state=0).fit(x)
    data = f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
        transform_param {{ scale: {1 / 255} }}
        data_param {{ source: "{few}" batch_size: 100 }} }}"""
    unrolled = dbn.classifier(10, data)
    _, model = unrolled.save(tmp_path / "digits")
    test = x_test, y_test
    pretrained = fine_tuned(unrolled.net, [str(model)], test)
    random = fine_tuned(unrolled.net, [], test)
    assert pretrained > random + 0.02
    assert pretrained > 0.75


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DBN([5]), "layer_sizes are at least two positive numbers"),
        (lambda: DBN([5, 0]), "layer_sizes are at least two positive numbers"),
        (lambda: DBN([5, 4], visible="binary"), 'BINARY or GAUSSIAN, not "binary"'),
        (lambda: DBN([5, 4], learning_rate=[0.1, 0.1]), "2 learning rates for 1 RBMs"),
        (lambda: DBN([5, 4], cd_step=2), 'did you mean "cd_steps"'),
        (lambda: DBN([5, 4]).transform(np.zeros((2, 5))), "not trained yet: rbm1"),
        (lambda: DBN([5, 4]).fit(np.zeros((2, 6))), "items of 5 values, but is of shape"),
        (lambda: DBN([5, 4]).fit(np.zeros((0, 5))), "items of 5 values"),
        (lambda: DBN([5, 4]).fit(np.full((2, 5), 3.0)), "values from 0 to 1, but the data goes"),
        (lambda: DBN([5, 4]).fit(np.full((2, 5), np.nan)), "NaN or infinity"),
        (lambda: DBN([5, 4]).solve(), "give the data to fit"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(Error, match=message):
        make()


def load_text(net, solver="solver { base_lr: 0.1 max_iter: 1 }"):
    text = f"net_param {{ {net} }} {solver}"
    return DBN.load(prototxt.parse(text, "DbnSolverParameter"))


def test_bad_files():
    with pytest.raises(Error, match="has no RBM layer to train, only Input"):
        load_text('layer { name: "x" type: "Input" top: "x" }')
    rbms = 'layer { name: "a" type: "RBM" bottom: "x" top: "h" rbm_param { num_hidden: 2 } } '
    apart = rbms + rbms.replace('"a"', '"b"').replace('"h"', '"g"')
    with pytest.raises(Error, match='RBM layer "b" is not on the one below it, "a"'):
        load_text(apart)
    with pytest.raises(Error, match="one for each of the 1 RBM layers; there are 2"):
        load_text(rbms, "solver { } solver { }")
    with pytest.raises(Error, match="give net, a file, or net_param; it has neither"):
        DBN.load(prototxt.parse("solver { }", "DbnSolverParameter"))
    with pytest.raises(Error, match="no snapshot of this DBN's; theirs are named"):
        load_text(rbms).solve(resume="other.solverstate")
    dbn = small().fit(bars())
    with pytest.raises(Error, match='no data layer gives the labels "digit", only data, label'):
        dbn.classifier(10, label="digit")
