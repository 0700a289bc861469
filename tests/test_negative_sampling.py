"""Negative sampling and NCE against torch, how negatives are drawn, and errors."""

import re

import numpy as np
import pytest
from net_text import layer, make_net, normal

import pydl
from pydl import Error, _core

WORDS, SIZE, ROWS, NEGATIVES = 11, 5, 7, 4
COUNTS = [30, 14, 0, 9, 7, 5, 3, 2, 1, 1, 1]
TARGETS = np.array([0, 4, 10, 1, 1, 3, 0], np.float32)
COUNTED = " ".join(f"count: {n}" for n in COUNTS)


def sampled(fields="", loss="", tops="loss negatives", words=WORDS, name="loss"):
    param = f"num_output: {words} negatives: {NEGATIVES} weight_filler {{ type: 'gaussian' }}"
    return layer("NegativeSamplingLoss", f"negative_sampling_loss_param {{ {param} {fields} }} "
                 f"loss_param {{ {loss} }}", "x t", tops, name)  # fmt: skip


def net_of(text, seed=3, rows=ROWS, **options):
    inputs = {"x": (rows, SIZE), "t": (rows,)}
    return make_net(f"force_backward: true {text}", inputs, seed=seed, **options)


def run(net, x, targets=TARGETS):
    out = net.forward(x=x, t=targets)
    net._core.clear_param_diffs()
    net.backward()
    return out


CASES = {
    "log_uniform": ("", "", False),
    "counts": (COUNTED, "", False),
    "bias_power": (f"{COUNTED} power: 1 bias_term: true bias_filler {{ value: 0.3 }}", "", False),
    "nce": ("nce: true bias_term: true bias_filler { value: -0.2 }", "", True),
    "ignore": ("", "ignore_label: 1 normalization: NONE", False),
}


def log_uniform():
    k = np.arange(WORDS)
    return np.log((k + 2) / (k + 1)) / np.log(WORDS + 1)


@pytest.mark.parametrize("name", CASES)
def test_values(name, torch_values):
    fields, loss, nce = CASES[name]

    def case(torch):
        net = net_of(sampled(fields, loss))
        x = torch.from_numpy(normal(ROWS, SIZE)).requires_grad_()
        drawn = net.forward(x=x.detach().numpy(), t=TARGETS)["negatives"]
        blobs = [torch.from_numpy(np.array(b.data)).requires_grad_() for b in net.params["loss"]]
        ids = torch.from_numpy(np.concatenate([TARGETS[:, None], drawn], 1).astype(np.int64))
        kept = ids >= 0
        if name == "ignore":
            kept &= (ids[:, :1] != 1)  # fmt: skip
        ids = ids.clamp(min=0)
        scores = torch.bmm(torch.nn.functional.embedding(ids, blobs[0]), x[:, :, None])[:, :, 0]
        if len(blobs) > 1:
            scores = scores + blobs[1][ids]
        if nce:
            scores = scores - torch.log(NEGATIVES * torch.from_numpy(log_uniform()).float())[ids]
        signs = torch.tensor([1.0] + [-1.0] * NEGATIVES)
        losses = -torch.nn.functional.logsigmoid(signs * scores) * kept
        value = losses.sum() / (1 if name == "ignore" else ROWS)
        value.backward()
        return {
            "x": x, "loss": value, "negatives": drawn, "dx": x.grad,
            **{f"dp{i}": blob.grad for i, blob in enumerate(blobs)},
        }  # fmt: skip

    v = torch_values(f"negative_sampling_{name}", case)
    net = net_of(sampled(fields, loss))
    out = run(net, v["x"])
    np.testing.assert_array_equal(out["negatives"], v["negatives"])
    np.testing.assert_allclose(out["loss"], v["loss"], rtol=1e-5)
    np.testing.assert_allclose(net.blobs["x"].diff, v["dx"], rtol=1e-4, atol=1e-6)
    for i, blob in enumerate(net.params["loss"]):
        np.testing.assert_allclose(blob.diff, v[f"dp{i}"], rtol=1e-4, atol=1e-6)


