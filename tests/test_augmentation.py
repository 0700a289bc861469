"""transform_param.augment: pictures of data layers varied at random; and their preview."""

import math

import numpy as np
import pytest
from cli_tools import run_pydl, write_run
from data_files import message
from net_text import layer, make_net
from philox_draws import stream_of, words

import pydl
import pydl.data
from pydl import Error, _core
from pydl.data.preview import preview
from pydl.data.sheet import save_rows
from pydl.formats import binaryproto

ISAS = _core.kernels.available_isas()
SIZE = (3, 21, 26)
RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (6, *SIZE)).astype(np.uint8)


def memory_net(transform, shape=SIZE, batch=6, phase="TRAIN", **options):
    c, h, w = shape
    params = f"memory_data_param {{ batch_size: {batch} channels: {c} height: {h} width: {w} }}"
    params += f" transform_param {{ {transform} }}"
    return make_net(layer("MemoryData", params, "", "x t", "data"), phase=phase, **options)


def vary(transform, pictures=PICTURES, shape=None, **options):
    """What a MemoryData layer makes of pictures (N, C, H, W)."""
    net = memory_net(transform, shape or pictures.shape[1:], len(pictures), **options)
    net._core.layer(0).add_records(list(pictures), list(range(len(pictures))))
    net.forward()
    return net.blobs["x"].data.copy()


# The definition, in numpy


class Draws:
    """Those of picture `number` of the run, in the order in which the fields draw."""

    def __init__(self, number, probability=1.0, seed=1, name="data"):
        at = slice(4 * number, 4 * number + 4)
        self.plain = words(seed, stream_of(name), 4 * number + 4)[at]
        stream = (stream_of(name) + stream_of("augment")) % 2**64
        key = [int(word) for word in words(seed, stream, 4 * number + 4)[at]]
        self.seed, self.stream = key[0] << 32 | key[1], key[2] << 32 | key[3]
        self.uniform = iter((words(self.seed, self.stream, 64) >> np.uint64(8)) * 2.0**-24)
        self.probability = probability

    def happens(self):
        return next(self.uniform) < self.probability

    def between(self, low, high):
        return low + (high - low) * next(self.uniform)

    def perhaps(self, low, high, otherwise):
        yes, value = self.happens(), self.between(low, high)
        return value if yes else otherwise

    def step(self, p):
        """All draws for the fields p, as a dictionary."""
        r, s, b, c = (p.get(name, 0) for name in ("rotation", "shear", "brightness", "contrast"))
        f, h, t = (p.get(name, 0) for name in ("saturation", "hue", "translation"))
        widest = math.log(p.get("aspect", 1))
        out = {
            "angle": math.radians(self.perhaps(-r, r, 0)),
            "lean": math.tan(math.radians(self.perhaps(-s, s, 0))),
            "scale": self.perhaps(p.get("scale_min", 1), p.get("scale_max", 1), 1),
            "aspect": math.exp(self.perhaps(-widest, widest, 0)),
        }
        shifts, shift = self.happens(), [self.between(-t, t) for _ in range(2)]
        out["shift"] = shift if shifts else [0, 0]
        out["flip"] = self.between(0, 1) < 0.5 and p.get("flip_vertical", False)
        out["brightness"] = self.perhaps(1 - b, 1 + b, 1)
        out["contrast"] = self.perhaps(1 - c, 1 + c, 1)
        out["saturation"] = self.perhaps(1 - f, 1 + f, 1)
        out["hue"] = math.radians(self.perhaps(-h, h, 0))
        out["blur"] = self.perhaps(0, p.get("blur", 0), 0)
        out["noise"] = self.perhaps(0, p.get("noise", 0), 0)
        out["hole"] = self.happens() and p.get("cutout", 0) > 0
        out["where"] = self.between(0, 1), self.between(0, 1)
        return out


def bordered(plane, row, column, border, fill):
    """The pixel at a place that may be outside."""
    h, w = plane.shape
    if border == "CONSTANT":
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        return np.where(inside, plane[np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)], fill)
    if border == "REFLECT":
        row, column = (np.where(i % (2 * n) < n, i % n, n - 1 - i % n)
                       for i, n in ((row, h), (column, w)))  # fmt: skip
    return plane[np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)]


