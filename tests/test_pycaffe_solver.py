"""pycaffe's solvers."""

import logging

import numpy as np
import pytest
from net_text import dense, layer

from pydl import caffe, prototxt
from pydl.errors import Error

NET = (
    layer("DummyData", "dummy_data_param { shape { dim: 6 dim: 5 } shape { dim: 6 } "
          'data_filler { type: "gaussian" } data_filler { type: "constant" } }', "", "data label",
          "data")
    + dense(7, "data", "ip", fields='bias_filler { type: "constant" value: 1 }')
    + layer("SoftmaxWithLoss", "", "ip label", "loss")
)  # fmt: skip
SOLVER = """
net: "{net}" test_iter: 10 test_interval: 10 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005
lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 100 max_iter: 100 snapshot_after_train: false
snapshot_prefix: "model"
"""
CLASSES = {
    "SGD": caffe.SGDSolver,
    "Nesterov": caffe.NesterovSolver,
    "AdaGrad": caffe.AdaGradSolver,
    "RMSProp": caffe.RMSPropSolver,
    "AdaDelta": caffe.AdaDeltaSolver,
    "Adam": caffe.AdamSolver,
}


def known(kind):
    """The update rule is in this build's core."""
    try:
        param = prototxt.new("SolverParameter", base_lr=0.1, lr_policy="fixed", type=kind)
        param.net_param = prototxt.parse(NET)
        caffe.get_solver(param)
    except Error:
        return False
    return True


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER.format(net="net.prototxt"))
    return tmp_path


@pytest.fixture
def solver(folder):
    solver = caffe.SGDSolver("solver.prototxt")
    for net in (solver.net, *solver.test_nets):
        net.blobs["label"].data[...] = np.random.randint(7, size=6)
    return solver


def test_solve(solver):
    assert solver.iter == 0
    solver.solve()
    assert solver.iter == 100


def test_step_and_lr(solver):
    assert solver.lr == pytest.approx(0.01)
    solver.step(3)
    assert solver.iter == 3
    assert solver.lr == pytest.approx(0.01 * (1 + 0.0001 * 3) ** -0.75)
    assert (solver.param.max_iter, solver.param.display) == (100, 100)
    assert solver.param.layer_wise_reduce is True


def test_a_new_base_lr_counts(solver):
    solver.param.base_lr = 0.5
    assert solver.lr == pytest.approx(0.5)
    weights, bias = solver.net.params["ip"]
    weights.data[...], bias.data[...] = 0, 0
    bias.diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(bias.data, -0.5)


def test_apply_update(solver):
    """Without an iteration: the first update is the gradient times the learning rate."""
    data = solver.net.layers[1].blobs[0].data
    data[...] = 0
    solver.net.layers[1].blobs[0].diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(data, -0.01, rtol=1e-5)
    assert solver.iter == 0


def test_nets_outlive_their_solver(solver):
    nets = [solver.net, *solver.test_nets]
    assert len(nets) == 2
    assert nets[0] is solver.net and nets[1] is solver.test_nets[0]
    del solver
    for net in nets:
        for blobs in (*net.params.values(), net.blobs.values()):
            for blob in blobs:
                assert np.isfinite(blob.data.sum() + blob.diff.sum())


def test_test_nets_share_weights(solver):
    solver.net.params["ip"][0].data[...] = 3
    assert (solver.test_nets[0].params["ip"][0].data == 3).all()


def test_snapshot_and_restore(solver, folder):
    solver.snapshot()
    for name in ("model_iter_0.caffemodel", "model_iter_0.solverstate"):
        assert (folder / name).is_file()
    solver.step(4)
    solver.snapshot()
    solver.step(2)
    want = solver.net.params["ip"][0].data.copy()
    again = caffe.SGDSolver("solver.prototxt")
    again.restore("model_iter_4.solverstate")
    assert again.iter == 4
    again.net.blobs["label"].data[...] = solver.net.blobs["label"].data
    again.net.blobs["data"].data[...] = solver.net.blobs["data"].data
    again.step(2)
    np.testing.assert_array_equal(again.net.params["ip"][0].data, want)


