"""The files of results that DetectionOutput writes: PASCAL VOC's, COCO's and ILSVRC's."""

import json

import numpy as np
import pytest
from data_files import message
from net_text import layer, make_net

LABELS = {0: ("none", "background"), 1: ("18", "dog"), 2: ("cat", "a cat")}
SIZES = {"7": (100, 200), "b": (50, 40), "0012": (30, 30)}  # rows, columns


@pytest.fixture
def files(tmp_path):
    items = [f'item {{ name: "{name}" label: {label} display_name: "{shown}" }}'
             for label, (name, shown) in LABELS.items()]  # fmt: skip
    (tmp_path / "labels.prototxt").write_text("\n".join(items))
    lines = [f"{name} {rows} {columns}" for name, (rows, columns) in SIZES.items()]
    (tmp_path / "sizes.txt").write_text("\n".join(lines))
    return tmp_path


# image: rows of class, score, box. Each is a prior by itself.
FOUND = {
    0: [(1, 0.75, (0.104, 0.256, 0.507, 0.759)), (2, 0.9, (0.5, 0.5, 1.25, 0.75))],
    1: [(2, 0.3, (-0.25, 0.0, 0.5, 0.5))],
    2: [],
}


def net_of(files, fmt="VOC", more="", images=3, phase="TEST"):
    save = f"""save_output_param {{ output_directory: "{files}/out/deep" output_name_prefix: "res_"
        output_format: "{fmt}" label_map_file: "{files}/labels.prototxt"
        name_size_file: "{files}/sizes.txt" {more} }}"""
    fields = f"num_classes: 3 confidence_threshold: 0.1 {save}"
    text = layer("DetectionOutput", f"detection_output_param {{ {fields} }}", "loc conf prior")
    inputs = {"loc": (images, 8), "conf": (images, 6), "prior": (1, 2, 8)}
    return make_net(text, inputs, phase=phase)


def run(net, images):
    """Each image's boxes by way of two priors that are 0."""
    loc, conf = np.zeros((len(images), 2, 4)), np.zeros((len(images), 2, 3))
    for n, image in enumerate(images):
        for k, (label, score, box) in enumerate(FOUND[image]):
            loc[n, k], conf[n, k, label] = box, score
    prior = np.ones((1, 2, 8))
    prior[0, 0] = 0
    net.forward(loc=loc.reshape(len(images), 8), conf=conf.reshape(len(images), 6), prior=prior)


def written(files):
    return {path.name: path.read_text() for path in sorted((files / "out/deep").iterdir())}


def test_voc(files):
    run(net_of(files), [0, 1, 2])
    # To hundredths, then cut; the far corner is the near one and the size.
    assert written(files) == {
        "res_18.txt": "7 0.75 20 25 100 75\n",
        "res_cat.txt": "7 0.9 100 50 200 75\nb 0.3 0 0 20 25\n",
    }


def test_ilsvrc(files):
    run(net_of(files, "ILSVRC"), [0, 1, 2])
    want = "7 1 0.75 20 25 100 75\n7 2 0.9 100 50 200 75\nb 2 0.3 0 0 20 25\n"
    assert written(files) == {"res_.txt": want}


def test_coco(files):
    run(net_of(files, "COCO"), [0, 2, 1])
    (content,) = written(files).values()
    assert json.loads(content) == [
        {"image_id": 7, "category_id": 18, "bbox": [20.8, 25.6, 80.6, 50.3], "score": 0.75},
        {"image_id": 7, "category_id": "cat", "bbox": [100, 50, 100, 25], "score": 0.9},
        {"image_id": 12, "category_id": "cat", "bbox": [0, 0, 15, 15], "score": 0.3},
    ]


@pytest.mark.parametrize("fmt", ["VOC", "COCO", "ILSVRC"])
def test_no_detections(files, fmt):
    run(net_of(files, fmt), [2, 2, 2])
    for content in written(files).values():
        assert content == ("[\n]\n" if fmt == "COCO" else "")


def test_a_pass_over_several_batches_and_the_next_pass(files):
    net = net_of(files, more="num_test_image: 2", images=1)
    run(net, [0])
    assert not written(files)
    run(net, [1])
    first = written(files)
    assert first["res_18.txt"] and first["res_cat.txt"].count("\n") == 2
    run(net, [2])
    assert written(files) == first
    run(net, [1])
    assert written(files) == {"res_18.txt": "", "res_cat.txt": "b 0.3 0 0 20 25\n"}


def test_a_batch_that_goes_into_the_next_pass(files):
    net = net_of(files, more="num_test_image: 2", images=3)
    run(net, [1, 1, 0])
    assert written(files)["res_cat.txt"].count("\n") == 2
    run(net, [2, 2, 2])  # the second pass ends at its first image, the third one at its last
    assert written(files) == {"res_18.txt": "", "res_cat.txt": ""}


def test_padding_is_taken_off(files):
    more = "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 300 width: 300 }"
    run(net_of(files, more=more), [0, 2, 2])
    # Image 7 takes the middle half of the rows.
    assert written(files)["res_18.txt"] == "7 0.75 20 1 100 99\n"


def test_a_fixed_scale(files):
    more = """resize_param { resize_mode: FIT_SMALL_SIZE height: 300 width: 300
        height_scale: 50 width_scale: 100 }"""
    run(net_of(files, more=more), [0, 2, 2])
    assert written(files)["res_18.txt"] == "7 0.75 10 12 50 37\n"


def test_a_published_model_elsewhere(files):
    """Neither file is there: the paths are those of the machine that the model comes from."""
    (files / "labels.prototxt").unlink()
    (files / "sizes.txt").unlink()
    run(net_of(files), [0, 1, 2])
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda files: {"fmt": "PASCAL"}, 'must be VOC, COCO or ILSVRC, got "PASCAL"'),
        (lambda files: {"more": "num_test_image: 4"}, "num_test_image is 4, but"),
        (lambda files: (files / "sizes.txt").unlink(), "sizes.txt: cannot be read"),
        (lambda files: (files / "labels.prototxt").unlink(), "labels.prototxt"),
        (lambda files: (files / "sizes.txt").write_text("a 3"), "needs a height and a width"),
        (lambda files: (files / "labels.prototxt").write_text('item { name: "a" label: 1 }'),
         "no item has the label 2; num_classes is 3"),
        (lambda files: (files / "out").write_text(""), "cannot be made"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(files, spoil, problem):
    options = spoil(files)
    assert problem in message(net_of, files, **(options if isinstance(options, dict) else {}))
