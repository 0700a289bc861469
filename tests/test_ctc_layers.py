"""CTC and the layers of sequence forks: against the definition summed over all paths, and numpy."""

import itertools

import numpy as np
import pytest
from net_text import layer, make_net, normal

import pydl
from pydl import Error
from pydl.gradient_check import check_gradients


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reads_as(path, blank):
    merged = [c for c, _ in itertools.groupby(path)]
    return [c for c in merged if c != blank]


def cost_by_paths(x, labels, blank):
    """Minus the log of the probability of all paths (steps, classes) that read as the labels."""
    p = softmax(x.astype(np.float64))
    steps, classes = x.shape
    total = sum(
        np.prod(p[np.arange(steps), path])
        for path in itertools.product(range(classes), repeat=steps)
        if reads_as(path, blank) == list(labels)
    )
    return -np.log(total) if total > 0 else 0.0


def log_cost(x, labels, blank=0):
    """The same by the forward recursion on logarithms, for longer sequences."""
    log_p = np.log(softmax(x.astype(np.float64)) + 1e-300)
    states = [blank]
    for label in labels:
        states += [label, blank]
    alpha = np.full(len(states), -np.inf)
    alpha[:2] = log_p[0, states[:2]]
    for row in log_p[1:]:
        before, alpha = alpha, np.full(len(states), -np.inf)
        for s, state in enumerate(states):
            ways = [before[s]] + ([before[s - 1]] if s else [])
            if s > 1 and state not in (blank, states[s - 2]):
                ways.append(before[s - 2])
            alpha[s] = np.logaddexp.reduce(ways) + row[state]
    return -np.logaddexp(alpha[-1], alpha[-2] if len(states) > 1 else -np.inf)


def ctc(params="", kind="CtcLoss", bottoms="x labels"):
    return layer(kind, f"ctc_loss_param {{ {params} }}", bottoms=bottoms)


def loss_and_gradient(text, inputs):
    net = make_net("force_backward: true " + text, inputs)
    loss = float(net.forward(**inputs)["y"])
    net.backward()
    return loss, net.blobs["x"].diff.copy()