def test_solve_from_a_snapshot(solver):
    solver.step(96)
    solver.snapshot()
    seen = []
    solver.add_callback(lambda: seen.append(solver.iter), lambda: None)
    solver.solve("model_iter_96.solverstate")
    assert seen == [96, 97, 98, 99]


def test_share_weights(solver, folder):
    net = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(net)
    solver.step(1)
    np.testing.assert_array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_callbacks(solver):
    """Gradients are whole when they are ready, and what a callback makes of them counts."""
    events, weights = [], solver.net.params["ip"][0]
    before = []

    def on_start():
        events.append("start")
        before.append(weights.data.copy())
        assert not weights.diff.any()

    def on_gradients_ready():
        events.append("ready")
        assert weights.diff.any()
        np.testing.assert_array_equal(weights.data, before[-1])
        weights.diff[...] = 0

    solver.param.weight_decay = 0
    solver.add_callback(on_start, on_gradients_ready)
    solver.step(2)
    assert events == ["start", "ready"] * 2
    assert np.abs(weights.data - before[0]).max() < 1e-3, "only weight decay was left"

    def fails():
        raise ZeroDivisionError("here")

    solver.add_callback(fails, lambda: None)
    with pytest.raises(ZeroDivisionError, match="here"):
        solver.step(1)


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_have_their_rule_whatever_the_file_says(folder, kind):
    if not known(kind):
        pytest.skip(f"no update rule {kind} in this build")
    other = "Adam" if kind == "SGD" else "SGD"
    fields = 'type: "%s" base_lr: 0.1 lr_policy: "fixed" net: "net.prototxt" random_seed: 3'
    (folder / "mine.prototxt").write_text(fields % kind)
    (folder / "other.prototxt").write_text(fields % other)
    ours = [CLASSES[kind]("other.prototxt"), caffe.get_solver("mine.prototxt")]
    assert all(type(solver) is CLASSES[kind] for solver in ours)
    for solver in ours:
        assert isinstance(solver, caffe._caffe.Solver)
        assert solver.param.type == kind
        solver.step(3)
    a, b = (solver.net.params["ip"][0].data for solver in ours)
    np.testing.assert_array_equal(a, b)


def test_old_solver_type(folder):
    if not known("AdaGrad"):
        pytest.skip("no update rule AdaGrad in this build")
    (folder / "old.prototxt").write_text(
        'solver_type: ADAGRAD base_lr: 0.1 lr_policy: "fixed" net: "net.prototxt"'
    )
    assert type(caffe.get_solver("old.prototxt")) is caffe.AdaGradSolver
    assert caffe.SGDSolver("old.prototxt").param.type == "SGD"


def test_seed_of_the_process(folder):
    def weights():
        caffe.set_random_seed(11)
        return caffe.SGDSolver("solver.prototxt").net.params["ip"][0].data

    np.testing.assert_array_equal(weights(), weights())


def test_log(solver, caplog):
    with caplog.at_level(logging.INFO, logger="pydl"):
        solver.step(1)
        assert any("Iteration 0" in line and "loss = " in line for line in caplog.messages)
        assert not any("Solving" in line for line in caplog.messages), "that is solve's"
        solver.solve()
        assert any("Solving" in line for line in caplog.messages)


def test_a_loss_that_is_not_a_number_does_not_stop_it(solver):
    solver.net.params["ip"][0].data[...] = np.nan
    solver.step(1)
    assert solver.iter == 1


def test_errors(folder):
    with pytest.raises(Error, match="no such file"):
        caffe.SGDSolver("nothing.prototxt")
    with pytest.raises(Error, match="this is a net, not a solver"):
        caffe.get_solver("net.prototxt")
