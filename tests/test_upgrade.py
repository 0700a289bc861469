"""Nets, weights and solvers of older Caffe versions, against what Caffe's upgrade tools write."""

from pathlib import Path

import numpy as np
import pytest
from test_golden import assert_close

import pydl
from pydl import formats, prototxt
from pydl.errors import Error
from pydl.formats import messages, upgrade, wire
from pydl.prototxt import proto_file, text
from pydl.prototxt.bind import bind
from pydl.prototxt.upgrade import net_is_old, net_tree, solver_tree, upgrade_net

V1 = Path(__file__).parent / "golden" / "v1"
NET = proto_file.get("NetParameter")
SOLVER = proto_file.get("SolverParameter")


def caffe_message(source, schema=NET):
    """The text as Caffe's own message, not upgraded."""
    return bind(text.parse(source), schema)


def upgraded(source):
    """The text of a net after the upgrade."""
    return str(net_tree(text.parse(source, "old.prototxt")))


def current(layers):
    """The text as its tree prints."""
    return str(text.parse(layers))


def error(function, *args):
    with pytest.raises(Error) as caught:
        function(*args)
    return str(caught.value)


# ---- Caffe's own results ----


@pytest.mark.parametrize("name", ["v0", "v1", "v1_all_types", "batchnorm_input_old"])
def test_nets(name):
    source = (V1 / f"{name}.prototxt").read_text()
    want = caffe_message((V1 / f"{name}.upgraded.prototxt").read_text())
    assert bind(net_tree(text.parse(source)), NET) == want
    old = caffe_message(source)
    assert net_is_old(old)
    assert upgrade_net(old) == want


def test_solver():
    source = (V1 / "solver_old.prototxt").read_text()
    want = caffe_message((V1 / "solver_old.upgraded.prototxt").read_text(), SOLVER)
    assert bind(solver_tree(text.parse(source)), SOLVER) == want


@pytest.mark.parametrize("age", ["v0", "v1"])
def test_old_and_new_files_give_caffe_s_outputs(age, tmp_path):
    model, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    assert upgrade.upgrade_net_text(V1 / f"{age}.prototxt", model)
    assert upgrade.upgrade_net_binary(V1 / f"{age}.caffemodel", weights)
    assert weights.read_bytes() == (V1 / f"{age}.upgraded.caffemodel").read_bytes()
    want = np.load(V1 / f"{age}_io.npz")
    inputs = {key[6:]: want[key] for key in want if key.startswith("input/")}
    for a_model in (V1 / f"{age}.prototxt", V1 / f"{age}.upgraded.prototxt", model):
        for a_weights in (V1 / f"{age}.caffemodel", weights):
            net = pydl.Net(a_model, a_weights)
            net.forward(**inputs)
            for key in want:
                if key.startswith("blob/"):
                    got = net.blobs[key[5:]].data
                    assert_close(key, got, want[key])


@pytest.mark.parametrize("name", ["v0", "v1", "v1_all_types", "batchnorm_input_old"])
def test_written_text_is_current(name, tmp_path):
    once, twice = tmp_path / "once.prototxt", tmp_path / "twice.prototxt"
    assert upgrade.upgrade_net_text(V1 / f"{name}.prototxt", once)
    want = caffe_message((V1 / f"{name}.upgraded.prototxt").read_text())
    assert caffe_message(once.read_text()) == want
    # Caffe, too, takes BatchNorm with three param for old.
    assert upgrade.upgrade_net_text(once, twice) == (name == "batchnorm_input_old")
    assert twice.read_text() == once.read_text()


def test_solver_files(tmp_path):
    once, twice = tmp_path / "once.prototxt", tmp_path / "twice.prototxt"
    assert upgrade.upgrade_solver_text(V1 / "solver_old.prototxt", once)
    want = caffe_message((V1 / "solver_old.upgraded.prototxt").read_text(), SOLVER)
    assert caffe_message(once.read_text(), SOLVER) == want
    assert not upgrade.upgrade_solver_text(once, twice)


