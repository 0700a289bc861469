"""Where data comes from: the built-in sample, IDX, npz and LMDB, and preparing standard sets."""

import argparse
import functools
import gzip
import hashlib
import http.server
import io
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pydl.cli import data as data_cli
from pydl.data import ArrayDataset, list_sets, load, open_source, prepare, sample, standard
from pydl.data.idx import read_idx
from pydl.data.sheet import save_sheet
from pydl.data.write import write_lmdb as write_lmdb_set
from pydl.errors import Error
from pydl.formats.binaryproto import Datum

SAMPLE_SHA256 = {
    "train": "17aa651e964540ada023f35abc6bcd72a3ccc5c05fb1bca1bf7e6eb11ac9109f",
    "test": "bdb6e254c8eabaf2725c512c2b852ad78dda5b1afe0c368ab19ad3b13d0e6341",
}
IDX_CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
FILES = list(standard.SETS["mnist"].md5)


def idx_bytes(array, dtype="u1"):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_CODES[dtype], array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


def write_idx(path, array, dtype="u1"):
    content = idx_bytes(array, dtype)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def digits(count=12, height=5, width=4, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width)).astype(np.uint8)
    return images, (np.arange(count) % 10).astype(np.uint8)


def message(call, *args, **kwargs):
    with pytest.raises(Error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


@pytest.fixture(autouse=True)
def empty_data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYDL_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


# The built-in sample


@pytest.mark.parametrize("part, per_class", [("train", 400), ("test", 100)])
def test_sample_is_stratified_and_fixed(part, per_class):
    dataset = open_source(f"mnist_sample/{part}")
    assert len(dataset) == 10 * per_class
    assert dataset.images.shape == (10 * per_class, 1, 28, 28)
    assert dataset.images.dtype == np.uint8 and dataset.labels.dtype == np.int64
    assert np.bincount(dataset.labels).tolist() == [per_class] * 10
    assert hashlib.sha256(dataset.images.tobytes()).hexdigest() == SAMPLE_SHA256[part]
    assert dataset.class_names[3] == "3"


def test_sample_is_shuffled_and_parts_are_disjoint():
    x_train, y_train, x_test, _ = load("mnist_sample")
    for start in range(0, len(y_train), 400):
        assert np.bincount(y_train[start : start + 400], minlength=10).min() >= 20
    train, test = ({image.tobytes() for image in images} for images in (x_train, x_test))
    assert len(train | test) == 5000


def test_sample_labels_belong_to_their_images():
    """A nearest-mean classifier gets 80 % right only if images and labels go together."""
    x_train, y_train, x_test, y_test = load("mnist_sample")
    flat = x_train.reshape(len(x_train), -1).astype(np.float32)
    means = np.stack([flat[y_train == digit].mean(axis=0) for digit in range(10)])
    test = x_test.reshape(len(x_test), -1).astype(np.float32)
    distance = (means**2).sum(axis=1) - 2 * test @ means.T
    assert (distance.argmin(axis=1) == y_test).mean() > 0.78


def test_sample_is_small_enough_for_the_wheel():
    assert sample.PATH.stat().st_size < 1_100_000


def test_sample_opens_fast():
    open_source("mnist_sample/train")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        open_source("mnist_sample/train")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1


# Datasets


def test_read_gives_rows_and_refuses_to_run_over_the_end():
    images, labels = digits()
    dataset = ArrayDataset(images, labels, name="digits")
    rows, row_labels = dataset.read(3, 4)
    np.testing.assert_array_equal(rows[:, 0], images[3:7])
    np.testing.assert_array_equal(row_labels, labels[3:7])
    assert dataset.read(12, 0)[0].shape == (0, 1, 5, 4)
    assert "rows 10 to 14 asked for, it has 12" in message(dataset.read, 10, 5)
    assert "digits" in message(dataset.read, -1, 2)


@pytest.mark.parametrize(
    "dtype, expected",
    [("u1", "u1"), ("bool", "f4"), ("i8", "f4"), ("f2", "f4"), ("f8", "f4"), (">f4", "f4")],
)
def test_images_are_uint8_or_float32(dtype, expected):
    images = np.array([[[0, 1], [1, 0]]]).astype(dtype)
    found = ArrayDataset(images, name="x").images
    assert found.dtype == np.dtype(expected) and found.flags.c_contiguous
    assert found.tolist() == [[[[0, 1], [1, 0]]]]


def test_shapes_that_are_read_and_shapes_that_are_not():
    def shape(*dims):
        return ArrayDataset(np.ones(dims, np.float32), name="x").shape

    assert shape(2, 7) == (7, 1, 1)
    assert shape(2, 7, 6) == (1, 7, 6)
    assert shape(2, 3, 7, 6) == (3, 7, 6)
    assert "transpose(0, 3, 1, 2)" in message(shape, 2, 32, 32, 3)
    assert "(2, 1, 1, 1, 1)" in message(shape, 2, 1, 1, 1, 1)
    assert "no images" in message(shape, 0, 28, 28)


def test_labels_that_do_not_fit():
    images = np.zeros((4, 3, 3), np.uint8)

    def open_with(labels):
        return ArrayDataset(images, np.asarray(labels), name="x").labels

    assert open_with([[1], [2], [3], [4]]).tolist() == [1, 2, 3, 4]
    assert open_with([0.5, 1, 2, 3]).dtype == np.float32
    assert "argmax" in message(open_with, np.eye(4))
    assert "4 images, but labels of shape (3,)" in message(open_with, [1, 2, 3])
    assert "must be numbers" in message(open_with, ["a", "b", "c", "d"])


# IDX


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_with_labels_beside_it(tmp_path, suffix):
    images, labels = digits()
    path = write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    dataset = open_source(str(path))
    np.testing.assert_array_equal(dataset.images[:, 0], images)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.shape == (1, 5, 4)


def test_idx_is_found_with_or_without_gz(tmp_path):
    write_idx(tmp_path / "images.idx.gz", digits()[0])
    assert len(open_source(tmp_path / "images.idx")) == 12


def test_idx_pair_and_idx_without_labels(tmp_path):
    images, labels = digits()
    a, b = write_idx(tmp_path / "a.idx", images), write_idx(tmp_path / "b.idx", labels)
    assert open_source(f"{a}:{b}").labels.tolist() == labels.tolist()
    assert open_source(a).labels is None
    assert open_source(a).read(0, 2)[1] is None


def test_plain_idx_is_mapped(tmp_path):
    images = open_source(write_idx(tmp_path / "a.idx", digits()[0])).images
    base = images
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


@pytest.mark.parametrize("dtype", IDX_CODES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_types(tmp_path, dtype, suffix):
    array = np.arange(24).reshape(2, 3, 4)
    found = read_idx(write_idx(tmp_path / f"a{suffix}", array, dtype))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, array)


def corrupt_cases():
    good = idx_bytes(digits()[0])
    huge = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    packed = gzip.compress(good)
    flipped = packed[:-6] + bytes([packed[-6] ^ 0xFF]) + packed[-5:]
    return {
        "empty": (b"", "begins with nothing"),
        "magic": (b"\x89PNG" + good, "not an IDX file: it begins with 89 50 4e 47"),
        "type": (b"\0\0\x07\x03" + good[4:], "not an IDX file"),
        "dims": (b"\0\0\x08\0" + good[4:], "0 dimensions"),
        "header": (good[:9], "ends inside its header"),
        "short": (good[:-1], "12 x 5 x 4, 256 bytes in all; the file has 255"),
        "long": (good + b"x", "256 bytes in all; the file has 257"),
        "no images": (idx_bytes(np.zeros((0, 5, 4))), "0 x 5 x 4: no values"),
        "overflow": (huge, "4294967295 x 4294967295 x 4294967295"),
        "gz overflow": (gzip.compress(huge), "bytes of gzip cannot hold that"),
        "gz truncated": (packed[:-12], "gzip file is truncated"),
        "gz short": (gzip.compress(good[:-7]), "12 x 5 x 4, 240 bytes; it has 233"),
        "gz long": (gzip.compress(good + b"x"), "240 bytes; it has more"),
        "gz checksum": (flipped, "gzip file is damaged"),
        "gz body": (packed[:10] + b"\xff" * 40, "gzip file is damaged"),
    }


@pytest.mark.parametrize("case", corrupt_cases())
def test_corrupt_idx(tmp_path, case):
    content, expected = corrupt_cases()[case]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    text = message(open_source, path)
    assert expected in text and str(path) in text


def test_idx_images_and_labels_that_do_not_fit(tmp_path):
    images, labels = digits()
    path = write_idx(tmp_path / "t-images-idx3-ubyte", images)
    beside = write_idx(tmp_path / "t-labels-idx1-ubyte", labels[:-1])
    assert f"{beside}: 11 labels, but {path} has 12 images" in message(open_source, path)
    assert "are labels; name the images" in message(open_source, beside)
    assert "labels have one dimension" in message(open_source, f"{path}:{path}")


def test_unreadable_is_an_error_not_a_traceback(tmp_path):
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    assert "loop.npz" in message(open_source, tmp_path / "loop.npz")


# npz


@pytest.mark.parametrize("keys", [("images", "labels"), ("data", "label"), ("x", "y"), ("X", "Y")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, keys, save):
    images, labels = digits()
    save(tmp_path / "set.npz", **{keys[0]: images[:, None], keys[1]: labels})
    dataset = open_source(tmp_path / "set.npz")
    np.testing.assert_array_equal(dataset.images[:, 0], images)
    np.testing.assert_array_equal(dataset.labels, labels)


def test_npz_without_images_lists_its_keys(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=np.zeros(3), y_train=np.zeros(3))
    text = message(open_source, tmp_path / "set.npz")
    assert "images, data, x" in text and "it has x_train, y_train" in text


def test_npz_that_cannot_be_read(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 3, 3)), data=np.zeros((2, 3, 3)))
    assert "images and data are both there" in message(open_source, path)
    np.savez(path, images=np.array([None, "x"], dtype=object))
    assert "Python objects" in message(open_source, path)
    np.savez(path, images=np.zeros((20, 30, 30)))
    path.write_bytes(path.read_bytes()[:-40])
    assert "not a readable .npz" in message(open_source, path)
    path.write_bytes(b"")
    assert str(path) in message(open_source, path)


