"""The parts of benchmarks/ that are not timings: what is compared, stored, judged and written."""

import dataclasses
import importlib
import json
import math
from pathlib import Path

import check
import goals
import make_nets
import nets
import numpy as np
import ops
import pages
import pytest
import run
import single
import timing
from peak import Peak
from results import Results
from table import Row

import pydl

ROOT = Path(__file__).parent.parent
PEAK = Peak(flops=100e9, flops_bf16=200e9, read=10e9, copy=20e9, update=40e9, source="a test")


def net_row(net, ms, kind="training step f32", batch=8):
    row = Row(f"{net} ({batch}) {kind}", ms, flops=1e6, bf16="bf16" in kind,
              extra={"net": net, "batch": batch, "kind": kind})  # fmt: skip
    return row.plain()


# Nets


def test_generated_nets_are_current(tmp_path, monkeypatch):
    monkeypatch.setattr(make_nets, "FOLDER", tmp_path)
    make_nets.main()
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["googlenet.prototxt", "resnet50.prototxt", "vgg16.prototxt"]
    for name in written:
        assert (tmp_path / name).read_text() == (nets.FOLDER / name).read_text(), name


# Counts of the published models.
@pytest.mark.parametrize(
    ("net", "learned", "last_image"),
    [("lenet", 431_080, (1, 50, 4, 4)), ("googlenet", 6_998_552, (1, 1024, 1, 1)),
     ("resnet50", 25_557_032, (1, 2048, 1, 1))],
)  # fmt: skip
def test_nets_are_the_published_ones(net, learned, last_image):
    built = pydl.Net(nets.message_of(nets.Case(net, 1, train=False)), keep="outputs")
    rows = built._core.layer_rows()
    statistics = [row["name"] for row in rows if row["type"] == "BatchNorm"]
    counts = {name: sum(b.count for b in blobs) for name, blobs in built.params.items()}
    bias_before_batch_norm = 64 if net == "resnet50" else 0  # of conv1, in Caffe's release
    total = sum(n for name, n in counts.items() if name not in statistics)
    assert total - bias_before_batch_norm == learned
    assert [r["top_shapes"][0] for r in rows if r["type"] == "Pooling"][-1] == last_image


@pytest.mark.parametrize("net", nets.BATCHES)
def test_batch_goes_into_every_input(net):
    try:
        message = nets.message_of(nets.Case(net, 7, train=True))
    except pydl.Error as error:  # layers of the zoo's nets
        pytest.skip(str(error))
    shapes = [
        list(s.dim) for la in message.layer if la.type == "Input" for s in la.input_param.shape
    ]
    assert len(shapes) >= (1 if net in nets.SERVED else 2)
    assert all(shape[1 if net == "lstm" else 0] == 7 for shape in shapes)


# Peers compute the same


@pytest.mark.parametrize("train", [False, True])
def test_lenet_is_the_same_in_all_peers(train):
    pytest.importorskip("torch")
    nets.verify(nets.Case("lenet", 3, train), threads=1)


@pytest.mark.parametrize("train", [False, True])
def test_transformer_is_the_same_in_all_peers(train):
    pytest.importorskip("torch")
    nets.verify(nets.Case("transformer", 1, train), threads=1)


def test_an_inception_and_a_residual_block_are_the_same_in_torch():
    torch_peer = importlib.import_module("torch_peer")
    pytest.importorskip("torch")
    text = """
        layer { name: "data" type: "Input" top: "data" input_param { shape {
            dim: 2 dim: 6 dim: 9 dim: 9 } } }
        layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {
            num_output: 4 kernel_size: 3 pad: 1 group: 2 weight_filler { type: "msra" } } }
        layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" }
        layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param {
            bias_term: true filler { value: 0.7 } bias_filler { value: 0.2 } } }
        layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
        layer { name: "b" type: "Pooling" bottom: "data" top: "b" pooling_param {
            pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
        layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" }
        layer { name: "d" type: "Convolution" bottom: "c" top: "d" convolution_param {
            num_output: 10 kernel_size: 1 bias_term: false weight_filler { type: "msra" } } }
        layer { name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" }
        layer { name: "norm" type: "LRN" bottom: "e" top: "norm" }
        layer { name: "f" type: "Pooling" bottom: "norm" top: "f" pooling_param {
            pool: MAX kernel_size: 2 stride: 2 } }
    """
    net = pydl.Net(pydl.prototxt.parse(text))
    rng = np.random.default_rng(0)
    mean, variance, factor = net.params["bn"]
    mean.data[...], variance.data[...] = rng.standard_normal(4), rng.uniform(1, 2, 4)
    factor.data[...] = 2
    x = rng.standard_normal((2, 6, 9, 9)).astype(np.float32)
    want = net.forward(data=x)["f"]
    weights = {name: [np.array(b.data) for b in blobs] for name, blobs in net.params.items()}
    model = torch_peer.Torch(net._core.spec["layers"], weights, {"data": x})
    np.testing.assert_allclose(model.forward().numpy(), want, rtol=1e-4, atol=1e-5)
    onnx_peer = importlib.import_module("onnx_peer")
    if "onnxruntime" in onnx_peer.installed():
        graph = onnx_peer.onnx_model(net._core.spec["layers"], weights, {"data": x})
        got = onnx_peer.OnnxRuntime(graph, x, threads=1).forward()
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_check_sees_differences_and_nan():
    good = np.array([3.0, 4.0])
    check.check_close("x", good, good, 0)
    for bad in (good + 1, np.array([np.nan, 4.0])):
        with pytest.raises(SystemExit, match="differ"):
            check.check_close("x", bad, good, 0.01)