def moved(image, d, border, fill):
    """Each place of the canvas is traced back, through the inverse of the matrices one by one."""
    _, h, w = image.shape
    cos, sin = math.cos(d["angle"]), math.sin(d["angle"])
    turn, lean = np.array([[cos, -sin], [sin, cos]]), np.array([[1, d["lean"]], [0, 1]])
    scale = d["scale"] * np.diag([d["aspect"] ** 0.5, d["aspect"] ** -0.5 * (-1) ** d["flip"]])
    back = np.linalg.inv(turn @ lean @ scale)
    y, x = np.mgrid[:h, :w]
    middle = np.array([(w - 1) / 2, (h - 1) / 2])
    places = np.stack([x, y], -1) - middle - np.multiply(d["shift"], [w, h])
    column, row = np.moveaxis(places @ back.T + middle, -1, 0)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right, down = column - left, row - top
    out = []
    for plane, value in zip(image.astype(np.float64), fill, strict=True):

        def at(i, j, plane=plane, value=value):
            return bordered(plane, top + i, left + j, border, value)

        above = (1 - right) * at(0, 0) + right * at(0, 1)
        below = (1 - right) * at(1, 0) + right * at(1, 1)
        out.append((1 - down) * above + down * below)
    return np.stack(out)


def blurred(image, deviation):
    radius = math.ceil(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        edges = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        wide = np.pad(image, edges, mode="edge")
        n = image.shape[axis]
        image = sum(w * wide.take(range(k, k + n), axis) for k, w in enumerate(weights))
    return image


def recoloured(image, d):
    """One step after another."""
    grey = [0.114, 0.587, 0.299] if len(image) == 3 else [1 / len(image)] * len(image)
    image = image * d["brightness"]
    mean = np.tensordot(grey, image, 1).mean()
    image = mean + d["contrast"] * (image - mean)
    if len(image) == 3:
        luma = np.tensordot(grey, image, 1)
        image = luma + d["saturation"] * (image - luma)
        # Rodrigues' rotation about grey, in the order red, green, blue: from red to green.
        cross = np.cross(np.eye(3), np.full(3, 3**-0.5))
        turn = np.eye(3) + math.sin(d["hue"]) * cross + (1 - math.cos(d["hue"])) * cross @ cross
        image = np.tensordot(turn, image[::-1], 1)[::-1]
    return np.clip(image, 0, 255)


def expected(image, number, p, crop=None, mirror=False, seed=1):
    """Picture `number`, varied by the fields p; noise apart."""
    draws = Draws(number, p.get("probability", 1), seed)
    d = draws.step(p)
    fill = np.broadcast_to(p.get("fill", 0), len(image))
    out = moved(image, d, p.get("border", "CONSTANT"), fill)
    h, w = crop or image.shape[1:]
    top, left = (int(draws.plain[1 + i]) % (n + 1) for i, n in
                 enumerate((image.shape[1] - h, image.shape[2] - w)))  # fmt: skip
    out = out[:, top : top + h, left : left + w]
    out = out[:, :, ::-1] if mirror and draws.plain[0] & np.uint64(1) else out
    out = blurred(out, d["blur"]) if d["blur"] > 0 else out
    out = recoloured(out, d)
    if d["hole"]:
        side = math.floor(p["cutout"] * min(h, w) + 0.5)
        column, row = (int(at * n) - side // 2 for at, n in zip(d["where"], (w, h), strict=True))
        out = out.copy()
        rows, columns = (slice(max(i, 0), max(i + side, 0)) for i in (row, column))
        out[:, rows, columns] = np.reshape(fill, (-1, 1, 1))
    return out


def text_of(p):
    def value(v):
        return {True: "true", False: "false"}[v] if isinstance(v, bool) else str(v)

    fields = [(name, v) for name, all_ in p.items()
              for v in (all_ if isinstance(all_, list) else [all_])]  # fmt: skip
    return f"augment {{ {' '.join(f'{name}: {value(v)}' for name, v in fields)} }}"


FIELDS = {
    "rotation": {"rotation": 180},
    "rotation fill": {"rotation": 45, "fill": [10, 200, 90]},
    "rotation repeated": {"rotation": 45, "border": "REPEAT"},
    "rotation reflected": {"rotation": 45, "scale_min": 0.2, "border": "REFLECT"},
    "shear": {"shear": 40},
    "scale": {"scale_min": 0.5, "scale_max": 2},
    "aspect": {"aspect": 2, "border": "REFLECT"},
    "translation": {"translation": 0.7, "fill": [99]},
    "far away": {"translation": 1, "border": "REFLECT"},
    "flip_vertical": {"flip_vertical": True},
    "brightness": {"brightness": 0.8},
    "contrast": {"contrast": 1},
    "saturation": {"saturation": 1},
    "hue": {"hue": 180},
    "colours": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 36},
    "blur": {"blur": 2},
    "wide blur": {"blur": 20},
    "cutout": {"cutout": 0.5, "fill": [1, 2, 3]},
    "sometimes": {"rotation": 30, "blur": 1, "cutout": 0.4, "hue": 60, "probability": 0.5},
    "all": {"rotation": 20, "shear": 10, "scale_min": 0.8, "scale_max": 1.3, "aspect": 1.2,
            "translation": 0.1, "flip_vertical": True, "brightness": 0.2, "contrast": 0.3,
            "saturation": 0.5, "hue": 20, "blur": 1, "cutout": 0.25},
}  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", FIELDS)
def test_each_step_is_what_it_says(name, isa):
    p = FIELDS[name]
    _core.kernels.set_isa(isa)
    got = vary(text_of(p))
    want = np.stack([expected(image, n, p) for n, image in enumerate(PICTURES)])
    np.testing.assert_allclose(got, want, atol=0.02)
    assert np.abs(got - PICTURES).max() > 1


@pytest.mark.parametrize("name", ["rotation fill", "all"])
def test_with_crop_mirror_mean_and_scale(name):
    p = {"fill": [7, 8, 9], **FIELDS[name]}
    transform = f"crop_size: 16 mirror: true mean_value: 100 scale: 0.5 {text_of(p)}"
    got = vary(transform, shape=(3, 16, 16))
    want = [expected(image, n, p, (16, 16), True) for n, image in enumerate(PICTURES)]
    np.testing.assert_allclose(got, (np.stack(want) - 100) * 0.5, atol=0.02)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels(channels):
    pictures = RNG.integers(0, 256, (4, channels, 12, 9)).astype(np.uint8)
    p = {"rotation": 30, "brightness": 0.3, "contrast": 0.5, "blur": 1, "cutout": 0.3, "fill": [40]}
    want = np.stack([expected(image, n, p) for n, image in enumerate(pictures)])
    np.testing.assert_allclose(vary(text_of(p), pictures), want, atol=0.02)


def test_noise_is_of_the_drawn_deviation_and_not_cut_off():
    pictures = np.zeros((5, 3, 60, 70), np.uint8)
    got = vary("augment { noise: 30 }", pictures)
    for n, image in enumerate(got):
        deviation = Draws(n).step({"noise": 30})["noise"]
        assert np.std(image) == pytest.approx(deviation, rel=0.03)
        assert abs(np.mean(image)) < 0.03 * deviation
    assert got.min() < 0


def test_floats_are_not_cut_off_to_the_range_of_bytes():
    pictures = RNG.standard_normal((4, 3, 8, 9)).astype(np.float32) * 300
    got = vary("augment { brightness: 0.5 }", pictures)
    for n, image in enumerate(pictures):
        factor = Draws(n).step({"brightness": 0.5})["brightness"]
        np.testing.assert_allclose(got[n], image * factor, rtol=1e-5)


def test_a_flip_is_exact():
    got = vary("augment { flip_vertical: true }")
    flips = [Draws(n).step({"flip_vertical": True})["flip"] for n in range(6)]
    assert 0 < sum(flips) < 6
    for n, image in enumerate(PICTURES):
        np.testing.assert_array_equal(got[n], image[:, ::-1] if flips[n] else image)


# What does not change


@pytest.mark.parametrize("transform", ["crop_size: 16 mirror: true", "scale: 0.5 mean_value: 3"])
def test_crop_and_mirror_draw_the_same_with_and_without(transform):
    shape = (3, 16, 16) if "crop" in transform else SIZE
    plain = vary(transform, shape=shape)
    for empty in ("augment { }", "augment { rotation: 90 blur: 3 noise: 9 probability: 0 }"):
        np.testing.assert_array_equal(vary(f"{transform} {empty}", shape=shape), plain)


def test_fields_do_not_change_what_others_draw():
    alone = vary("augment { rotation: 30 }")
    np.testing.assert_array_equal(alone, vary("augment { rotation: 30 cutout: 0.001 }"))
    hidden = vary("augment { rotation: 30 cutout: 0.4 fill: 0 }")
    rest = hidden != 0
    np.testing.assert_array_equal(hidden[rest], alone[rest])


def test_test_leaves_pictures_alone():
    transform = text_of(FIELDS["all"])
    np.testing.assert_array_equal(vary(transform, phase="TEST"), PICTURES)
    cut = vary(f"crop_size: 15 {transform}", shape=(3, 15, 15), phase="TEST")
    np.testing.assert_array_equal(cut, PICTURES[:, :, 3:18, 5:20])


def test_what_is_drawn_depends_on_seed_and_number_alone():
    transform = text_of({**FIELDS["all"], "noise": 8})

    def run(threads, seed=1):
        pydl.set_num_threads(threads)
        return vary(transform, np.tile(PICTURES, (4, 1, 1, 1)), seed=seed)

    one = run(1)
    np.testing.assert_array_equal(one, run(2))
    np.testing.assert_array_equal(one, run(3))
    assert not np.array_equal(one, run(1, seed=2))
    assert not np.array_equal(one[:6], one[6:12])  # the same pictures again


# The mean


def test_the_fill_is_the_mean_unless_given():
    pictures = np.full((4, 3, 12, 12), 77, np.uint8)
    means = "mean_value: 50 mean_value: 60 mean_value: 70"
    got = vary(f"{means} augment {{ translation: 1 }}", pictures)
    inside = np.reshape([27, 17, 7], (1, 3, 1, 1))
    outside = got == 0
    assert outside.any() and not outside.all()
    np.testing.assert_array_equal(outside[:, 0], outside[:, 1])
    assert ((got >= 0) & (got <= inside)).all()
    given = vary(f"{means} augment {{ translation: 1 fill: 0 }}", pictures)
    assert given.min() == -70


def test_a_mean_image_stays_where_the_picture_was(tmp_path):
    mean = np.random.default_rng(1).uniform(0, 255, SIZE).astype(np.float32)
    binaryproto.save(tmp_path / "mean.binaryproto", mean)
    p = {"rotation": 30, "fill": mean.mean(axis=(1, 2)).tolist()}
    crop = f'crop_size: 16 mirror: true mean_file: "{tmp_path}/mean.binaryproto"'
    got = vary(f"{crop} augment {{ rotation: 30 }}", shape=(3, 16, 16))
    for n, image in enumerate(PICTURES):
        cut = expected(mean, n, {}, (16, 16), True)
        want = expected(image, n, p, (16, 16), True) - cut
        np.testing.assert_allclose(got[n], want, atol=0.02)


# Layers


@pytest.fixture
def source(tmp_path):
    pydl.data.write_npz(tmp_path / "set.npz", PICTURES, np.arange(6))
    return tmp_path / "set.npz"


def data_net(source, transform, fields="batch_size: 4", phase="TRAIN", **options):
    params = f'data_param {{ source: "{source}" {fields} }} transform_param {{ {transform} }}'
    return make_net(layer("Data", params, "", "x t", "data"), phase=phase, **options)


def test_data_varies_each_pass_anew(source):
    p = FIELDS["all"]
    net = data_net(source, text_of(p))
    for first in range(0, 12, 4):
        net.forward()
        for i, got in enumerate(net.blobs["x"].data):
            want = expected(PICTURES[(first + i) % 6], first + i, p)
            np.testing.assert_allclose(got, want, atol=0.02)


def test_a_run_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    transform = "scale: 0.00390625 augment { rotation: 15 translation: 0.1 noise: 9 cutout: 0.3 }"
    text = """
        layer { name: "data" type: "Data" top: "data" top: "label" transform_param { %s }
          data_param { source: "mnist_sample/train" batch_size: 16 shuffle: true } }
        layer { name: "mix" type: "Mixup" bottom: "data" bottom: "label" top: "mixed" top: "soft"
          mixup_param { num_classes: 10 } }
        layer { name: "ip" type: "InnerProduct" bottom: "mixed" top: "ip"
          inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "soft" top: "loss" }"""
    solver_file = write_run(tmp_path, text % transform, snapshot=0, test_interval=None,
                            test_iter=None)  # fmt: skip
    solver = pydl.Solver(solver_file, snapshot_prefix=str(tmp_path / "a"))
    solver.step(7)
    solver.snapshot()
    solver.step(5)
    resumed = pydl.Solver(solver_file, snapshot_prefix=str(tmp_path / "b"))
    resumed.restore(tmp_path / "a_iter_7.solverstate")
    resumed.step(5)
    for name in ("mixed", "soft"):
        mine, theirs = (s.net.blobs[name].data for s in (solver, resumed))
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(solver.net.params["ip"], resumed.net.params["ip"], strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


def test_labels_of_pixels_move_with_them(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra image)")
    monkeypatch.chdir(tmp_path)
    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((8, 8))).astype(np.uint8)
    image.fromarray(np.repeat(labels[:, :, None] * 10, 3, 2)).save("image.png")
    image.fromarray(labels).save("labels.png")
    (tmp_path / "list.txt").write_text("image.png labels.png\n" * 2)
    augment = "rotation: 40 scale_max: 1.5 flip_vertical: true brightness: 0.0 fill: 210"
    params = 'dense_image_data_param { source: "list.txt" batch_size: 2 } transform_param { '
    params += f"crop_size: 24 mirror: true augment {{ {augment} label_fill: 21 }} }}"
    net = make_net(layer("DenseImageData", params, "", "x t", "data"), phase="TRAIN")
    seen = set()
    for _ in range(5):
        net.forward()
        pictures, maps = net.blobs["x"].data, net.blobs["t"].data
        seen |= set(maps.ravel().tolist())
        # Away from edges between two labels the picture is ten times the label.
        same = pictures == 10 * maps
        assert same.mean() > 0.7
        far = np.abs(pictures - 10 * maps) <= 80 + 130 * (maps == 21)
        assert far.mean() > 0.97
    assert seen == {*range(16), 21}


def test_boxes_keep_their_places(tmp_path):
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    boxes = [[[1, 0.1, 0.2, 0.5, 0.9]]] * 2
    pydl.data.write_annotated_lmdb(tmp_path / "boxes", list(PICTURES[:2]), boxes)

    def net(augment, phase="TRAIN"):
        params = f'data_param {{ source: "{tmp_path}/boxes" batch_size: 2 }} transform_param {{ '
        params += f"mean_value: 9 augment {{ {augment} }} }}"
        return make_net(layer("AnnotatedData", params, "", "x t", "data"), phase=phase)

    p = {"brightness": 0.3, "hue": 50, "blur": 1, "cutout": 0.4, "fill": 9}
    varied = net(text_of(p)[len("augment {") : -1])
    varied.forward()
    for n, got in enumerate(varied.blobs["x"].data):
        np.testing.assert_allclose(got, expected(PICTURES[n], n, p) - 9, atol=0.02)
    np.testing.assert_allclose(varied.blobs["t"].data[0, 0, :, 3:7], np.float32(boxes)[:, 0, 1:])
    plain = net("hue: 50", "TEST")
    plain.forward()
    np.testing.assert_array_equal(plain.blobs["x"].data, PICTURES[:2] - np.float32(9))
    assert "boxes do not follow rotation" in message(net, "rotation: 10")
    assert "blur must be from 0 to 20" in message(net, "blur: 21")


# Errors


@pytest.mark.parametrize(
    "fields, expected_text",
    [
        ("rotation: 181", "augment.rotation must be from 0 to 180 degrees, got 181"),
        ("rotation: -1", "rotation must be from 0 to 180 degrees, got -1"),
        ("shear: 81", "shear must be from 0 to 80 degrees, got 81"),
        ("scale_min: 0", "scale_min must be from 0.01 to 100, got 0"),
        ("scale_max: 101", "scale_max must be from 0.01 to 100, got 101"),
        ("scale_min: 1.5", "scale_min 1.5 is larger than scale_max 1"),
        ("aspect: 0.5", "aspect must be from 1 to 10, got 0.5"),
        ("translation: 2", "translation must be from 0 to 1, got 2"),
        ("brightness: 1.1", "brightness must be from 0 to 1, got 1.1"),
        ("contrast: -0.5", "contrast must be from 0 to 1, got -0.5"),
        ("saturation: nan", "saturation must be from 0 to 1, got nan"),
        ("hue: 200", "hue must be from 0 to 180 degrees, got 200"),
        ("blur: 30", "blur must be from 0 to 20 pixels, got 30"),
        ("noise: inf", "noise must be from 0 to"),
        ("cutout: 7", "cutout must be from 0 to 1, got 7"),
        ("probability: 50", "probability must be from 0 to 1, got 50"),
        ("rotatoin: 5", 'unknown field "rotatoin" in augment; did you mean "rotation"?'),
        ("border: MIRROR", "MIRROR"),
    ],
)
def test_fields_out_of_range(fields, expected_text):
    text = message(memory_net, f"augment {{ {fields} }}")
    assert expected_text in text


def test_what_does_not_fit_the_pictures(source):
    grey = PICTURES[:, :1].copy()
    text = message(vary, "augment { hue: 10 }", grey)
    assert "augment.hue is for pictures of 3 channels, these have 1" in text
    assert "saturation is for pictures of 3 channels" in message(
        vary, "augment { saturation: 0.1 }", PICTURES[:, :2].copy())  # fmt: skip
    text = message(data_net, source, "augment { fill: 1 fill: 2 }")
    assert "fill is given 2 times for 3 channels" in text and 'layer "data" (Data)' in text


def test_window_data_refuses(tmp_path):
    params = 'window_data_param { source: "none" batch_size: 1 }'
    params += " transform_param { crop_size: 3 augment { hue: 3 } }"
    text = message(make_net, layer("WindowData", params, "", "x t", "data"))
    assert "augment is not for WindowData" in text


# Preview


NET = """
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "%s" batch_size: 64 shuffle: true rand_skip: 3 }
  transform_param { crop_size: 16 mirror: true mean_value: 90 scale: 0.5
                    augment { rotation: 30 } } }
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "absent" batch_size: 64 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 } }
"""


def test_preview_of_a_net(source, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET % source)
    seen = preview(tmp_path / "net.prototxt", count=4, rows=3)
    assert seen.layer == "in" and seen.samples.shape == (3, 4, 3, 16, 16)
    assert seen.labels.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(seen.originals, PICTURES[:4, :, 2:18, 5:21])
    for row, samples in enumerate(seen.samples):
        for n, got in enumerate(samples):
            p, name = {"rotation": 30, "fill": 90}, "in"
            draws = Draws(n, seed=row + 1, name=name)
            whole = moved(PICTURES[n], draws.step(p), "CONSTANT", [90] * 3)
            top, left = int(draws.plain[1]) % 6, int(draws.plain[2]) % 11
            want = whole[:, top : top + 16, left : left + 16]
            want = want[:, :, ::-1] if draws.plain[0] & np.uint64(1) else want
            np.testing.assert_allclose(got, want, atol=0.02)


def test_preview_of_another_transform(source, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET % source)
    for model in (tmp_path / "net.prototxt", source):
        seen = preview(model, transform="augment { flip_vertical: true }", count=6, rows=2)
        np.testing.assert_array_equal(seen.originals, PICTURES)
        for got, want in zip(seen.samples[0], PICTURES, strict=True):
            assert np.array_equal(got, want) or np.array_equal(got, want[:, ::-1])


def test_preview_errors(source, tmp_path):
    assert "say what does" in message(preview, source)
    assert "both must be at least 1" in message(preview, source, transform="", count=0)
    assert "augment.hue must be" in message(preview, source, transform="augment { hue: 999 }")
    (tmp_path / "deploy.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }')  # fmt: skip
    assert "no layer of type Data, ImageData" in message(preview, tmp_path / "deploy.prototxt")
    with pytest.raises(Error, match="images of 2 channels; 1 or 3 can be drawn"):
        save_rows([np.zeros((1, 2, 3, 3))], tmp_path / "sheet.png")


def test_preview_command(source, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra image)")
    (tmp_path / "net.prototxt").write_text(NET % source)
    run = run_pydl("data", "preview", "net.prototxt", "-count", "3", "-rows", "2", cwd=tmp_path)
    assert "preview.png: 3 pictures of layer in, and below each 2" in run.stdout
    wide, high = image.open(tmp_path / "preview.png").size
    assert wide == 3 * 96 and high == pytest.approx(3.25 * 96, abs=2)
    run = run_pydl("data", "preview", "mnist_sample/test", "-o", "digits.png", "-transform",
                   "augment { rotation: 15 }", cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "digits.png").stat().st_size > 1000