def test_npz_header_that_asks_for_too_much_memory(tmp_path):
    import zipfile

    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}
    )
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", member.getvalue() + b"\0" * 100)
    assert "its header says (1099511627776, 28, 28)" in message(open_source, tmp_path / "set.npz")


# LMDB


def write_lmdb(folder, records):
    lmdb = pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    environment = lmdb.open(str(folder), map_size=1 << 24)
    with environment, environment.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(f"{i:08d}".encode(), record)
    return folder


def test_lmdb_reads_in_order_and_anywhere(tmp_path):
    images, labels = digits(count=20)
    datums = [Datum(x[None], int(y)).serialize() for x, y in zip(images, labels, strict=True)]
    dataset = open_source(write_lmdb(tmp_path / "db", datums), backend="LMDB")
    assert (len(dataset), dataset.shape, dataset.images) == (20, (1, 5, 4), None)
    for start, count in [(0, 8), (8, 8), (16, 4), (0, 3), (15, 5), (2, 1), (19, 1), (3, 0)]:
        rows, row_labels = dataset.read(start, count)
        assert rows.dtype == np.uint8 and row_labels.dtype == np.int64
        np.testing.assert_array_equal(rows[:, 0], images[start : start + count])
        np.testing.assert_array_equal(row_labels, labels[start : start + count])
    assert "it has 20" in message(dataset.read, 19, 2)


