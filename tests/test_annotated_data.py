"""AnnotatedData: records with boxes, what is done to both, the files they come from, and tools."""

import json

import numpy as np
import pytest
from cli_tools import run_pydl
from data_files import encoded, message, planar, write_lmdb
from net_text import layer, make_net

import pydl
from pydl.average_precision import DetectionScores, average_precision
from pydl.data import write_annotated_lmdb
from pydl.data.annotated import open_annotated
from pydl.formats.annotated import (
    AnnotatedDatum,
    label_map_text,
    load_label_map,
    load_label_numbers,
)
from pydl.formats.binaryproto import Datum
from pydl.tools.annoset import convert_annoset
from pydl.tools.annotations import read_annotations

SIZE = (30, 40)  # rows, columns
RED, GREEN = (0, 0, 255), (0, 255, 0)  # blue first
# label, instance, x1, y1, x2, y2, difficult
BOXES = np.float32([[3, 0, 0.1, 0.2, 0.5, 0.6, 0], [1, 0, 0.6, 0.5, 0.9, 0.9, 1],
                    [3, 1, 0.55, 0.1, 0.8, 0.3, 0]])  # fmt: skip


def picture(boxes=BOXES, size=SIZE, channels=3):
    """Green, and red where boxes are."""
    image = np.empty((3, *size), np.uint8)
    image[:] = np.reshape(GREEN, (3, 1, 1))
    for box in boxes:
        x1, y1, x2, y2 = np.round(box[2:6] * np.tile(size[::-1], 2)).astype(int)
        image[:, y1:y2, x1:x2] = np.reshape(RED, (3, 1, 1))
    return image[:channels]


def known(count, **options):
    return [picture(**options)] * count, [BOXES] * count


@pytest.fixture
def database(tmp_path):
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")

    def write(images, boxes, name="boxes_lmdb"):
        write_annotated_lmdb(tmp_path / name, images, boxes)
        return tmp_path / name

    return write


def data_net(
    source, transform="", annotated="", batch=1, phase="TRAIN", tops="data label", **options
):
    text = layer(
        "AnnotatedData",
        f'data_param {{ source: "{source}" backend: LMDB batch_size: {batch} }} '
        f"transform_param {{ {transform} }} annotated_data_param {{ {annotated} }}",
        bottoms="", tops=tops, name="d",
    )  # fmt: skip
    return make_net(text, phase=phase, **options)


def batches(net, count=1):
    return [(net.forward(), net.blobs["data"].data.copy(), net.blobs["label"].data.copy())[1:]
            for _ in range(count)]  # fmt: skip


def agreement(image, rows):
    """How well the boxes' insides are what is red: the share of pixels."""
    red = (image[2] > image[1]).astype(bool)
    inside = np.zeros_like(red)
    height, width = red.shape
    for box in rows[:, 3:7]:
        x1, y1, x2, y2 = np.round(box * [width, height, width, height]).astype(int)
        inside[y1:y2, x1:x2] = True
    return (red == inside).mean()


# ---- records ----


def test_record_and_back():
    image = picture()
    record = AnnotatedDatum(Datum(image, 5), BOXES).serialize()
    again = AnnotatedDatum.parse(record)
    np.testing.assert_array_equal(again.datum.data, image)
    assert again.datum.label == 5
    np.testing.assert_array_equal(again.boxes, BOXES[[0, 2, 1]])  # a group for each label
    assert AnnotatedDatum.parse(AnnotatedDatum(Datum(image, 5)).serialize()).boxes is None
    empty = AnnotatedDatum(Datum(image), np.empty((0, 7))).serialize()
    assert AnnotatedDatum.parse(empty).boxes.shape == (0, 7)


def test_record_as_protobuf_writes_it():
    """Fields by number: datum 1, type 2, annotation_group 3 { group_label 1, annotation 2 {
    instance_id 1, bbox 2 { xmin 1 ymin 2 xmax 3 ymax 4 difficult 6 } } }."""
    one = np.float32([[2, 7, 0.5, 0.25, 1, 0.75, 1]])
    record = AnnotatedDatum(Datum(np.zeros((1, 1, 1), np.uint8)), one).serialize()
    box = b"".join(bytes([number << 3 | 5]) + np.float32(value).tobytes()
                   for number, value in zip((1, 2, 3, 4), one[0, 2:6], strict=True))  # fmt: skip
    box += bytes([6 << 3, 1])
    note = bytes([1 << 3, 7, 2 << 3 | 2, len(box)]) + box
    group = bytes([1 << 3, 2, 2 << 3 | 2, len(note)]) + note
    assert record.endswith(bytes([2 << 3, 0, 3 << 3 | 2, len(group)]) + group)


