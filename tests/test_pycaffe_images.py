"""pycaffe's Classifier and Detector."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from net_text import input_layers, layer

from pydl import caffe
from pydl.caffe import io
from pydl.errors import Error

# Its scores are the means of the three channels.
NET = input_layers({"data": (4, 3, 8, 8)}) + layer(
    "Pooling", "pooling_param { pool: AVE global_pooling: true }", "data", "scores"
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    caffe.Net(tmp_path / "net.prototxt", caffe.TEST).save(tmp_path / "weights")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "weights")


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 12, 10, 3)).astype(np.float32)


def test_centre_crops(files, images):
    classifier = caffe.Classifier(*files, image_dims=(12, 10))
    scores = classifier.predict(list(images), oversample=False)
    want = images[:, 2:10, 1:9].mean(axis=(1, 2))
    np.testing.assert_allclose(scores.reshape(5, 3), want, rtol=1e-4)


def test_ten_crops(files, images):
    classifier = caffe.Classifier(*files, image_dims=[12, 10])
    want = io.oversample(images, (8, 8)).reshape(5, 10, 8, 8, 3).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(classifier.predict(images), want, rtol=1e-4)


def test_preparation(files, images):
    classifier = caffe.Classifier(
        *files, mean=np.array([10.0, 20, 30]), raw_scale=255, channel_swap=(2, 1, 0),
        input_scale=0.1,
    )  # fmt: skip
    small = images[:, :8, :8]
    scores = classifier.predict(small, oversample=False)
    want = (small.mean(axis=(1, 2))[:, ::-1] * 255 - [10, 20, 30]) * 0.1
    np.testing.assert_allclose(scores.reshape(5, 3), want, rtol=1e-3, atol=1e-3)


def test_images_are_resized_to_the_inputs_size(files, images):
    classifier = caffe.Classifier(*files)
    scores = classifier.predict(images[:1], oversample=False)
    want = io.resize_image(images[0], (8, 8)).mean(axis=(0, 1))
    np.testing.assert_allclose(scores.ravel(), want, rtol=1e-4)


@pytest.fixture
def picture(tmp_path, images):
    image = pytest.importorskip("PIL.Image")
    path = str(tmp_path / "picture.png")
    image.fromarray((images[0] * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("dtype", [int, float])
def test_windows(files, picture, dtype):
    detector = caffe.Detector(*files)
    windows = np.array([[0, 0, 8, 8], [4, 2, 12, 10], [1, 1, 5, 9]], dtype)
    found = detector.detect_windows([(picture, windows), (picture, windows[:2])])
    assert [f["filename"] for f in found] == [picture] * 5
    image = io.load_image(picture)
    np.testing.assert_allclose(
        found[1]["prediction"].ravel(), image[4:12, 2:10].mean(axis=(0, 1)), rtol=1e-4
    )
    np.testing.assert_array_equal(found[2]["window"], windows[2])
    resized = io.resize_image(image[1:5, 1:9], (8, 8)).mean(axis=(0, 1))
    np.testing.assert_allclose(found[2]["prediction"].ravel(), resized, rtol=1e-4)
    assert detector.detect_windows([]) == []


def test_context(files):
    """Two pixels around the window, of eight: the window fills four, and so does its frame."""
    detector = caffe.Detector(*files, mean=np.array([1.0, 2, 3]), channel_swap=(2, 1, 0),
                              raw_scale=2, context_pad=2)  # fmt: skip
    image = np.zeros((40, 40, 3), np.float32)
    image[16:24, 16:24] = 1
    crop = detector.crop(image, np.array([16, 16, 23, 23]))
    assert crop.shape == (8, 8, 3)
    assert crop[3:5, 3:5].min() > 0.9 and crop[0].max() < 0.1
    outside = detector.crop(image, np.array([0, 0, 7, 7]))
    np.testing.assert_allclose(outside[0, 0], [1.5, 1, 0.5])  # the mean, of pixels as they were
    assert np.abs(outside[4:, 4:]).max() == 0
    with pytest.raises(Error, match="lies outside of the image"):
        detector.crop(image, np.array([60, 60, 70, 70]))


def test_context_without_a_mean(files):
    detector = caffe.Detector(*files, context_pad=1)
    crop = detector.crop(np.ones((20, 20, 3), np.float32), np.array([0.0, 0.0, 9.0, 9.0]))
    assert (crop[0] == 0).all() and (crop[4:, 4:] == 1).all()


def test_selective_search(files, picture, monkeypatch):
    detector = caffe.Detector(*files)
    with pytest.raises(Error, match="selective_search_ijcv_with_python"):
        detector.detect_selective_search([picture])
    windows = [np.array([[0, 0, 8, 8]])]
    monkeypatch.setitem(
        sys.modules, "selective_search_ijcv_with_python",
        SimpleNamespace(get_windows=lambda files, cmd: windows * len(files)),
    )  # fmt: skip
    (found,) = detector.detect_selective_search([picture])
    assert found["window"].tolist() == [0, 0, 8, 8]
