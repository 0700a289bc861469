"""What noise_param does to pictures with Pillow and OpenCV."""

import io
import sys

import numpy as np
import pytest
from data_files import message
from net_text import layer, make_net

from pydl.data import write_annotated_lmdb
from pydl.data.noise import change

BOXES = np.float32([[1, 0.1, 0.2, 0.5, 0.6]])


def smooth(channels=3):
    rows, columns = np.mgrid[:24, :32]
    planes = [120 + 60 * np.sin(rows / 5 + c) + 40 * np.cos(columns / (4 + c)) for c in range(3)]
    return np.round(planes[:channels]).astype(np.uint8)


@pytest.fixture
def seen(tmp_path):
    """What a net sees of a picture, by the fields of noise_param."""
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")

    def run(fields, image):
        write_annotated_lmdb(tmp_path / "db", [image], [BOXES])
        data = f'data_param {{ source: "{tmp_path}/db" backend: LMDB batch_size: 1 }}'
        text = layer("AnnotatedData", f"{data} transform_param {{ noise_param {{ {fields} }} }}",
                     bottoms="", tops="data label")  # fmt: skip
        net = make_net(text)
        net.forward()
        return net.blobs["data"].data[0]

    return run


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(seen, channels):
    pytest.importorskip("PIL")
    image = smooth(channels)
    fine, coarse = (change("jpeg", quality, image).astype(int) for quality in (95, 5))
    errors = [np.abs(x - image).mean() for x in (fine, coarse)]
    assert 0 < errors[0] < 3 < errors[1] < 40
    np.testing.assert_array_equal(seen("jpeg: 5", image), coarse)


def test_jpeg_as_opencv_makes_it():
    cv2 = pytest.importorskip("cv2")
    image = smooth()
    content = cv2.imencode(".jpg", image.transpose(1, 2, 0), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    want = cv2.imdecode(content, cv2.IMREAD_COLOR).transpose(2, 0, 1).astype(int)
    assert np.abs(change("jpeg", 40, image) - want).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_clahe(seen, channels):
    pytest.importorskip("cv2")
    image = (100 + smooth(channels) // 8).astype(np.uint8)  # of little contrast
    even = change("clahe", 0, image)
    assert even.shape == image.shape and even.std() > 1.5 * image.std()
    np.testing.assert_array_equal(seen("clahe: true", image), even)


def test_colours(seen):
    pytest.importorskip("cv2")
    image = np.zeros((3, 2, 2), np.uint8)
    image[2] = 200  # red
    want = np.reshape([0, 255, 200], (3, 1, 1)) * np.ones((3, 2, 2))
    np.testing.assert_array_equal(seen("convert_to_hsv: true", image), want)
    lab = change("lab", 0, image)
    # L* 41.7 of 100, a* 66.8, b* 56.0, as bytes
    np.testing.assert_allclose(lab[:, 0, 0], [41.7 * 2.55, 128 + 66.8, 128 + 56], atol=1)


def test_colours_come_last(seen):
    pytest.importorskip("cv2")
    image = smooth()
    want = change("hsv", 0, 255 - change("clahe", 0, image))
    fields = "convert_to_hsv: true inverse: true clahe: true"
    np.testing.assert_array_equal(seen(fields, image), want)


def test_what_does_not_fit(seen):
    assert "noise_param.jpeg is a quality of at most 100, got 101" in message(
        seen, "jpeg: 101", smooth()
    )


def test_other_channels():
    two, four = np.zeros((2, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    assert "jpeg is for pictures of 3 channels or 1, not 2" in message(change, "jpeg", 50, two)
    assert "hsv is for pictures of 3 channels, not 1" in message(change, "hsv", 0, two[:1])
    assert "clahe is for pictures of 3 channels or 1, not 4" in message(change, "clahe", 0, four)


@pytest.mark.parametrize(
    ("what", "module", "extra"),
    [("jpeg", "PIL", "pydl[image]"), ("clahe", "cv2", "pydl[opencv]"),
     ("hsv", "cv2", "pydl[opencv]"), ("lab", "cv2", "pydl[opencv]")],
)  # fmt: skip
def test_a_library_that_is_missing(monkeypatch, what, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    problem = message(change, what, 50, smooth())
    assert f"{what} needs {'Pillow' if module == 'PIL' else 'OpenCV'}" in problem
    assert f'pip install "{extra}"' in problem


def test_pillow_reads_what_it_wrote():
    image_module = pytest.importorskip("PIL.Image")
    content = io.BytesIO()
    image_module.fromarray(smooth(1)[0]).save(content, "JPEG", quality=30)
    want = np.asarray(image_module.open(content))
    np.testing.assert_array_equal(change("jpeg", 30, smooth(1))[0], want)