def test_lmdb_opens_twice_in_one_process(tmp_path):
    record = Datum(np.ones((1, 2, 2), np.uint8)).serialize()
    folder = write_lmdb(tmp_path / "db", [record])
    assert len(open_source(folder)) == len(open_source(folder)) == 1
    first, second = open_source(folder), open_source(folder)
    assert first.read(0, 1)[0].sum() == second.read(0, 1)[0].sum() == 4


def test_lmdb_floats_and_negative_labels(tmp_path):
    image = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 2, 2)
    dataset = open_source(write_lmdb(tmp_path / "db", [Datum(image, -1).serialize()]))
    rows, labels = dataset.read(0, 1)
    np.testing.assert_array_equal(rows[0], image)
    assert rows.dtype == np.float32 and labels.tolist() == [-1]


def test_lmdb_with_mixed_shapes_or_damage(tmp_path):
    shapes = [(1, 4, 4), (1, 5, 4)]
    datums = [Datum(np.zeros(shape, np.uint8)).serialize() for shape in shapes]
    mixed = open_source(write_lmdb(tmp_path / "mixed", datums))
    assert "record '00000001': an image of (1, 5, 4)" in message(mixed.read, 0, 2)
    assert "00000000" in message(open_source, write_lmdb(tmp_path / "bad", [datums[0][:-6]]))
    assert "no records" in message(open_source, write_lmdb(tmp_path / "none", []))
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"junk" * 5000)
    assert "not a readable LMDB" in message(open_source, tmp_path / "junk")


def encoded_datum(pixels):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra image)")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "PNG")
    return Datum(np.frombuffer(buffer.getvalue(), np.uint8), 5, encoded=True).serialize()


