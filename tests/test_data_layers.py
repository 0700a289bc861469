"""Data, ImageData and MemoryData: what they read, how it is transformed, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from data_files import encoded, message, planar, records, write_datums, write_images, write_lmdb
from net_text import layer, make_net

import pydl.data
from pydl import _core
from pydl.data.pictures import decode, resize
from pydl.formats import binaryproto
from pydl.formats.binaryproto import Datum

SHAPE = (3, 6, 7)


def data_net(source, fields="", transform="", phase="TEST", top="x t", **options):
    params = f'data_param {{ source: "{source}" {fields} }} transform_param {{ {transform} }}'
    return make_net(layer("Data", params, "", top, "data"), phase=phase, **options)


def image_net(source, fields="", transform="", phase="TEST", **options):
    params = f'image_data_param {{ source: "{source}" {fields} }} transform_param {{ {transform} }}'
    return make_net(layer("ImageData", params, "", "x t", "data"), phase=phase, **options)


def forward(net):
    """The next batch: images and labels."""
    net._core.forward()
    return np.array(net.blobs["x"].data), np.array(net.blobs["t"].data)


@pytest.fixture
def database(tmp_path):
    """An LMDB of five records, and its records."""
    rows = records([SHAPE] * 5)
    return write_datums(tmp_path / "db", rows), np.stack([image for image, _ in rows])


# Transformations


def test_the_middle_is_cut_out_in_test(database):
    source, images = database
    x, t = forward(data_net(source, "batch_size: 5", "crop_size: 3 scale: 0.5"))
    np.testing.assert_array_equal(x, images[:, :, 1:4, 2:5] * np.float32(0.5))
    assert t.tolist() == [0, 1, 2, 3, 4]


def test_train_cuts_and_mirrors_at_random_and_every_place_comes_up(database):
    source, images = database
    net = data_net(source, "batch_size: 5", "crop_size: 4 mirror: true", "TRAIN")
    wanted = {}
    for n, image in enumerate(images):
        for top in range(3):
            for left in range(4):
                cut = image[:, top : top + 4, left : left + 4]
                for flip, part in enumerate((cut, cut[:, :, ::-1])):
                    wanted[n, np.float32(part).tobytes()] = top, left, flip
    seen = set()
    for _ in range(60):
        x, _ = forward(net)
        seen |= {wanted[n, image.tobytes()] for n, image in enumerate(x)}  # KeyError: no such part
    assert len(seen) == 3 * 4 * 2


def test_mirror_also_in_test_as_in_caffe(database):
    source, images = database
    net = data_net(source, "batch_size: 5", "mirror: true")
    flipped = 0
    for _ in range(20):
        x, _ = forward(net)
        for image, want in zip(x, images, strict=True):
            same = np.array_equal(image, want)
            assert same or np.array_equal(image, want[:, :, ::-1])
            flipped += not same
    assert 30 < flipped < 70


def test_mean_image_is_cut_and_mirrored_with_the_record(database, tmp_path):
    source, images = database
    mean = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    binaryproto.save(tmp_path / "mean.binaryproto", mean)
    transform = f'mean_file: "{tmp_path}/mean.binaryproto" crop_size: 4 mirror: true'
    net = data_net(source, "batch_size: 5", transform, "TRAIN")
    centred = images - mean
    parts = [
        np.ascontiguousarray(part[:, :, ::flip]).tobytes()
        for image in centred
        for top in range(3)
        for left in range(4)
        for flip in (1, -1)
        for part in [image[:, top : top + 4, left : left + 4]]
    ]
    for _ in range(5):
        assert all(image.tobytes() in parts for image in forward(net)[0])


@pytest.mark.parametrize("values", [[2.5], [1, 2, 3]])
def test_mean_values(database, values):
    source, images = database
    transform = " ".join(f"mean_value: {value}" for value in values) + " scale: 2"
    x, _ = forward(data_net(source, "batch_size: 5", transform))
    mean = np.broadcast_to(np.float32(values), 3).reshape(3, 1, 1)
    np.testing.assert_array_equal(x, (images - mean) * np.float32(2))


def test_old_places_of_the_transformation(database):
    source, images = database
    x, _ = forward(data_net(source, "batch_size: 5 scale: 0.25 crop_size: 6"))
    np.testing.assert_array_equal(x, images[:, :, :, 0:6] * np.float32(0.25))


def test_what_is_random_depends_on_the_seed_alone(database):
    source, _ = database
    fields, transform = "batch_size: 2 shuffle: true rand_skip: 3", "crop_size: 4 mirror: true"

    def run(seed, threads):
        pydl.set_num_threads(threads)
        net = data_net(source, fields, transform, "TRAIN", seed=seed)
        return np.stack([forward(net)[0] for _ in range(6)])

    np.testing.assert_array_equal(run(4, 1), run(4, 2))
    assert not np.array_equal(run(4, 1), run(5, 1))


def test_transformations_that_do_not_fit(database, tmp_path):
    source, _ = database
    refuse = [
        ("crop_size: 7", "record '00000000': crop_size 7 is larger than the record, 3x6x7"),
        ("mean_value: 1 mean_value: 2", "mean_value is given 2 times for 3 channels"),
        ('mean_file: "absent"', "absent"),
        ('mean_file: "absent" mean_value: 1', "give mean_file or mean_value, not both"),
        ("force_color: true force_gray: true", "not both"),
    ]
    for transform, expected in refuse:
        text = message(data_net, source, "batch_size: 2", transform)
        assert expected in text and 'layer "data" (Data)' in text
    binaryproto.save(tmp_path / "mean.binaryproto", np.zeros((3, 5, 7), np.float32))
    text = message(data_net, source, "batch_size: 2", f'mean_file: "{tmp_path}/mean.binaryproto"')
    assert "the mean image is 3x5x7" in text and "is 3x6x7" in text


# Databases


def test_records_run_on_from_the_last_to_the_first(database):
    source, images = database
    net = data_net(source, "batch_size: 3")
    for first in (0, 3, 6, 9):
        x, t = forward(net)
        numbers = [(first + i) % 5 for i in range(3)]
        np.testing.assert_array_equal(x, images[numbers])
        assert t.tolist() == numbers


def test_data_without_a_label_top(database):
    net = data_net(database[0], "batch_size: 3", top="x")
    net._core.forward()
    np.testing.assert_array_equal(net.blobs["x"].data, database[1][:3])


@pytest.mark.parametrize("where", ["lmdb", "npz"])
def test_shuffle_gives_every_record_once_in_each_pass(database, tmp_path, where):
    source, images = database
    if where == "npz":
        source = tmp_path / "set.npz"
        pydl.data.write_npz(source, images, np.arange(5))
    net = data_net(source, "batch_size: 5 shuffle: true")
    orders = [forward(net)[1].astype(int).tolist() for _ in range(8)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len(set(map(tuple, orders))) > 4
    x, t = forward(net)
    np.testing.assert_array_equal(x, images[t.astype(int)])


def test_rand_skip_begins_further_on(database):
    first = {
        int(forward(data_net(database[0], "batch_size: 1 rand_skip: 4", seed=s))[1][0])
        for s in range(30)
    }
    assert first == {0, 1, 2, 3}


def test_records_of_several_sizes(tmp_path):
    rows = records([(3, 6, 7), (3, 8, 5), (3, 5, 5)])
    source = write_datums(tmp_path / "db", rows)
    x, _ = forward(data_net(source, "batch_size: 3", "crop_size: 5"))
    want = [rows[0][0][:, 0:5, 1:6], rows[1][0][:, 1:6, 0:5], rows[2][0]]
    np.testing.assert_array_equal(x, np.stack(want))
    for keep in ("all", "outputs"):  # one by one the net takes on each one's shape
        net = data_net(source, "batch_size: 1", keep=keep)
        for image, label in rows * 2:
            x, t = forward(net)
            np.testing.assert_array_equal(x[0], image)
            assert t == [label]
    text = message(forward, data_net(source, "batch_size: 2"))
    assert "record '00000001' gives 3x8x5, but the first of its batch 3x6x7" in text
    assert "crop_size" in text and 'layer "data"' in text


def test_what_follows_is_reshaped_with_the_data(tmp_path):
    rows = records([(1, 4, 4), (1, 6, 3)])
    source = write_datums(tmp_path / "db", rows)
    params = f'data_param {{ source: "{source}" batch_size: 1 }}'
    pool = "pooling_param { pool: AVE global_pooling: true }"
    text = layer("Data", params, "", "x t", "data") + layer("Pooling", pool)
    for keep in ("all", "outputs"):
        net = make_net(text, phase="TEST", keep=keep)
        for image, _ in rows * 2:
            net._core.forward()
            np.testing.assert_allclose(net.blobs["y"].data.item(), image.mean(), rtol=1e-6)


def test_encoded_records(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    grey = pixels[:, :, 0]
    datums = [
        Datum(np.frombuffer(encoded(p), np.uint8), i, encoded=True).serialize()
        for i, p in enumerate((pixels, grey))
    ]
    source = write_lmdb(tmp_path / "db", datums)
    net = data_net(source, "batch_size: 1")
    np.testing.assert_array_equal(forward(net)[0][0], planar(pixels))
    np.testing.assert_array_equal(forward(net)[0][0, 0], grey)
    for how in ("force_color: true", None):
        old = "" if how else "force_encoded_color: true"
        x, _ = forward(data_net(source, f"batch_size: 2 {old}", how or ""))
        np.testing.assert_array_equal(x, [planar(pixels), np.stack([grey] * 3)])
    x, _ = forward(data_net(source, "batch_size: 2", "force_gray: true"))
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(x[0, 0] - pixels @ weights).max() <= 1
    np.testing.assert_array_equal(x[1, 0], grey)


def test_damaged_records_name_themselves(tmp_path):
    good = Datum(np.zeros((1, 4, 4), np.uint8)).serialize()
    image = encoded(np.arange(1600).reshape(40, 40).astype(np.uint8))
    broken = Datum(np.frombuffer(image[:60], np.uint8), encoded=True).serialize()
    for name, value in (("short", good[:-9]), ("image", broken), ("empty", b"")):
        source = write_lmdb(tmp_path / name, [good, value])
        net = data_net(source, "batch_size: 1")
        forward(net)
        text = message(forward, net)
        assert "record '00000001'" in text and 'layer "data" (Data)' in text
        assert message(forward, net) == text  # and no hang


def test_records_that_look_like_the_first(tmp_path):
    """Those that begin and end alike are not parsed; what differs in any way is."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 1, 3, 3)).astype(np.uint8)
    bare = Datum(images[0]).serialize()[:-4]  # without label and encoded, which are last
    assert Datum.parse(bare).label == 0
    values = [bare, *(bare[:-9] + image.tobytes() for image in images[1:3])]
    values += [Datum(images[3], -5).serialize(), Datum(images[4], 2**31 - 1).serialize()]
    values += [Datum(images[5].reshape(1, 1, 9), 7).serialize(), bare[:-1], bare + b"\x28\x01"]
    dataset = pydl.data.open_source(write_lmdb(tmp_path / "db", values))
    for _ in range(2):
        found, labels, _ = dataset.records(range(6))
        assert [x.shape for x in found] == [(1, 3, 3)] * 5 + [(1, 1, 9)]
        for image, want in zip(found, images, strict=True):
            assert image.tobytes() == want.tobytes()
        assert labels == [0, 0, 0, -5, 2**31 - 1, 7]
        assert "00000006" in message(dataset.records, [6])
        assert dataset.records([7])[1] == [1]


