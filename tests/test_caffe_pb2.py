"""Caffe's message classes: protobuf's, and pydl's own where protobuf is not installed."""

import copy
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from net_text import run_python

from pydl.caffe.proto import _plain
from pydl.errors import Error
from pydl.prototxt import proto_file

PROTO = Path(__file__).parent / "golden" / "proto"
MESSAGES = sorted({path.name.split(".")[0] for path in PROTO.glob("*.bin")})


def load(mode):
    if mode == "plain":
        return SimpleNamespace(**_plain.namespace(__name__)), _plain
    pytest.importorskip("google.protobuf", reason="the optional package protobuf is not installed")
    from google.protobuf import text_format

    from pydl.caffe.proto import caffe_pb2

    return caffe_pb2, text_format


@pytest.fixture(params=["protobuf", "plain"])
def modules(request):
    return load(request.param)


@pytest.fixture
def pb(modules):
    return modules[0]


def test_the_schema_is_caffe_s():
    golden = json.loads((PROTO / "schema.json").read_text())
    enums, messages = proto_file.definitions()
    assert enums == golden["enums"]
    assert set(messages) == set(golden["messages"])
    for name, want in golden["messages"].items():
        schema = proto_file.get(name)
        assert messages[name]["enums"] == want["enums"]
        assert set(schema.fields) == {field["name"] for field in want["fields"]}
        for field in want["fields"]:
            mine = schema.fields[field["name"]]
            given = next(f for f in messages[name]["fields"] if f["name"] == field["name"])
            assert (mine.number, mine.type, mine.packed) == (
                field["number"], field["type"], field["packed"],
            )  # fmt: skip
            assert given["label"] == field["label"]
            if field["of"]:
                of = mine.message.name if mine.type == "message" else given["of"]
                assert f"caffe.{of}" == field["of"]
            assert (given["default"] is not None) == field["has_default"]
            if not mine.repeated and mine.type not in ("message", "bytes"):
                assert mine.default == field["default"], (name, field)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_as_text_and_as_bytes(modules, name, number):
    pb, text_format = modules
    data = (PROTO / f"{name}.{number}.bin").read_bytes()
    source = (PROTO / f"{name}.{number}.prototxt").read_text()
    kind = getattr(pb, name)
    read, parsed = kind.FromString(data), text_format.Parse(source, kind())
    assert read == parsed
    assert read.SerializeToString() == parsed.SerializeToString() == data
    assert text_format.Merge(text_format.MessageToString(read), kind()) == read
    assert text_format.Parse(str(read), kind()) == read
    assert read.ByteSize() == len(data)
    again = kind()
    again.CopyFrom(read)
    assert again == read == copy.deepcopy(read)
    again.Clear()
    assert again == kind() and again.ParseFromString(data) == len(data) and again == read


def test_names(pb):
    assert (pb.TRAIN, pb.TEST) == (0, 1)
    assert pb.Phase.Name(1) == "TEST" and pb.Phase.Value("TRAIN") == 0
    assert pb.PoolingParameter.AVE == 1
    assert pb.PoolingParameter.PoolMethod.items() == [("MAX", 0), ("AVE", 1), ("STOCHASTIC", 2)]
    assert pb.PoolingParameter.PoolMethod.AVE == 1
    assert pb.V1LayerParameter.LayerType.Value("CONVOLUTION") == pb.V1LayerParameter.CONVOLUTION
    values = pb.PoolingParameter.PoolMethod.DESCRIPTOR.values_by_name
    assert {name: value.number for name, value in values.items()} == {
        "MAX": 0, "AVE": 1, "STOCHASTIC": 2,
    }  # fmt: skip
    layer = pb.LayerParameter()
    names = [field.name for field in layer.DESCRIPTOR.fields]
    assert "convolution_param" in names
    assert type(layer.convolution_param).__name__ == "ConvolutionParameter"
    with pytest.raises(ValueError):
        pb.Phase.Name(7)
    with pytest.raises(ValueError):
        pb.Phase.Value("train")
    with pytest.raises(AttributeError):
        _ = pb.PoolingParameter.PoolMethod.MEAN


def test_a_net_made_by_hand(pb):
    net = pb.NetParameter(name="n")
    layer = net.layer.add(name="conv1", type="Convolution")
    layer.bottom.append("data")
    layer.top.extend(["conv1"])
    layer.convolution_param.num_output = 20
    layer.convolution_param.kernel_size.append(5)
    layer.include.add().phase = pb.TEST
    layer.param.add(lr_mult=0.1)
    pool = net.layer.add()
    pool.CopyFrom(pb.LayerParameter(name="p", pooling_param={"pool": pb.PoolingParameter.MAX}))
    assert isinstance(net.layer[0], pb.LayerParameter)
    assert net.layer[0].include[0].phase == pb.TEST
    assert net.layer[1].pooling_param.pool == pb.PoolingParameter.MAX
    assert layer.param[0].lr_mult == np.float32(0.1)
    assert layer.HasField("convolution_param") and not layer.HasField("phase")
    assert layer.phase == pb.TRAIN and layer.convolution_param.group == 1
    layer.ClearField("convolution_param")
    assert not layer.HasField("convolution_param")
    del net.layer[0]
    net.layer.extend([layer])
    assert [made.name for made in net.layer] == ["p", "conv1"]
    assert pb.NetParameter.FromString(net.SerializeToString()) == net
    assert [field.name for field, _ in net.ListFields()] == ["name", "layer"]


