"""The zoo: every net is what its table says, runs, and trains."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

import pydl
from pydl import prototxt, zoo
from pydl.cli.main import main

# Layers whose blobs do not learn: running statistics, anchors.
_STATISTICS = {"BatchNorm": slice(0, 0), "BN": slice(0, 2), "Region": slice(0, 0)}


def message_of(name, **options):
    """A net of the zoo; the test is skipped while a layer type is missing."""
    try:
        return zoo.load(name, **options)
    except pydl.Error as error:
        if "is not a known layer type" in str(error):
            pytest.skip(str(error))
        raise


def net_of(name, phase="TEST", **options):
    return pydl.Net(message_of(name, **options), phase=phase)


def without_fillers(message):
    """Large nets are built much faster with zeros."""
    for layer in message.layer:
        for param in (layer.convolution_param, layer.inner_product_param):
            if param.HasField("weight_filler"):
                param.ClearField("weight_filler")
    return message


def learned(net):
    """How many numbers the net learns."""
    total = 0
    for i in range(net._core.layer_count):
        layer = net._core.layer(i)
        kept = layer.blobs[_STATISTICS.get(layer.type, slice(None))]
        total += sum(math.prod(blob.shape) for blob in kept)
    return total


# ---- the table ----
@pytest.mark.parametrize("name", zoo.names())
def test_net_is_what_the_table_says(name):
    """Parameters, multiply-adds and output shapes of the deploy form."""
    net, entry = pydl.Net(without_fillers(message_of(name))), zoo.entry(name)
    assert learned(net) == entry.parameters
    assert sum(row["flops"] for row in net._core.layer_rows()) / 2 == entry.macs
    assert {blob: tuple(net.blobs[blob].shape) for blob in entry.outputs} == entry.outputs
    assert tuple(net.blobs["data"].shape) == (1, *entry.input)


# Parameters as they are known from the papers, or from the implementation that everybody uses.
PUBLISHED = {
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "nin": 7_595_176,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    "inception_v3": 23_834_568,
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50": 25_028_904,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "shufflenet_v2": 2_278_604,
    "se_resnet50": 28_088_024,
    "efficientnet_b0": 5_288_548,
    "unet": 31_030_658,
    "ssd300": 26_285_486,
    "faster_rcnn": 137_078_239,
    "yolo_v2_tiny": 15_861_773,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    assert zoo.entry(name).parameters == PUBLISHED[name]


# Multiply-adds as papers give them, in their digits; torchvision's or the release's where the paper
# has none.
PUBLISHED_WORK = {
    "alexnet": "724e6",
    "caffenet": "724e6",
    "vgg11": "7.61e9",
    "vgg13": "11.31e9",
    "vgg16": "15.47e9",
    "vgg19": "19.63e9",
    "inception_v3": "5.71e9",
    "inception_v4": "12.3e9",
    "inception_resnet_v2": "13.2e9",
    "resnet18": "1.8e9",
    "resnet101": "7.6e9",
    "resnet152": "11.3e9",
    "resnext50": "4.2e9",
    "densenet121": "2.83e9",
    "densenet161": "7.73e9",
    "densenet169": "3.36e9",
    "densenet201": "4.29e9",
    "squeezenet1_0": "861e6",
    "mobilenet_v1": "569e6",
    "mobilenet_v2": "301e6",
    "mobilenet_v3_large": "217e6",
    "mobilenet_v3_small": "56e6",
    "shufflenet_v1": "137e6",
    "se_resnet50": "3.86e9",
    "efficientnet_b0": "0.39e9",
    "yolo_v2_tiny": "3.49e9",
    "c3d": "38.5e9",
}


@pytest.mark.parametrize("name", PUBLISHED_WORK)
def test_multiply_adds_are_the_published_ones(name):
    published = Decimal(PUBLISHED_WORK[name])
    last_digit = 10 ** published.as_tuple().exponent
    assert abs(zoo.entry(name).macs - int(published)) <= last_digit


def test_table_is_complete():
    for name in zoo.names():
        entry = zoo.entry(name)
        assert entry.name == name
        assert entry.paper and entry.published and entry.outputs, name


# ---- they run ----
# Small enough for a pass in a moment.
_SMALL = (
    "nin",
    "squeezenet1_0",
    "squeezenet1_1",
    "googlenet",
    "resnet18",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_released",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "shufflenet_v1",
    "shufflenet_v2",
    "efficientnet_b0",
    "mobilenet_ssd",
    "mobilenet_ssd_released",
    "yolo_v2_tiny",
)


@pytest.mark.parametrize("name", _SMALL)
def test_forward_pass(name):
    """By batch statistics, as there are no stored ones yet."""
    net = net_of(name, phase="TRAIN", batch=2)
    data = np.random.default_rng(0).standard_normal(net.blobs["data"].shape)
    outputs = net.forward(data=data)
    for blob in zoo.entry(name).outputs:
        values = net.blobs[blob].data
        assert np.isfinite(values).all() and values.any()
    if "prob" in outputs:
        np.testing.assert_allclose(outputs["prob"].reshape(2, -1).sum(axis=1), 1, atol=1e-4)


# ---- training forms ----
@pytest.mark.parametrize("name", zoo.names())
def test_training_form_has_losses_and_the_deploy_form_s_weights(name):
    message = message_of(name, train=True)
    net = pydl.Net(without_fillers(message), phase="TRAIN")
    assert any(net.loss_weights.values())
    weighted = ("Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "BN")
    deploy = {layer.name for layer in message_of(name).layer if layer.type in weighted}
    assert deploy <= {layer.name for layer in message.layer}


def test_classifier_learns():
    """A few steps of MobileNet on two pictures."""
    net = net_of("mobilenet_v1", phase="TRAIN", batch=2, classes=2, train=True)
    solver = pydl._core.Solver({"base_lr": 0.01, "momentum": 0.9}, net._core)
    net.blobs["data"].data[...] = np.random.default_rng(0).standard_normal((2, 3, 224, 224))
    net.blobs["label"].data[...] = [0, 1]
    losses = [solver.step() for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]


def test_googlenet_trains_with_two_auxiliary_heads():
    net = net_of("googlenet", phase="TRAIN", classes=10, train=True)
    assert net.loss_weights == {
        "loss1/loss": pytest.approx(0.3),
        "loss2/loss": pytest.approx(0.3),
        "loss": 1,
    }


def test_test_phase_of_the_training_form_shows_accuracies():
    net = net_of("squeezenet1_1", train=True)
    assert {"loss", "accuracy", "accuracy_top5"} == set(net.outputs)


def test_training_form_can_read_its_images_itself():
    sources = ["train_lmdb", "test_lmdb"]
    message = zoo.load("squeezenet1_1", batch=4, train=True, sources=sources)
    train, test = message.layer[:2]
    assert [(la.type, la.data_param.source, la.data_param.batch_size) for la in (train, test)] == [
        ("Data", "train_lmdb", 4),
        ("Data", "test_lmdb", 4),
    ]
    assert train.transform_param.mirror and not test.transform_param.mirror
    assert train.transform_param.crop_size == 227
    assert all(layer.type != "Input" for layer in message.layer)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "alexnet", "sources": ["a"]},
        {"name": "fcn8s", "train": True, "sources": ["a"]},
        {"name": "alexnet", "train": True, "sources": ["a", "b", "c"]},
    ],
)
def test_sources_that_do_not_fit_are_refused(given):
    with pytest.raises(pydl.Error, match="source"):
        zoo.load(**given)


# ---- published weights, fine-tuning ----
def test_weights_load_by_name_except_for_other_classes(tmp_path):
    published = net_of("squeezenet1_1", batch=1)
    published.save(tmp_path / "w.caffemodel")
    net = net_of("squeezenet1_1", classes=7)
    assert "conv10_7" in net.params
    net.load(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(
        net.params["fire9/expand3x3"][0].data, published.params["fire9/expand3x3"][0].data
    )


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("alexnet", "conv1 norm1 conv5 fc6 fc7 fc8"),
        ("vgg16", "conv1_1 conv5_3 fc6 fc8"),
        ("googlenet", "conv1/7x7_s2 inception_4e/5x5_reduce loss3/classifier"),
        ("resnet50", "bn_conv1 scale_conv1 res2a_branch1 bn4f_branch2c fc1000"),
        ("resnet101", "res3b3_branch2a scale4b22_branch2c res5c_branch2b"),
        ("resnet152", "res3b7_branch2a bn4b35_branch2c"),
        ("densenet121", "conv1/bn conv2_1/x1/bn conv5_16/x2/scale conv2_blk/bn conv2_blk fc6"),
        ("inception_v4", "inception_stem2_1x7_reduce inception_b7_1x7_3_bn reduction_b_3x3_2"),
        ("inception_v3", "inception_a1_3x3_1 inception_b4_7x1_reduce inception_c2_3x1_2"),
        ("inception_resnet_v2", "conv5_1x1_ave inception_resnet_v2_b20_up conv6_1x1_scale"),
        ("mobilenet_v1", "conv2_1/dw/bn conv5_6/sep conv6/sep/scale fc7"),
        ("fcn8s", "score_fr upscore2 score_pool4 upscore_pool4 score_pool3 upscore8"),
        ("deeplab_v2", "res4b22_branch2c fc1_voc12_c3"),
        ("c3d", "conv1a conv3b conv5b fc6-1 fc8-1"),
        ("ssd300", "conv4_3_norm conv9_2_mbox_conf conv4_3_norm_mbox_priorbox mbox_loc"),
        ("mobilenet_ssd", "conv0/bn conv13/dw/scale conv17_2 conv11_mbox_conf"),
        ("faster_rcnn", "rpn_conv/3x3 rpn_bbox_pred cls_score bbox_pred"),
        ("rfcn", "conv_new_1 rfcn_cls rfcn_bbox res4f_branch2c"),
        ("segnet", "conv5_3_D conv1_2_D_bn conv1_1_D upsample5"),
        ("pspnet50", "conv1_1_3x3_s2/bn conv5_3_pool6_conv/bn conv5_4 conv6"),
        ("se_resnet50", "conv2_1_1x1_down conv2_1_1x1_proj/bn/scale classifier"),
        ("shufflenet_v1", "resx1_conv3_bn resx16_conv2_scale fc1000"),
    ],
)
def test_layers_are_named_as_in_the_published_prototxts(name, layers):
    assert set(layers.split()) <= {layer.name for layer in message_of(name).layer}


# ---- errors ----
def test_names_are_found_in_other_spellings():
    assert zoo.entry("ResNet-50").name == "resnet50"
    assert zoo.entry("SqueezeNet 1.1").name == "squeezenet1_1"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("resnet5", "resnet50"),
        ("mobilenetv4", "mobilenet_v"),
        ("MobileNet-v3", '"mobilenet_v3_large" or "mobilenet_v3_small"'),
        ("q", "alexnet"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(wrong, hint):
    with pytest.raises(pydl.Error, match=f'no net "{wrong}" in the zoo.*{hint}'):
        zoo.load(wrong)


@pytest.mark.parametrize(
    "numbers", [{"batch": 0}, {"classes": 0}, {"batch": 1.5}, {"classes": True}]
)
def test_numbers_must_be_positive(numbers):
    with pytest.raises(pydl.Error, match="alexnet: .* whole number of at least 1"):
        zoo.load("alexnet", **numbers)


# ---- the command ----
def test_list_names_every_net(capsys):
    assert main(["zoo", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == zoo.names()


def test_show_prints_the_summary_and_draws(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["zoo", "show", "SqueezeNet-1.1"]) == 0
    assert "parameters 1,235,496" in capsys.readouterr().out
    assert (tmp_path / "squeezenet1_1.svg").read_text().startswith("<svg")


def test_write_gives_a_prototxt_that_reads_back(capsys, tmp_path):
    flags = ["-batch", "4", "-classes", "5", "-train"]
    path = tmp_path / "net.prototxt"
    assert main(["zoo", "write", "nin", *flags, "-o", str(path)]) == 0
    message = prototxt.load_net(path)
    assert message == zoo.load("nin", batch=4, classes=5, train=True)
    assert main(["zoo", "write", "nin", *flags]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_write_of_an_unknown_net_is_one_clear_line(capsys):
    assert main(["zoo", "write", "resnet51"]) == 1
    error = 'pydl: error: no net "resnet51" in the zoo; did you mean "resnet50"?\n'
    assert capsys.readouterr().err == error