def test_lmdb_encoded_images_become_bgr_or_grey(tmp_path):
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    rows, labels = open_source(write_lmdb(tmp_path / "bgr", [encoded_datum(colour)])).read(0, 1)
    np.testing.assert_array_equal(rows[0], colour[:, :, ::-1].transpose(2, 0, 1))
    assert labels.tolist() == [5]
    grey = open_source(write_lmdb(tmp_path / "grey", [encoded_datum(colour[:, :, 0])]))
    np.testing.assert_array_equal(grey.read(0, 1)[0][0, 0], colour[:, :, 0])


def test_missing_extras_say_what_to_install(tmp_path, monkeypatch):
    folder = write_lmdb(tmp_path / "db", [encoded_datum(np.zeros((3, 3), np.uint8))])
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert 'pip install "pydl[image]"' in message(open_source, folder)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    text = message(write_lmdb_set, tmp_path / "new", np.zeros((1, 3, 3)))
    assert 'pip install "pydl[lmdb]"' in text
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    sheet = functools.partial(save_sheet, open_source("mnist_sample/test"), tmp_path / "s.png")
    assert 'pip install "pydl[plot]"' in message(sheet)


# Names that are wrong


@pytest.mark.parametrize(
    "source, expected",
    [
        ("mnist_sampel/train", 'no source "mnist_sampel/train"; did you mean mnist_sample/train?'),
        ("fashion-mnist/test", "did you mean fashion_mnist/test?"),
        ("mnist_sample", "did you mean mnist_sample/train or mnist_sample/test?"),
        ("nowhere/at/all", "a source is one of"),
        ("http://example.com/x", "a source is one of"),
        ("", "an empty source"),
    ],
)
def test_unknown_names(source, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = message(open_source, source)
    assert expected in text and "IMAGES:LABELS" in text


def test_unknown_path_says_what_is_nearby(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", digits()[0])
    text = message(open_source, tmp_path / "trian-images-idx3-ubyte")
    assert f"did you mean {tmp_path}/train-images-idx3-ubyte.gz?" in text
    assert f"{tmp_path} has no trian-images-idx3-ubyte; it has train-images" in text
    pair = f"{tmp_path}/train-images-idx3-ubyte.gz:{tmp_path}/labels"
    assert f"{tmp_path}/labels: no such file" in message(open_source, pair)


def test_folders_without_a_database(tmp_path):
    assert "a folder without a database" in message(open_source, tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", digits()[0])
    assert f"name the file in it: {tmp_path}/train-images" in message(open_source, tmp_path)
    (tmp_path / "level").mkdir()
    (tmp_path / "level" / "CURRENT").write_text("MANIFEST-000002\n")
    text = message(open_source, tmp_path / "level", backend="LEVELDB")
    assert "LevelDB" in text


def test_other_files_and_backends(tmp_path):
    (tmp_path / "list.txt").write_text("cat.jpg 0\n")
    assert "neither IDX nor .npz" in message(open_source, tmp_path / "list.txt")
    assert 'unknown backend "HDF5"' in message(open_source, "mnist_sample/train", "HDF5")
    assert len(open_source("mnist_sample/test", "LEVELDB")) == 1000


# Standard sets: a small one with the shape of MNIST stands for it


@pytest.fixture
def small_set(tmp_path, monkeypatch):
    """The set "mnist" cut down to 30 + 10 digits; gives the folder of its gzipped files."""
    folder = tmp_path / "origin"
    folder.mkdir()
    contents = {}
    for seed, (part, count) in enumerate([("train", 30), ("t10k", 10)]):
        images, labels = digits(count, 28, 28, seed)
        contents[f"{part}-images-idx3-ubyte"] = idx_bytes(images)
        contents[f"{part}-labels-idx1-ubyte"] = idx_bytes(labels)
    for file, content in contents.items():
        (folder / f"{file}.gz").write_bytes(gzip.compress(content))
    small = standard.StandardSet(
        name="mnist",
        class_names=tuple("0123456789"),
        md5={file: hashlib.md5(content).hexdigest() for file, content in contents.items()},
        urls=(),
    )
    monkeypatch.setitem(standard.SETS, "mnist", small)
    sizes = {file: len(content) for file, content in contents.items()}
    monkeypatch.setattr(standard, "_FILE_SIZES", sizes)
    return folder


@pytest.fixture
def server(small_set):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(small_set))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def assert_small_set_opens():
    x_train, _, x_test, y_test = load("mnist")
    assert x_train.shape == (30, 1, 28, 28) and x_test.shape == (10, 1, 28, 28)
    np.testing.assert_array_equal(x_train[:, 0], digits(30, 28, 28, 0)[0])
    np.testing.assert_array_equal(y_test, digits(10, 28, 28, 1)[1])


def test_prepare_from_a_folder(small_set, empty_data_home):
    assert prepare("mnist", source=small_set) == empty_data_home / "mnist"
    assert sorted(path.name for path in (empty_data_home / "mnist").iterdir()) == sorted(FILES)
    assert_small_set_opens()


def test_prepare_from_a_folder_of_unpacked_files(small_set):
    for path in small_set.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    prepare("mnist", source=small_set)
    assert_small_set_opens()


def test_download(server, monkeypatch):
    seen = []
    prepare("mnist", url=server, progress=lambda *report: seen.append(report))
    assert_small_set_opens()
    assert [report[0] for report in seen if report[1] == report[2]] == FILES


def test_download_takes_the_next_address_when_one_fails(server, monkeypatch):
    small = standard.SETS["mnist"]
    urls = ("http://127.0.0.1:9/", server + "absent/", server)
    changed = standard.StandardSet(small.name, small.class_names, small.md5, urls)
    monkeypatch.setitem(standard.SETS, "mnist", changed)
    prepare("mnist")
    assert_small_set_opens()


def test_prepared_files_are_left_alone_and_wrong_ones_replaced(small_set, empty_data_home):
    folder = prepare("mnist", source=small_set)
    untouched, damaged = folder / FILES[0], folder / FILES[1]
    before = untouched.stat().st_ino
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    prepare("mnist", source=small_set)
    assert untouched.stat().st_ino == before
    assert_small_set_opens()


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (lambda content: gzip.compress(b"\1" + gzip.decompress(content)[1:]), "unpacked MD5 is"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), "bytes unpacked, expected"),
        (lambda content: gzip.compress(gzip.decompress(content) + b"x"), "more than the"),
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: b"<html>please log in</html>", "Not a gzipped file"),
        (None, "HTTP 404"),
    ],
)
def test_a_wrong_download_is_an_error_and_nothing_is_kept(
    server, small_set, empty_data_home, spoil, expected
):
    path = small_set / f"{FILES[0]}.gz"
    path.write_bytes(spoil(path.read_bytes())) if spoil else path.unlink()
    text = message(prepare, "mnist", url=server)
    assert expected in text and f"{server}{FILES[0]}.gz" in text
    assert list((empty_data_home / "mnist").iterdir()) == []
    assert "is not on this machine" in message(open_source, "mnist/train")


