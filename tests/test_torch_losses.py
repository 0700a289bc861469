"""The losses that torch has and Caffe has not: values, all gradients, weights, errors."""

import numpy as np
import pytest
from net_text import layer, make_net, normal
from torch_layers import check, recorded

from pydl import Error


def loss_of(kind, params, bottoms):
    """The loss on bottoms by name."""
    net = make_net(layer(kind, params, " ".join(bottoms)), bottoms)
    return float(net.forward(**bottoms)["y"])


# name: (type, parameters, torch's function of (functional, a, b, and what is fixed))
PAIRS = {
    "l1": ("L1Loss", "", lambda f, a, b: f.l1_loss(a, b)),
    "l1_sum": ("L1Loss", "loss_param { normalization: NONE }",
               lambda f, a, b: f.l1_loss(a, b, reduction="sum")),
    "huber": ("HuberLoss", "", lambda f, a, b: f.huber_loss(a, b)),
    "huber_delta": ("HuberLoss", "huber_loss_param { delta: 0.3 }",
                    lambda f, a, b: f.huber_loss(a, b, delta=0.3)),
    "huber_batch": ("HuberLoss", "huber_loss_param { delta: 2 } loss_param "
                    "{ normalization: BATCH_SIZE }",
                    lambda f, a, b: f.huber_loss(a, b, delta=2, reduction="sum") / len(a)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_of_pairs_as_torch(name, torch_values):
    kind, params, call = PAIRS[name]

    def case(torch):
        f = torch.nn.functional
        return recorded(torch, lambda a, b: call(f, a, b), [torch.randn(5, 3, 7) for _ in "ab"])

    check(torch_values(f"loss_{name}", case), kind, params)


@pytest.mark.parametrize("per_value", [False, True])
@pytest.mark.parametrize("kind", ["L1Loss", "HuberLoss"])
def test_weights_of_pairs(kind, per_value, torch_values):
    def case(torch):
        f = {"L1Loss": torch.nn.functional.l1_loss, "HuberLoss": torch.nn.functional.huber_loss}
        sample = torch.rand((5, 21) if per_value else (5,))
        wide = sample if per_value else sample[:, None]
        call = lambda a, b: (wide * f[kind](a, b, reduction="none")).mean()  # noqa: E731
        return recorded(torch, call, [torch.randn(5, 21) for _ in "ab"], sample=sample)

    check(torch_values(f"loss_{kind.lower()}_{'values' if per_value else 'samples'}", case), kind)


def test_valid_counts_what_has_a_weight():
    bottoms = {"a": np.ones((4, 3)), "b": np.zeros((4, 3)), "w": np.array([1.0, 0, 1, 0])}
    for mode, want in (("VALID", 1), ("FULL", 0.5), ("BATCH_SIZE", 1.5), ("NONE", 6)):
        params = f"loss_param {{ normalization: {mode} }}"
        assert loss_of("L1Loss", params, bottoms) == pytest.approx(want)


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_as_torch(log_target, torch_values):
    def case(torch):
        x = torch.randn(4, 9).log_softmax(1).detach()
        t = torch.randn(4, 9).softmax(1).detach()
        t = t.log() if log_target else t
        f = torch.nn.functional.kl_div
        call = lambda x, t: f(x, t, reduction="batchmean", log_target=log_target)  # noqa: E731
        return recorded(torch, call, [x, t])

    params = f"kl_div_loss_param {{ log_target: {str(log_target).lower()} }}"
    check(torch_values(f"loss_kl_div{'_log' * log_target}", case), "KLDivLoss", params)


def test_kl_div_of_a_target_of_zero_is_zero():
    bottoms = {"x": np.log([[0.5, 0.5]]), "t": np.array([[0.0, 1.0]])}
    assert loss_of("KLDivLoss", "", bottoms) == pytest.approx(np.log(2))


# ---- focal ----


def sigmoid_focal(torch, x, t, alpha, gamma):
    f = torch.nn.functional.binary_cross_entropy_with_logits
    p = x.sigmoid()
    loss = (p * (1 - t) + (1 - p) * t) ** gamma * f(x, t, reduction="none")
    return loss if alpha < 0 else (alpha * t + (1 - alpha) * (1 - t)) * loss


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2), (-1, 0), (0.6, 1.5), (0.5, 1)])
def test_sigmoid_focal_as_torch(alpha, gamma, torch_values):
    def case(torch):
        x, target = 3 * torch.randn(6, 13), (torch.rand(6, 13) < 0.4).float()
        target[0] = torch.rand(13)
        call = lambda x: sigmoid_focal(torch, x, target, alpha, gamma).sum() / 6  # noqa: E731
        return recorded(torch, call, [x], target=target)

    params = f"focal_loss_param {{ alpha: {alpha} gamma: {gamma} }}"
    values = torch_values(f"loss_focal_sigmoid_{alpha}_{gamma}".replace(".", ""), case)
    check(values, "FocalLoss", params)


