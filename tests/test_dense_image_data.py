"""DenseImageData: images with images of their pixels' labels."""

import numpy as np
import pytest
from net_text import layer, make_net

from pydl import Error
from pydl.data.label_images import decode_labels, nearest, read_pair_list

Image = pytest.importorskip("PIL.Image", reason="the optional package Pillow is not installed")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five pictures of 6x8 whose red channel is their label image plus 100."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = []
    for i in range(5):
        labels = rng.integers(0, 4, (6, 8), dtype=np.uint8)
        picture = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture[..., 0] = labels + 100
        picture[..., 1] = i
        Image.fromarray(picture).save(f"image{i}.png")
        Image.fromarray(labels).save(f"labels{i}.png")
        lines.append(f"image{i}.png labels{i}.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def data(fields="", transform="", phase="TEST", **options):
    text = layer(
        "DenseImageData",
        f'dense_image_data_param {{ source: "list.txt" {fields} }} '
        f"transform_param {{ {transform} }}",
        bottoms="",
        tops="data label",
    )
    return make_net(text, phase=phase, **options)


def batches(net, count):
    for _ in range(count):
        net.forward()
        yield net.blobs["data"].data.copy(), net.blobs["label"].data.copy()


def test_images_and_their_labels(folder):
    net = data("batch_size: 2")
    assert net.blobs["data"].shape == (2, 3, 6, 8)
    assert net.blobs["label"].shape == (2, 1, 6, 8)
    numbers = []
    for images, labels in batches(net, 5):
        np.testing.assert_array_equal(images[:, 2] - 100, labels[:, 0])  # red is last
        numbers += images[:, 1, 0, 0].tolist()
    assert numbers == [0, 1, 2, 3, 4] * 2


def test_mean_and_scale_are_not_for_labels(folder):
    plain = next(batches(data(), 1))
    images, labels = next(batches(data("", "scale: 0.5 mean_value: 10"), 1))
    np.testing.assert_array_equal(images, (plain[0] - 10) * 0.5)
    np.testing.assert_array_equal(labels, plain[1])


@pytest.mark.parametrize("old", [False, True], ids=["transform_param", "old place"])
def test_crops_and_mirrors_are_the_same_for_both(folder, old):
    fields = "crop_size: 4 mirror: true"
    net = data(f"batch_size: 5 {fields if old else ''}", "" if old else fields, phase="TRAIN")
    assert net.blobs["label"].shape == (5, 1, 4, 4)
    seen = set()
    for images, labels in batches(net, 20):
        np.testing.assert_array_equal(images[:, 2] - 100, labels[:, 0])
        seen.add(labels[0].tobytes())
    assert len(seen) > 10
    images, labels = next(batches(data("", "crop_size: 4"), 1))  # TEST: the middle
    full = next(batches(data(), 1))
    np.testing.assert_array_equal(labels, full[1][:, :, 1:5, 2:6])
    np.testing.assert_array_equal(images, full[0][:, :, 1:5, 2:6])


def test_shuffle_goes_through_all(folder):
    net = data("shuffle: true", phase="TRAIN")
    numbers = [images[0, 1, 0, 0] for images, _ in batches(net, 10)]
    assert sorted(numbers[:5]) == sorted(numbers[5:]) == [0, 1, 2, 3, 4]


def test_labels_are_resized_to_the_nearest(folder):
    images, labels = next(batches(data("new_height: 12 new_width: 4"), 1))
    assert images.shape == (1, 3, 12, 4) and labels.shape == (1, 1, 12, 4)
    full = next(batches(data(), 1))[1]
    want = full[:, :, np.arange(12) // 2][:, :, :, [0, 2, 4, 6]]
    np.testing.assert_array_equal(labels, want)


def test_nearest_as_opencv():
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    labels = np.random.default_rng(1).integers(0, 9, (7, 11), dtype=np.uint8)
    for height, width in ((3, 5), (14, 22), (10, 4), (7, 11), (1, 1), (20, 13)):
        want = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(nearest(labels, height, width), want)


def test_grey_images(folder):
    images, _ = next(batches(data("is_color: false"), 1))
    assert images.shape == (1, 1, 6, 8)


def test_workers(folder):
    alone = list(batches(data("batch_size: 3"), 3))
    for (a, b), (c, d) in zip(alone, batches(data("batch_size: 3 workers: 2"), 3), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_palettes_and_grey_in_colour(folder):
    """The indices of a palette are the labels; three equal channels are one."""
    labels = np.asarray(Image.open("labels0.png"))
    indexed = Image.fromarray(labels, mode="P")
    indexed.putpalette([9, 8, 7] * 256)
    indexed.save("p.png")
    Image.fromarray(np.stack([labels] * 3, -1)).save("rgb.png")
    for name in ("p.png", "rgb.png"):
        np.testing.assert_array_equal(decode_labels((folder / name).read_bytes(), name), labels)


def test_what_is_wrong_with_files(folder):
    (folder / "bad.txt").write_text("image0.png labels0.png\nimage1.png\n")
    with pytest.raises(Error, match=r"bad.txt:2: 'image1.png' has 1 names; two are needed"):
        read_pair_list("bad.txt", "")
    (folder / "bad.txt").write_text("\n")
    with pytest.raises(Error, match="names no images"):
        read_pair_list("bad.txt", "")
    with pytest.raises(Error, match="image0.png: a label image needs one channel"):
        decode_labels((folder / "image0.png").read_bytes(), "image0.png")
    with pytest.raises(Error, match="x: not a readable image"):
        decode_labels(b"no", "x")
    Image.fromarray(np.zeros((3, 8), np.uint8)).save("labels0.png")
    with pytest.raises(Error, match="labels0.png: a label image of 3x8 for image0.png of 6x8"):
        data()
    (folder / "labels0.png").unlink()
    with pytest.raises(Error, match="labels0.png: No such file.*named in list.txt"):
        data()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("batch_size: 0", "batch_size must be positive"),
        ("new_height: 3", "give both, or neither"),
        ("rand_skip: 6", "more than the 5 images"),
    ],
)
def test_what_is_wrong_with_fields(folder, fields, words):
    with pytest.raises(Error, match=words):
        data(fields)
