"""Prototxt: text and trees, messages, schema checks, specs. No compiled core is needed."""

import copy
import math
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydl import Error, prototxt
from pydl.prototxt import literals, schema, text
from pydl.prototxt.bind import bind


def _fields(*rows):
    """Rows of (name, type, default) or (name, message or enum dict); "*" marks repeated names."""
    out = []
    for name, kind, *default in rows:
        field = {"name": name.rstrip("*"), "repeated": name.endswith("*"), "help": ""}
        field["default"] = default[0] if default else None
        if isinstance(kind, str):
            field["type"] = kind
        elif "fields" in kind:
            field |= {"type": "message", "message": kind}
        else:
            field |= {"type": "enum", "enum": kind}
        out.append(field)
    return out


def _schema(name, *rows):
    return {"name": name, "fields": _fields(*rows)}


FILLER = _schema("FillerParameter", ("type", "string", "constant"), ("value", "float", 0.0))
SHAPE = _schema("BlobShape", ("dim*", "int64"))
CONVOLUTION = _schema(
    "ConvolutionParameter",
    ("num_output", "uint32"),
    ("bias_term", "bool", True),
    ("pad*", "uint32"),
    ("kernel_size*", "uint32"),
    ("stride*", "uint32"),
    ("group", "uint32", 1),
    ("weight_filler", FILLER),
    ("engine", {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2}, "DEFAULT"),
    ("axis", "int32", 1),
)
POOLING = _schema(
    "PoolingParameter",
    ("pool", {"MAX": 0, "AVE": 1, "STOCHASTIC": 2}, "MAX"),
    ("kernel_size", "uint32"),
    ("stride", "uint32", 1),
)
INNER_PRODUCT = _schema(
    "InnerProductParameter", ("num_output", "uint32"), ("weight_filler", FILLER)
)
RELU = _schema("ReLUParameter", ("negative_slope", "float", 0.0))
TRANSFORM = _schema("TransformationParameter", ("scale", "float", 1.0), ("mirror", "bool", False))
DATA = _schema("DataParameter", ("source", "string"), ("batch_size", "uint32"))
INPUT = _schema("InputParameter", ("shape*", SHAPE))

DECLARATIONS = {
    "Convolution": {"doc": "", "params": {"convolution_param": CONVOLUTION}},
    "Pooling": {"doc": "", "params": {"pooling_param": POOLING}},
    "InnerProduct": {"doc": "", "params": {"inner_product_param": INNER_PRODUCT}},
    "ReLU": {"doc": "", "params": {"relu_param": RELU}},
    "Data": {"doc": "", "params": {"data_param": DATA, "transform_param": TRANSFORM}},
    "Input": {"doc": "", "params": {"input_param": INPUT}},
    "BatchNorm": {"doc": "", "params": {}},
    "SoftmaxWithLoss": {"doc": "", "params": {}},
}

LENET = """\
name: "LeNet"
layer {
  name: "mnist"
  type: "Data"
  top: "data"
  top: "label"
  include {
    phase: TRAIN
  }
  transform_param {
    scale: 0.00390625
  }
  data_param {
    source: "mnist"
    batch_size: 64
  }
}
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param {
    lr_mult: 1
  }
  param {
    lr_mult: 2
  }
  convolution_param {
    num_output: 20
    kernel_size: 5
    stride: 1
    weight_filler {
      type: "xavier"
    }
  }
}
layer {
  name: "pool1"
  type: "Pooling"
  bottom: "conv1"
  top: "pool1"
  pooling_param {
    pool: MAX
    kernel_size: 2
    stride: 2
  }
}
layer {
  name: "loss"
  type: "SoftmaxWithLoss"
  bottom: "pool1"
  bottom: "label"
  top: "loss"
}
"""


@pytest.fixture(autouse=True)
def declarations():
    schema.use_declarations(DECLARATIONS)
    yield
    schema.use_declarations(None)


@pytest.fixture
def lenet():
    return prototxt.parse(LENET, filename="lenet.prototxt")


def layer(body, kind="Convolution"):
    """The one layer of a net with this text in it."""
    return prototxt.parse(f'layer {{ type: "{kind}" {body} }}').layer[0]


