"""WindowData: which windows a batch has, and how they are cut out and warped."""

from __future__ import annotations

import numpy as np
import pytest
from data_files import encoded, message, planar
from net_text import layer, make_net

from pydl.data.pictures import resize
from pydl.data.window_file import read_window_file
from pydl.formats import binaryproto

WIDTH, HEIGHT = 30, 20


def window_net(source, fields="", transform="crop_size: 8", **options):
    params = (
        f'window_data_param {{ source: "{source}" {fields} }} transform_param {{ {transform} }}'
    )
    return make_net(layer("WindowData", params, "", "x t", "data"), **options)


def write_windows(folder, windows, count=2, seed=0):
    """Images with these windows in each; gives the pixels (3, H, W) and the file."""
    rng = np.random.default_rng(seed)
    pixels = [rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8) for _ in range(count)]
    text = ""
    for i, image in enumerate(pixels):
        (folder / f"{i}.png").write_bytes(encoded(image))
        rows = "".join(" ".join(map(str, w)) + "\n" for w in windows)
        text += f"# {i}\n{i}.png\n3\n{HEIGHT}\n{WIDTH}\n{len(windows)}\n{rows}"
    (folder / "windows.txt").write_text(text)
    return [np.ascontiguousarray(planar(p)) for p in pixels], folder / "windows.txt"


def forward(net):
    net._core.forward()
    return np.array(net.blobs["x"].data), np.array(net.blobs["t"].data).astype(int)


def warped(image, x1, y1, x2, y2, height=8, width=8):
    part = np.ascontiguousarray(image[:, y1 : y2 + 1, x1 : x2 + 1])
    return resize(part, height, width).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


FOREGROUND, BACKGROUND = (2, 0.9, 3, 4, 12, 11), (5, 0.1, 15, 2, 28, 18)
BETWEEN = (7, 0.4, 0, 0, 5, 5)


def test_batches_have_background_first_and_then_foreground(folder):
    images, source = write_windows(folder, [FOREGROUND, BACKGROUND, BETWEEN])
    net = window_net(source, "batch_size: 9 fg_fraction: 0.34 bg_threshold: 0.3")
    seen = set()
    for _ in range(10):
        x, t = forward(net)
        assert t.tolist() == [0] * 6 + [2] * 3
        for i, found in enumerate(x):
            box = (FOREGROUND if i >= 6 else BACKGROUND)[2:]
            which = [
                n for n, image in enumerate(images) if np.array_equal(found, warped(image, *box))
            ]
            assert len(which) == 1
            seen.add((i >= 6, which[0]))
    assert len(seen) == 4


def test_mean_scale_and_mirror(folder):
    images, source = write_windows(folder, [FOREGROUND, BACKGROUND], count=1)
    want = warped(images[0], *BACKGROUND[2:])
    mean = np.float32([1, 2, 3]).reshape(3, 1, 1)
    values = "crop_size: 8 mirror: true mean_value: 1 mean_value: 2 mean_value: 3"
    for fields, scale in (("", "scale: 0.5"), ("scale: 0.5", "")):
        net = window_net(source, f"batch_size: 8 fg_fraction: 0 {fields}", f"{values} {scale}")
        x, _ = forward(net)
        plain = (want - mean) * np.float32(0.5)
        flips = [np.array_equal(found, plain[:, :, ::-1]) for found in x]
        assert 0 < sum(flips) < 8
        assert all(f or np.array_equal(x[i], plain) for i, f in enumerate(flips))
    image = np.random.default_rng(1).standard_normal((3, 11, 11)).astype(np.float32)
    binaryproto.save("mean.binaryproto", image)
    net = window_net(
        source, "batch_size: 1 fg_fraction: 0", 'crop_size: 8 mean_file: "mean.binaryproto"'
    )
    np.testing.assert_array_equal(forward(net)[0][0], want - image[:, 1:9, 1:9])


def test_context_inside_the_image(folder):
    """10 pixels with a quarter more on each side: 8 = 4 + 2 * context_pad."""
    images, source = write_windows(folder, [FOREGROUND, (0, 0, 10, 6, 17, 11)], count=1)
    net = window_net(source, "batch_size: 1 fg_fraction: 0 context_pad: 2")
    # Half sizes 4 and 3 double around (14, 9): 6..22 by 3..15.
    np.testing.assert_array_equal(forward(net)[0][0], warped(images[0], 6, 3, 22, 15))
    net = window_net(source, 'batch_size: 1 fg_fraction: 0 crop_mode: "square"')
    np.testing.assert_array_equal(forward(net)[0][0], warped(images[0], 10, 5, 18, 13))