# ---- texts ----


def test_places_are_kept():
    source = 'name: "n"\n\nlayers {\n  type: INNER_PRODUCT\n  inner_product_param { num: 3 }\n}'
    assert error(prototxt.parse, source, "NetParameter", "old.prototxt").startswith(
        'old.prototxt:5:25: unknown field "num" in inner_product_param'
    )
    net = prototxt.parse(source.replace("num", "num_output"), filename="old.prototxt")
    assert str(net.layer[0].Where()) == "old.prototxt:3:1"


def test_a_net_of_layers_runs_as_it_is(tmp_path):
    path = tmp_path / "old.prototxt"
    path.write_text(
        'input: "x" input_dim: [1, 1, 1, 3]\n'
        'layers { name: "r" type: RELU bottom: "x" top: "y" include { phase: TEST } }\n'
        'layers { name: "p" type: TANH bottom: "y" top: "z" include { phase: TRAIN } }'
    )
    out = pydl.Net(path).forward(x=np.array([-1, 0, 2.0]).reshape(1, 1, 1, 3))
    assert out["y"].ravel().tolist() == [0, 0, 2]


def test_types_by_number_lists_and_loss_weights():
    source = "layers { type: 4 blobs_lr: [1, 2] loss_weight: 3 weight_decay: 5 }"
    assert upgraded(source) == current(
        'layer { type: "Convolution" loss_weight: 3 '
        "param { lr_mult: 1 decay_mult: 5 } param { lr_mult: 2 } }"
    )
    assert upgraded('layers { type: NONE name: "a" }') == current('layer { type: "" name: "a" }')


def test_fields_that_only_a_fork_knows_pass_through():
    assert upgraded("layers { type: POOLING new_param { a: 1 } }") == current(
        'layer { type: "Pooling" new_param { a: 1 } }'
    )


def test_image_transformations_move_only_where_there_are_any():
    source = "layers { type: DATA data_param { batch_size: 2 } }"
    assert "transform_param" not in upgraded(source)
    moved = upgraded(
        "layers { type: IMAGE_DATA transform_param { scale: 3 } image_data_param { scale: 2 } }"
    )
    assert moved == current(
        'layer { type: "ImageData" transform_param { scale: 2 } image_data_param { } }'
    )


def test_inputs():
    assert upgraded('input: "a" input: "b" input_shape { dim: 1 } input_shape { dim: 2 }') == (
        current(
            'layer { name: "input" type: "Input" top: "a" top: "b" '
            "input_param { shape { dim: 1 } shape { dim: 2 } } }"
        )
    )
    both = upgraded('input: "a" input_dim: [1, 2, 3, 4] input_shape { dim: 7 }')
    assert "dim: 7" in both and "dim: 4" not in both
    first = text.parse('layer { name: "l" type: "ReLU" } input: "a" input_shape { }')
    assert [str(layer.fields[0].value) for _, layer in net_tree(first).items()] == [
        '"input"',
        '"l"',
    ]


@pytest.mark.parametrize(
    "source, message",
    [
        ('layer { } layers { type: RELU }', '1:1: the net has both "layers", the old form'),
        ("layers: 3", "1:1: layers: expected a message"),
        ('layers {\n type: "Convolution" }', '2:2: layers { } is the old form'),
        ("layers { type: CONVOLUTON }", 'type: "CONVOLUTON" is not one of'),
        ("layers { type: CONVOLUTON }", 'did you mean "CONVOLUTION"?'),
        ("layers { type: 99 }", '"99" is not one of'),
        ("layers { type { } }", "type: "),
        ("layers { type: DATA data_param: 3 }", "data_param: expected a message"),
        ('input: "a" input_dim: 1', "1 input_dim for 1 input; give four for each"),
        ('input: "a"', "0 input_dim for 1 input"),
        ('input: "a" input_shape { } input_shape { }', "2 input_shape for 1 input"),
        ('layer { type: "BatchNorm" param: 1 param: 2 param: 3 }', "param: expected a message"),
        ('layers { layer { type: "cnv" } }', 'did you mean "conv"?'),
        ('layers { layer { type: "relu" } bottom: "a" }', 'unknown bottom blob "a"'),
        ('layers { layer { type: "relu" num_outputs: 3 } }', 'did you mean "num_output"?'),
        ('layers { layer { type: conv } }', "type: expected a quoted string, got conv"),
    ],
)  # fmt: skip
def test_what_cannot_be_upgraded(source, message):
    assert message in error(upgraded, source)


