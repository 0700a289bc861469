"""A layer against the torch module or function that it follows: values and all gradients."""

import re

import numpy as np
from net_text import layer, make_net


def recorded(torch, call, bottoms, weights=(), **fixed):
    """What `call` makes of `bottoms`, and the gradients of these and of `weights`. `fixed` are
    further bottoms of the layer, which get no gradient."""
    bottoms = [b.requires_grad_() for b in bottoms]
    y = call(*bottoms)
    dy = torch.randn_like(y)
    y.backward(dy)
    values = {"y": y, "dy": dy, **fixed}
    for kind, tensors in (("x", bottoms), ("w", weights)):
        for i, tensor in enumerate(tensors):
            values |= {f"{kind}{i}": tensor, f"d{kind}{i}": tensor.grad}
    return values


def check(v, kind, params="", rtol=1e-4):
    """The layer on the recorded bottoms, then those that are fixed."""
    moving = sorted(name for name in v if name[0] == "x")
    names = [*moving, *(name for name in v if not re.fullmatch(r"y|dy|d?[xw]\d", name))]
    text = f"force_backward: true {layer(kind, params, ' '.join(names))}"
    net = make_net(text, {name: v[name] for name in names})
    weights = net.params["y"] if "w0" in v else []
    for i, blob in enumerate(weights):
        assert blob.shape == v[f"w{i}"].shape
        blob.data[...] = v[f"w{i}"]
    (y,) = net.forward(**{name: v[name] for name in names}).values()
    close(y, v["y"], rtol, "y")
    net.blobs["y"].diff[...] = v["dy"]
    net._core.clear_param_diffs()
    net.backward()
    for name in moving:
        close(net.blobs[name].diff, v[f"d{name}"], rtol, f"d{name}")
    for i, blob in enumerate(weights):
        close(blob.diff, v[f"dw{i}"], rtol, f"dw{i}")


def close(got, want, rtol, what):
    atol = rtol * np.abs(want).max(initial=0) / 10
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=what)


def randomized(torch, module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.5)
    return module