def test_an_error_in_the_background_does_not_stick(tmp_path):
    """The batches behind a bad record can be read, once the position is behind it."""
    rows = [Datum(image, label).serialize() for image, label in records([(1, 2, 2)] * 4)]
    source = write_lmdb(tmp_path / "db", [rows[0], b"\xff", *rows[2:]])
    net = data_net(source, "batch_size: 1")
    forward(net)
    assert "00000001" in message(forward, net)
    net._core.set_layer_state({"data": [2]})
    assert forward(net)[1] == [2]


# LevelDB


def write_leveldb(folder, rows):
    plyvel = pytest.importorskip("plyvel", reason="plyvel is not installed (extra leveldb)")
    with plyvel.DB(str(folder), create_if_missing=True) as db:
        for i, (image, label) in enumerate(rows):
            db.put(f"{i:08d}".encode(), Datum(image, label).serialize())
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_leveldb_is_read_and_left_as_it_is(tmp_path):
    rows = records([SHAPE] * 5)
    source = write_leveldb(tmp_path / "db", rows)
    before = contents(source)
    source.chmod(0o555)
    net = data_net(source, "batch_size: 5 backend: LEVELDB shuffle: true")
    other = data_net(source, "batch_size: 5 backend: LEVELDB")  # at the same time
    np.testing.assert_array_equal(forward(other)[0], [image for image, _ in rows])
    x, t = forward(net)
    np.testing.assert_array_equal(x, np.stack([rows[int(i)][0] for i in t]))
    del net, other
    assert contents(source) == before