# ---- V0 ----

PADDED = """
layers {{ layer {{ name: "data" type: "data" }} top: "x" }}
layers {{ layer {{ name: "pad" type: "padding" pad: 2 }} bottom: "x" top: "padded" }}
layers {{ layer {{ name: "l" type: "{}" kernelsize: 3 }} bottom: "padded" top: "y" }}
"""


def v0(source):
    return [layer for _, layer in net_tree(text.parse(source, "v0.prototxt")).items()]


@pytest.mark.parametrize("kind, param", [("conv", "convolution_param"), ("pool", "pooling_param")])
def test_padding_moves_into_the_next_layer(kind, param):
    _, layer = v0(PADDED.format(kind))
    fields = dict(layer.items())
    assert str(fields["bottom"]) == '"x"'
    assert str(fields[param]) == "kernel_size: 3\npad: 2\n"


def test_padding_before_other_layers_is_refused():
    assert 'a padding layer goes before conv and pool layers, not "relu"' in error(
        v0, PADDED.format("relu")
    )
    two = PADDED.format("conv").replace('bottom: "padded"', 'bottom: "padded" bottom: "x"')
    assert "must have one bottom and one top" in error(v0, two)


def test_a_blob_of_the_padding_s_name_that_another_layer_wrote_is_not_padded():
    again = 'layers { layer { name: "again" type: "data" } top: "padded" }'
    lines = PADDED.format("conv").splitlines()
    conv = dict(v0("\n".join([*lines[:-1], again, lines[-1]]))[-1].items())
    assert str(conv["bottom"]) == '"padded"'
    assert str(conv["convolution_param"]) == "kernel_size: 3\n"


def test_each_v0_parameter_arrives():
    source = """
    layers { layer { type: "images" source: "s" batchsize: 2 rand_skip: 3 shuffle_images: true
      new_height: 4 new_width: 5 scale: 0.5 meanfile: "m" cropsize: 6 mirror: true } }
    layers { layer { type: "window_data" source: "s" batchsize: 2 det_fg_threshold: 0.1
      det_bg_threshold: 0.2 det_fg_fraction: 0.3 det_context_pad: 4 det_crop_mode: "square" } }
    layers { layer { type: "hdf5_data" source: "s" batchsize: 2 } }
    layers { layer { type: "data" source: "s" batchsize: 2 rand_skip: 3 } }
    layers { layer { type: "infogain_loss" source: "s" } }
    layers { layer { type: "concat" concat_dim: 0 } }
    layers { layer { type: "pool" pool: AVE kernelsize: 2 stride: 3 pad: 1 } }
    layers { layer { type: "hdf5_output" hdf5_output_param { file_name: "f" } } }
    layers { layer { type: "lrn" local_size: 3 alpha: 1 beta: 2 k: 4 } }
    """
    assert "".join(str(layer) for layer in v0(source)) == current("""
    type: "ImageData" image_data_param { source: "s" batch_size: 2 rand_skip: 3 shuffle: true
      new_height: 4 new_width: 5 }
    transform_param { scale: 0.5 mean_file: "m" crop_size: 6 mirror: true }
    type: "WindowData" window_data_param { source: "s" batch_size: 2 fg_threshold: 0.1
      bg_threshold: 0.2 fg_fraction: 0.3 context_pad: 4 crop_mode: "square" }
    type: "HDF5Data" hdf5_data_param { source: "s" batch_size: 2 }
    type: "Data" data_param { source: "s" batch_size: 2 rand_skip: 3 }
    type: "InfogainLoss" infogain_loss_param { source: "s" }
    type: "Concat" concat_param { concat_dim: 0 }
    type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 3 pad: 1 }
    type: "HDF5Output" hdf5_output_param { file_name: "f" }
    type: "LRN" lrn_param { local_size: 3 alpha: 1 beta: 2 k: 4 }
    """)