@pytest.mark.parametrize("shape, axis", [((6, 5), 1), ((2, 3, 4, 5), 1), ((2, 7, 3), -1)])
@pytest.mark.parametrize("gamma", [0, 2])
def test_softmax_focal_as_torch(shape, axis, gamma, torch_values):
    def case(torch):
        x = 2 * torch.randn(shape)
        places = [n for i, n in enumerate(shape) if i != axis % len(shape)]
        label = torch.randint(0, shape[axis], places)
        label[-1] = 1

        def call(x):
            p = x.softmax(axis).gather(axis, label.unsqueeze(axis)).squeeze(axis)
            loss = -0.25 * (1 - p) ** gamma * p.log()
            return loss[label != 1].sum() / (label != 1).sum()

        return recorded(torch, call, [x], label=label.float())

    params = (f"focal_loss_param {{ type: SOFTMAX gamma: {gamma} axis: {axis} }} "
              "loss_param { ignore_label: 1 }")  # fmt: skip
    check(torch_values(f"loss_focal_softmax_{len(shape)}_{gamma}", case), "FocalLoss", params)


def test_focal_with_gamma_0_is_the_cross_entropy():
    x, label = normal(4, 5), np.array([0.0, 4, 2, 1])
    params = "focal_loss_param { type: SOFTMAX alpha: -1 gamma: 0 }"
    bottoms = {"x": x, "l": label}
    want = loss_of("SoftmaxWithLoss", "", bottoms)
    assert loss_of("FocalLoss", params, bottoms) == pytest.approx(want, rel=1e-5)
    weighed = {**bottoms, "w": np.array([1.0, 0, 1, 0])}
    kept = loss_of("SoftmaxWithLoss", "", {"x": x[::2], "l": label[::2]})
    assert loss_of("FocalLoss", params, weighed) == pytest.approx(kept, rel=1e-5)


def test_focal_of_what_is_certain():
    x, t = np.array([[200.0, -200, 200, -200]]), np.array([[1.0, 0, 0, 1]])
    for gamma in (0, 0.5, 2):
        params = f"focal_loss_param {{ alpha: -1 gamma: {gamma} }}"
        assert loss_of("FocalLoss", params, {"x": x, "t": t}) == pytest.approx(400)


# ---- vectors ----


@pytest.mark.parametrize("margin", [0, 0.3])
def test_cosine_embedding_as_torch(margin, torch_values):
    def case(torch):
        label = torch.tensor([1.0, -1, -1, 1, -1, 1])
        f = torch.nn.functional.cosine_embedding_loss
        call = lambda a, b: f(a, b, label, margin=margin)  # noqa: E731
        return recorded(torch, call, [torch.randn(6, 9) for _ in "ab"], label=label)

    params = f"cosine_embedding_loss_param {{ margin: {margin} }}"
    check(torch_values(f"loss_cosine_{margin}".replace(".", ""), case), "CosineEmbeddingLoss",
          params)  # fmt: skip


@pytest.mark.parametrize("name, fields, options", [
    ("plain", "", {}),
    ("p1", "p: 1 margin: 3", {"p": 1, "margin": 3}),
    ("p3_swap", "p: 3 margin: 2 swap: true", {"p": 3, "margin": 2, "swap": True}),
    ("swap", "swap: true", {"swap": True}),
])  # fmt: skip
def test_triplet_as_torch(name, fields, options, torch_values):
    def case(torch):
        f = torch.nn.functional.triplet_margin_loss
        call = lambda a, p, n: f(a, p, n, **options)  # noqa: E731
        return recorded(torch, call, [torch.randn(7, 11) for _ in "apn"])

    check(torch_values(f"loss_triplet_{name}", case), "TripletLoss",
          f"triplet_loss_param {{ {fields} }}")  # fmt: skip