def test_leveldb_that_is_damaged(tmp_path):
    source = write_leveldb(tmp_path / "db", records([SHAPE] * 5))
    for path in source.glob("MANIFEST-*"):
        path.write_bytes(path.read_bytes()[:20])
    assert "LevelDB cannot read it" in message(data_net, source, "batch_size: 2")


def test_leveldb_without_its_package(tmp_path, monkeypatch):
    source = write_leveldb(tmp_path / "db", records([SHAPE]))
    monkeypatch.setitem(__import__("sys").modules, "plyvel", None)
    text = message(data_net, source, "batch_size: 2 backend: LEVELDB")
    assert 'pip install "pydl[leveldb]"' in text and "new_lmdb" in text


# ImageData


def test_image_list(tmp_path, monkeypatch):
    pixels, _ = write_images(tmp_path / "images")
    (tmp_path / "images" / "a b.png").write_bytes(encoded(pixels[0]))
    (tmp_path / "images" / "list.txt").write_text("0.png 3\r\na b.png  -1 \n\n2.png\t7\n")
    monkeypatch.chdir(tmp_path / "images")
    net = image_net("list.txt", "batch_size: 2")
    want = np.stack([planar(pixels[i]) for i in (0, 0, 2)])
    for numbers, labels in (([0, 1], [3, -1]), ([2, 0], [7, 3])):
        x, t = forward(net)
        np.testing.assert_array_equal(x, want[numbers])
        assert t.tolist() == labels