def test_what_a_v0_layer_has_no_use_for_is_dropped_with_a_warning():
    with pytest.warns(UserWarning, match='1:32: stride means nothing to a layer of type "relu"'):
        (layer,) = v0('layers { layer { type: "relu"  stride: 2 } }')
    assert str(layer) == 'type: "ReLU"\n'


# ---- solvers ----


@pytest.mark.parametrize("old", ["ADAGRAD", "2"])
def test_solver_type(old):
    solver = prototxt.parse(f"solver_type: {old}", "SolverParameter")
    assert solver.type == "AdaGrad" and not solver.HasField("solver_type")


def test_solver_type_beside_type_or_unknown():
    both = 'type: "Adam"\nsolver_type: ADAM'
    assert "2:1: the solver has both the old solver_type: ADAM and type" in error(
        prototxt.parse, both, "SolverParameter"
    )
    assert 'solver_type: "ADDAM" is not one of' in error(
        prototxt.parse, "solver_type: ADDAM", "SolverParameter"
    )


def test_nets_in_a_solver_are_upgraded():
    solver = prototxt.parse("net_param { layers { type: RELU } }", "SolverParameter")
    assert solver.net_param.layer[0].type == "ReLU"


# ---- binary files ----


def test_weights_of_forks_keep_what_caffe_does_not_know(tmp_path):
    source, target = tmp_path / "fork.caffemodel", tmp_path / "out.caffemodel"
    frozen = [*wire.nested(6, [])] * 3
    norm = [wire.text(1, "n"), wire.text(2, "BatchNorm"), *frozen, wire.text(9000, "fork's")]
    source.write_bytes(b"".join(wire.nested(100, norm)))
    assert upgrade.upgrade_net_binary(source, target)
    net = messages.parse(target.read_bytes(), NET)
    assert [spec.lr_mult for spec in net.layer[0].param] == [0, 0, 0]
    assert net.layer[0]._unknown == wire.text(9000, "fork's")


def test_old_snapshots_name_inputs_without_sizes(tmp_path):
    source, target = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    layer = [wire.text(2, "data"), wire.text(3, "y"), wire.text(4, "r"), wire.integer(5, 18)]
    source.write_bytes(wire.text(3, "data") + b"".join(wire.nested(2, layer)))
    assert upgrade.upgrade_net_binary(source, target)
    assert [layer.type for layer in messages.parse(target.read_bytes(), NET).layer] == ["ReLU"]


def test_a_current_file_stays_as_it_is(tmp_path):
    source, target = tmp_path / "a.caffemodel", tmp_path / "b.caffemodel"
    formats.save_weights(source, "n", [formats.LayerWeights("l", "ReLU", blobs=[np.ones(3)])])
    assert not upgrade.upgrade_net_binary(source, target)
    assert formats.load_weights(target).blobs()["l"][0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [b"\x0a\x01n", b"<html>", b'name: "x"', b"\x08\x04"])
def test_not_a_caffemodel(tmp_path, content):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    assert str(path) in error(upgrade.upgrade_net_binary, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cut_anywhere(tmp_path):
    path, data = tmp_path / "cut.caffemodel", (V1 / "v0.caffemodel").read_bytes()
    for size in range(1, len(data), 7):
        path.write_bytes(data[:size])
        try:
            upgrade.upgrade_net_binary(path, tmp_path / "out")
        except Error as problem:
            assert str(path) in str(problem) or "<NetParameter>" in str(problem)