class TestCtcLoss:
    @pytest.mark.parametrize(
        ("labels", "blank"),
        [
            ([[1, 2], [2, 2]], 0),
            ([[1, 0], [0, 0]], 0),  # padded, and empty
            ([[1, 1], [2, 1]], 2),  # the blank is skipped wherever it stands
            ([[1, 2, 1, 2, 1], [2, 2, 2, 0, 0]], 0),  # the first does not fit 4 steps, nor the last
            ([[1, 2, 1, 2], [2, 2, 0, 0]], 0),  # fits exactly
        ],
    )
    def test_is_the_sum_over_all_paths(self, labels, blank):
        inputs = {"x": 2 * normal(4, 2, 3), "labels": np.float32(labels)}
        want = np.mean(
            [
                cost_by_paths(inputs["x"][:, n], [v for v in row if v != blank], blank)
                for n, row in enumerate(labels)
            ]
        )
        loss, _ = loss_and_gradient(ctc(f"blank_label: {blank}"), inputs)
        assert loss == pytest.approx(want, rel=1e-6)

    def test_gradient(self):
        inputs = {"x": normal(6, 3, 4), "labels": np.float32([[1, 1, 3], [2, 0, 0], [3, 2, 1]])}
        check_gradients(ctc("alphabet_size: 4 time_step: 6"), inputs)

    def test_gradient_is_none_where_a_label_does_not_fit(self):
        inputs = {"x": normal(2, 2, 3), "labels": np.float32([[1, 1], [1, 2]])}
        _, gradient = loss_and_gradient(ctc(), inputs)
        assert not gradient[:, 0].any()
        assert gradient[:, 1].any()

    @pytest.mark.parametrize("scale", [1, 30, 3000])  # the last leaves the range of doubles
    def test_long_sequences_and_small_probabilities(self, scale):
        x = scale * normal(80, 2, 11)
        labels = np.float32(np.random.default_rng(1).integers(0, 11, (2, 30)))
        want = [log_cost(x[:, n], [int(v) for v in labels[n] if v]) for n in range(2)]
        loss, gradient = loss_and_gradient(ctc(), {"x": x, "labels": labels})
        if scale < 3000:  # numpy's own probabilities are above 1e-300
            assert loss == pytest.approx(np.mean(want), rel=1e-5)
        assert np.isfinite(loss)
        np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-5)  # of a softmax
        assert np.abs(gradient).max() <= 0.5 + 1e-6

    def test_by_logarithms_as_by_probabilities(self):
        """Two far apart scores make the probabilities underflow; a shift in them is exact."""
        x = np.zeros((3, 1, 3), np.float32)
        x[:, 0] = [[800, 0, 0], [800, 0, 0], [800, 0, 0]]
        inputs = {"x": x, "labels": np.float32([[1, 2]])}
        loss, gradient = loss_and_gradient(ctc(), inputs)
        # 1 2 with one blank at either end or between: each has the probability exp(-1600); 1 1 2
        # and 1 2 2 that of exp(-2400).
        assert loss == pytest.approx(1600 - np.log(3), rel=1e-6)
        np.testing.assert_allclose(gradient[:, 0, 1], [-2 / 3, -1 / 3, 0], atol=1e-5)

    def test_loss_weight(self):
        inputs = {"x": normal(4, 2, 3), "labels": np.float32([[1, 2], [2, 0]])}
        _, once = loss_and_gradient(ctc(), inputs)
        text = ctc().replace("layer {", "layer { loss_weight: 2.5", 1)
        _, more = loss_and_gradient(text, inputs)
        np.testing.assert_allclose(more, 2.5 * once, rtol=1e-6)

    @pytest.mark.parametrize(
        ("params", "shapes", "words"),
        [
            ("alphabet_size: 5", ((4, 2, 3), (2, 2)), "alphabet_size is 5, but its bottom has 3"),
            ("time_step: 5", ((4, 2, 3), (2, 2)), "time_step is 5, but its bottom has 4 steps"),
            ("blank_label: 3", ((4, 2, 3), (2, 2)), "blank_label 3 is not in 0 to 2"),
            ("blank_label: -1", ((4, 2, 3), (2, 2)), "blank_label -1"),
            ("", ((4, 2), (2, 2)), "steps x sequences x classes"),
            ("", ((4, 2, 3), (3, 2)), "a row of labels for each of 2 sequences"),
        ],
    )
    def test_what_does_not_fit(self, params, shapes, words):
        with pytest.raises(Error, match=words):
            make_net(ctc(params), dict(zip(("x", "labels"), shapes, strict=True)))

    @pytest.mark.parametrize("bad", [3, -1, np.nan])
    def test_labels_that_are_none(self, bad):
        inputs = {"x": normal(4, 2, 3), "labels": np.float32([[1, 2], [2, bad]])}
        with pytest.raises(Error, match=r"at \[1, 1\] of the 2x2 labels"):
            make_net(ctc(), inputs).forward(**inputs)

    def test_scores_that_are_none(self):
        inputs = {"x": np.full((4, 2, 3), np.nan, np.float32), "labels": np.ones((2, 2))}
        loss, _ = loss_and_gradient(ctc(), inputs)
        assert np.isnan(loss)


class TestWarpCtcLoss:
    def test_labels_by_row(self):
        inputs = {"x": normal(4, 2, 3), "labels": np.float32([[1, 2], [2, 0]])}
        a, b = (loss_and_gradient(ctc(kind=k), inputs) for k in ("CtcLoss", "WarpCTCLoss"))
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])

    def test_lengths(self):
        x = normal(5, 2, 4)
        inputs = {
            "x": x,
            "steps": np.float32([3, 5]),
            "length": np.float32([1, 2]),
            "labels": np.float32([[2, 1], [3, 3], [0, 0]]),  # by column
        }
        text = ctc("blank_label: 0", "WarpCTCLoss", "x steps length labels")
        loss, gradient = loss_and_gradient(text, inputs)
        want = (cost_by_paths(x[:3, 0], [2], 0) + cost_by_paths(x[:, 1], [1, 3], 0)) / 2
        assert loss == pytest.approx(want, rel=1e-6)
        assert not gradient[3:, 0].any()
        inputs["steps"] = np.float32([3, 6])
        with pytest.raises(Error, match="length 6 of sequence 1 is not in 0 to 5"):
            make_net(text, inputs).forward(**inputs)

    @pytest.mark.parametrize(("blank", "shift"), [(0, 1), (3, 0)])
    def test_indicators(self, blank, shift):
        x = normal(5, 2, 4)
        inputs = {
            "x": x,
            "cont": np.float32([[0, 0], [1, 1], [1, 1], [0, 1], [1, 1]]),
            "labels": np.float32([[0, 2], [1, 0], [-1, -1], [-1, -1], [-1, -1]]),
        }
        text = ctc(f"blank_label: {blank}", "WarpCTCLoss", "x cont labels")
        loss, _ = loss_and_gradient(text, inputs)
        first = cost_by_paths(x[:3, 0], [0 + shift, 1 + shift], blank)
        second = cost_by_paths(x[:, 1], [2 + shift, 0 + shift], blank)
        assert loss == pytest.approx((first + second) / 2, rel=1e-6)