def test_no_server(small_set):
    text = message(prepare, "mnist", url="http://127.0.0.1:9/")
    assert "refused" in text and "pydl data prepare mnist --from DIR" in text
    assert "unknown url type" in message(prepare, "mnist", url="nonsense")


def test_prepare_from_a_folder_that_lacks_them(small_set, tmp_path):
    (small_set / f"{FILES[3]}.gz").unlink()
    assert f"{FILES[3]}: no such file" in message(prepare, "mnist", source=small_set)
    assert "no such folder" in message(prepare, "mnist", source=tmp_path / "absent")
    assert "there are mnist, fashion_mnist" in message(prepare, "cifar10")


def test_prepare_where_nothing_can_be_written(small_set, tmp_path):
    (tmp_path / "file").write_text("")
    assert "choose another" in message(prepare, "mnist", source=small_set, to=tmp_path / "file")


def test_a_missing_set_says_how_to_get_it(monkeypatch):
    fashion = standard.SETS["fashion_mnist"]
    nowhere = standard.StandardSet(**{**vars(fashion), "system_folders": ("/nowhere",)})
    monkeypatch.setitem(standard.SETS, "fashion_mnist", nowhere)
    text = message(open_source, "fashion_mnist/train")
    assert "pydl data prepare fashion_mnist" in text and "--from DIR" in text
    assert "apt install dataset-fashion-mnist" in text and "/nowhere" in text
    assert message(load, "fashion_mnist") == text
    assert "there are mnist_sample, mnist, fashion_mnist" in message(load, "mnits")