def shown_draws(fields, words=WORDS, rows=4000, seed=3):
    """How often each word is drawn, as shares, where the target is always the last one."""
    net = net_of(sampled(fields, words=words), rows=rows, seed=seed)
    drawn = net.forward(x=np.zeros((rows, SIZE)), t=np.full(rows, words - 1))["negatives"]
    return np.bincount(drawn[drawn >= 0].astype(int), minlength=words) / drawn.size


@pytest.mark.parametrize("fields, power", [(COUNTED, 0.75), (f"{COUNTED} power: 1", 1)])
def test_negatives_are_drawn_by_counts(fields, power):
    want = np.array(COUNTS, float) ** power * (np.array(COUNTS) > 0)
    want /= want.sum()
    want[-1] = 0  # the target is left out
    np.testing.assert_allclose(shown_draws(fields), want, atol=0.01)
    assert shown_draws(fields)[2] == 0


def test_negatives_are_drawn_log_uniformly_without_counts():
    want = log_uniform()
    np.testing.assert_allclose(want.sum(), 1)
    np.testing.assert_allclose(shown_draws("nce: true"), want, atol=0.01)


def test_counts_of_a_file(tmp_path):
    path = tmp_path / "counts.txt"
    path.write_text("".join(f"word{i} {n}\n" for i, n in enumerate(COUNTS)))
    np.testing.assert_array_equal(shown_draws(f"source: '{path}'"), shown_draws(COUNTED))
    path.write_text("".join(f"{n}\n" for n in COUNTS))
    np.testing.assert_array_equal(shown_draws(f"source: '{path}'"), shown_draws(COUNTED))


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
def test_draws_depend_on_the_seed_alone(isa):
    """Not on threads, nor on the instruction set; each pass draws anew."""
    net = net_of(sampled(COUNTED), rows=900)
    x, targets = normal(900, SIZE), np.zeros(900)
    first, second = (net.forward(x=x, t=targets)["negatives"] for _ in range(2))
    assert (first != second).any()
    _core.kernels.set_isa(isa)
    for threads in (1, 2):
        pydl.set_num_threads(threads)
        again = net_of(sampled(COUNTED), rows=900).forward(x=x, t=targets)["negatives"]
        np.testing.assert_array_equal(again, first)
    other = net_of(sampled(COUNTED), rows=900, seed=4).forward(x=x, t=targets)["negatives"]
    assert (other != first).any()


def test_gradients_do_not_depend_on_threads():
    results = []
    for threads in (1, 2):
        pydl.set_num_threads(threads)
        net = net_of(sampled("bias_term: true", words=300), rows=2000)
        out = run(net, normal(2000, SIZE), np.arange(2000) % 300)
        results.append([out["loss"], net.blobs["x"].diff.copy(),
                        *(b.diff.copy() for b in net.params["loss"])])  # fmt: skip
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_resumed_run_draws_the_same(tmp_path):
    def solver():
        net = net_of(sampled(COUNTED, tops="loss"))
        net._core.input_blob("x").data[...] = normal(ROWS, SIZE)
        net._core.input_blob("t").data[...] = TARGETS
        return _core.Solver({"base_lr": 0.5, "momentum": 0.9}, net._core)

    straight, stopped = solver(), solver()
    losses = [straight.step() for _ in range(6)]
    for _ in range(3):
        stopped.step()
    stopped.snapshot(str(tmp_path / "state"))
    resumed = solver()
    resumed.restore(str(tmp_path / "state"))
    assert [resumed.step() for _ in range(3)] == losses[3:]


