"""Noise, GaussianSampling, GaussianKLLoss and SparsityPenalty."""

from statistics import NormalDist

import numpy as np
import pytest
from net_text import layer, make_net, normal
from philox_draws import quantiles, stream_of, uniform

from pydl import Error, _core

SEED = 9


def noise(fields, phase="TRAIN", tops="y", shape=(40, 50)):
    return make_net(layer("Noise", f"noise_param {{ {fields} }}", tops=tops, name="noise"),
                    {"x": shape}, phase, seed=SEED)  # fmt: skip


def gaussian(seed, stream, shape):
    inverse = np.vectorize(NormalDist().inv_cdf)
    return inverse(quantiles(seed, stream, shape))


def test_gaussian_noise():
    x, net = normal(40, 50), noise("std: 0.3")
    for number in (1, 2):
        (y,) = net.forward(x=x).values()
        want = x + 0.3 * gaussian(SEED, stream_of("noise", number), x.shape)
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [("type: MASKING", 0, 0), ("type: SALT_AND_PEPPER", 0, 1),
     ("type: SALT_AND_PEPPER low: -2 high: 3", -2, 3)],
)  # fmt: skip
@pytest.mark.parametrize("ratio", [0, 0.3, 1])
def test_corruption(fields, low, high, ratio):
    x, net = normal(40, 50), noise(f"{fields} ratio: {ratio}")
    (y,) = net.forward(x=x).values()
    u = uniform(SEED, stream_of("noise", 1), x.shape)
    np.testing.assert_array_equal(y, np.where(u < ratio / 2, low, np.where(u < ratio, high, x)))


def test_noise_ends_with_training():
    x = normal(40, 50)
    for tops in ("y", "x"):
        (y,) = noise("type: MASKING ratio: 0.9", "TEST", tops).forward(x=x).values()
        np.testing.assert_array_equal(y, x)


def test_gaussian_draws_are_normal():
    n = 200_000
    y = np.empty(n, np.float32)
    _core.kernels.stochastic.add_gaussian(n, np.zeros(n, np.float32), 1.0, 5, 6, y)
    assert abs(y.mean()) < 0.01 and abs(y.std() - 1) < 0.01
    assert abs((y**3).mean()) < 0.03 and abs((y**4).mean() - 3) < 0.1
    assert np.abs(y).max() > 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [("std: -1", "std must not be negative, got -1"), ("ratio: 1.5", "ratio must be from 0 to 1"),
     ("type: MASK", "MASKING")],
)  # fmt: skip
def test_bad_noise(fields, message):
    with pytest.raises(Error, match=message):
        noise(fields)


SHAPE = (6, 5)


def sampling(phase="TRAIN", fields=""):
    text = layer("GaussianSampling", f"gaussian_sampling_param {{ {fields} }}", "m v", "z", "draw")
    return make_net(text + "force_backward: true", {"m": SHAPE, "v": SHAPE}, phase, seed=SEED)


def test_reparameterised_sample(torch_values):
    net = sampling()
    noise_drawn = gaussian(SEED, stream_of("draw", 1), SHAPE).astype(np.float32)

    def case(torch):
        mean, log_variance, dz = (torch.randn(SHAPE) for _ in range(3))
        mean.requires_grad_()
        log_variance.requires_grad_()
        z = mean + torch.exp(0.5 * log_variance) * torch.from_numpy(noise_drawn)
        z.backward(dz)
        return {"mean": mean, "log_variance": log_variance, "dz": dz, "z": z,
                "dmean": mean.grad, "dlog_variance": log_variance.grad}  # fmt: skip

    v = torch_values("gaussian_sampling", case)
    out = net.forward(m=v["mean"], v=v["log_variance"])
    np.testing.assert_allclose(out["z"], v["z"], rtol=1e-4, atol=1e-5)
    net.blobs["z"].diff[...] = v["dz"]
    net.backward()
    np.testing.assert_allclose(net.blobs["m"].diff, v["dmean"], rtol=1e-4)
    np.testing.assert_allclose(net.blobs["v"].diff, v["dlog_variance"], rtol=1e-4, atol=1e-5)


def test_the_mean_in_test():
    m, v = normal(*SHAPE), normal(*SHAPE, seed=1)
    np.testing.assert_array_equal(sampling("TEST").forward(m=m, v=v)["z"], m)
    assert np.any(sampling("TEST", "sample_in_test: true").forward(m=m, v=v)["z"] != m)


def test_kl_divergence(torch_values):
    def case(torch):
        mean, log_variance = torch.randn(SHAPE), 2 * torch.randn(SHAPE)
        mean.requires_grad_()
        log_variance.requires_grad_()
        normal_of = torch.distributions.Normal
        code = normal_of(mean, torch.exp(0.5 * log_variance))
        standard = normal_of(torch.zeros(SHAPE), torch.ones(SHAPE))
        loss = torch.distributions.kl_divergence(code, standard).sum() / SHAPE[0]
        loss.backward()
        return {"mean": mean, "log_variance": log_variance, "loss": loss,
                "dmean": mean.grad, "dlog_variance": log_variance.grad}  # fmt: skip

    v = torch_values("gaussian_kl_loss", case)
    net = make_net(layer("GaussianKLLoss", bottoms="m v", tops="loss") + "force_backward: true",
                   {"m": SHAPE, "v": SHAPE})  # fmt: skip
    out = net.forward(m=v["mean"], v=v["log_variance"])
    np.testing.assert_allclose(out["loss"], v["loss"], rtol=1e-4)
    net.backward()
    np.testing.assert_allclose(net.blobs["m"].diff, v["dmean"], rtol=1e-4)
    np.testing.assert_allclose(net.blobs["v"].diff, v["dlog_variance"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["GaussianSampling", "GaussianKLLoss"])
def test_means_and_variances_of_two_shapes(kind):
    with pytest.raises(Error, match="must have one shape, but are 2x3 and 2x4"):
        make_net(layer(kind, bottoms="m v"), {"m": (2, 3), "v": (2, 4)})


def penalty(fields="", shape=SHAPE):
    text = layer("SparsityPenalty", f"sparsity_penalty_param {{ {fields} }}", tops="loss")
    return make_net(text + "force_backward: true", {"x": shape})


def test_sparsity_penalty(torch_values):
    def case(torch):
        x = torch.rand(6, 3, 2).requires_grad_()
        q, t = x.mean(0), torch.tensor(0.1)
        units = t * torch.log(t / q) + (1 - t) * torch.log((1 - t) / (1 - q))
        loss = 3 * units.sum()
        loss.backward()
        return {"x": x, "loss": loss, "dx": x.grad}

    v = torch_values("sparsity_penalty", case)
    net = penalty("target: 0.1 weight: 3", v["x"].shape)
    np.testing.assert_allclose(net.forward(x=v["x"])["loss"], v["loss"], rtol=1e-4)
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, v["dx"], rtol=1e-4)


def test_units_that_are_always_on_or_off_have_a_finite_penalty():
    net = penalty()
    x = np.zeros(SHAPE)
    x[:, 0] = 1
    assert 0 < net.forward(x=x)["loss"] < 100
    net.backward()
    assert np.isfinite(net.blobs["x"].diff).all()


def test_bad_penalties():
    with pytest.raises(Error, match="target must be between 0 and 1, got 0"):
        penalty("target: 0")
    with pytest.raises(Error, match="weight must not be negative"):
        penalty("weight: -1")
    net, x = penalty(), np.full(SHAPE, 0.5)
    x[:, 2] = -0.5
    with pytest.raises(Error, match="those of unit 2 have the mean -0.5; put it behind a Sigmoid"):
        net.forward(x=x)