def test_root_folder_is_put_before_names_as_it_is(tmp_path):
    pixels, source = write_images(tmp_path / "images")
    x, t = forward(image_net(source, f'batch_size: 5 root_folder: "{tmp_path}/images/"'))
    np.testing.assert_array_equal(x, [planar(p) for p in pixels])
    assert t.tolist() == [10, 11, 12, 13, 14]
    text = message(image_net, source, f'root_folder: "{tmp_path}/images"')
    assert "images0.png: No such file" in text and "must end in /" in text


def test_images_resized_and_transformed(tmp_path):
    pixels, source = write_images(tmp_path / "images")
    root = f'root_folder: "{tmp_path}/images/" batch_size: 5'
    x, _ = forward(image_net(source, f"{root} new_height: 9 new_width: 4", "scale: 2"))
    assert x.shape == (5, 3, 9, 4)
    for image, p in zip(x, pixels, strict=True):
        want = resize(np.ascontiguousarray(planar(p)), 9, 4)
        np.testing.assert_array_equal(image, want * np.float32(2))
    assert "give both" in message(image_net, source, f"{root} new_height: 9")


def test_images_of_several_sizes_and_grey_ones(tmp_path):
    pixels, source = write_images(tmp_path / "images", height=8)
    grey = pixels[1][:5, :, 0]
    (tmp_path / "images" / "1.png").write_bytes(encoded(grey))
    root = f'root_folder: "{tmp_path}/images/"'
    net = image_net(source, root)  # batch_size is 1
    assert [forward(net)[0].shape for _ in range(3)] == [(1, 3, 8, 7), (1, 3, 5, 7), (1, 3, 8, 7)]
    x, _ = forward(image_net(source, f"{root} batch_size: 2", "crop_size: 5"))
    np.testing.assert_array_equal(x[1], np.stack([grey[:, 1:6]] * 3))
    x, _ = forward(image_net(source, f"{root} batch_size: 2 is_color: false", "crop_size: 5"))
    assert x.shape == (2, 1, 5, 5)
    np.testing.assert_array_equal(x[1, 0], grey[:, 1:6])