def test_learns_the_targets_it_is_shown():
    """Eight inputs and eight words: each input's own word gets the greatest score."""
    net = make_net(
        layer("Embed", "embed_param { num_output: 16 input_dim: 8 bias_term: false weight_filler "
              "{ type: 'gaussian' std: 0.3 } }", "i", "x") + sampled(words=8, tops="loss"),
        {"i": (64,), "t": (64,)},
    )  # fmt: skip
    net._core.input_blob("i").data[...] = np.arange(64) % 8
    net._core.input_blob("t").data[...] = (np.arange(64) * 3) % 8
    solver = _core.Solver({"base_lr": 0.1, "type": "Adam", "momentum": 0.9}, net._core)
    losses = [solver.step() for _ in range(150)]
    assert losses[-1] < 0.2 * losses[0]
    scores = net.params["x"][0].data @ net.params["loss"][0].data.T
    np.testing.assert_array_equal(scores.argmax(1), np.arange(8) * 3 % 8)


def test_targets_of_several_axes():
    text = sampled("nce: true")
    flat = net_of(text, rows=6).forward(x=normal(6, SIZE), t=TARGETS[:6])
    deep = make_net(text, {"x": (2, 3, SIZE), "t": (2, 3)}, seed=3)
    out = deep.forward(x=normal(6, SIZE).reshape(2, 3, SIZE), t=TARGETS[:6].reshape(2, 3))
    assert out["negatives"].shape == (2, 3, NEGATIVES)
    np.testing.assert_array_equal(out["loss"], flat["loss"])


def test_a_vocabulary_of_one_word_and_an_empty_batch():
    one = make_net(sampled(words=1), {"x": (2, SIZE), "t": (2,)})
    out = one.forward(x=normal(2, SIZE), t=np.zeros(2))
    assert (out["negatives"] == -1).all() and np.isfinite(out["loss"])
    ignored = net_of(sampled("", "ignore_label: 1"))
    out = run(ignored, normal(ROWS, SIZE), np.ones(ROWS))
    assert out["loss"] == 0 and not ignored.blobs["x"].diff.any()
    empty = make_net(sampled(), {"x": (0, SIZE), "t": (0,)})
    assert empty.forward()["loss"] == 0


@pytest.mark.parametrize(
    "fields, words",
    [
        ("num_output: 0", ["num_output, the size of the vocabulary", "positive, not 0"]),
        ("num_output: 20000000", ["20000000", "not exact in float32"]),
        ("negatives: 0", ["negatives must be positive, got 0"]),
        ("count: 1 count: 2", ["count gives 2 counts, but num_output is 11"]),
        ("power: 0.5", ["power is for counts"]),
        ("source: 'nowhere.txt'", ['cannot read "nowhere.txt"']),
        (f"source: 'a' {COUNTED}", ["given by source and by count"]),
        (f"{COUNTED.replace('30', '-1')}", ["the count of word 0", "got -1"]),
        (" ".join(["count: 0"] * WORDS), ["no word can be drawn"]),
        (f"nce: true {COUNTED}", ["with nce", "word 2 has none"]),
    ],
)
def test_bad_fields(fields, words):
    name = fields.partition(":")[0]
    text = re.sub(rf"\b{name}: \d+ ", "", sampled("@")).replace("@", fields)
    with pytest.raises(Error) as caught:
        net_of(text)
    for word in ['layer "loss" (NegativeSamplingLoss)', *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("line, words", [("a b", '"b" is no count'), ("", "the line is empty")])
def test_bad_files(tmp_path, line, words):
    path = tmp_path / "counts.txt"
    path.write_text(f"a 3\n{line}\nc 4\n")
    with pytest.raises(Error, match=f"counts.txt:2: .*{words}"):
        net_of(sampled(f"source: '{path}'"))


def test_bad_targets_and_shapes():
    net = net_of(sampled())
    for bad in (WORDS, -1, np.nan):
        targets = TARGETS.copy()
        targets[2] = bad
        with pytest.raises(Error, match=r"at \[2\] of the 7 targets is no word: .* 0 to 10"):
            net.forward(x=normal(ROWS, SIZE), t=targets)
    with pytest.raises(Error, match="a target for each of the 7 vectors"):
        make_net(sampled(), {"x": (7, SIZE), "t": (6,)})