def test_data_home_follows_the_environment(monkeypatch, tmp_path):
    assert standard.data_home() == tmp_path / "home"
    monkeypatch.delenv("PYDL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert standard.data_home() == tmp_path / "cache" / "pydl" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert standard.data_home() == tmp_path / ".cache" / "pydl" / "data"


def test_list_sets(small_set):
    def ready():
        return {info.name for info in list_sets() if info.ready}

    assert ready() >= {"mnist_sample/train", "mnist_sample/test"}
    assert "mnist/train" not in ready()
    prepare("mnist", source=small_set)
    assert {"mnist/train", "mnist/test"} <= ready()
    sizes = {info.name: info.images for info in list_sets()}
    assert sizes["fashion_mnist/train"] == 60000 and sizes["mnist_sample/test"] == 1000


# The full Fashion-MNIST, where Debian's package is installed

DEBIAN_FASHION = Path(standard.SETS["fashion_mnist"].system_folders[0])
needs_fashion = pytest.mark.skipif(
    not DEBIAN_FASHION.is_dir(),
    reason=f"{DEBIAN_FASHION} is absent: apt install dataset-fashion-mnist",
)


@needs_fashion
def test_full_fashion_mnist(empty_data_home):
    packed = open_source("fashion_mnist/train")
    assert prepare("fashion_mnist") == empty_data_home / "fashion_mnist"
    mapped = open_source("fashion_mnist/train")
    assert packed.images.shape == (60000, 1, 28, 28)
    np.testing.assert_array_equal(packed.images, mapped.images)
    np.testing.assert_array_equal(packed.labels, mapped.labels)
    _, y_train, x_test, y_test = load("fashion_mnist")
    assert x_test.shape == (10000, 1, 28, 28)
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert mapped.class_names[9] == "Ankle boot"


@needs_fashion
def test_prepare_repairs_a_partial_folder_from_the_system(empty_data_home):
    partial = empty_data_home / "fashion_mnist"
    partial.mkdir(parents=True)
    (partial / FILES[1]).write_bytes(b"half a file")
    assert standard.locate("fashion_mnist") == DEBIAN_FASHION
    prepare("fashion_mnist")
    assert standard.locate("fashion_mnist") == partial
    assert len(open_source("fashion_mnist/test")) == 10000


@needs_fashion
def test_fashion_mnist_is_not_taken_for_mnist(empty_data_home):
    text = message(prepare, "mnist", source=DEBIAN_FASHION)
    assert "unpacked MD5 is f4a8712d7a061bf5bd6d2ca38dc4d50a, expected 6bbc9ace" in text
    assert list((empty_data_home / "mnist").iterdir()) == []


# The sub-command


def run_cli(*argv):
    parser = argparse.ArgumentParser(prog="pydl")
    data_cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["data", *map(str, argv)])
    return args.run(args)


def test_cli_list(capsys, small_set):
    assert run_cli("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    sample = next(line for line in lines if line.startswith("mnist_sample/train"))
    assert sample.split()[1:3] == ["4000", "1x28x28"]
    absent = next(line for line in lines if line.startswith("mnist/train"))
    assert absent.endswith("not here: pydl data prepare mnist")


def test_cli_prepare(capsys, small_set, tmp_path, monkeypatch):
    assert run_cli("prepare", "mnist", "--from", small_set, "--to", tmp_path / "other") == 0
    out = capsys.readouterr().out
    assert f"mnist is ready in {tmp_path}/other/mnist" in out
    assert f"set PYDL_DATA={tmp_path}/other" in out
    monkeypatch.setenv("PYDL_DATA", str(tmp_path / "other"))
    assert_small_set_opens()


def test_cli_prepare_draws_progress_on_a_terminal(capsys, small_set, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run_cli("prepare", "mnist", "--from", small_set)
    err = capsys.readouterr().err
    assert all(f"\r{file}" in err for file in FILES) and "####" in err


def test_cli_show(capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    from matplotlib.image import imread

    path = tmp_path / "sheet.png"
    assert run_cli("show", "mnist_sample/train", "-o", path, "--count", 23) == 0
    assert "the first 23 of 4000" in capsys.readouterr().out
    picture = imread(path)[:, :, :3]
    assert picture.shape[1] > picture.shape[0] > 200
    assert picture.min() < 0.1 and picture.max() == 1
    assert "cannot be written" in message(run_cli, "show", "mnist_sample/test", "-o", "a.xyz")
    assert "at least 1" in message(run_cli, "show", "mnist_sample/test", "--count", 0)


def test_sheet_of_colour_floats(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    images = np.linspace(-3, 5, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    save_sheet(ArrayDataset(images, name="x"), tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text().count("<image") == 2
    two_channels = ArrayDataset(images[:, :2], name="x")
    assert "images of 2 channels" in message(save_sheet, two_channels, tmp_path / "x.png")