# Rows, results, goals


def test_row_compares_with_the_fastest_peer_and_the_peak():
    row = Row("a", {"pydl": 2.0, "torch eager": 5.0, "openvino": 3.0}, flops=1e8)
    assert row.best_peer() == ("openvino", 3.0)
    assert row.ratio() == 1.5
    assert row.percent(PEAK) == pytest.approx(50)  # 1e8 in 2 ms is 50 GFLOP/s
    assert row.percent(PEAK, "torch eager") == pytest.approx(20)
    assert Row("a", {"pydl": 2.0}, flops=1e8, bf16=True).percent(PEAK) == pytest.approx(25)
    assert Row("a", {"pydl": 2.0}, bytes=2e7, limit_ms=1.0).percent(PEAK) == pytest.approx(50)
    alone = Row("a", {"torch eager": 1.0}, flops=1e8)
    assert alone.ratio() is None and alone.percent(PEAK) is None


def test_results_of_several_runs_merge_and_machines_do_not(tmp_path):
    file = tmp_path / "r.json"
    Results(file, {"cpu": "a"}).add("gemm", {"case": "512", "ms": 1})
    Results(file, {"cpu": "a"}).add("gemm", {"case": "1024", "ms": 2})
    Results(file, {"cpu": "a", "threads": 3}).add("gemm", {"case": "512", "ms": 4})
    read = Results(file)
    assert read.table("gemm") == [{"case": "512", "ms": 4}, {"case": "1024", "ms": 2}]
    assert read.machine == {"cpu": "a", "threads": 3}
    assert read.table("nets") == []
    Results(file, {"cpu": "b"}).add("memory", {"case": "vgg16"})
    assert Results(file).table("gemm") == []


def test_results_keep_the_highest_peak(tmp_path):
    file = tmp_path / "r.json"
    for flops, copy in ((1, 30), (3, 10), (2, 20)):
        peak = {"flops": flops, "copy": copy}
        Results(file, {"cpu": "a", "peak": peak}).add("gemm", {"case": "512"})
    assert Results(file).machine["peak"] == {"flops": 3, "copy": 30}


def test_row_survives_the_file():
    row = Row("a", {"pydl": 1.0}, flops=3.0, bf16=True, note="x", extra={"net": "lenet"})
    assert Row.from_plain(json.loads(json.dumps(row.plain()))) == row


def test_goals_take_the_peers_and_batches_they_speak_of():
    results = Results(None, {"cpu": "a"})
    kind = "inference f32"
    for net, batch, pydl_ms in (("vgg16", 4, 10), ("lenet", 64, 20), ("lenet", 1, 80)):
        ms = {"pydl": pydl_ms, "torch eager": 1, "onnxruntime": 50, "openvino": 40}
        results.add("nets", net_row(net, ms, kind, batch))
    found = {goal.text: goal for goal in goals.goals(results)}
    mean = found["inference f32, geometric mean of the nets"]
    assert mean.measured == pytest.approx(math.sqrt(4 * 2)) and mean.met
    assert found["inference f32, VGG-16"].met
    one = found["inference f32 of one, the net that does worst (lenet)"]
    assert one.measured == 0.5 and one.met is False
    missing = found["training step f32, vgg16"]
    assert missing.measured is None and missing.met is None


def test_goal_of_memory_is_an_upper_limit():
    results = Results(None, {"cpu": "a"})
    for net, ratio in (("vgg16", 0.5), ("resnet50", 0.7)):
        results.add("memory", {"case": net, "mib": {}, "ratio": ratio})
    met = {
        goal.text.split()[-1]: goal.met for goal in goals.goals(results) if "memory of" in goal.text
    }
    assert met == {"vgg16": True, "resnet50": False}


# Pages