def test_weights_of_triplets_and_pairs_of_vectors():
    a, b, c = (normal(4, 6, seed=i) for i in range(3))
    weight = np.array([1.0, 0, 1, 0])
    kept = {"a": a[::2], "b": b[::2], "c": c[::2]}
    params = "loss_param { normalization: VALID }"
    got = loss_of("TripletLoss", params, {"a": a, "b": b, "c": c, "w": weight})
    assert got == pytest.approx(loss_of("TripletLoss", "", kept), rel=1e-5)
    label = np.array([1.0, 1, -1, 7])
    got = loss_of("CosineEmbeddingLoss", "loss_param { normalization: VALID ignore_label: 7 }",
                  {"a": a, "b": b, "l": label, "w": weight})  # fmt: skip
    want = loss_of("CosineEmbeddingLoss", "", {"a": a[::2], "b": b[::2], "l": label[::2]})
    assert got == pytest.approx(want, rel=1e-5)


# ---- images ----


@pytest.mark.parametrize("normalize", [True, False])
def test_gram_as_torch(normalize, torch_values):
    def case(torch):
        size = 5 * 4 * 3 if normalize else 1
        call = lambda x: torch.einsum("nchw,ndhw->ncd", x, x) / size  # noqa: E731
        return recorded(torch, call, [torch.randn(2, 5, 4, 3)])

    check(torch_values(f"gram{'' if normalize else '_sums'}", case), "Gram",
          f"gram_param {{ normalize: {str(normalize).lower()} }}")  # fmt: skip


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 19, 35), (1, 1, 1, 5), (2, 4, 1)])
def test_total_variation_as_torch(power, shape, torch_values):
    def case(torch):
        def call(x):
            steps = x.diff(dim=-1), x.diff(dim=-2)
            return sum((d.abs() ** power).sum() for d in steps) / len(x)

        return recorded(torch, call, [torch.randn(shape)])

    name = f"loss_total_variation_{power}_{'_'.join(map(str, shape))}"
    check(torch_values(name, case), "TotalVariationLoss",
          f"total_variation_loss_param {{ power: {power} }}")  # fmt: skip


# ---- errors ----


@pytest.mark.parametrize("kind, params, shapes, message", [
    ("L1Loss", "", [(2, 3), (2, 4)], "compares two blobs"),
    ("L1Loss", "", [(2, 3), (2, 3), (5,)], "a weight for each of the 2 samples"),
    ("L1Loss", "loss_param { ignore_label: 1 }", [(2, 3), (2, 3)], "third bottom gives weights"),
    ("HuberLoss", "huber_loss_param { delta: 0 }", [(2, 3), (2, 3)], "delta must be positive"),
    ("KLDivLoss", "kl_div_loss_param { log_targets: true }", [(2, 3), (2, 3)],
     'did you mean "log_target"'),
    ("FocalLoss", "focal_loss_param { gamma: -1 }", [(2, 3), (2, 3)], "gamma must not be"),
    ("FocalLoss", "focal_loss_param { alpha: 2 }", [(2, 3), (2, 3)], "alpha must be at most 1"),
    ("FocalLoss", "", [(2, 3), (2,)], "a target for each score"),
    ("FocalLoss", "focal_loss_param { type: SOFTMAX }", [(2, 3), (3,)], "a label for each"),
    ("FocalLoss", "focal_loss_param { type: SOFTMAX axis: 0 }", [(2, 3), (3,)], "axis 0"),
    ("FocalLoss", "", [(2, 3), (2, 3), (4,)], "a weight for each of the 2 samples"),
    ("CosineEmbeddingLoss", "", [(2, 3), (2, 3), (3,)], "a value for each of the 2 pairs"),
    ("CosineEmbeddingLoss", "", [(2, 3), (2, 4), (2,)], "vectors of one length"),
    ("CosineEmbeddingLoss", "cosine_embedding_loss_param { margin: 2 }", [(2, 3), (2, 3), (2,)],
     "margin must be from -1 to 1"),
    ("TripletLoss", "", [(2, 3), (2, 3), (3, 3)], "as many vectors as the anchors"),
    ("TripletLoss", "", [(2, 3)] * 3 + [(3,)], "a weight for each of the 2 triplets"),
    ("TripletLoss", "triplet_loss_param { p: 0.5 }", [(2, 3)] * 3, "p must be at least 1"),
    ("Gram", "", [(4,)], "needs images"),
    ("TotalVariationLoss", "", [(4, 2)], "needs images"),
    ("TotalVariationLoss", "total_variation_loss_param { power: 3 }", [(2, 3, 4)],
     "power must be 1 or 2"),
])  # fmt: skip
def test_errors(kind, params, shapes, message):
    inputs = dict(zip("abcd", shapes, strict=False))
    with pytest.raises(Error, match=message):
        make_net(layer(kind, params, " ".join(inputs)), inputs)


