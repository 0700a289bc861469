"""Damaged and senseless input of every kind ends in pydl.Error, in no other exception or crash.

PYDL_FUZZ=10000 tries that many inputs of each kind; the test run takes a few.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_golden import layer_types

import pydl
from pydl import _core, formats, prototxt
from pydl.caffe.proto import _plain
from pydl.errors import Error
from pydl.formats import binaryproto, messages, solverstate, upgrade
from pydl.prototxt import proto_file

GOLDEN = Path(__file__).parent / "golden"
BUDGET = 32 << 20  # bytes of a net
WORK = 10**8  # operations of a pass worth running

fuzz = settings(
    max_examples=int(os.environ.get("PYDL_FUZZ", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

NETS = {
    path.relative_to(GOLDEN).as_posix(): path.read_text()
    for path in [
        *(GOLDEN / "nets").glob("*/*.prototxt"),
        *(GOLDEN / "v1").glob("v[01].prototxt"),
        GOLDEN / "v1" / "batchnorm_input_old.prototxt",
        *(GOLDEN / "solvers").glob("sgd_p*/net.prototxt"),
    ]
}
# One layer with its inputs, of each type that reads no files.
LAYERS = {
    path.relative_to(GOLDEN).as_posix(): path.read_text()
    for path in (GOLDEN / "layers").glob("*/*.prototxt")
    if not re.search("source|file_name|Python", path.read_text())
    and layer_types(path) <= set(_core.layer_declarations())
}
SOLVERS = {
    path.parent.name: path.read_text()
    for path in (GOLDEN / "solvers").glob("*_fixed/solver.prototxt")
}
TOKEN = re.compile(r'\s*("[^"]*"|[\w.+-]+|.)', re.DOTALL)
NUMBERS = ["0", "1", "2", "3", "5", "8", "100", "65536", "1000000", "2147483647", "4294967295"]
STRANGE = [
    *("-1", "0", "1", "2", "7", "65536", "2147483647", "4294967295", "4294967296", "1e30", "-1e30"),
    *("nan", "inf", "0x10", "07", "1.5", '""', '"data"', '"no such"', "'\\377'", "true", "TEST"),
    *("{", "}", ":", ",", "[", "]", "<", ">", "#", '"', "layer {", "input_dim: 3", 'input: "z"'),
    *("axis: -9", "group: 0", "stride: 0", "pad: 4294967295", "dim: -1", "dim: 0", "dim: 1000000"),
    *('bottom: "data"', 'top: "data"', 'type: "Split"', 'type: "Eltwise"', "num_output: 0"),
    *('name: "conv1"', 'param { name: "w" }', "loss_weight: nan", "include { stage: 'x' }"),
]


@st.composite
def damaged_text(draw, texts):
    """One of the texts with some tokens dropped, doubled, exchanged or replaced by strange ones."""
    tokens = TOKEN.findall(draw(st.sampled_from(sorted(texts.values()))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        how = draw(st.sampled_from(["number", "drop", "double", "exchange", "replace", "insert"]))
        numbers = [i for i, token in enumerate(tokens) if token.isdigit()]
        if how == "number" and numbers:
            tokens[draw(st.sampled_from(numbers))] = draw(st.sampled_from(NUMBERS))
        elif how == "drop":
            del tokens[at : at + draw(st.integers(1, 3))]
        elif how == "double":
            tokens[at:at] = tokens[at : at + draw(st.integers(1, 30))]
        elif how == "exchange":
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens[at : at + (how == "replace")] = [draw(st.sampled_from(STRANGE))]
        tokens = tokens or ["{"]
    return " ".join(tokens)


@st.composite
def damaged_bytes(draw, files):
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 8))
        data[at : at + size] = draw(st.binary(max_size=12))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def contents(pattern):
    return [path.read_bytes() for path in sorted(GOLDEN.glob(pattern))]


def work(net):
    return sum(row["flops"] for row in net._core.layer_rows())


@pytest.fixture
def small_budget():
    pydl.set_memory_limit(BUDGET)


@fuzz
@given(source=damaged_text(NETS) | damaged_text(LAYERS), phase=st.sampled_from(["TRAIN", "TEST"]))
@pytest.mark.usefixtures("small_budget")
@pytest.mark.filterwarnings("ignore:.*means nothing to a layer:UserWarning")
def test_nets(source, phase):
    try:
        net = pydl.Net(prototxt.parse(source), phase=phase)
        if work(net) < WORK:
            net.forward()
            net.backward()
    except Error as error:
        assert str(error)


@fuzz
@given(source=damaged_text(SOLVERS))
@pytest.mark.usefixtures("small_budget")
def test_solvers(source):
    folder = os.getcwd()
    os.chdir(GOLDEN / "solvers" / "sgd_plain")
    try:
        solver = pydl.Solver(prototxt.parse(source, "SolverParameter"), snapshot_after_train=False)
        assert solver.iter == 0
    except Error as error:
        assert str(error)
    finally:
        os.chdir(folder)


@fuzz
@given(data=damaged_bytes(contents("v1/*.caffemodel") + contents("solvers/*/*.caffemodel")))
@pytest.mark.usefixtures("small_budget")
def test_weights(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "damaged.caffemodel"
    path.write_bytes(data)
    net = pydl.Net(GOLDEN / "v1" / "v0.upgraded.prototxt")
    before = net.params["conv1"][0].data.copy()
    try:
        net.load(path)
    except Error as error:
        assert str(error)
        np.testing.assert_array_equal(net.params["conv1"][0].data, before)
    try:
        upgrade.upgrade_net_binary(path, folder / "upgraded.caffemodel")
        formats.load_weights(folder / "upgraded.caffemodel")
    except Error as error:
        assert str(error)


@fuzz
@given(data=damaged_bytes(contents("solvers/*/*.solverstate") + contents("formats/mean.*")))
def test_states_and_means(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(data)
    for load in (solverstate.load, binaryproto.load, lambda _: binaryproto.Datum.parse(data)):
        try:
            load(path)
        except Error as error:
            assert str(error)


@pytest.mark.parametrize("name", ["NetParameter", "SolverParameter", "V1LayerParameter", "Datum"])
@fuzz
@given(data=st.data())
def test_messages(name, data):
    kind = _plain.namespace(__name__)[name]
    data = data.draw(damaged_bytes(contents(f"proto/{name}.*.bin")) | st.binary(max_size=40))
    try:
        message = kind.FromString(data)
    except Error as error:
        assert str(error)
        return
    again = messages.parse(messages.serialize(message), proto_file.get(name))
    assert str(again) == str(message)
    assert messages.serialize(again) == messages.serialize(message)


# What such inputs found.

LAYER = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "l" bottom: "data" top: "y" %s }
"""
HUGE = 2**31 - 1


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_lrn_windows_beyond_the_blob_take_no_longer(region):
    lrn = 'type: "LRN" lrn_param { local_size: %d alpha: %g norm_region: %s }'
    data = np.random.default_rng(0).normal(size=(1, 3, 8, 8))
    results = []
    covering, power = (5, 1) if region == "ACROSS_CHANNELS" else (15, 2)
    for size in (covering, 1001, HUGE):
        alpha = 0.5 * (size / covering) ** power  # is divided by the size
        net = pydl.Net(prototxt.parse(LAYER % (lrn % (size, alpha, region))))
        results.append(net.forward(data=data)["y"])
        net.blobs["y"].diff[...] = 1
        net.backward()
        results[-1] = np.concatenate([results[-1], net.blobs["data"].diff])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


