"""autotune: true: convolutions by the kernels that are found fastest, each choice made once."""

import re

import numpy as np
import pytest
from bf16 import to_bf16
from kernel_cases import conv_shape
from net_text import conv, dense, fill_params, layer, make_net, normal, run_python
from test_solver import solver_message
from winograd_errors import Problem, shape_of

import pydl
from pydl import _core
from pydl.gradient_check import check_gradients

kernels = _core.kernels
ISAS = kernels.available_isas()
DIRECT = ("gemm_1x1", "depthwise", "implicit_gemm")


@pytest.fixture
def timed():
    """timed(): how many choices were made since it was last called."""
    seen = kernels.timed_convs()

    def since():
        nonlocal seen
        before, seen = seen, kernels.timed_convs()
        return seen - before

    return since


def run_all(net):
    net.forward()
    net._core.backward()


def two_alike(size):
    """Three convolutions, of which the last two have one shape."""
    return (
        conv("8 kernel_size: 3 pad: 1", tops="a")
        + layer("ReLU", bottoms="a", tops="a", name="r")
        + conv("8 kernel_size: 3 pad: 1", bottoms="a", tops="b")
        + conv("8 kernel_size: 3 pad: 1", bottoms="b", tops="c")
        + dense(2, bottoms="c", tops="s")
        + layer("SoftmaxWithLoss", bottoms="s t", tops="loss"),
        {"x": (2, 5, size, size), "t": (2,)},
    )


CHOICES = 2 + 3  # forward; backward, where the input wants no gradient


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "ref"])
@pytest.mark.parametrize("arithmetic", ["fast", "strict", "direct"])
@pytest.mark.parametrize("k", [3, 5])
def test_results_are_within_the_bounds_of_what_may_be_chosen(isa, arithmetic, k):
    kernels.set_isa(isa)
    rms, largest = (2.5e-6, 2e-5) if arithmetic == "fast" else (2e-6, 1.2e-5)
    shape = shape_of(2, 17, 32, 48, k, arithmetic=arithmetic)
    chosen = kernels.Conv(shape, autotune=True)
    for which, (got_rms, got_largest) in Problem(2, 17, 32, 48, k).errors(chosen).items():
        assert got_rms < rms and got_largest < largest, (which, got_rms, got_largest)
    assert chosen.name in kernels.conv_implementations(shape)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "fields", ["6 kernel_size: 3 pad: 1 group: 2", "4 kernel_size: 3 group: 4", "7 kernel_size: 1"]
)
def test_gradients(isa, fields):
    kernels.set_isa(isa)
    text = "autotune: true force_backward: true " + conv(fields)
    net = make_net(text, {"x": (2, 4, 9, 7)})
    report = check_gradients(net, {"x": (2, 4, 9, 7)})
    assert sum(report.checked.values()) >= 12
    name = net._core.layer_rows()[-1]["implementation"]
    assert name == "ref" if isa == "ref" else name != "ref"


def test_each_choice_is_made_once(timed):
    text, inputs = two_alike(10)
    net = make_net(text, inputs, autotune=True)
    assert timed() == 0  # nothing runs yet
    net.forward()
    assert timed() == 2
    net._core.backward()
    assert timed() == 3
    run_all(net)
    run_all(make_net(text, inputs, autotune=True))
    assert timed() == 0
    net.blobs["x"].reshape(3, 5, 10, 10)
    net.blobs["t"].reshape(3)
    net.forward()
    assert timed() == 2


def test_a_choice_depends_on_what_may_change_it(timed):
    shape = {"n": 1, "ic": 6, "oc": 10, "in_": (12, 9), "kernel": 3, "pad": 1}
    x, y = np.zeros((1, 12, 9, 6), np.float32), np.empty((1, 12, 9, 10), np.float32)
    w = normal(10, 6, 3, 3)

    def forward(image=x, result=y, **fields):
        kernels.Conv(conv_shape(**shape, **fields), autotune=True).forward(image, w, None, result)

    pydl.set_num_threads(2)
    kernels.set_isa(ISAS[-1])
    forward()
    assert timed() == 1
    changes = {
        "threads": lambda: pydl.set_num_threads(1),
        "isa": lambda: kernels.set_isa("baseline"),
        "learns": lambda: shape.update(learns=True),
        "arithmetic": lambda: shape.update(arithmetic="strict"),
    }
    if ISAS[-1] == "baseline":
        del changes["isa"]
    for what, change in changes.items():
        change()
        forward()
        forward()
        assert timed() == 1, what
    forward(to_bf16(x), np.empty(y.shape, np.uint16), bf16=True)
    assert timed() == 1