def test_labels_out_of_range():
    net = make_net(layer("CosineEmbeddingLoss", "", "a b l"), {"a": (2, 3), "b": (2, 3), "l": (2,)})
    with pytest.raises(Error, match=r"label 0 at \[1\] is neither 1"):
        net.forward(a=np.ones((2, 3)), b=np.ones((2, 3)), l=[1, 0])
    net = make_net(layer("FocalLoss", "focal_loss_param { type: SOFTMAX }", "x l"),
                   {"x": (2, 3), "l": (2,)})  # fmt: skip
    with pytest.raises(Error, match="label 3 at .* is not in 0 to 2"):
        net.forward(x=np.ones((2, 3)), l=[1, 3])


# Weights of samples in SoftmaxWithLoss


# name: (normalization, weights for each label?, divisor of the sum from torch's tensors)
SAMPLE_WEIGHTS = {
    "valid": ("", False, lambda w, n: (w != 0).sum()),
    "full": ("normalization: FULL", False, lambda w, n: w.numel()),
    "batch": ("normalization: BATCH_SIZE", True, lambda w, n: n),
    "none": ("normalization: NONE", True, lambda w, n: 1),
}


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3, 2)], ids=["rows", "images"])
@pytest.mark.parametrize("name", SAMPLE_WEIGHTS)
def test_softmax_sample_weights(name, shape, torch_values):
    loss_param, each, divisor = SAMPLE_WEIGHTS[name]
    n, classes, *image = shape

    def case(torch):
        labels = torch.randint(0, classes, (n, *image))
        weights = torch.rand((n, *image) if each else (n,))
        weights[1] = 0
        wide = weights.reshape(weights.shape + (1,) * (labels.dim() - weights.dim()))
        wide = wide.expand(labels.shape)

        def call(x):
            losses = torch.nn.functional.cross_entropy(x, labels, reduction="none")
            return (wide * losses).sum() / divisor(wide, n)

        return recorded(torch, call, [torch.randn(shape)], labels=labels.float(), sample=weights)

    v = torch_values(f"softmax_weights_{name}_{len(shape)}", case)
    check(v, "SoftmaxWithLoss", f"loss_param {{ {loss_param} }}")


def test_softmax_weights_of_samples_classes_and_smoothing(torch_values):
    def case(torch):
        labels, weights = torch.randint(0, 3, (6,)), torch.rand(6)
        of_class = torch.tensor([0.5, 2.0, 1.0])

        def call(x):
            losses = torch.nn.functional.log_softmax(x, 1)
            target = torch.nn.functional.one_hot(labels, 3) * 0.7 + 0.1
            return (weights * of_class[labels] * -(target * losses).sum(1)).mean()

        return recorded(torch, call, [torch.randn(6, 3)], labels=labels.float(), sample=weights)

    fields = "label_smoothing: 0.3 weight_by_label_freqs: true class_weighting: 0.5 " \
             "class_weighting: 2 class_weighting: 1"  # fmt: skip
    v = torch_values("softmax_weights_all", case)
    check(v, "SoftmaxWithLoss", f"loss_param {{ {fields} }}")


def test_softmax_weights_mask_and_ignore():
    """A weight of 0 is as good as ignore_label."""
    x, labels = normal(6, 3), np.array([0.0, 1, 2, 2, 1, 0])
    mask = np.array([1.0, 0, 1, 1, 0, 1])
    masked = loss_of("SoftmaxWithLoss", "", {"x": x, "t": labels, "w": mask})
    hidden = np.where(mask == 0, -1, labels)
    params = "loss_param { ignore_label: -1 }"
    assert masked == loss_of("SoftmaxWithLoss", params, {"x": x, "t": hidden})
    both = loss_of("SoftmaxWithLoss", params, {"x": x, "t": hidden, "w": np.ones(6)})
    assert masked == both
    nothing = loss_of("SoftmaxWithLoss", "", {"x": x, "t": labels, "w": np.zeros(6)})
    assert nothing == 0


def test_softmax_weights_of_the_wrong_number():
    with pytest.raises(Error, match=r"a weight for each of the 5 samples, or for each of the 10"):
        make_net(layer("SoftmaxWithLoss", bottoms="x t w"),
                 {"x": (5, 3, 2), "t": (5, 2), "w": (4,)})  # fmt: skip