def test_context_outside_of_the_image_is_zero(folder):
    """A box of 8 x 8 in the corner: 9 of 17 pixels each way lie outside or are the box's start."""
    images, source = write_windows(folder, [FOREGROUND, (0, 0, 0, 0, 7, 7)], count=1)
    mean = "mean_value: 100"
    net = window_net(source, "batch_size: 1 fg_fraction: 0 context_pad: 2", f"crop_size: 8 {mean}")
    # Half sizes 4 double around (4, 4): -4..12, of which 0..12 is there: 13 of 17, 6 of 8 pixels.
    want = np.zeros((3, 8, 8), np.float32)
    want[:, 2:, 2:] = warped(images[0], 0, 0, 12, 12, 6, 6) - 100
    np.testing.assert_array_equal(forward(net)[0][0], want)
    flipped = window_net(
        source, "batch_size: 16 fg_fraction: 0 context_pad: 2", f"crop_size: 8 mirror: true {mean}"
    )
    x, _ = forward(flipped)
    assert {found.tobytes() for found in x} == {
        want.tobytes(),
        np.ascontiguousarray(want[:, :, ::-1]).tobytes(),
    }


def test_cached_images_and_the_order_in_the_file(folder):
    images, source = write_windows(folder, [FOREGROUND, BACKGROUND])
    source.write_text(source.read_text().replace("# 0", "# 7").replace("# 1", "# 3"))
    net = window_net(source, "batch_size: 4 fg_fraction: 0 cache_images: true prefetch: 0")
    kinds = {warped(image, *BACKGROUND[2:]).tobytes() for image in images}
    for _ in range(4):
        assert {found.tobytes() for found in forward(net)[0]} <= kinds
    for path in folder.glob("*.png"):
        path.unlink()
    forward(net)  # from memory


def test_root_folder_and_seed(folder):
    (folder / "images").mkdir()
    _, source = write_windows(folder / "images", [FOREGROUND, BACKGROUND])
    fields = f'batch_size: 8 root_folder: "{folder}/images/"'
    first, second, other = (window_net(source, fields, seed=seed) for seed in (1, 1, 2))
    runs = [np.stack([forward(net)[0] for _ in range(3)]) for net in (first, second, other)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_read_window_file(folder):
    _, source = write_windows(folder, [FOREGROUND, BACKGROUND])
    paths, windows = read_window_file(str(source), "")
    assert paths == ["0.png", "1.png"]
    assert windows[3].tolist() == [1, *BACKGROUND]


HEAD = f"# 0\n0.png\n3\n{HEIGHT}\n{WIDTH}\n"


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "the window file is empty"),
        ("0.png\n", ":1: '0.png' in the place of '# number'"),
        (HEAD, "the file ends where the number of windows should be"),
        (HEAD + "x\n", ":6: 'x' in the place of the number of windows"),
        (HEAD + "2\n1 1 2 3 4 5\n", "the file ends where a window should be"),
        (HEAD + "2\n1 1 2 3 4 5\n\n1 1 2 3\n", ":9: a window has 6 numbers"),
        (HEAD + "2\n1 1 2 3 4 5 6\n1 1 2 3 4\n", ":7: a window has 6 numbers"),
        (HEAD + "1\n1 1 2 3 4 a\n", ":7: a window has 6 numbers"),
        (HEAD + "1\n1 1 2 3 4 1e30\n", "a number above 16777216"),
        (HEAD + "99999999999\n1 1 2 3 4 5\n", "the file ends"),
        (HEAD + "1\n0 1 2 3 4 5\n", "its label must be above 0"),
        (HEAD + "1\n1 1 5 3 4 5\n", "a window from (5, 3) to (4, 5)"),
        (HEAD + "1\n1 0 2 3 4 5\n", "no window overlaps by fg_threshold"),
        (HEAD + "1\n1 1 2 3 4 5\n", "no window overlaps by less than bg_threshold"),
        (HEAD + "2\n1 1 2 3 4 5\n0 0 2 3 40 5\n", "does not lie in the image of 30 x 20"),
    ],
)
def test_window_files_that_do_not_work(folder, content, expected):
    write_windows(folder, [FOREGROUND])
    (folder / "windows.txt").write_text(content)
    text = message(lambda: forward(window_net("windows.txt", "batch_size: 4 prefetch: 0")))
    assert expected in text and 'layer "data" (WindowData)' in text and "windows.txt" in text


@pytest.mark.parametrize(
    "fields, transform, expected",
    [
        ("batch_size: 0", "crop_size: 8", "batch_size must be given"),
        ("batch_size: 2", "", "crop_size must be given"),
        ("batch_size: 2 fg_fraction: 1.5", "crop_size: 8", "fg_fraction must be in 0 to 1"),
        ("batch_size: 2 context_pad: 4", "crop_size: 8", "leaves nothing of crop_size 8"),
        ('batch_size: 2 crop_mode: "sqare"', "crop_size: 8", 'did you mean "square"'),
        ("batch_size: 2", "crop_size: 8 mean_value: 1 mean_value: 2", "2 times for 3 channels"),
    ],
)
def test_window_parameters_that_do_not_fit(folder, fields, transform, expected):
    _, source = write_windows(folder, [FOREGROUND, BACKGROUND])
    assert expected in message(window_net, source, fields, transform)


def test_window_images_that_are_missing(folder):
    _, source = write_windows(folder, [FOREGROUND, BACKGROUND])
    (folder / "0.png").unlink()
    (folder / "1.png").write_bytes(b"junk")
    text = message(lambda: forward(window_net(source, "batch_size: 2")))
    assert "0.png: No such file" in text or "1.png: not a readable image" in text