@pytest.mark.parametrize(
    "shape",
    [conv_shape(1, 4, 6, (9, 9), 7), conv_shape(2, 3, 8, (13, 13), 3, stride=2)],
    ids=str,
)
def test_where_there_is_one_way_nothing_is_timed(timed, shape):
    n, oc = shape.n, 6 if shape.oc == 6 else 8
    chosen = kernels.Conv(shape, autotune=True)
    y = np.empty((n, *shape.out, oc), np.float32)
    kernel = tuple(shape.kernel)
    chosen.forward(normal(n, *shape.in_, shape.ic), normal(oc, shape.ic, *kernel), None, y)
    assert timed() == 0 and chosen.name in DIRECT


def test_the_reference_is_not_timed(timed):
    kernels.set_isa("ref")
    text, inputs = two_alike(6)
    net = make_net(text, inputs, autotune=True)
    run_all(net)
    assert timed() == 0
    rows = {row["name"]: row["implementation"] for row in net._core.layer_rows()}
    assert rows["a"] == "ref"


def test_deterministic_turns_it_off(timed):
    text, inputs = two_alike(7)
    for net in (
        make_net("deterministic: true autotune: true " + text, inputs),
        make_net("autotune: true " + text, inputs, deterministic=True),
        make_net("autotune: true " + text, inputs, autotune=False),
    ):
        run_all(net)
    assert timed() == 0
    run_all(make_net("deterministic: true autotune: true " + text, inputs, deterministic=False))
    assert timed() == CHOICES


def test_precision_bf16(timed):
    text, inputs = two_alike(11)
    nets = [make_net(text, inputs, precision="BF16", autotune=tune) for tune in (False, True)]
    for net in nets:
        fill_params(net)
        net.blobs["x"].data[...] = normal(*inputs["x"])
        run_all(net)
    assert timed() == CHOICES
    got, want = (net.params["c"][0].diff for net in nets)
    np.testing.assert_allclose(got, want, rtol=0.05, atol=0.05 * np.abs(want).max())


def test_solver(timed):
    text, inputs = two_alike(8)
    pydl.Solver(solver_message(text, inputs, deterministic=True, autotune=True)).step(2)
    assert timed() == 0
    pydl.Solver(solver_message(text, inputs, autotune=True)).step(2)
    assert timed() == CHOICES


def test_verbose_lines_tell_what_was_chosen():
    text, inputs = two_alike(12)
    code = (
        "import pydl; from net_text import *;"
        f"net = make_net({text!r}, {inputs!r}, autotune=True); net.forward(); net._core.backward();"
        "print({r['name']: r['implementation'] for r in net._core.layer_rows()}['b'])"
    )
    run = run_python(code, PYDL_VERBOSE="1")
    lines = re.findall(
        r"^pydl autotune (\w+) (mb\S+) float32 learning \w+ threads \d+: (\w+) of (.*)$",
        run.stderr,
        re.MULTILINE,
    )
    if kernels.isa() == "ref":
        assert not lines
        return
    order = ["forward"] * 2 + ["backward_weights", "backward_data", "backward_weights"]
    assert [which for which, *_ in lines] == order
    chosen = next(name for _, shape, name, _ in lines if "ic8" in shape)
    assert run.stdout.strip() == chosen
    assert f"pydl forward b Convolution {chosen} float32" in run.stderr
    for which, _, name, times in lines:
        measured = {n: float(t) for n, t in re.findall(r"(\w+) ([\d.]+) ms", times)}
        columns = {"col2im"} if which == "backward_data" else set()
        assert set(measured) == {"winograd_4x4", "winograd_2x2", "implicit_gemm"} | columns
        assert measured[name] == min(measured.values())