def results_of_all_kinds():
    about = {"cpu": "a CPU", "threads": 2, "kernels": "avx2", "versions": "pydl 1"}
    about["peak"] = dataclasses.asdict(PEAK)
    results = Results(None, about)
    for batch in (1, 8):
        results.add("nets", net_row("resnet50", {"pydl": 2.0, "torch eager": 5.0}, batch=batch))
        results.add("nets", net_row("lenet", {"pydl": 1.0, "torch eager": 5.0}, batch=batch))
    results.add("gemm", Row("512 x 512 x 512", {"pydl": 1.0, "torch": 1.5}, flops=1e6).plain())
    results.add("bandwidth", Row("ReLU", {"pydl": 1.0}, bytes=1e6, limit_ms=0.9).plain())
    results.add("memory", {"case": "vgg16", "mib": {"pydl": 1.0, "eager": 2.0}, "ratio": 0.5})
    speedup = Row(
        "lenet", {"1 threads": 2.0, "2 threads": 1.0}, extra={"net": "lenet", "speedup": 2}
    )
    results.add("scaling", speedup.plain())
    results.add("start", {"case": "load .caffemodel", "seconds": 0.25, "bytes": 553e6})
    layers = [
        {"name": name, "type": kind, "implementation": how, "flops": flops, "passes": 2,
         "forward_ms": forward, "backward_ms": backward}
        for name, kind, how, flops, forward, backward in (
            ("conv1", "Convolution", "implicit_gemm", 5e7, 1.0, 2.0),
            ("relu1", "ReLU", "fused", 0, 0.0, 0.001),
        )
    ]  # fmt: skip
    results.add("layers", {"case": "lenet (8) training step f32", "net": "lenet", "ms": 4.0,
                           "update_ms": 0.5, "layers": layers})  # fmt: skip
    return results


def test_page_is_filled_between_its_marks_only():
    results = results_of_all_kinds()
    text = "by hand\n<!-- begin gemm -->\nold\n<!-- end -->\nby hand too\n"
    once = pages.fill(text, results)
    assert once.startswith("by hand\n<!-- begin gemm -->\n| m x n x k | pydl ms |")
    assert once.endswith("|\n<!-- end -->\nby hand too\n") and "old" not in once
    assert "| 512 x 512 x 512 | 1.000 | 1.500 | 1.50x | 1 |" in once
    assert pages.fill(once, results) == once
    with pytest.raises(SystemExit, match="gem"):
        pages.fill(text.replace("gemm", "gem"), results)


def test_committed_page_has_every_part():
    marked = set(pages.PART.findall((ROOT / "docs" / "performance.md").read_text()))
    assert {name for _, name, _ in marked} == set(pages.PARTS)


def test_nets_stand_in_order_with_single_images_last():
    table = pages.net_table("training step f32")(results_of_all_kinds())
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert names == ["LeNet (8)", "ResNet-50 (8)", "LeNet (1)", "ResNet-50 (1)"]


def test_layers_page_shows_rates_and_sums_up_small_layers():
    page = pages.layers_page(results_of_all_kinds())
    assert "## LeNet (8) training step f32" in page
    assert "| conv1 | Convolution | implicit_gemm | 1.000 | 50 | 50 | 2.000 | 50 | 50 |" in page
    assert "| relu1 |" not in page and "Smaller layers: ReLU 0.00 ms" in page


def test_pages_and_charts_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "images").mkdir()
    (tmp_path / "performance.md").write_text((ROOT / "docs" / "performance.md").read_text())
    written = [path.name for path in pages.write(results_of_all_kinds(), tmp_path)]
    assert written == ["performance.md", "performance_layers.md",
                       "performance_training_f32.svg", "performance_gemm.svg"]  # fmt: skip
    chart = tmp_path / "images" / "performance_training_f32.svg"
    again = chart.read_bytes()
    list(pages.write(results_of_all_kinds(), tmp_path))
    assert chart.read_bytes() == again, "the same results give the same file"


# Command lines


def test_run_takes_one_part_or_all():
    assert list(run.parts_of(run.parse(["--only", "nets", "--net", "vgg16"]))) == [
        ("nets", "vgg16")
    ]
    everything = list(run.parts_of(run.parse([])))
    assert len(everything) == 2 * (7 + 3) + 7 + 5  # three nets more are served only
    assert set(run.FILLERS) == set(run.TABLES)
    with pytest.raises(SystemExit):
        run.parse(["--net", "vgg16"])


def test_operation_is_read_from_a_line():
    conv = ops.parse("conv g2ic64ih56iw28oc64kh3ph1 mb8")
    assert conv.family == "conv" and not conv.words
    assert conv.numbers == {
        "g": 2,
        "ic": 64,
        "ih": 56,
        "iw": 28,
        "oc": 64,
        "kh": 3,
        "ph": 1,
        "mb": 8,
    }
    assert conv.pair("k", 1) == (3, 3) and conv.pair("s", 1) == (1, 1)
    assert ops.parse("gemm m5n6k7 tb").words == {"tb"}


