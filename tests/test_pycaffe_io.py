"""pycaffe's io: arrays as messages, and images as inputs."""

import numpy as np
import pytest

from pydl.caffe import io
from pydl.caffe.proto import caffe_pb2
from pydl.caffe.resample import resize, zoom
from pydl.errors import Error


# ---- messages ----
def test_blob_with_legacy_shape():
    data = np.random.rand(10, 10)
    blob = caffe_pb2.BlobProto()
    blob.data.extend(data.ravel().tolist())
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 10, 10
    array = io.blobproto_to_array(blob)
    np.testing.assert_allclose(array, data.reshape(1, 1, 10, 10), rtol=1e-6)


def test_blob_with_shape_and_diff():
    data, diff = np.random.rand(2, 3), np.random.rand(2, 3)
    blob = io.array_to_blobproto(data, diff)
    assert list(blob.shape.dim) == [2, 3]
    np.testing.assert_allclose(io.blobproto_to_array(blob), data, rtol=1e-6)
    np.testing.assert_allclose(io.blobproto_to_array(blob, True), diff, rtol=1e-6)
    np.testing.assert_allclose(io.blobproto_to_array(blob, return_diff=True), diff, rtol=1e-6)


def test_blob_without_shape():
    blob = caffe_pb2.BlobProto()
    blob.data.extend([1.0, 2.0])
    with pytest.raises(ValueError):
        io.blobproto_to_array(blob)
    scalar = caffe_pb2.BlobProto()
    scalar.data.append(123)
    assert io.blobproto_to_array(scalar) == 123 and io.blobproto_to_array(scalar).shape == ()


def test_vectors_of_blobs():
    arrays = [np.random.rand(2, 3).astype("f4"), np.arange(4, dtype="f4")]
    data = io.arraylist_to_blobprotovector_str(arrays)
    assert isinstance(data, bytes)
    for mine, want in zip(io.blobprotovector_str_to_arraylist(data), arrays, strict=True):
        np.testing.assert_array_equal(mine, want)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
def test_datum(dtype):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    datum = io.array_to_datum(array, label=3)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 3)
    assert bool(datum.data) == (dtype == np.uint8)
    again = caffe_pb2.Datum.FromString(datum.SerializeToString())
    np.testing.assert_array_equal(io.datum_to_array(again), array)
    with pytest.raises(ValueError, match=r"not an array of shape \(3, 4\)"):
        io.array_to_datum(array[:, :, 0])


def test_datum_without_label_is_smaller():
    array = np.ones((10, 10, 3))
    with_label, without = io.array_to_datum(array, label=1), io.array_to_datum(array)
    assert len(with_label.SerializeToString()) > len(without.SerializeToString())


# ---- transformations ----
@pytest.fixture
def transformer():
    return io.Transformer({"data": (5, 3, 6, 4), "label": (5,)})


def test_preprocess_and_back(transformer):
    image = np.random.default_rng(0).random((6, 4, 3)).astype(np.float32)
    before = image.copy()
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104.0, 117, 123]))
    transformer.set_input_scale("data", 0.5)
    got = transformer.preprocess("data", image)
    mean = np.array([104, 117, 123]).reshape(3, 1, 1)
    want = (image.transpose(2, 0, 1)[::-1] * 255 - mean) * 0.5
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_allclose(transformer.deprocess("data", got[np.newaxis]), image, atol=1e-5)


def test_preprocess_resizes(transformer):
    transformer.set_transpose("data", (2, 0, 1))
    assert transformer.preprocess("data", np.random.rand(12, 10, 3)).shape == (3, 6, 4)