@pytest.mark.parametrize("cut", [1, 7, 40, -1, -3])
def test_damaged_record(cut):
    record = AnnotatedDatum(Datum(picture()), BOXES).serialize()
    with pytest.raises(pydl.Error, match="here"):
        AnnotatedDatum.parse(record[:cut], "here")


def test_record_says_what_is_wrong():
    nan = BOXES.copy()
    nan[0, 3] = np.nan
    assert "boxes must be finite" in message(AnnotatedDatum(Datum(picture()), nan).serialize)
    plain = Datum(picture()).serialize()
    assert "AnnotatedDatum" in message(AnnotatedDatum.parse, plain)


def test_label_map(tmp_path):
    path = tmp_path / "map.prototxt"
    path.write_text(label_map_text({0: "background", 3: "cat"}))
    assert load_label_map(path) == {0: "background", 3: "cat"}
    path.write_text('item { name: "n1" label: 2 display_name: "dog" } item { name: "n2" }')
    assert load_label_map(path) == {2: "dog", 0: "n2"}
    assert load_label_numbers(path) == {"n1": 2, "n2": 0}
    path.write_text('item { name: "a" label: 2 } item { name: "a" label: 2 }')
    assert "the label 2" in message(load_label_map, path)
    assert 'the name "a"' in message(load_label_numbers, path)
    path.write_text("item { nme: 1 }")
    assert 'did you mean "name"' in message(load_label_map, path)


# ---- the layer ----


def test_plain(database):
    images, boxes = known(3)
    boxes[1] = np.empty((0, 7))
    net = data_net(database(images, boxes), "mean_value: 100 scale: 0.5", batch=3)
    ((data, label),) = batches(net)
    np.testing.assert_array_equal(data, (np.stack(images) - np.float32(100)) / 2)
    assert label.shape == (1, 1, 6, 8)
    np.testing.assert_array_equal(label[0, 0, :, 0], [0, 0, 0, 2, 2, 2])
    np.testing.assert_array_equal(label[0, 0, :3, 1:], BOXES[[0, 2, 1]])


def test_no_boxes(database):
    net = data_net(database([picture()], [[]]))
    ((_, label),) = batches(net)
    np.testing.assert_array_equal(label, np.full((1, 1, 1, 8), -1))


def test_labels_without_boxes(tmp_path):
    values = [AnnotatedDatum(Datum(picture(), k)).serialize() for k in (4, 2)]
    source = write_lmdb(tmp_path / "plain", values)
    ((_, label),) = batches(data_net(source, batch=2))
    np.testing.assert_array_equal(label, [4, 2])
    assert "has no boxes" in message(data_net, source, annotated="anno_type: BBOX")