@pytest.mark.parametrize(
    "size", ["kernel_size: 3", "kernel_size: 8", "kernel_size: 1 dilation: 2147483647"]
)
def test_strides_beyond_the_blob_take_no_longer(size):
    conv = 'type: "Convolution" convolution_param { num_output: 2 %s stride: %d }'
    data = np.random.default_rng(0).normal(size=(1, 3, 8, 8))
    outputs = []
    for stride in (8, HUGE):
        net = pydl.Net(prototxt.parse(LAYER % (conv % (size, stride))))
        net.params["l"][0].data[...] = 0.1
        outputs.append(net.forward(data=data)["y"])
        net.backward()
    np.testing.assert_array_equal(*outputs)


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("pad", [100_000, HUGE])
def test_padding_beyond_the_memory_is_refused(pad):
    conv = f"num_output: 2 kernel_size: 1 pad: {pad} stride: {HUGE}"
    with pytest.raises(Error, match="the padded input is larger than the limit of 32 MiB"):
        pydl.Net(prototxt.parse(LAYER % f'type: "Convolution" convolution_param {{ {conv} }}'))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_tall_images_backward(method):
    """The time does not grow with the square of the height, which this would not finish in."""
    pool = f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 2 stride: 1 }}'
    net = pydl.Net(prototxt.parse(LAYER.replace("8, 8", "1000000, 2") % pool))
    net.blobs["data"].data[...] = np.arange(2000000).reshape(1000000, 2)
    net.forward()
    net.blobs["y"].diff[...] = 1
    net.backward()
    diff = net.blobs["data"].diff[0, 0]
    if method == "AVE":
        rows = diff[[0, 1, -2, -1], 0]
        np.testing.assert_array_equal(rows, [0.25, 0.5, 0.5, 0.25])
    else:
        np.testing.assert_array_equal(diff, [[0, 0]] + [[0, 1]] * 999999)