def test_means(transformer):
    transformer.set_mean("data", np.ones((3, 6, 4)))
    assert transformer.mean["data"].shape == (3, 6, 4)
    transformer.set_mean("data", np.arange(3 * 12 * 8.0).reshape(3, 12, 8))
    assert transformer.mean["data"].shape == (3, 6, 4)
    assert transformer.mean["data"].min() >= 0 and transformer.mean["data"].max() <= 288
    transformer.set_mean("data", np.full((3, 12, 8), 7.0))
    np.testing.assert_allclose(transformer.mean["data"], 7)
    with pytest.raises(ValueError, match="2 values for the 3 channels"):
        transformer.set_mean("data", np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(1, 1, 1, 1\)"):
        transformer.set_mean("data", np.ones((1, 1, 1, 1)))


def test_what_does_not_fit(transformer):
    with pytest.raises(Error, match="dat is not one of the net's inputs: data, label"):
        transformer.preprocess("dat", np.zeros((6, 4, 3)))
    with pytest.raises(Error, match="2 axes, but records of data have 3"):
        transformer.set_transpose("data", (1, 0))
    with pytest.raises(Error, match="2 channels, but data has 3"):
        transformer.set_channel_swap("data", (1, 0))


# ---- images ----
def save(path, array, mode=None):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(array).convert(mode or image.fromarray(array).mode).save(path)
    return str(path)


def test_load_image(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    gray = rgb[..., 0]
    colour = io.load_image(save(tmp_path / "rgb.png", rgb))
    assert colour.dtype == np.float32
    np.testing.assert_allclose(colour, rgb / 255, rtol=1e-6)
    one = io.load_image(tmp_path / "rgb.png", color=False)
    assert one.shape == (5, 4, 1)
    np.testing.assert_allclose(one[..., 0], rgb / 255 @ [0.2125, 0.7154, 0.0721], rtol=1e-5)
    path = save(tmp_path / "gray.png", gray)
    np.testing.assert_allclose(
        io.load_image(path), np.repeat(gray[..., None], 3, 2) / 255, rtol=1e-6
    )
    np.testing.assert_allclose(io.load_image(path, False)[..., 0], gray / 255, rtol=1e-6)


def test_load_image_of_other_kinds(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    rgba = np.dstack([rgb, np.full((5, 4), 9, np.uint8)])
    np.testing.assert_allclose(
        io.load_image(save(tmp_path / "rgba.png", rgba)), rgb / 255, rtol=1e-6
    )
    deep = np.array([[0, 65535], [1000, 2]], np.uint16)
    np.testing.assert_allclose(
        io.load_image(save(tmp_path / "deep.png", deep), False)[..., 0], deep / 65535, rtol=1e-6
    )
    assert io.load_image(save(tmp_path / "palette.png", rgb, "P")).shape == (5, 4, 3)
    assert io.load_image(save(tmp_path / "bits.png", rgb, "1")).max() == 1


def test_load_image_errors(tmp_path):
    pytest.importorskip("PIL.Image")
    with pytest.raises(Error, match=r"nothing.png: No such file"):
        io.load_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(Error, match="not an image"):
        io.load_image(tmp_path / "text.png")
    image = save(tmp_path / "cut.png", np.zeros((50, 50, 3), np.uint8))
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(Error, match="cut.png"):
        io.load_image(image)


def test_oversample():
    images = [np.random.rand(7, 6, 3), np.random.rand(7, 6, 3)]
    crops = io.oversample(images, (4, 3))
    assert crops.shape == (20, 4, 3, 3) and crops.dtype == np.float32
    for image, ten in zip(images, crops.reshape(2, 10, 4, 3, 3), strict=True):
        for crop, (y, x) in zip(ten, [(0, 0), (0, 3), (3, 0), (3, 3), (1, 1)], strict=False):
            np.testing.assert_allclose(crop, image[y : y + 4, x : x + 3], rtol=1e-6)
        np.testing.assert_array_equal(ten[5:], ten[:5, :, ::-1])


# ---- resizing; numbers by scikit-image 0.26 and scipy 1.17 ----
def test_resize_image_of_the_same_size_or_colour():
    image = np.random.rand(5, 4, 3).astype(np.float32)
    np.testing.assert_allclose(io.resize_image(image, (5, 4)), image, atol=1e-6)
    flat = io.resize_image(np.full((5, 4, 3), 0.25), (7, 9))
    assert flat.shape == (7, 9, 3) and flat.dtype == np.float32 and (flat == 0.25).all()


RAMP = np.arange(12.0).reshape(3, 4, 1) / 11
SIZES = {
    (2, 6): [
        [0.075834, 0.136444, 0.197034, 0.257625, 0.318216, 0.303049],
        [0.530074, 0.681532, 0.742123, 0.802714, 0.863305, 0.75729],
    ],
    (2, 2): [[0.13645, 0.293891], [0.652382, 0.809823]],
}


@pytest.mark.parametrize("size", SIZES)
def test_linear(size):
    """Larger: black shows in the border. Smaller: blurred before."""
    np.testing.assert_allclose(resize(RAMP, size)[..., 0], SIZES[size], atol=1e-5)
    np.testing.assert_allclose(io.resize_image(RAMP, size)[..., 0], SIZES[size], atol=1e-5)
    turned = np.repeat(5 - 3 * RAMP, 3, axis=2)
    want = np.clip(5 - 3 * (1 - resize(1 - RAMP, size)), 2, 5)
    np.testing.assert_allclose(io.resize_image(turned, size), np.repeat(want, 3, 2), atol=1e-5)


def test_zoom():
    want = [[0, 3], [1.6, 4.6], [3.2, 6.2], [4.8, 7.8], [6.4, 9.4], [8, 11]]
    np.testing.assert_allclose(zoom(11 * RAMP[..., 0], (2, 0.5)), want, atol=1e-5)


def test_nearest():
    got = io.resize_image(RAMP, (6, 2), interp_order=0)
    assert got.shape == (6, 2, 1)
    assert set(np.unique(resize(np.arange(12).reshape(3, 4, 1), (6, 2), order=0))) <= set(range(12))


def test_any_number_of_channels():
    image = np.random.rand(3, 4, 5)
    got = io.resize_image(image, (5, 7))
    assert got.shape == (5, 7, 5)
    np.testing.assert_allclose(got[::2, ::2], image, rtol=1e-5)
    np.testing.assert_allclose(got[1], (got[0] + got[2]) / 2, rtol=1e-5)


def test_resampling_errors():
    with pytest.raises(Error, match='mode "edge"'):
        resize(RAMP, (2, 2), mode="edge")


def test_splines():
    pytest.importorskip("scipy")
    assert io.resize_image(RAMP, (6, 8), interp_order=3).shape == (6, 8, 1)
    assert zoom(RAMP, (2, 2, 1), order=3).shape == (6, 8, 1)