TRANSFORMS = {
    "mirror": "mirror: true",
    "crop": "crop_size: 40 mirror: true",
    "crop_h": "crop_h: 45 crop_w: 41",
    "resize": "resize_param { height: 100 width: 90 }",
    "resize, all ways": "resize_param { height: 100 width: 90 interp_mode: LINEAR "
    "interp_mode: AREA interp_mode: NEAREST interp_mode: CUBIC interp_mode: LANCZOS4 }",
    "small": "resize_param { height: 30 width: 40 interp_mode: AREA }",
    "pad": "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 90 width: 90 }",
    "pad upright": "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 140 width: 70 "
    "pad_value: 0 pad_value: 255 pad_value: 0 }",
    "cover": "resize_param { resize_mode: FIT_SMALL_SIZE height: 80 width: 80 } mirror: true",
    "expand": "expand_param { prob: 1 max_expand_ratio: 3 } mean_value: 0 mean_value: 90 "
    "mean_value: 0",
    "expand and fit": "expand_param { max_expand_ratio: 2 } resize_param { height: 90 width: 120 } "
    "mirror: true emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0 }",
    "noise": "noise_param { gauss_blur: true hist_eq: true }",
}
SAMPLERS = {
    "": "",
    "parts": "batch_sampler { sampler { min_scale: 0.5 max_scale: 0.9 min_aspect_ratio: 0.7 "
    "max_aspect_ratio: 1.5 } max_sample: 1 max_trials: 20 }",
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_boxes_follow(name, sampler, database):
    transform = TRANSFORMS[name] + " scale: 1"
    net = data_net(database(*known(1, size=(120, 160))), transform, SAMPLERS[sampler])
    shapes, firsts = set(), set()
    for data, label in batches(net, 20):
        rows = label[0, 0]
        rows = rows[rows[:, 0] >= 0]
        assert agreement(data[0], rows) > 0.93
        assert (rows[:, 3:7] >= 0).all() and (rows[:, 3:7] <= 1).all()
        shapes.add(data.shape)
        firsts.add(rows[:1].tobytes())
    if sampler or name in ("mirror", "crop", "expand"):
        assert len(firsts) > 1  # not always the same


def test_constraints(database):
    """Parts that overlap a box by half at least are nearly the box."""
    sampler = (
        "batch_sampler { sampler { min_scale: 0.2 max_scale: 0.6 min_aspect_ratio: 0.5 "
        "max_aspect_ratio: 2 } sample_constraint { %s } max_sample: 1 max_trials: 2000 }"
    )
    one = BOXES[:1]
    net = data_net(database([picture(one)], [one]), "", sampler % "min_jaccard_overlap: 0.5")
    for data, label in batches(net, 20):
        x1, y1, x2, y2 = label[0, 0, 0, 3:7]
        assert (x2 - x1) * (y2 - y1) > 0.45
        assert data.shape[2] < 28
    net = data_net(database([picture(one)], [one], "b"), "", sampler % "max_object_coverage: 0")
    assert all((label[..., 0] == -1).all() for _, label in batches(net, 20))
    net = data_net(database([picture(one)], [one], "c"), "", sampler % "min_object_coverage: 1")
    for data, label in batches(net, 20):
        shown = (data[0, 2] > 0).sum()  # a line at the edge may be missing
        assert shown > 0.8 * (picture(one)[2] > 0).sum() and label[0, 0, 0, 1] == 3


def test_emit_constraint(database):
    """A box of which a crop has only an edge stays unless its centre must be in it."""
    edge = np.float32([[1, 0, 0, 0, 0.5, 1, 0]])
    source = database([picture(edge)], [edge])
    crop = "crop_h: 30 crop_w: 30"
    (found,) = batches(data_net(source, crop, phase="TEST"))
    np.testing.assert_allclose(found[1][0, 0, 0, 3:7], [0, 0, 0.5, 1], atol=0.01)
    for emit, count in (("CENTER", 1), ("MIN_OVERLAP emit_overlap: 0.9", 0)):
        net = data_net(source, f"{crop} emit_constraint {{ emit_type: {emit} }}", phase="TEST")
        assert (batches(net)[0][1][0, 0, 0, 0] == 0) == bool(count)


def test_distortions(database):
    rng = np.random.default_rng(0)
    image = rng.integers(60, 180, (3, 30, 30)).astype(np.uint8)
    source = database([image], [BOXES])

    def seen(field, count=30):
        net = data_net(source, f"distort_param {{ {field} }}")
        return np.stack([data[0] for data, _ in batches(net, count)])

    shift = seen("brightness_prob: 1 brightness_delta: 20") - image.astype(np.float32)
    assert (np.ptp(shift, axis=(1, 2, 3)) <= 1).all()
    assert shift.min() < -10 and shift.max() > 10 and np.abs(shift).max() <= 21
    ratio = seen("contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.3") / image
    assert 0.48 < ratio.min() < 0.6 and 1.2 < ratio.max() < 1.33
    values = seen("random_order_prob: 1")
    orders = {
        tuple(bool((v[c] == image[k]).all()) for c in range(3) for k in range(3)) for v in values
    }
    assert len(orders) == 6
    most = image.max(0)
    for field in ("hue_prob: 1 hue_delta: 30",
                  "saturation_prob: 1 saturation_lower: 0.3 saturation_upper: 2"):  # fmt: skip
        values = seen(field)
        assert np.abs(values.max(1) - most).max() <= 1  # HSV's value stays
        assert np.abs(values - image).max() > 10
    gray = seen("saturation_prob: 1 saturation_lower: 0 saturation_upper: 0", 1)[0]
    assert np.ptp(gray, axis=0).max() == 0
    same = seen("brightness_prob: 0 brightness_delta: 99 hue_prob: 1 hue_delta: 0 "
                "saturation_prob: 1 saturation_lower: 1 saturation_upper: 1", 3)  # fmt: skip
    assert np.abs(same - image).max() <= 1


def test_noise(database):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 20, 24)).astype(np.uint8)
    source = database([image], [BOXES])

    def seen(field):
        ((data, _),) = batches(data_net(source, f"noise_param {{ {field} }}"))
        return data[0]

    np.testing.assert_array_equal(seen("inverse: true"), 255 - image)
    np.testing.assert_array_equal(seen("posterize: true"), image // 64 * 64 + 32)
    gray = seen("decolorize: true")
    want = np.tensordot([0.114, 0.587, 0.299], image.astype(float), 1)
    assert np.ptp(gray, axis=0).max() == 0 and np.abs(gray[0] - want).max() <= 1
    eroded = seen("erode: true")
    want = np.minimum.reduce([image[:, 1:-1, 1:-1], image[:, :-2, 1:-1], image[:, 2:, 1:-1],
                              image[:, 1:-1, :-2], image[:, 1:-1, 2:]])  # fmt: skip
    np.testing.assert_array_equal(eroded[:, 1:-1, 1:-1], want)
    spoilt = seen("saltpepper: true saltpepper_param { fraction: 0.1 value: 0 }")
    assert 0 < (spoilt != image).any(0).mean() <= 0.1
    blurred = seen("gauss_blur: true")
    assert blurred.std() < 0.4 * image.std() and abs(blurred.mean() - image.mean()) < 2
    level = seen("hist_eq: true").mean(0)
    assert level.std() > 30


@pytest.mark.parametrize("mode", ["LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"])
@pytest.mark.parametrize("size", [(11, 17), (60, 90), (20, 50)])
def test_interpolation(mode, size, database):
    """Smooth pictures stay what they are, in another size; as OpenCV does it, where it is there."""
    y, x = np.mgrid[:30, :40]
    image = np.stack([x * 6, y * 8, 120 + 100 * np.sin(x / 8 + y / 9)]).astype(np.uint8)
    source = database([image], [BOXES])
    field = f"resize_param {{ height: {size[0]} width: {size[1]} interp_mode: {mode} }}"
    ((data, _),) = batches(data_net(source, field))
    rows = (np.arange(size[0]) + 0.5) * 30 / size[0] - 0.5
    columns = (np.arange(size[1]) + 0.5) * 40 / size[1] - 0.5
    ramp = np.clip(columns, 0, 39) * 6
    assert np.abs(data[0, 0] - ramp)[:, 2:-2].max() <= (12 if mode == "NEAREST" else 3)
    assert np.abs(data[0, 1].T - np.clip(rows, 0, 29) * 8)[:, 2:-2].max() <= (
        16 if mode == "NEAREST" else 4
    )
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    names = {"LINEAR": cv2.INTER_LINEAR, "AREA": cv2.INTER_AREA, "NEAREST": cv2.INTER_NEAREST,
             "CUBIC": cv2.INTER_CUBIC, "LANCZOS4": cv2.INTER_LANCZOS4}  # fmt: skip
    theirs = cv2.resize(image.transpose(1, 2, 0), size[::-1], interpolation=names[mode])
    assert np.abs(data[0] - theirs.transpose(2, 0, 1)).max() <= 1


def test_runs_repeat(database):
    """The same seed gives the same pictures; a resumed run goes on with the next ones."""
    source = database(*known(5))
    options = {"transform": "mirror: true expand_param { max_expand_ratio: 2 } "
               "resize_param { height: 20 width: 20 }", "batch": 2}  # fmt: skip
    first = batches(data_net(source, **options), 6)
    again = data_net(source, **options)
    for (a, b), (c, d) in zip(first, batches(again, 3), strict=False):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    resumed = data_net(source, **options)
    resumed._core.set_layer_state(again._core.layer_state())
    for (a, b), (c, d) in zip(first[3:], batches(resumed, 3), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_workers(database):
    source = database(*known(6))
    net = data_net(source, batch=4)
    ((data, label),) = batches(net)
    text = layer("AnnotatedData", f'data_param {{ source: "{source}" batch_size: 4 workers: 2 }}',
                 bottoms="", tops="data label", name="d")  # fmt: skip
    ((other, rows),) = batches(make_net(text))
    np.testing.assert_array_equal(data, other)
    np.testing.assert_array_equal(label, rows)


def test_encoded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)
    content = np.frombuffer(encoded(pixels), np.uint8)
    record = AnnotatedDatum(Datum(content, encoded=True), BOXES).serialize()
    ((data, _),) = batches(data_net(write_lmdb(tmp_path / "db", [record])))
    np.testing.assert_array_equal(data[0], planar(pixels))


@pytest.mark.parametrize(
    ("transform", "annotated", "problem"),
    [
        ("crop_size: 50", "", "a crop of 50 x 50 is larger than the picture, 30 x 40"),
        ("crop_h: 5", "", "give crop_size, or crop_h and crop_w"),
        ("resize_param { height: 5 }", "", "height and width must be given and positive"),
        ("expand_param { max_expand_ratio: 0.5 }", "", "max_expand_ratio must be from 1"),
        ("distort_param { hue_prob: 2 }", "", "hue_prob must be from 0 to 1"),
        ("distort_param { contrast_lower: 2 contrast_upper: 1 }", "", "contrast_lower 2"),
        ("noise_param { jpeg: 101 }", "", "noise_param.jpeg is a quality of at most 100"),
        ("mean_value: 1 mean_value: 2", "", "mean_value is given 2 times for 3 channels"),
        ("", "batch_sampler { sampler { min_scale: 0 } }", "0 < min_scale"),
        ("", "batch_sampler { sampler { min_aspect_ratio: 3 } }", "0 < min_aspect_ratio"),
        ("", "batch_samplers { }", 'did you mean "batch_sampler"'),
    ],
)
def test_says_what_is_wrong(transform, annotated, problem, database):
    assert problem in message(data_net, database(*known(1)), transform, annotated)


def test_pictures_of_several_sizes(database):
    source = database([picture(), picture(size=(20, 20))], [BOXES, BOXES])
    assert "give resize_param, or batches of one" in message(data_net, source, batch=2)
    shapes = [data.shape[2:] for data, _ in batches(data_net(source), 3)]
    assert shapes == [(30, 40), (20, 20), (30, 40)]


def test_sources(tmp_path, database):
    assert "is not there" in message(data_net, tmp_path / "none")
    assert "has no database in it" in message(data_net, tmp_path)
    plain = write_lmdb(tmp_path / "datums", [Datum(picture()).serialize()])
    assert "AnnotatedDatum" in message(data_net, plain)
    assert len(open_annotated(database(*known(4)))) == 4


# ---- convert_annoset ----

XML = """<annotation><size><width>40</width><height>30</height></size>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object>
<object><name>dog</name>
<bndbox><xmin>10</xmin><ymin>3</ymin><xmax>50</xmax><ymax>30</ymax></bndbox></object></annotation>
"""
WANT = np.float32([[2, 0, 0.1, 0.2, 0.5, 0.6, 1], [5, 0, 0.25, 0.1, 1, 1, 0]])
JSON = {
    "image": {"width": 40, "height": 30},
    "annotation": [
        {"category_id": 2, "bbox": [4, 6, 16, 12], "iscrowd": 1},
        {"category_id": 5, "bbox": [10, 3, 30, 27]},
    ],
}
TEXTS = {"xml": XML, "json": json.dumps(JSON), "txt": "2 4 6 20 18\n\n5 10 3 40 30\n"}


@pytest.fixture
def annotated_files(tmp_path):
    """A folder with a picture, its annotations in each form, and lists."""
    (tmp_path / "a.png").write_bytes(encoded(np.zeros((30, 40, 3), np.uint8)))
    (tmp_path / "map.prototxt").write_text(label_map_text({2: "cat", 5: "dog"}))
    for kind, text in TEXTS.items():
        (tmp_path / f"a.{kind}").write_text(text)
        (tmp_path / f"{kind}.list").write_text(f"a.png a.{kind}\n")
    return tmp_path


@pytest.mark.parametrize("kind", TEXTS)
def test_annotations(kind, annotated_files):
    path = str(annotated_files / f"a.{kind}")
    found = read_annotations(path, kind, (30, 40), {"cat": 2, "dog": 5})
    want = WANT.copy()
    want[0, 6] = kind != "txt"
    np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("xml", "<annotation>", "not readable as XML"),
        ("xml", XML.replace("cat", "cta"), 'no class "cta"; did you mean "cat"'),
        ("xml", XML.replace("<xmin>4</xmin>", ""), "bndbox/xmin of an object is no number"),
        ("json", "{}", '{"image"'),
        ("json", '{"annotation": [{"bbox": [1]}]}', '{"image"'),
        ("txt", "1 2 3", "label xmin ymin xmax ymax"),
        ("txt", "1 20 2 10 4", "has no part in the image of 40 x 30"),
        ("txt", "1 50 2 60 4", "has no part in the image of 40 x 30"),
    ],
)
def test_annotations_say_what_is_wrong(kind, text, problem, tmp_path):
    (tmp_path / "a").write_text(text)
    assert problem in message(
        read_annotations, str(tmp_path / "a"), kind, (30, 40), {"cat": 2, "dog": 5}
    )