def test_image_list_shuffled_and_skipped(tmp_path):
    _, source = write_images(tmp_path / "images")
    root = f'root_folder: "{tmp_path}/images/"'
    net = image_net(source, f"{root} batch_size: 5 shuffle: true")
    assert all(sorted(forward(net)[1]) == [10, 11, 12, 13, 14] for _ in range(4))
    begins = {
        forward(image_net(source, f"{root} rand_skip: 3", seed=s))[1].item() for s in range(20)
    }
    assert begins == {10, 11, 12}
    assert "rand_skip 9 is more than the 5" in message(image_net, source, f"{root} rand_skip: 9")


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "names no images"),
        ("0.png 1\n1.png\n", ":2: '1.png' has no label"),
        ("0.png one\n", ":1: 'one' is no label"),
        ("0.png 1.5\n", ":1: '1.5' is no label"),
        ("0.png 1\nabsent.png 2\n", "absent.png: No such file"),
        ("list.txt 1\n", "list.txt: not a readable image"),
        (". 1\n", "Is a directory"),
        ("a\0b 1\n", "list.txt: not a text file"),
    ],
)
def test_image_lists_that_do_not_work(tmp_path, monkeypatch, content, expected):
    _, source = write_images(tmp_path / "images")
    source.write_text(content)
    monkeypatch.chdir(tmp_path / "images")

    def run():
        net = image_net("list.txt", "batch_size: 2")
        forward(net)

    text = message(run)
    assert expected in text and 'layer "data" (ImageData)' in text


def test_names_that_are_not_utf8(tmp_path):
    pixels, source = write_images(tmp_path / "images")
    name = bytes(tmp_path / "images") + b"/caf\xe9.png"
    source.write_bytes(name + b" 1\n")
    assert "caf\\udce9.png: No such file" in message(image_net, source)
    with open(name, "wb") as file:
        file.write(encoded(pixels[0]))
    np.testing.assert_array_equal(forward(image_net(source))[0][0], planar(pixels[0]))


def test_image_layer_parameters(tmp_path):
    assert "source must be given" in message(image_net, "")
    assert f"{tmp_path}/none: No such file" in message(image_net, tmp_path / "none")
    assert "batch_size must be positive" in message(image_net, "x", "batch_size: 0")


# Pictures against OpenCV


def opencv():
    return pytest.importorskip("cv2", reason="opencv-python-headless is not installed")


def test_resize_as_opencv():
    cv2 = opencv()
    rng = np.random.default_rng(0)
    for height, width, to_height, to_width in rng.integers(1, 40, (200, 4)):
        image = rng.integers(0, 256, (3, height, width)).astype(np.uint8)
        size = (int(to_width), int(to_height))
        want = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), size)
        found = resize(image, int(to_height), int(to_width)).transpose(1, 2, 0)
        assert np.abs(found.astype(int) - want.reshape(found.shape)).max() <= 1