def error(call, *args, **kwargs):
    """The message of the Error that the call raises."""
    with pytest.raises(Error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def tree_items(source):
    return [(name, str(value)) for name, value in text.parse(source).items()]


class TestText:
    @pytest.mark.parametrize(
        "source",
        [
            "a: 1 b { c: 2 }",
            "a:1 b:{c:2}",
            "a: 1; b < c: 2; >;",
            "a: 1, b: < c: 2, >,",
            "# first\na: 1 # one\nb { # two\n c: 2 }#end",
            "\ufeffa: 1\r\nb {\r\n  c: 2\r\n}\r\n",
            "a: [1] b [{ c: 2 }]",
            "\n\t a\n:\n1\v\f b{c:2}",
        ],
    )
    def test_ways_to_write_the_same(self, source):
        assert str(text.parse(source)) == "a: 1\nb {\n  c: 2\n}\n"

    def test_lists(self):
        assert tree_items("a: [1, -2.5, inf] a: [] b: ['x', \"y\" 'z']") == [
            ("a", "1"),
            ("a", "-2.5"),
            ("a", "inf"),
            ("b", '"x"'),
            ("b", '"yz"'),
        ]
        assert text.parse("a: [{b: 1}, <b: 2>]") == text.parse("a {b: 1} a {b: 2}")

    @pytest.mark.parametrize(
        "literal, value",
        [
            (r'"\a\b\f\n\r\t\v\\\'\"\?"', b"\a\b\f\n\r\t\v\\'\"?"),
            (r'"\x41\101\0\x7\377"', b"AA\0\x07\xff"),
            (r'"\u00e9\U0001F600"', "é😀".encode()),
            (r'"\ud83d\ude00"', "😀".encode()),
            ("'it\"s'", b'it"s'),
            ('"é"', "é".encode()),
            ("'a' \"b\"\n# comment\n'c'", b"abc"),
            ('""', b""),
        ],
    )
    def test_strings(self, literal, value):
        scalar = text.parse(f"a: {literal}").fields[0].value
        assert scalar.value == value
        assert text.parse(f"a: {scalar}").fields[0].value == scalar

    def test_positions_are_kept(self):
        root = text.parse('a: 1\nlayer {\n  name: "x"\n  pad: [3,\n   4]\n}', "net.prototxt")
        node = root.fields[1].value
        pad = node.fields[1]
        assert (root.fields[1].file, root.fields[1].line, root.fields[1].column) == (
            "net.prototxt",
            2,
            1,
        )
        assert (node.line, node.column) == (2, 1)
        assert (node.fields[0].value.line, node.fields[0].value.column) == (3, 9)
        assert [(v.line, v.column) for v in pad.value] == [(4, 9), (5, 4)]

    @pytest.mark.parametrize(
        "source, message",
        [
            ("a", '1:2: expected ":" or "{" after a, got end of file'),
            ("a:", "1:3: expected a value for a, got end of file"),
            ('a "x"', '1:3: expected ":" or "{" after a, got "x"'),
            ("a {\nb: 1", '2:5: expected a field name or the "}" that closes line 1, got end of'),
            ("a { b: 1 >", '1:10: expected a field name or the "}" that closes line 1, got ">"'),
            ("a: 1 }", '1:6: expected a field name, got "}"'),
            ("a: 1;; b: 2", '1:6: expected a field name, got ";"'),
            ('a: "x', '1:4: this string has no closing " on its line'),
            ("a: 'x\ny'", "1:4: this string has no closing ' on its line"),
            (r'a: "\q"', r"1:4: unknown escape \q"),
            (r'a: "\ud800"', r"1:4: \ud800 is not a Unicode character"),
            (r'a: "\U00110000"', "is not a Unicode character"),
            (r'a: "\400"', r"1:4: \400 is larger than a byte"),
            ("a: 12abc", '1:4: "12abc" is not a number'),
            ("a: 1.2.3", '1:4: "1.2.3" is not a number'),
            ("a: 0x", '1:4: "0x" is not a number'),
            ("a: - x", '1:6: expected a number after "-" in a, got "x"'),
            ("a: @", "1:4: unexpected character '@'"),
            ("a: \0", "1:4: unexpected character '\\x00'"),
            ("a: [1 2]", '1:7: expected "," or "]" in the list of a, got "2"'),
            ("a: [1,]", '1:7: expected a value after "," in the list of a, got "]"'),
            ("a [1]", '1:4: expected ":" between a and its list'),
            ("a: [[1]]", '1:5: expected a value for a, got "["'),
            ("[foo.bar]: 1", "1:1: extension names in [brackets] are not supported"),
            ("a { [foo.bar] { } }", "1:5: extension names in [brackets] are not supported"),
        ],
    )
    def test_errors(self, source, message):
        assert message in error(text.parse, source)

    @pytest.mark.parametrize("opening", ["a{", "a<", "a[{", "a:["])
    def test_deep_nesting_is_an_error(self, opening):
        assert text.parse("a{" * 100 + "}" * 100)
        assert error(text.parse, opening * 100_000).startswith("<string>:1:")

    def test_long_tokens_take_linear_time(self):
        for source in ("1" * 100_000 + "x", '"' + "\\n" * 50_000, "'" + "a" * 100_000):
            start = time.perf_counter()
            error(text.parse, "a: " + source)
            assert time.perf_counter() - start < 1

    def test_truncated_at_every_byte(self):
        whole = "a: \"x\\n\" 'y'\nb { c: [1, -2] d: 0x1F } # end\nlayer < e: 1.5e-3f; f: TRUE >\n"
        for end in range(len(whole)):
            part = whole[:end]
            depth = sum(part.count(c) for c in "{<") - sum(part.count(c) for c in "}>")
            try:
                text.parse(part, "cut")
            except Error as e:
                assert str(e).startswith("cut:")
            else:
                assert depth == 0

    def test_speed(self):
        whole = LENET * 200
        start = time.perf_counter()
        prototxt.parse(whole.replace('name: "LeNet"', ""))
        assert whole.count("\n") > 10_000
        assert time.perf_counter() - start < 2  # 0.1 s on an idle machine

    @given(st.text(st.sampled_from("ab:{}<>[],;#-.\"'\\x0189 eE\n\r\t_é\0"), max_size=60))
    def test_any_text_parses_or_is_an_error(self, source):
        try:
            tree = text.parse(source)
        except Error as e:
            assert str(e).startswith("<string>:")
        else:
            assert text.parse(str(tree)) == tree


class TestLiterals:
    @given(st.binary())
    def test_quote_is_undone_by_unquote(self, data):
        assert literals.unquote(literals.quote(data)) == data

    @given(st.text())
    def test_text_stays_readable(self, value):
        data = value.encode(errors="replace")
        assert literals.unquote(literals.quote(data)) == data
        if value.isalnum():
            assert literals.quote(value.encode()) == f'"{value}"'

    @given(st.floats(width=32, allow_nan=False))
    def test_float32_is_kept_by_its_shortest_form(self, value):
        short = literals.to_float32(value)
        assert np.float32(short) == np.float32(value)
        assert len(repr(short)) <= len(repr(value)) or repr(short) == repr(value)

    @pytest.mark.parametrize(
        "literal, value",
        [("0", 0), ("-7", -7), ("017", 15), ("0x1F", 31), ("-0XfF", -255), ("00", 0)],
    )
    def test_integers(self, literal, value):
        assert literals.parse_int(literal) == value

    @pytest.mark.parametrize("literal", ["1.0", "08", "1e3", "1f", "", "-", "inf"])
    def test_not_integers(self, literal):
        assert literals.parse_int(literal) is None

    @pytest.mark.parametrize(
        "literal, value",
        [
            ("1", 1.0),
            ("1.5f", 1.5),
            ("10F", 10.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1e-3", -0.001),
            ("inf", math.inf),
            ("-Infinity", -math.inf),
            ("INF", math.inf),
        ],
    )
    def test_floats(self, literal, value):
        assert literals.parse_float(literal) == value

    def test_not_floats(self):
        assert math.isnan(literals.parse_float("nan"))
        for literal in ("0x10", "010", "abc", "true"):
            assert literals.parse_float(literal) is None

    @pytest.mark.parametrize(
        "value, literal",
        [(1.0, "1"), (0.1, "0.1"), (1e-5, "1e-05"), (1e20, "1e+20"), (math.inf, "inf")],
    )
    def test_format(self, value, literal):
        assert literals.format_float(value) == literal


class TestParse:
    def test_lenet(self, lenet):
        assert lenet.name == "LeNet"
        assert [item.type for item in lenet.layer] == [
            "Data",
            "Convolution",
            "Pooling",
            "SoftmaxWithLoss",
        ]
        assert lenet.layer[1].convolution_param.kernel_size == [5]
        assert lenet.layer[2].pooling_param.pool == "MAX"
        assert lenet.layer[0].transform_param.scale == 0.00390625

    def test_prints_as_it_was_written(self, lenet):
        assert prototxt.dumps(lenet) == LENET
        assert prototxt.parse(str(lenet)) == lenet

    def test_knows_positions(self, lenet):
        conv = lenet.layer[1]
        assert str(conv.Where()) == "lenet.prototxt:18:1"
        assert conv.Where("type") == ("lenet.prototxt", 20, 3)
        assert conv.convolution_param.Where("stride").line == 32
        assert conv.Where("phase") is None
        conv.type = "ReLU"
        assert conv.Where("type") is None
        assert prototxt.new("NetParameter").Where() is None

    @pytest.mark.parametrize(
        "value, message",
        [
            ("pad: two", '1:36: pad: expected an integer, got "two"'),
            ('pad: "2"', '1:36: pad: expected an integer, got "2"'),
            ("pad: 1.5", "1:36: pad: expected an integer, got 1.5"),
            ("pad: 08", "1:36: pad: expected an integer, got 08"),
            ("pad: -1", "1:36: pad: -1 is out of range for uint32 (0 to 4294967295)"),
            ("pad: 4294967296", "pad: 4294967296 is out of range for uint32"),
            ("pad: " + "9" * 5000, "pad: a number of more than 30 digits is out of range"),
            ("pad { }", "1:31: pad: expected a value, got a message"),
            ("axis: 2147483648", "out of range for int32 (-2147483648 to 2147483647)"),
            ("axis: [1]", "1:31: axis takes one value, got a list"),
            ("axis: 1 axis: 1", '1:39: "axis" is given twice in p, first in line 1'),
            ("bias_term: yes", 'bias_term: expected true or false, got "yes"'),
            ("bias_term: 2", "bias_term: expected true or false, got 2"),
            ('bias_term: "true"', 'expected true or false, got "true"'),
            ("weight_filler: 3", "weight_filler: expected a message { ... }, got 3"),
            ("weight_filler { type: xavier }", 'got xavier; write "xavier"'),
            (r'weight_filler { type: "\377" }', r'type: "\377" is not UTF-8'),
            ("weight_filler { value: 0x1 }", "value: expected a decimal number, got 0x1"),
            ("weight_filler { value: 1e39 }", "value: 1e39 is out of range for float"),
            ('weight_filler { value: "1" }', 'value: expected a decimal number, got "1"'),
            ("engine: CUDN", 'is not one of DEFAULT, CAFFE, CUDNN; did you mean "CUDNN"?'),
            ("engine: 3", '"3" is not one of DEFAULT, CAFFE, CUDNN'),
            ('engine: "CAFFE"', 'engine: expected a bare name, got "CAFFE"; write CAFFE'),
            ("num_ouput: 1", '1:31: unknown field "num_ouput" in p; did you mean "num_output"?'),
            ("value: 1", '1:31: unknown field "value" in p; it belongs in weight_filler { }'),
        ],
    )
    def test_bad_values(self, value, message):
        schema.use_declarations({"C": {"doc": "", "params": {"p": CONVOLUTION}}})
        assert message in error(prototxt.parse, f'layer{{ name: "a" type: "C" p{{ {value} }} }}')

    @pytest.mark.parametrize(
        "value, attribute, expected",
        [
            ("axis: -0x10", "axis", -16),
            ("axis: - 3", "axis", -3),
            ("axis: 010", "axis", 8),
            ("bias_term: 0", "bias_term", False),
            ("bias_term: t", "bias_term", True),
            ("bias_term: False", "bias_term", False),
            ("engine: 2", "engine", "CUDNN"),
            ("pad: [1, 2] pad: 3", "pad", [1, 2, 3]),
            ("pad: []", "pad", []),
        ],
    )
    def test_good_values(self, value, attribute, expected):
        assert getattr(layer(f"convolution_param {{ {value} }}").convolution_param, attribute) == (
            expected
        )

    def test_unknown_layer_type(self):
        text = 'layer { name: "c" zzz_param { a: 1 }\n type: "Convolutoin" }'
        message = error(prototxt.parse, text, filename="a.prototxt")
        assert message.startswith(
            'a.prototxt:2:8: layer "c": type: "Convolutoin" is not a known layer type; '
            'did you mean "Convolution"?'
        )
        message = error(prototxt.parse, 'layer { type: "Zzz" }')
        assert "docs/layers.md lists" in message
        for way in ("PYDL_REGISTER_LAYER", "pydl.load_layers", 'type: "Python"'):
            assert way in message

    def test_any_layer_takes_any_known_param(self):
        assert layer("relu_param { negative_slope: 0.5 }").relu_param.negative_slope == 0.5

    def test_param_of_no_layer(self):
        assert 'unknown field "elu_param" in layer; did you mean "relu_param"?' in error(
            layer, "elu_param { }"
        )

    def test_misplaced_field(self):
        message = error(prototxt.parse, 'layer { type: "Convolution" num_output: 3 }')
        assert "it belongs in convolution_param or inner_product_param { }" in message

    def test_field_lists_are_shown_where_no_name_is_near(self):
        assert "in relu_param; it has negative_slope" in error(layer, "relu_param { zz: 3 }")

    def test_types_may_declare_one_param_differently(self):
        wide = _schema("BNParameter", ("scale*", "float"), ("eps", "float", 1e-5))
        narrow = _schema("BNParameter", ("scale", "float", 2.0))
        schema.use_declarations(
            {
                "A": {"doc": "", "params": {"bn_param": wide}},
                "B": {"doc": "", "params": {"bn_param": narrow}},
                "C": {"doc": "", "params": {}},
            }
        )
        assert layer("bn_param { scale: 1 scale: 2 }", "A").bn_param.scale == [1, 2]
        assert prototxt.parse('layer { bn_param { eps: 1 } type: "B" }').layer[0].bn_param.eps == 1
        assert "given twice" in error(layer, "bn_param { scale: 1 scale: 2 }", "B")
        made = prototxt.new("LayerParameter", type="B")
        assert made.bn_param.scale == 2.0
        made = prototxt.new("LayerParameter", type="B")
        made.type = "C"
        assert made.bn_param.scale == []

    def test_old_nets_come_out_new(self):
        for source in ("layers { type: RELU }", 'layers { layer { type: "relu" } }'):
            assert prototxt.parse(source).layer[0].type == "ReLU"

    def test_solver_and_net_mixed_up(self):
        assert "1:1: this is a solver, not a net" in error(prototxt.parse, "base_lr: 0.1")
        assert "this is a net, not a solver" in error(prototxt.parse, LENET, "SolverParameter")

    def test_truncated_at_every_byte(self):
        for end in range(len(LENET)):
            part = LENET[:end]
            try:
                prototxt.parse(part, filename="cut")
            except Error as e:
                assert str(e).startswith("cut:")
            else:
                assert part.count("{") == part.count("}")

    def test_bytes_and_int64(self):
        datum = prototxt.parse(r'data: "\0\377\n" label: 3', "Datum")
        assert datum.data == b"\0\xff\n"
        assert prototxt.parse(str(datum), "Datum") == datum
        shape = prototxt.parse("dim: -9223372036854775808", "BlobShape")
        assert shape.dim == [-(2**63)]
        assert "out of range for int64" in error(
            prototxt.parse, "dim: 9223372036854775808", "BlobShape"
        )

    def test_doubles_keep_their_digits_and_floats_theirs(self):
        blob = prototxt.parse(
            "data: 0.10000000149011612 double_data: 0.10000000149011612", "BlobProto"
        )
        assert str(blob) == "data: 0.1\ndouble_data: 0.10000000149011612\n"

    def test_special_floats(self):
        blob = prototxt.parse("data: [inf, -inf, nan, -nan, 1.5f, 3]", "BlobProto")
        assert blob.data[:2] == [math.inf, -math.inf]
        assert math.isnan(blob.data[2]) and math.isnan(blob.data[3])
        assert str(blob).split()[1::2] == ["inf", "-inf", "nan", "nan", "1.5", "3"]

    def test_wrong_argument(self):
        assert "expected text as a str, got bytes" in error(prototxt.parse, b"name: 'x'")
        assert 'did you mean "NetParameter"' in error(prototxt.parse, "", "NetParamter")


class TestLoad:
    def test_net_and_solver(self, tmp_path):
        (tmp_path / "net.prototxt").write_text(LENET)
        (tmp_path / "solver.prototxt").write_bytes(b'\xef\xbb\xbfbase_lr: 1\r\ntype: "Adam"\r\n')
        net = prototxt.load_net(tmp_path / "net.prototxt")
        assert net == prototxt.load(str(tmp_path / "net.prototxt")) == prototxt.parse(LENET)
        assert prototxt.load_solver(tmp_path / "solver.prototxt").type == "Adam"

    def test_names_the_file(self, tmp_path):
        path = tmp_path / "net.prototxt"
        path.write_text('layer {\n  nmae: "x"\n}')
        assert error(prototxt.load_net, path).startswith(f"{path}:2:3: unknown field")

    def test_unreadable(self, tmp_path):
        assert error(prototxt.load_net, tmp_path / "no") == f"{tmp_path / 'no'}: no such file"
        assert str(tmp_path) in error(prototxt.load_net, tmp_path)
        assert "cannot be read" in error(prototxt.load_net, "a\0b")

    def test_binary(self, tmp_path):
        path = tmp_path / "weights.caffemodel"
        path.write_bytes(b"\n\x05LeNet\xa2\x06")
        assert f"{path}:2: byte 0xa2 is not UTF-8" in error(prototxt.load_net, path)

    def test_mixed_up_files_name_the_other_reader(self, tmp_path):
        path = tmp_path / "solver.prototxt"
        path.write_text('net: "net.prototxt"\n')
        assert "load_solver" in error(prototxt.load_net, path)
        path.write_text(LENET)
        assert "load_net" in error(prototxt.load_solver, path)


class TestMessage:
    def test_edit(self, lenet):
        lenet.layer[1].convolution_param.num_output = 50
        lenet.layer[1].convolution_param.pad.append(2)
        del lenet.layer[2]
        lenet.layer.add(name="relu", type="ReLU", bottom=["conv1"], top=["conv1"])
        again = prototxt.parse(str(lenet))
        assert again == lenet
        assert [item.name for item in again.layer] == ["mnist", "conv1", "loss", "relu"]
        assert again.layer[1].convolution_param.num_output == 50
        assert again.layer[1].convolution_param.pad == [2]

    def test_defaults(self):
        solver = prototxt.new("SolverParameter")
        assert (solver.delta, solver.momentum2, solver.rms_decay) == (1e-8, 0.999, 0.99)
        assert (solver.type, solver.solver_mode, solver.random_seed) == ("SGD", "GPU", -1)
        assert (solver.net, solver.max_iter, solver.stepvalue) == ("", 0, [])
        assert solver.test_initialization is True
        assert str(solver) == ""
        conv = prototxt.new("LayerParameter").convolution_param
        assert (conv.group, conv.weight_filler.type, conv.engine) == (1, "constant", "DEFAULT")

    def test_reading_does_not_set(self):
        net = prototxt.new("NetParameter")
        assert net.state.phase == "TEST" and net.layer == [] and len(net.state.stage) == 0
        assert not net.HasField("state") and not net.HasField("name")
        assert net == prototxt.new("NetParameter") and str(net) == ""

    @pytest.mark.parametrize(
        "write",
        [
            lambda p: setattr(p.weight_filler, "value", 0.0),
            lambda p: p.weight_filler.SetInParent(),
            lambda p: p.weight_filler.CopyFrom(p.weight_filler.__copy__()),
        ],
    )
    def test_messages_attach_at_the_first_write(self, write):
        made = prototxt.new("LayerParameter")
        assert not made.HasField("convolution_param")
        write(made.convolution_param)
        assert made.HasField("convolution_param")
        assert made.convolution_param.HasField("weight_filler")

    def test_lists_attach_their_message(self):
        net = prototxt.new("NetParameter")
        stages = net.state.stage
        stages.append("a")
        assert net.HasField("state") and net.state.stage == ["a"]
        del stages[0]
        assert net.HasField("state")

    def test_clear_field(self, lenet):
        conv = lenet.layer[1]
        kept = conv.convolution_param
        conv.ClearField("convolution_param")
        conv.ClearField("bottom")
        kept.num_output = 7
        assert not conv.HasField("convolution_param") and conv.bottom == []
        assert conv.convolution_param.num_output == 0
        conv.Clear()
        assert str(conv) == ""

    def test_has_field_of_a_list(self, lenet):
        assert "NetParameter.layer is repeated" in error(lenet.HasField, "layer")

    def test_copy_and_merge(self, lenet):
        other = prototxt.new("NetParameter", name="x")
        other.CopyFrom(lenet)
        assert other == lenet and other.layer[1].Where() == lenet.layer[1].Where()
        other.layer[1].name = "changed"
        assert lenet.layer[1].name == "conv1"
        lenet.CopyFrom(lenet)
        assert str(lenet) == LENET
        state = prototxt.new("NetState", level=1, stage=["a"])
        state.MergeFrom(prototxt.new("NetState", level=2, stage=["b"]))
        assert state == prototxt.new("NetState", level=2, stage=["a", "b"])
        assert "expected a NetState, got NetParameter" in error(state.CopyFrom, lenet)
        assert "expected a NetState, got int" in error(state.MergeFrom, 3)

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
    )
    def test_duplicates_are_independent(self, lenet, duplicate):
        other = duplicate(lenet)
        assert other == lenet and other is not lenet
        other.layer[0].data_param.batch_size = 1
        assert lenet.layer[0].data_param.batch_size == 64

    def test_equality(self):
        a, b = prototxt.new("NetState", level=0), prototxt.new("NetState")
        assert a != b  # set to the default is still set
        b.level = 0
        assert a == b
        assert a != prototxt.new("NetStateRule") and a != "level: 0"
        with pytest.raises(TypeError):
            hash(a)

    def test_assign_messages_and_lists(self):
        made = prototxt.new("LayerParameter", type="Convolution")
        made.convolution_param = {"num_output": 3, "weight_filler": {"type": "xavier"}}
        made.param = [{"lr_mult": 1}, prototxt.new("ParamSpec", lr_mult=2)]
        made.top = (name for name in "ab")
        filler = made.convolution_param.weight_filler
        made.convolution_param.weight_filler = filler
        assert made.convolution_param.weight_filler.type == "xavier"
        assert [p.lr_mult for p in made.param] == [1, 2]
        assert made.top == ["a", "b"]

    def test_lists_behave_like_lists(self):
        made = prototxt.new("LayerParameter", top=["a", "b", "c"])
        top = made.top
        top += ["d"]
        made.top += ["e"]
        assert top is made.top and top == ["a", "b", "c", "d", "e"] == list(top)
        assert top[1:3] == ["b", "c"] and top[-1] == "e" and "c" in top and len(top) == 5
        more = ["z"]
        assert top + more == ["a", "b", "c", "d", "e", "z"]
        assert more + top == ["z", "a", "b", "c", "d", "e"]
        top[0] = "x"
        top[1:3] = ["y"]
        top.insert(0, "w")
        top.remove("d")
        assert top == ["w", "x", "y", "e"] and top.pop() == "e" and top.index("y") == 2
        top.sort(reverse=True)
        assert repr(top) == "['y', 'x', 'w']"
        top.clear()
        assert not top and str(made) == ""
        with pytest.raises(IndexError):
            top[0]

    def test_appended_messages_are_copies(self, lenet):
        lenet.layer.extend(lenet.layer)
        assert len(lenet.layer) == 8
        lenet.layer[4].name = "again"
        assert lenet.layer[0].name == "mnist"
        lenet.layer.insert(0, lenet.layer[4])
        lenet.layer = lenet.layer[:1]
        assert [item.name for item in lenet.layer] == ["again"]

    @pytest.mark.parametrize(
        "field, value, message",
        [
            ("max_iter", 1.0, "SolverParameter.max_iter: expected an integer, got 1.0 (float)"),
            ("max_iter", True, "expected an integer, got True (bool)"),
            ("max_iter", "3", 'expected an integer, got "3"'),
            ("max_iter", None, "expected an integer, got None"),
            ("max_iter", 2**31, "2147483648 is out of range for int32"),
            ("max_iter", [1], "expected an integer, got [1] (list)"),
            ("base_lr", "0.1", 'expected a number, got "0.1"'),
            ("base_lr", True, "expected a number, got True"),
            ("base_lr", 1e39, "1e+39 is out of range for float"),
            ("base_lr", 10**400, "out of range for float"),
            ("base_lr", np.zeros(1), "expected a number, got"),
            ("net", 3, "expected a string, got 3 (int)"),
            ("net", b"\xff", "is not UTF-8"),
            ("net", "\ud800", "cannot be written as UTF-8"),
            ("debug_info", 2, "expected True or False, got 2"),
            ("debug_info", "true", 'expected True or False, got "true"'),
            ("solver_mode", "CPUU", '"CPUU" is not one of CPU, GPU; did you mean "CPU"?'),
            ("solver_mode", 2, '"2" is not one of CPU, GPU'),
            ("solver_mode", 1.0, "is not one of CPU, GPU"),
            ("stepvalue", 3, "SolverParameter.stepvalue is repeated: expected a list"),
            ("stepvalue", [1, "x"], 'SolverParameter.stepvalue: expected an integer, got "x"'),
            ("weights", "a.caffemodel", "is repeated: expected a list of values"),
            ("test_state", {"level": 1}, "is repeated: expected a list of values"),
            ("train_state", 3, "SolverParameter.train_state: expected a NetState, got int"),
        ],
    )
    def test_wrong_values(self, field, value, message):
        solver = prototxt.new("SolverParameter")
        assert message in error(setattr, solver, field, value)
        assert str(solver) == ""

    def test_numpy_values(self):
        solver = prototxt.new("SolverParameter")
        solver.max_iter = np.int64(3)
        solver.base_lr = np.float32(0.1)
        solver.momentum = np.array(0.5)
        solver.debug_info = np.bool_(True)
        solver.stepvalue = np.arange(3)
        assert str(solver).splitlines() == [
            "base_lr: 0.1",
            "max_iter: 3",
            "momentum: 0.5",
            "debug_info: true",
            "stepvalue: 0",
            "stepvalue: 1",
            "stepvalue: 2",
        ]
        assert type(solver.max_iter) is int and type(solver.debug_info) is bool

    def test_enums_are_names(self):
        solver = prototxt.new("SolverParameter", solver_mode=0, snapshot_format="HDF5")
        assert (solver.solver_mode, solver.snapshot_format) == ("CPU", "HDF5")

    def test_misspelt_attributes(self, lenet):
        conv = lenet.layer[1].convolution_param
        with pytest.raises(AttributeError, match='did you mean "num_output"'):
            print(conv.num_ouput)
        with pytest.raises(Error, match='did you mean "num_output"'):
            conv.num_ouput = 3
        with pytest.raises(prototxt.FieldError):
            lenet.layer.add(nmae="x")
        assert len(lenet.layer) == 4 and not hasattr(conv, "zz") and "stride" in dir(conv)

    def test_wrong_layer_type(self):
        net = prototxt.new("NetParameter")
        assert 'did you mean "Pooling"?' in error(net.layer.add, type="pooling")
        assert len(net.layer) == 0

    def test_add_needs_messages(self):
        assert "use append" in error(prototxt.new("NetState").stage.add)

    def test_to_dict(self, lenet):
        assert lenet.layer[1].ToDict()["convolution_param"] == {
            "num_output": 20,
            "kernel_size": [5],
            "stride": [1],
            "weight_filler": {"type": "xavier"},
        }


class TestDeclarations:
    def test_new_layers_are_known_after_refresh(self, monkeypatch):
        core = type("core", (), {"layer_declarations": staticmethod(lambda: dict(known))})
        known = {"ReLU": DECLARATIONS["ReLU"]}
        monkeypatch.setitem(__import__("sys").modules, "pydl._core", core)
        monkeypatch.setattr("pydl._core", core, raising=False)
        schema.use_declarations(None)
        assert layer("", "ReLU").type == "ReLU"
        known["Mine"] = {"doc": "", "params": {"my_param": RELU}}
        assert '"Mine" is not a known layer type' in error(layer, "", "Mine")
        schema.refresh()
        assert layer("my_param { negative_slope: 1 }", "Mine").my_param.negative_slope == 1

    def test_refresh_keeps_injected_declarations(self):
        schema.refresh()
        assert set(schema.declarations()) == set(DECLARATIONS)

    def test_without_the_core(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pydl._core", None)
        monkeypatch.delattr("pydl._core", raising=False)
        schema.use_declarations(None)
        assert "the compiled core of pydl cannot be loaded" in error(prototxt.parse, LENET)
        assert prototxt.parse("base_lr: 1", "SolverParameter").base_lr == 1

    def test_bad_declarations(self):
        for field, message in (
            ({"name": "a", "type": "int"}, 'a has the unknown type "int"'),
            ({"name": "a", "type": "bool", "default": 3}, "default of a: expected True or False"),
        ):
            bad = {"name": "P", "fields": [field]}
            schema.use_declarations({"L": {"doc": "", "params": {"p": bad}}})
            assert message in error(prototxt.new, "LayerParameter")

    def test_enum_defaults_may_be_numbers(self):
        enum = _schema("P", ("mode", {"A": 0, "B": 1}, 1), ("other", {"X": 5}))
        schema.use_declarations({"L": {"doc": "", "params": {"p": enum}}})
        made = prototxt.new("LayerParameter")
        assert (made.p.mode, made.p.other) == ("B", "X")

    def test_common_params_print_first(self):
        made = layer("pooling_param { } transform_param { } convolution_param { }")
        assert [f.name for f, _ in made.ListFields()][1:] == [
            "transform_param",
            "convolution_param",
            "pooling_param",
        ]


class TestNetSpec:
    def test_lenet(self, lenet):
        spec = prototxt.net_spec(lenet, phase="TRAIN")
        assert {k: v for k, v in spec.items() if k != "layers"} == {
            "name": "LeNet",
            "phase": "TRAIN",
            "level": 0,
            "stages": [],
            "force_backward": False,
            "debug_info": False,
        }
        assert spec["layers"][1] == {
            "name": "conv1",
            "type": "Convolution",
            "where": "lenet.prototxt:18",
            "bottom": ["data"],
            "top": ["conv1"],
            "loss_weight": [],
            "propagate_down": [],
            "param": [{"lr_mult": 1.0}, {"lr_mult": 2.0}],
            "include": [],
            "exclude": [],
            "params": {
                "convolution_param": {
                    "num_output": 20,
                    "kernel_size": [5],
                    "stride": [1],
                    "weight_filler": {"type": "xavier"},
                }
            },
        }
        assert spec["layers"][0]["include"] == [{"phase": "TRAIN", "stage": [], "not_stage": []}]
        assert spec["layers"][2]["params"]["pooling_param"]["pool"] == "MAX"

    def test_all_of_a_layer(self):
        made = layer(
            'name: "l" phase: TEST loss_weight: [0.5, 1] propagate_down: true\n'
            'param { name: "w" share_mode: PERMISSIVE decay_mult: 0 }\n'
            'exclude { min_level: 1 max_level: 3 stage: "a" not_stage: "b" } relu_param { }'
        )
        net = prototxt.new("NetParameter", layer=[made])
        spec = prototxt.net_spec(net)["layers"][0]
        assert spec["phase"] == "TEST"
        assert spec["loss_weight"] == [0.5, 1.0] and spec["propagate_down"] == [True]
        assert spec["param"] == [{"name": "w", "share_mode": "PERMISSIVE", "decay_mult": 0.0}]
        assert spec["exclude"] == [
            {"min_level": 1, "max_level": 3, "stage": ["a"], "not_stage": ["b"]}
        ]
        assert spec["params"] == {"relu_param": {}}

    def test_state(self):
        net = prototxt.parse('state { phase: TRAIN level: 2 stage: "a" stage: "b" }')

        def state(*args, **kwargs):
            spec = prototxt.net_spec(net, *args, **kwargs)
            return spec["phase"], spec["level"], spec["stages"]

        assert state() == ("TRAIN", 2, ["a", "b"])
        assert state("TEST", 0, ["b", "c"]) == ("TEST", 0, ["a", "b", "c"])
        assert state(phase=1) == ("TEST", 2, ["a", "b"])
        assert net.state.stage == ["a", "b"]
        assert prototxt.net_spec(prototxt.new("NetParameter"))["phase"] == "TEST"
        assert 'did you mean "TRAIN"?' in error(state, "train")
        assert 'write ["fast"]' in error(state, stages="fast")

    def test_made_in_python(self):
        net = prototxt.new("NetParameter")
        net.layer.add(name="r", type="ReLU", bottom=["x"], top=["x"])
        assert prototxt.net_spec(net)["layers"][0]["where"] == ""

    def test_layer_without_a_type(self):
        net = prototxt.parse('\nlayer { name: "x" }', filename="n")
        assert error(prototxt.net_spec, net) == 'n:2:1: layer "x" has no type'

    @pytest.mark.parametrize(
        "sizes, shapes",
        [
            ("input_dim: [1, 3, 4, 5, 6, 7, 8, 9]", [[1, 3, 4, 5], [6, 7, 8, 9]]),
            ("input_shape { dim: 2 dim: 3 } input_shape { dim: 2 }", [[2, 3], [2]]),
        ],
    )
    def test_legacy_inputs(self, sizes, shapes):
        net = prototxt.parse(f'name: "n"\ninput: ["a", "b"]\n{sizes}\nlayer {{ type: "ReLU" }}')
        spec = prototxt.net_spec(net)["layers"]
        assert [item["type"] for item in spec] == ["Input", "ReLU"]
        assert spec[0]["name"] == "input" and spec[0]["top"] == ["a", "b"]
        assert spec[0]["where"] == "<string>:2"
        assert spec[0]["params"] == {"input_param": {"shape": [{"dim": s} for s in shapes]}}

    @pytest.mark.parametrize(
        "sizes, message",
        [
            ("", "1:1: 0 input_dim for 1 input; give four"),
            ("input_dim: 1", "2:1: 1 input_dim for 1 input"),
            ("input_shape { } input_shape { }", "2:1: 2 input_shape for 1 input"),
        ],
    )
    def test_bad_legacy_inputs(self, sizes, message):
        assert message in error(prototxt.parse, f'input: "a"\n{sizes}')

    def test_legacy_inputs_of_a_net_made_in_python(self):
        net = prototxt.new("NetParameter", input=["a"], input_dim=[1, 2, 3, 4])
        assert prototxt.net_spec(net)["layers"][0]["type"] == "Input"
        net.input_dim.pop()
        assert "<NetParameter>:1:1: 3 input_dim for 1 input" in error(prototxt.net_spec, net)

    def test_batch_norm_does_not_learn_its_statistics(self):
        old = 'param { lr_mult: 1 name: "mean" } param { } param { decay_mult: 2 }'
        net = prototxt.parse(f'layer {{ type: "BatchNorm" {old} }} layer {{ type: "ReLU" }}')
        frozen = {"lr_mult": 0.0, "decay_mult": 0.0}
        assert prototxt.net_spec(net)["layers"][0]["param"] == [
            {"name": "mean", **frozen}, frozen, frozen
        ]  # fmt: skip

    def test_wrong_message(self):
        assert "expected a NetParameter, got SolverParameter" in error(
            prototxt.net_spec, prototxt.new("SolverParameter")
        )
        assert "expected a SolverParameter, got dict" in error(prototxt.solver_spec, {})


class TestSolverSpec:
    def test_set_fields_only(self):
        solver = prototxt.parse(
            'net: "n" base_lr: 0.01 stepvalue: [1, 2] solver_mode: CPU\n'
            "test_state { level: 1 } random_seed: 17",
            "SolverParameter",
        )
        assert prototxt.solver_spec(solver) == {
            "net": "n",
            "base_lr": 0.01,
            "stepvalue": [1, 2],
            "solver_mode": "CPU",
            "test_state": [{"level": 1}],
            "random_seed": 17,
        }

    @pytest.mark.parametrize(
        "legacy, name",
        [
            ("SGD", "SGD"),
            ("NESTEROV", "Nesterov"),
            ("ADAGRAD", "AdaGrad"),
            ("3", "RMSProp"),
            ("ADADELTA", "AdaDelta"),
            ("ADAM", "Adam"),
        ],
    )
    def test_legacy_type(self, legacy, name):
        solver = prototxt.parse(f"solver_type: {legacy}", "SolverParameter")
        assert prototxt.solver_spec(solver) == {"type": name}

    def test_both_types(self):
        source = 'type: "SGD"\nsolver_type: ADAM'
        message = error(prototxt.parse, source, "SolverParameter", "s.prototxt")
        assert message.startswith("s.prototxt:2:1: ") and "ADAM" in message and '"SGD"' in message


def _scalars(field):
    if field.type == "enum":
        return st.sampled_from(sorted(field.enum))
    if field.choices:
        return st.sampled_from(field.choices)
    low, high = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}.get(
        field.type, (-(2**63), 2**63 - 1)
    )
    return {
        "float": st.floats(width=32, allow_nan=False),
        "double": st.floats(allow_nan=False),
        "bool": st.booleans(),
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "bytes": st.binary(max_size=5),
    }.get(field.type, st.integers(low, high))


@st.composite
def messages(draw, kind):
    """Messages with some fields set to anything their schema allows."""
    message = prototxt.Message(kind)
    fields = list(message._schema.fields.values())
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=id)):
        values = messages(field.message) if field.type == "message" else _scalars(field)
        setattr(
            message, field.name, draw(st.lists(values, max_size=3) if field.repeated else values)
        )
    return message


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", ["NetParameter", "SolverParameter", "BlobProto", "Datum"])
def test_printed_messages_parse_to_equal_ones(kind, data):
    schema.use_declarations(DECLARATIONS)
    message = data.draw(messages(schema.get(kind)))
    again = bind(text.parse(str(message)), schema.get(kind))  # as it is, not upgraded
    assert again == message
    assert str(again) == str(message)
    assert copy.deepcopy(message) == message
    assert text.parse(str(message)) == text.parse(str(again))