def test_convert_annoset(annotated_files):
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    for kind, flags in (("xml", ["-label_map_file", "map.prototxt"]), ("txt", []), ("json", [])):
        flags += ["-label_type", kind, "-encoded", "-resize_height", "15", "-resize_width", "10"]
        files = ["./", f"{kind}.list", f"{kind}_lmdb"]
        done = run_pydl("convert_annoset", *flags, *files, cwd=annotated_files)
        assert done.returncode == 0, done.stderr
        assert "Processed 1 files" in done.stderr
        images, boxes, _ = open_annotated(annotated_files / f"{kind}_lmdb").records([0])
        assert images[0].shape == (3, 15, 10)
        np.testing.assert_allclose(boxes[0][:, :6], WANT[:, :6], rtol=1e-6)


def test_convert_annoset_says_what_is_wrong(annotated_files):
    root = f"{annotated_files}/"
    args = root, annotated_files / "xml.list", annotated_files / "db"
    assert "a label map file must tell" in message(convert_annoset, *args)
    assert 'unknown label_type "yaml"' in message(convert_annoset, *args, label_type="yaml")
    (annotated_files / "bad.list").write_text("a.png\n")
    bad = root, annotated_files / "bad.list", annotated_files / "db2"
    assert "bad.list:1" in message(convert_annoset, *bad, label_type="txt")


# ---- average precision ----


def test_average_precision():
    scores, right = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    assert average_precision(scores, right, 4) == pytest.approx(0.25 + 0.25 * 2 / 3)
    # The envelope from behind: 2/3 up to recall 1/2; 1 at 1/4.
    want = 0.25 * 1 + 0.25 * (2 / 3)
    assert average_precision(scores, right, 4, "MaxIntegral") == pytest.approx(want)
    assert average_precision(scores, right, 4, "11point") == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)
    assert average_precision([], [], 4) == average_precision([1], [False], 0) == 0
    assert "unknown ap_version" in message(average_precision, scores, right, 4, "12point")


def test_detection_scores():
    scores = DetectionScores()
    scores.add(np.array([[[[-1, 1, 1, -1, -1], [-1, 2, 3, -1, -1], [0, 1, 0.9, 1, 0]]]]))
    scores.add(np.array([[[[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.5, 0, 1],
                           [0, 1, 0.99, 0, 0]]]]))  # fmt: skip
    assert scores.by_class() == {1: 0.5, 2: 0.0}
    assert scores.mean_average_precision() == 0.25
    assert "no DetectionEvaluate layer's" in message(scores.add, np.zeros((3, 4)))