def test_blobs_and_arrays(pb):
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 10
    blob = pb.BlobProto()
    blob.shape.dim.extend(array.shape)
    blob.data.extend(array.astype(float).flat)
    blob.data.append(7)
    again = pb.BlobProto.FromString(blob.SerializeToString())
    assert len(again.data) == 7
    np.testing.assert_array_equal(np.array(again.data, np.float32)[:6], array.ravel())
    assert again.data[1] == np.float32(0.1)
    again.data[1] = 3
    assert list(again.data)[:2] == [0, 3]
    vector = pb.BlobProtoVector()
    vector.blobs.extend([blob, again])
    assert pb.BlobProtoVector.FromString(vector.SerializeToString()).blobs[1] == again
    datum = pb.Datum(channels=1, height=1, width=2, data=b"\xff\x00", label=3)
    assert pb.Datum.FromString(datum.SerializeToString()).data == b"\xff\x00"


def test_what_the_schema_does_not_know_is_kept(pb):
    unknown = bytes([0xA2, 0xF7, 0x02, 0x01, 0x41])  # field 6004
    other_type = bytes([0x0A, 0x01, 0x00])  # Datum.channels as bytes
    datum = pb.Datum.FromString(unknown + other_type + b"\x28\x03")
    assert datum.label == 3 and not datum.HasField("channels")
    assert sorted(datum.SerializeToString()) == sorted(unknown + other_type + b"\x28\x03")
    other = pb.Datum()
    other.MergeFrom(datum)
    assert other.SerializeToString() == datum.SerializeToString()
    floats_as_a_varint = bytes([0x28, 0x01])  # BlobProto.data
    assert pb.BlobProto.FromString(floats_as_a_varint).SerializeToString() == floats_as_a_varint
    assert pb.NetState.FromString(b"\x08\x07").phase == pb.TEST  # an enum's number that is none


def test_merging_bytes(pb):
    net = pb.NetParameter.FromString(b"\x0a\x01a")
    net.MergeFromString(b"\x0a\x01b" + pb.NetParameter(input=["x"]).SerializeToString())
    assert net.name == "b" and net.input == ["x"]


def test_numbers_are_cut_as_on_the_wire(pb):
    minus_one = b"\xff" * 9 + b"\x01"
    assert pb.Datum.FromString(b"\x28" + minus_one).label == -1
    assert pb.Datum(label=-1).SerializeToString() == b"\x28" + minus_one
    assert pb.TransformationParameter.FromString(b"\x18" + minus_one).crop_size == 2**32 - 1


def test_required_fields(pb):
    clip = pb.ClipParameter(min=0)
    assert not clip.IsInitialized()
    with pytest.raises(Exception, match="missing required fields: max"):
        clip.SerializeToString()
    assert len(clip.SerializePartialToString()) == 5
    clip.max = 1
    assert clip.IsInitialized()
    assert pb.ClipParameter.FromString(clip.SerializeToString()) == clip


def test_damaged_bytes(pb):
    data = (PROTO / "BlobProto.0.bin").read_bytes()
    for wrong in (b"\x0a", b"\x3a\x7f", b"\x2a\x03abc", b"\xff" * 11, data[:-1]):
        with pytest.raises(Exception, match=r"serialized|parsing|Error"):
            pb.BlobProto.FromString(wrong)


def test_plain_messages_raise_pydl_errors():
    pb, text_format = load("plain")
    with pytest.raises(Error, match='did you mean "num_output"'):
        pb.ConvolutionParameter().num_ouput = 3
    with pytest.raises(Error, match="expected an integer"):
        pb.ConvolutionParameter(num_output="3")
    with pytest.raises(Error, match='unknown field "layrs" in NetParameter'):
        text_format.Parse("layrs { }", pb.NetParameter())
    with pytest.raises(Error, match="claims 127 bytes"):
        pb.BlobProto.FromString(b"\x3a\x7f")


def test_plain_messages_can_be_pickled():
    pb, _ = load("plain")
    net = pb.NetParameter(name="n")
    assert pickle.loads(pickle.dumps(net)) == net


def test_without_protobuf_the_module_still_works():
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from pydl.caffe.proto import caffe_pb2, text_format\n"
        "net = text_format.Merge('layer { name: \"a\" phase: TEST }', caffe_pb2.NetParameter())\n"
        "assert net.layer[0].phase == caffe_pb2.TEST\n"
        "print(text_format.MessageToString(net), end='')"
    )
    assert run_python(code).stdout == 'layer {\n  name: "a"\n  phase: TEST\n}\n'


def test_it_is_caffe_s_module():
    from pydl.caffe import proto

    assert proto.caffe_pb2.NetParameter(name="n").name == "n"
    assert "NetParameter" in dir(proto.caffe_pb2)
    with pytest.raises(AttributeError):
        _ = proto.caffe_pb3