@pytest.mark.parametrize(
    ("line", "message"),
    [("cnv ic3", 'did you mean "conv"'), ("conv ic3ix4", '"ix" is no size of conv'),
     ("pool ic3ih4 av", 'did you mean "avg"'), ("conv mb1", "needs ic, ih, oc, kh")],
)  # fmt: skip
def test_operation_with_a_mistake(line, message):
    with pytest.raises(ValueError, match=message):
        ops.FAMILIES["conv"](ops.parse(line))


BESIDE_TORCH = [
    "rotary mb2t5ic12heads3", "embed mb3t4ic7oc5", "groupnorm ic6ih4g3 mb2",
    "instancenorm ic3ih4 mb2", "gram ic3ih4 mb2", "eltwise ic4ih4 glu", "eltwise ic4ih4 maxout",
    "eltwise ic3ih4 silu", "eltwise ic3ih4 softplus", "eltwise ic3ih4 selu",
    "eltwise ic3ih4 leaky_relu", "rnn mb2t3ic4oc5", "gru mb2t3ic4oc5", "lstm mb2t3ic4oc5",
    *(f"seqattention mb2t5ic6 {score}" for score in ops.SCORES),
    *(f"loss mb3ic5 {kind}" for kind in
      ("l1", "huber", "kl_div", "focal", "cosine", "triplet", "smooth_l1")),
    "loss mb2ic3ih4 variation",
]  # fmt: skip


@pytest.mark.parametrize("line", BESIDE_TORCH)
def test_torch_computes_the_same(line):
    """What is timed beside us is the same operation: its value and its gradients."""
    torch = pytest.importorskip("torch")
    operation = ops.FAMILIES[line.split()[0]](ops.parse(line))
    ours = single.Ours(operation._single)
    want = ours.results()
    theirs = single.Theirs(operation._single, ours, torch.contiguous_format, backward=True)
    for name, values in theirs.results().items():
        near = {"rtol": 1e-4, "atol": 1e-5 * np.abs(want[name]).max()}
        np.testing.assert_allclose(values, want[name].reshape(values.shape), **near, err_msg=name)


@pytest.mark.parametrize(
    "line",
    ["conv g2ic4ih7oc6kh3ph1sh2 mb2", "conv ic4ih9oc6kh3dh1", "gemm m5n6k7 ta",
     "deconv g2ic4ih7iw5oc6kh4ph1sh2 mb2", "im2col ic3ih7kh3sh2dh1 mb2", "spp ic3ih9iw8 mb2",
     "pool ic3ih7kh3sh2 mb2 avg", "lrn ic7ih5", "bn ic3ih4 mb2", "eltwise ic3ih4 sum",
     "eltwise ic3ih4 power", "loss mb3ic5 squared_hinge", "loss mb2ic3ih4 infogain",
     "loss mb3ic5 sigmoid", "loss mb3ic5 contrastive", "softmax mb3ic5", "ip mb2ic5oc4",
     "layernorm mb2t3ic5", "rmsnorm mb2t3ic5", "attention mb2t5ic12heads3 causal",
     "mha mb2t5ic12heads3", "eltwise ic3ih4 gelu", "rbm mb3ic5oc4", "noise mb3ic5 masking",
     "vae mb3ic5 sample", "vae mb3ic5 kl",
     "lstmunit mb2oc5",
     "argmax ic5ih4k2", "crop ic3ih6oh4",
     "mvn ic3ih4 mb2", "reduce ic3ih4 mb2 asum", "reindex ic3ih4 mb3", "slice ic4ih3",
     "tile ic3ih4tiles3", "ctc t10ic4 mb2", "correlation ic5ih4d2", "warp ic3ih5 mb2",
     "correlation ic5ih6d2step2 subtract", "resample ic3ih5oh7", "resample ic3ih7oh3 cubic",
     "conv ic4ih7oc6kh3ph1 mb2 bf16", "gemm m5n6k7 bf16", "pool ic3ih7kh3sh2 max bf16",
     "ip mb2ic5oc4 bf16", *BESIDE_TORCH],
)  # fmt: skip
def test_operation_is_checked_against_ref(line, monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "NAP", 0)
    isa = pydl._core.kernels.isa()
    rows = list(ops.rows(line, isa, seconds=0.001))
    passes = {"forward"} if "argmax" in line else set(ops.FAMILIES[line.split()[0]].passes)
    assert {row[1] for row in rows} == passes
    # An RBM's gradient is the difference of two products.
    limit = 5e-3 if "bf16" in line else 5e-5 if "rbm" in line else 1e-5
    for row in rows:
        assert float(row[5]) < limit, row
    assert pydl._core.kernels.isa() == isa
