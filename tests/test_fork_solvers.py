"""Solver fields of Caffe's forks (SSD, Intel's, NVIDIA's) against their formulas in numpy."""

import numpy as np
import pytest
from solver_runs import SHAPES, TEXT, feed, make_solver, params_of, solver_message

import pydl
from pydl import Error, prototxt


def rates(count, **fields):
    solver, _ = make_solver(**fields)
    found = []
    for i in range(count):
        solver.iter = i
        found.append(solver.lr)
    return found


def parse(text):
    return prototxt.parse(text, "SolverParameter")


class TestRates:
    def test_nvidias_ramp(self):
        """To base_lr, whatever the policy says by then."""
        fields = {"lr_policy": "poly", "power": 2.0, "max_iter": 20, "min_lr": 0.01}
        found = rates(21, rampup_interval=5, rampup_lr=0.02, **fields)
        want = [0.02 + 0.08 * i / 5 for i in range(5)]
        want += [0.01 + 0.09 * (1 - i / 20) ** 2 for i in range(5, 21)]
        assert found == pytest.approx(want, rel=1e-6)
        assert rates(2, rampup_interval=4) == pytest.approx([0, 0.025])

    def test_intels_warm_up(self):
        text = """base_lr: 0.1 lr_policy: "exp" gamma: 0.5 warmup_iter: 4 warmup_start_lr: 0.02"""
        message = solver_message()
        message.MergeFrom(parse(text))
        solver = pydl.Solver(message)
        found = []
        for i in range(6):
            solver._core.iter = i
            found.append(solver.lr)
        want = [0.02 + 0.08 * i / 4 for i in range(4)] + [0.1 * 0.5**4, 0.1 * 0.5**5]
        assert found == pytest.approx(want, rel=1e-6)

    def test_pydls_own_warm_up_is_to_the_policys_rate(self):
        found = rates(4, lr_policy="exp", gamma=0.5, warmup_iters=4, warmup_start_lr=0.02)
        assert found == pytest.approx([0.02 + (0.1 * 0.5**i - 0.02) * i / 4 for i in range(4)])

    def test_multifixed(self):
        stages = {"stageiter": [2, 5, 6], "stagelr": [0.3, 0.2, 0.1]}
        found = rates(9, lr_policy="multifixed", **stages)
        assert found == pytest.approx([0.3, 0.3, 0.3, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1])

    def test_min_lr_of_a_policy_that_has_none(self):
        assert rates(1, min_lr=0.0) == pytest.approx([0.1])  # as NVIDIA's files may say


def ssd_plateau(losses, winsize, gamma, base_lr, window, start=0):
    """The rate of each update: that of SSD's GetLearningRate, which looks at the smoothed loss of
    the same iteration."""
    step, event, least, rate = 0, 0, np.inf, []
    for i in range(len(losses)):
        mean = np.mean(np.float32(losses[max(0, i + 1 - window) : i + 1]), dtype=np.float64)
        if i >= start:
            if mean < least:
                least, event = mean, i
            if step < len(winsize) and i >= event + winsize[step]:
                step, event = step + 1, i
        rate.append(base_lr * gamma**step)
    return rate


class TestPlateauByTheLoss:
    @pytest.mark.parametrize("keep", ["all", "outputs"])
    @pytest.mark.parametrize("window", [1, 4])
    def test_as_ssd(self, window, keep):
        fields = {"lr_policy": "plateau", "gamma": 0.5, "average_loss": window, "max_iter": 60}
        message = solver_message(**fields)
        message.plateau_winsize.extend([3, 2, 6])
        solver = pydl.Solver(message, keep=keep)
        feed(solver.net)
        losses, after = [], []
        for _ in range(40):
            losses.append(solver.step(1))
            after.append(solver.lr)
        assert after == pytest.approx(ssd_plateau(losses, [3, 2, 6], 0.5, 0.1, window))
        assert after[-1] < 0.1

    def test_the_rate_counts_for_the_update_of_the_iteration(self):
        solver, net = make_solver(
            lr_policy="plateau", gamma=0.1, plateau_winsize=[1], weight_decay=0.0
        )
        solver.step()
        first = params_of(net)
        loss = solver.step()
        second = params_of(net)
        dropped = solver.lr == pytest.approx(0.01)
        rate = 0.01 if dropped else 0.1
        other, same = make_solver()
        other.step()
        other.base_lr = rate
        assert other.step() == loss
        for name, value in params_of(same).items():
            np.testing.assert_allclose(second[name], value, rtol=1e-6, err_msg=name)
            assert (second[name] != first[name]).any()

    def test_not_by_tests(self):
        """With plateau_winsize no test, and no test_interval, is needed; scores do not count."""
        solver, _ = make_solver(lr_policy="plateau", gamma=0.5, plateau_winsize=[5])
        for _ in range(30):
            solver.observe(1.0)
        assert solver.lr == pytest.approx(0.1)


def numpy_run(steps, momentum_of, rate_of=None, rule="SGD", decay=0.0):
    """The weights after each update, from the gradients that pydl computes."""
    _, net = make_solver(base_lr=0.0, momentum=0.0)
    weights = {k: v.astype(np.float64) for k, v in params_of(net).items()}
    history = {k: np.zeros_like(v) for k, v in weights.items()}
    mults = {"first/1": (2, 0), "second/0": (1, 3)}
    out = []
    for i in range(steps):
        for key, value in weights.items():
            layer, index = key.split("/")
            net.params[layer][int(index)].data[...] = value
        net.forward()
        net._core.clear_param_diffs()
        net.backward()
        for key in weights:
            layer, index = key.split("/")
            gradient = net.params[layer][int(index)].diff.astype(np.float64)
            lr_mult, decay_mult = mults.get(key, (1, 1))
            rate = 0.1 * lr_mult
            if rate_of:
                norms = np.linalg.norm(weights[key]), np.linalg.norm(gradient)
                rate = rate_of(0.1, *norms)
            gradient = gradient + decay * decay_mult * weights[key]
            before, m = history[key], momentum_of(i)
            history[key] = m * before + rate * gradient
            step = history[key]
            if rule == "Nesterov":
                step = (1 + m) * history[key] - m * before
            weights[key] = weights[key] - step
        out.append({k: v.copy() for k, v in weights.items()})
    return out