class TestSequenceLayers:
    def test_continuation_indicator(self):
        params = "continuation_indicator_param { time_step: 3 batch_size: 2 }"
        text = layer("ContinuationIndicator", params, bottoms="")
        net = make_net(text)
        np.testing.assert_array_equal(net.forward()["y"], [[0, 0], [1, 1], [1, 1]])
        params = "continuation_indicator_param { time_step: 2 }"
        net = make_net(layer("ContinuationIndicator", params), {"x": (4, 7)})
        assert net.blobs["y"].shape == (2, 4)
        with pytest.raises(Error, match="batch_size must be given"):
            make_net(layer("ContinuationIndicator", params, bottoms=""))
        with pytest.raises(Error, match="time_step must be given"):
            make_net(layer("ContinuationIndicator", "", bottoms=""))

    @pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (-1,), (0, 2), (1, 1)])
    def test_reverse(self, axes):
        fields = " ".join(f"axis: {a}" for a in axes)
        inputs = {"x": normal(4, 3, 5)}
        text = layer("Reverse", f"reverse_param {{ {fields} }}")
        want = np.flip(inputs["x"], tuple({a % 3 for a in axes or (0,)}))
        np.testing.assert_array_equal(make_net(text, inputs).forward(**inputs)["y"], want)
        check_gradients(text, inputs)

    def test_reverse_of_an_axis_that_is_not_there(self):
        with pytest.raises(Error, match="axis 3 is out of range"):
            make_net(layer("Reverse", "reverse_param { axis: 3 }"), {"x": (2, 3)})

    def test_labelsequence_accuracy(self):
        paths = np.array([[0, 1, 1, 0, 1, 2], [0, 0, 0, 0, 0, 0], [2, 2, 2, 1, 1, 1]])
        inputs = {
            "x": np.eye(3, dtype=np.float32)[paths] + 0.1 * normal(3, 6, 3),
            "labels": np.float32([[1, 1, 2], [0, 0, 0], [2, 2, 1]]),
        }
        text = layer("LabelsequenceAccuracy", bottoms="x labels")
        net = make_net(text, inputs)
        assert float(net.forward(**inputs)["y"]) == pytest.approx(2 / 3)
        params = "labelsequence_accuracy_param { blank_label: 2 }"
        net = make_net(layer("LabelsequenceAccuracy", params, bottoms="x labels"), inputs)
        inputs["labels"] = np.float32([[0, 1, 0], [0, 2, 2], [1, 2, 2]])
        # 0 1 0 1; 0; 1
        assert float(net.forward(**inputs)["y"]) == pytest.approx(2 / 3)
        with pytest.raises(Error, match="sequences x steps x classes"):
            make_net(text, {"x": (3, 6), "labels": (3, 2)})


LSTM = "num_output: 4 weight_filler { type: 'uniform' min: -0.5 max: 0.5 } bias_filler { value: 1 }"