def test_resize_refuses():
    image = np.zeros((1, 2, 2), np.uint8)
    assert "at least 1" in message(_core.resize, image, 0, 4)
    assert "(C, H, W)" in message(_core.resize, image[0], 2, 4)
    pydl.set_memory_limit(1 << 20)
    assert "memory" in message(_core.resize, image, 1 << 20, 1 << 20)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("color, flag", [("color", 1), ("gray", 0), ("", -1)])
def test_decode_as_opencv(kind, color, flag):
    pytest.importorskip("PIL", reason="Pillow is not installed (extra image)")
    cv2 = opencv()
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC)
    for picture in (pixels, pixels[:, :, 0]):
        content = cv2.imencode(kind, picture)[1]
        want = cv2.imdecode(content, flag)
        want = want[None] if want.ndim == 2 else want.transpose(2, 0, 1)
        found = decode(content.tobytes(), color, "x")
        assert found.shape == want.shape and found.flags.c_contiguous
        assert np.abs(found.astype(int) - want).max() <= (color == "gray")


# MemoryData


def test_memory_data_ignores_transform_param_as_caffe_does():
    params = (
        "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } "
        "transform_param { scale: 3 mirror: true }"
    )
    net = make_net(layer("MemoryData", params, "", "x t", "data"))
    data = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    net._core.layer(0).set_arrays(data, np.arange(4, dtype=np.float32))
    for first in (0, 2, 0):
        x, t = forward(net)
        np.testing.assert_array_equal(x, data[first : first + 2])
        assert t.ravel().tolist() == [first, first + 1]


def test_memory_data_transforms_records_that_are_added(database):
    _, images = database
    params = (
        "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 4 } "
        "transform_param { scale: 0.5 crop_size: 4 mean_value: 10 }"
    )
    net = make_net(layer("MemoryData", params, "", "x t", "data"), phase="TEST")
    memory = net._core.layer(0)
    memory.add_records(list(images[:4]), [3, 1, 2, 0])
    want = (images[:4, :, 1:5, 1:5] - np.float32(10)) * np.float32(0.5)
    for first in (0, 2, 0):
        x, t = forward(net)
        np.testing.assert_array_equal(x, want[first : first + 2])
        assert t.ravel().tolist() == [3, 1, 2, 0][first : first + 2]
    refuse = [
        (list(images[:3]), [0, 1, 2], "a multiple of the batch size 2"),
        (list(images[:2]), [0], "2 images, but 1 labels"),
        ([images[0], images[1][:2]], [0, 1], "gives 2x4x4, but the first of its batch 3x4x4"),
        ([images[0][:2]] * 2, [0, 1], "give 2x4x4 after transform_param"),
        ([images[0], "x"], [0, 1], "no contiguous array"),
    ]
    for values, labels, expected in refuse:
        assert expected in message(memory.add_records, values, labels)
    np.testing.assert_array_equal(forward(net)[0], want[2:])  # nothing has changed


# Sets from arrays


def test_written_sets_are_read_back(tmp_path):
    images, labels = np.random.default_rng(0).random((4, 3, 2, 2)), np.arange(4)
    pydl.data.write_npz(tmp_path / "a.npz", images, labels)
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    pydl.data.write_lmdb(tmp_path / "a_lmdb", images, labels)
    for name in ("a.npz", "a_lmdb"):
        x, t = forward(data_net(tmp_path / name, "batch_size: 4"))
        np.testing.assert_array_equal(x, images.astype(np.float32))
        assert t.tolist() == [0, 1, 2, 3]
    assert "is there already" in message(pydl.data.write_lmdb, tmp_path / "a_lmdb", images)
    text = message(pydl.data.write_lmdb, tmp_path / "b", images, np.arange(3))
    assert "4 images, but labels of shape (3,)" in text and not (tmp_path / "b").exists()
    text = message(pydl.data.write_lmdb, tmp_path / "no" / "folder", images)
    assert "cannot make the folder" in text