def assert_runs_as(want, **fields):
    solver, net = make_solver(**fields)
    for expected in want:
        solver.step()
        for key, value in params_of(net).items():
            np.testing.assert_allclose(value, expected[key], rtol=2e-5, atol=2e-6, err_msg=key)


class TestMomentumPolicies:
    @pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
    def test_poly(self, rule):
        want = numpy_run(6, lambda i: 0.5 + 0.4 * (i / 10) ** 2, rule=rule)
        assert_runs_as(want, type=rule, momentum=0.5, momentum_policy="poly", max_momentum=0.9,
                       momentum_power=2.0, max_iter=10)  # fmt: skip

    def test_poly_ends_at_max_momentum(self):
        solver, _ = make_solver(momentum=0.5, momentum_policy="poly", max_iter=4)
        found = []
        for i in (0, 2, 4):
            solver.iter = i
            found.append(solver.momentum)
        assert found == pytest.approx([0.5, (0.5 + 0.99) / 2, 0.99])

    def test_opt(self):
        want = numpy_run(5, lambda i: (1 - 0.5 * np.sqrt(0.1)) ** 2)
        assert_runs_as(want, momentum=0.9, momentum_policy="opt")
        want = numpy_run(5, lambda i: 0.5)
        assert_runs_as(want, momentum=0.9, momentum_policy="opt", max_momentum=0.5)


class TestRatesByNorms:
    def test_larc_scale(self):
        want = numpy_run(5, lambda i: 0.9, lambda lr, w, g: lr * 0.02 * w / g if w and g else lr)
        assert_runs_as(want, momentum=0.9, larc=True, larc_eta=0.02)

    def test_larc_clip(self):
        want = numpy_run(5, lambda i: 0, lambda lr, w, g: min(lr, 0.05 * w / g if w and g else 1))
        assert_runs_as(want, larc=True, larc_policy="clip", larc_eta=0.05)

    def test_local_lr_auto_counts_the_decay(self):
        want = numpy_run(
            5, lambda i: 0.9, lambda lr, w, g: lr * 0.02 * w / (g + 0.01 * w), decay=0.01
        )
        fields = {"local_lr_auto": True, "local_gw_ratio": 0.02, "weight_decay": 0.01}
        assert_runs_as(want, momentum=0.9, **fields)

    def test_gradients_of_several_batches_are_a_mean(self):
        """The norm is that of what the update works with, divided by iter_size."""
        runs = []
        for size in (1, 2):
            solver, net = make_solver(larc=True, iter_size=size, fed=False)
            for name, value in {"x": np.ones(SHAPES["x"]), "t": np.zeros(SHAPES["t"])}.items():
                net.blobs[name].data[...] = value
            solver.step()
            runs.append(params_of(net))
        for key, value in runs[0].items():
            np.testing.assert_allclose(runs[1][key], value, rtol=1e-6, err_msg=key)

    def test_what_does_not_learn_stays(self):
        text = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 0 }")
        solver, net = make_solver(text, larc=True)
        before = params_of(net)["first/0"]
        solver.step()
        np.testing.assert_array_equal(params_of(net)["first/0"], before)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rampup_interval": -1}, "rampup_interval must not be negative"),
        ({"rampup_interval": 2, "warmup_iters": 3}, "are both given"),
        ({"rampup_interval": 2, "rampup_lr": -0.1}, "rampup_lr must not be negative"),
        ({"momentum_policy": "pol"}, 'did you mean "poly"'),
        ({"momentum_policy": "poly", "max_iter": 0}, "needs max_iter > 0"),
        ({"momentum_policy": "poly", "type": "Adam"}, 'for type "SGD" and "Nesterov", not "Adam"'),
        ({"larc": True, "local_lr_auto": True}, "not both"),
        ({"larc": True, "larc_policy": "clipp"}, 'did you mean "clip"'),
        ({"larc": True, "larc_eta": 0.0}, "must be positive"),
        ({"lr_policy": "multifixed"}, "needs a stageiter"),
        ({"lr_policy": "multifixed", "stageiter": [1, 2], "stagelr": [1.0]}, "for each stage"),
        ({"lr_policy": "plateau", "gamma": 0.5, "plateau_winsize": [0]}, "must be positive, got 0"),
        ({"lr_policy": "plateau", "gamma": 0.5, "plateau_winsize": [1], "plateau_patience": 2},
         "give one of them"),
    ],
)  # fmt: skip
def test_fields_that_do_not_go_together(fields, words):
    with pytest.raises(Error, match=words):
        make_solver(**fields)


def test_fields_without_effect_are_read_and_noted():
    text = """
        base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 5 max_iter: 4
        plateau_winsize: 10000 plateau_winsize: 20000
        solver_data_type: FLOAT16 store_blobs_in_old_format: true  # NVIDIA
        engine: "MKLDNN" disabled_update: false  # Intel
    """
    message = solver_message()
    message.MergeFrom(parse(text))
    solver = pydl.Solver(message)
    noted = " ".join(solver.notes)
    for field in ("solver_data_type", "engine", "store_blobs_in_old_format", "disabled_update"):
        assert f"{field} is of" in noted
    assert 'plateau_winsize is not used by lr_policy "step"' in noted
    feed(solver.net)
    solver.step(1)