class TestLstm:
    """Junhyuk Oh's: the same numbers as LSTM, with its blobs in another order."""

    def nets(self, inputs, fields="", bottoms="x", cont=None):
        theirs = make_net(
            "force_backward: true " + layer("Lstm", f"lstm_param {{ {LSTM} {fields} }}", bottoms),
            inputs,
        )
        steps, batch = cont.shape
        shape = {"x": (steps, batch, 3), "cont": (steps, batch)}
        ours = make_net(
            "force_backward: true "
            + layer("LSTM", f"recurrent_param {{ {LSTM} }}", bottoms="x cont"),
            shape,
        )
        for mine, other in ((0, 0), (1, 2), (2, 1)):
            ours.params["y"][other].data[...] = theirs.params["y"][mine].data
        return theirs, ours

    @pytest.mark.parametrize("case", ["rows", "batch_size", "axes", "cont"])
    def test_as_lstm(self, case):
        steps, batch = (5, 1) if case == "rows" else (5, 2)
        cont = np.ones((steps, batch), np.float32)
        cont[0] = 0
        x = normal(steps, batch, 3)
        rows = case != "axes"
        inputs = {"x": x.reshape(-1, 3) if rows else x}
        bottoms, fields = "x", f"batch_size: {batch}" if case in ("batch_size", "cont") else ""
        if case == "cont":
            cont[2, 1] = 0
            inputs["cont"], bottoms = cont.reshape(-1), "x cont"
        theirs, ours = self.nets(inputs, fields, bottoms, cont)
        for _ in range(2):  # the second goes on from the first where cont says so
            y = theirs.forward(**inputs)["y"].copy()
            want = ours.forward(x=x, cont=cont)["y"].copy()
            assert y.shape == ((steps * batch, 4) if rows else (steps, batch, 4))
            np.testing.assert_array_equal(y.reshape(want.shape), want)
            if case == "cont":
                cont[0, 0] = 1
                inputs["cont"] = cont.reshape(-1)
        dy = normal(steps, batch, 4, seed=3)
        for net in (theirs, ours):
            net.blobs["y"].diff[...] = dy.reshape(net.blobs["y"].shape)
            net.backward()
        np.testing.assert_array_equal(theirs.blobs["x"].diff.reshape(x.shape), ours.blobs["x"].diff)
        for mine, other in ((0, 0), (1, 2), (2, 1)):
            np.testing.assert_array_equal(
                theirs.params["y"][mine].diff, ours.params["y"][other].diff
            )

    def test_blobs(self):
        net = make_net(layer("Lstm", f"lstm_param {{ {LSTM} }}"), {"x": (5, 3)})
        assert [b.shape for b in net.params["y"]] == [(16, 3), (16, 4), (16,)]

    def test_gradients(self):
        check_gradients(layer("Lstm", f"lstm_param {{ {LSTM} batch_size: 2 }}"), {"x": (6, 3)})

    def test_what_does_not_fit(self):
        with pytest.raises(Error, match="num_output must be given"):
            make_net(layer("Lstm"), {"x": (5, 3)})
        with pytest.raises(Error, match="no multiple of batch_size 2"):
            make_net(layer("Lstm", f"lstm_param {{ {LSTM} batch_size: 2 }}"), {"x": (5, 3)})
        with pytest.raises(Error, match="a 0 or 1 for each of 5 steps"):
            make_net(
                layer("Lstm", f"lstm_param {{ {LSTM} }}", "x cont"), {"x": (5, 3), "cont": (4,)}
            )


def test_they_learn_to_read():
    """A small LSTM with CtcLoss learns sequences that are not aligned with their labels."""
    text = """
        layer { name: "data" type: "Input" top: "x" top: "labels"
          input_param { shape { dim: 12 dim: 8 dim: 4 } shape { dim: 8 dim: 3 } } }
        layer { name: "lstm" type: "Lstm" bottom: "x" top: "h" lstm_param { num_output: 24
          weight_filler { type: "xavier" } } }
        layer { name: "turned" type: "Reverse" bottom: "x" top: "turned" }
        layer { name: "back" type: "Lstm" bottom: "turned" top: "g" lstm_param { num_output: 24
          weight_filler { type: "xavier" } } }
        layer { name: "again" type: "Reverse" bottom: "g" top: "again" }
        layer { name: "both" type: "Concat" bottom: "h" bottom: "again" top: "both"
          concat_param { axis: 2 } }
        layer { name: "scores" type: "InnerProduct" bottom: "both" top: "scores"
          inner_product_param { num_output: 4 axis: 2 weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "CtcLoss" bottom: "scores" bottom: "labels" top: "loss" }
    """
    solver = pydl.prototxt.new("SolverParameter", base_lr=0.01, type="Adam", momentum=0.9)
    solver.random_seed, solver.lr_policy = 1, "fixed"
    solver.train_net_param.CopyFrom(pydl.prototxt.parse(text))
    solver = pydl.Solver(solver)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(400):
        labels = rng.integers(1, 4, (8, 3))
        x = np.zeros((12, 8, 4), np.float32)
        for n in range(8):
            for k, step in enumerate(sorted(rng.choice(11, 3, replace=False))):
                x[step, n, labels[n, k]] = 1
        solver.net.blobs["x"].data[...] = x
        solver.net.blobs["labels"].data[...] = labels
        losses.append(solver.step(1))
    assert losses[0] > 3
    assert np.mean(losses[-10:]) < 0.5
