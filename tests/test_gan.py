"""Two nets against each other: what each step does, the objectives, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import Error, prototxt
from pydl.cli.main import main
from pydl.gan import GanSolver
from pydl.gan.objectives import OBJECTIVES

BATCH = 32
GENERATOR = """name: "maker"
layer { name: "z" type: "Input" top: "z" input_param { shape { dim: 32 dim: 4 } } }
layer { name: "g1" type: "InnerProduct" bottom: "z" top: "g1"
  inner_product_param { num_output: 24 weight_filler { type: "msra" } } }
layer { name: "g1r" type: "ReLU" bottom: "g1" top: "g1" }
layer { name: "g2" type: "InnerProduct" bottom: "g1" top: "g2"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "shape" type: "Reshape" bottom: "g2" top: "sample"
  reshape_param { shape { dim: 0 dim: 2 dim: 1 dim: 1 } } }
"""
DISCRIMINATOR = """name: "judge"
layer { name: "data" type: "Data" top: "data" data_param { source: "points.npz" batch_size: 32 } }
layer { name: "d1" type: "InnerProduct" bottom: "data" top: "d1"
  inner_product_param { num_output: 24 weight_filler { type: "msra" } } }
layer { name: "d1r" type: "ReLU" bottom: "d1" top: "d1" relu_param { negative_slope: 0.2 } }
layer { name: "d2" type: "InnerProduct" bottom: "d1" top: "score"
  inner_product_param { num_output: 1 weight_filler { type: "msra" } } }
"""
SOLVER = 'net: "{net}" type: "Adam" base_lr: {lr} momentum: 0.5 lr_policy: "fixed"\n'
GAN = 'generator: "maker_solver.prototxt" discriminator: "judge_solver.prototxt" random_seed: 1\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
    points = np.float32([3 + np.cos(angle), -1 + np.sin(angle)]).T.reshape(-1, 2, 1, 1)
    pydl.data.write_npz("points.npz", points, np.zeros(1000, int))
    write(maker=GENERATOR, judge=DISCRIMINATOR)
    return tmp_path


def write(lr=0.005, gan=GAN, **nets):
    files = {"gan": gan}
    for name, text in nets.items():
        files |= {name: text, f"{name}_solver": SOLVER.format(net=f"{name}.prototxt", lr=lr)}
    for name, text in files.items():
        Path(f"{name}.prototxt").write_text(text)


def weights(side):
    return [np.array(blob.data) for blobs in side.net.params.values() for blob in blobs]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_slopes_are_those_of_the_losses(objective):
    s = np.float64([-30.5, -2.2, -0.7, 0.3, 0.9, 2.5, 40.5])
    for term in OBJECTIVES[objective]:
        loss, slope = term(s)
        change = (term(s + 1e-6)[0] - term(s - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(slope, change, rtol=1e-5, atol=1e-7)
        assert np.isfinite(loss).all()


def test_losses_are_the_papers():
    s = np.float64([0.5])
    p = 1 / (1 + np.exp(-s))
    losses = {name: [term(s)[0] for term in terms] for name, terms in OBJECTIVES.items()}
    np.testing.assert_allclose(losses["NON_SATURATING"], [-np.log(p), -np.log(1 - p), -np.log(p)])
    np.testing.assert_allclose(losses["MINIMAX"], [-np.log(p), -np.log(1 - p), np.log(1 - p)])
    np.testing.assert_allclose(losses["LEAST_SQUARES"], [[0.125], [0.125], [0.125]])
    np.testing.assert_allclose(losses["WASSERSTEIN"], [-s, s, -s])
    np.testing.assert_allclose(losses["HINGE"], [1 - s, 1 + s, -s])


@pytest.mark.parametrize(
    "more", ["", "objective: WASSERSTEIN gradient_penalty: 1 discriminator_steps: 3 noise: UNIFORM"]
)
def test_learns_where_points_are(folder, more):
    gan = GanSolver(prototxt.parse(GAN + more, "GanSolverParameter"), max_iter=600)
    gan.solve()
    off = gan.sample(500).reshape(500, 2) - [3, -1]  # the points are on a circle of radius 1
    assert np.median(np.abs(np.hypot(*off.T) - 1)) < 0.5
    assert len(gan.history["generator_loss"]) == 600


def test_each_step_changes_its_side_only(folder):
    write(gan=GAN + "discriminator_steps: 2")
    gan = GanSolver("gan.prototxt")
    before = weights(gan.generator), weights(gan.discriminator)
    gan._step_discriminator(0)
    assert all(map(np.array_equal, before[0], weights(gan.generator)))
    between = weights(gan.discriminator)
    assert not any(map(np.array_equal, before[1], between))
    gan._step_generator(0)
    assert all(map(np.array_equal, between, weights(gan.discriminator)))
    assert not any(map(np.array_equal, before[0], weights(gan.generator)))


def test_iterations_count_the_generators_steps(folder):
    write(gan=GAN + "discriminator_steps: 3 generator_steps: 2")
    gan = GanSolver("gan.prototxt")
    gan.step(4)
    assert (gan.iter, gan.generator.iter, gan.discriminator.iter) == (4, 8, 12)


def test_gradient_of_the_penalty(folder):
    """Against differences of the penalty itself, weight by weight, in a net without kinks."""
    smooth = 'type: "ReLU" bottom: "d1" top: "d1" relu_param { negative_slope: 0.2 }'
    write(
        maker=GENERATOR, judge=DISCRIMINATOR.replace(smooth, 'type: "TanH" bottom: "d1" top: "d1"')
    )
    gan = GanSolver("gan.prototxt", objective="WASSERSTEIN", gradient_penalty=10)
    random = np.random.default_rng(3)
    real, made = np.float32(random.normal(size=(2, BATCH, 2, 1, 1)))
    gan._penalise(real, made)
    for blob in (gan.discriminator.net.params["d1"][0], gan.discriminator.net.params["d2"][0]):
        found, w = np.array(blob.diff), np.array(blob.data)
        for at in [tuple(random.integers(n) for n in w.shape) for _ in range(12)]:
            values = []
            for step in (1e-3, -1e-3):
                blob.data[...] = w
                blob.data[at] += step
                values.append(gan._penalise(real, made))
            blob.data[...] = w
            expected = (values[0] - values[1]) / 2e-3
            assert found[at] == pytest.approx(expected, rel=0.02, abs=0.01)


def test_goes_on_bit_for_bit(folder):
    whole = GanSolver("gan.prototxt", max_iter=12, snapshot=6, discriminator_steps=2)
    whole.solve()
    again = GanSolver("gan.prototxt", max_iter=12, discriminator_steps=2)
    again.solve(resume="gan_generator_iter_6.solverstate")
    assert again.iter == 12
    for side in ("generator", "discriminator"):
        assert all(
            map(np.array_equal, weights(getattr(whole, side)), weights(getattr(again, side)))
        )


def test_samples_are_a_function_of_the_seed(folder):
    gan = GanSolver("gan.prototxt")
    assert gan.sample(5).shape == (5, 2, 1, 1)
    assert np.array_equal(gan.sample(5, seed=3), gan.sample(5, seed=3))
    assert not np.array_equal(gan.sample(5, seed=3), gan.sample(5, seed=4))


@pytest.mark.parametrize(
    "change, message",
    [
        ('data: "pixels"', r'gan.prototxt:2:\d+: the discriminator "judge" has no blob "pixels"'),
        ("generator_steps: 0", r"gan.prototxt:2:\d+: generator_steps must be at least 1, got 0"),
        ("gradient_penalty: -1", "gradient_penalty must not be negative, got -1"),
        ("objective: WASERSTEIN", 'did you mean "?WASSERSTEIN'),
        ("generator_param { base_lr: 1 }", "give generator, a file, or generator_param; it has bo"),
    ],
)
def test_wrong_fields(folder, change, message):
    write(gan=GAN + change)
    with pytest.raises(Error, match=message):
        GanSolver("gan.prototxt")


def test_sides_that_do_not_fit(folder):
    write(maker=GENERATOR.replace("dim: 32", "dim: 16"))
    with pytest.raises(Error, match=r'"maker" makes samples of shape \[16, 2, 1, 1\], but "data"'):
        GanSolver("gan.prototxt")
    write(maker=GENERATOR + 'layer { name: "s" type: "Split" bottom: "z" top: "more" }')
    with pytest.raises(Error, match="maker_solver.prototxt: the generator needs one output"):
        GanSolver("gan.prototxt")


def test_a_diverging_game_names_net_and_iteration(folder):
    write(maker=GENERATOR, judge=DISCRIMINATOR, lr=1e30)
    gan = GanSolver("gan.prototxt")
    with pytest.raises(Error, match='"(judge|maker)": the loss is .* at iteration [0-9]'):
        gan.step(10)


def test_the_command_trains_it(folder, capsys):
    write(gan=GAN + "max_iter: 20 display: 10")
    assert main(["train", "-solver", "gan.prototxt", "-plot", "none", "-progress", "on"]) == 0
    shown = capsys.readouterr()
    assert "Snapshot: gan_generator_iter_20.solverstate" in shown.out
    assert "maker: 170, judge: 97 parameters" in shown.err
    log = Path("gan.log").read_text()
    for words in ("Solver of the generator", "Iteration 10 (", "generator_loss =", "made_score ="):
        assert words in log
    more = ["train", "-solver", "gan.prototxt", "-plot", "none", "-iterations", "30"]
    assert main([*more, "-snapshot", "gan_generator_iter_20.solverstate"]) == 0
    assert Path("gan_discriminator_iter_30.caffemodel").exists()


def test_what_the_command_does_not_take(folder, capsys):
    assert main(["train", "-solver", "gan.prototxt", "-weights", "w.caffemodel"]) == 1
    assert "-weights is not for it" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["noise", "dropout_ratio"])
def test_noise_on_weights_is_refused(folder, field):
    noisy = f"param {{ {field}: 0.1 }} inner_product_param"
    write(maker=GENERATOR, judge=DISCRIMINATOR.replace("inner_product_param", noisy, 1))
    with pytest.raises(Error, match=f"{field} .* is not used in a GAN"):
        GanSolver("gan.prototxt", max_iter=1)
