"""pydl inside a C++ program, and C++ inside pydl: examples/embed, built against both ways of
installing pydl.

Runs are slow where the core must be compiled first; PYDL_TEST_BUILD_DIR names a folder to keep the
builds in.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import pydl

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "embed"
# Build tools installed beside this Python come first.
ENV = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

MIXED_NET = """
name: "mixed"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 dim: 9 dim: 11 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 } }
layer { name: "n" type: "LRN" bottom: "c" top: "n" }
layer { name: "t" type: "TanH" bottom: "n" top: "t" }
layer { name: "p" type: "Pooling" bottom: "t" top: "p"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f" inner_product_param {
  num_output: 5 } }
layer { name: "s" type: "Softmax" bottom: "f" top: "s" }
"""


def call(*command, **options):
    """Runs a command; its output, which an AssertionError shows if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}"
    return done.stdout


def which(name):
    return shutil.which(name, path=ENV["PATH"])


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory):
    if not which("cmake"):
        pytest.skip("cmake not found: pip install cmake")
    if not any(which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        pytest.skip("no C++ compiler found: apt install g++")
    kept = os.environ.get("PYDL_TEST_BUILD_DIR")
    return Path(kept).resolve() if kept else tmp_path_factory.mktemp("embed")


def configure(source, build, *options):
    generator = ["-G", "Ninja"] if which("ninja") else []
    call("cmake", "-S", source, "-B", build, *generator, *options)


@pytest.fixture(scope="session")
def package(build_dir):
    """The pydl folder as a wheel holds it: the installed one, else that of a wheel built here."""
    installed = Path(pydl.cmake_dir()).parents[2]
    if (installed / "lib" / "cmake" / "pydl").is_dir():
        return installed
    for module in ("scikit_build_core", "pybind11", "nlohmann_json"):
        if not find_spec(module):
            pytest.skip(f"pydl is not installed, and {module}, needed to build a wheel, neither")
    folder = build_dir / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    call(
        sys.executable, "-m", "pip", "wheel", ROOT, "--no-build-isolation", "--no-deps",
        "-w", folder, "-C", f"build-dir={build_dir / 'wheel-build'}",
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "pydl"


@pytest.fixture(scope="session")
def prefix(build_dir):
    """Where `cmake --install` put the core, built without Python's module."""
    build, prefix = build_dir / "core", build_dir / "prefix"
    configure(ROOT, build, f"-DPython_EXECUTABLE={sys.executable}")
    call("cmake", "--build", build, "--parallel", os.cpu_count())
    shutil.rmtree(prefix, ignore_errors=True)
    call("cmake", "--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="session", params=["pip", "cmake"])
def program(request, build_dir):
    """The example, compiled as a user would after `pip install` and after `cmake --install`."""
    if request.param == "pip":
        where = f"-Dpydl_DIR={request.getfixturevalue('package')}/lib/cmake/pydl"
    else:
        where = f"-DCMAKE_PREFIX_PATH={request.getfixturevalue('prefix')}"
    source, build = build_dir / f"source-{request.param}", build_dir / f"embed-{request.param}"
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(EXAMPLE, source)
    configure(source, build, where)
    output = call("cmake", "--build", build)
    assert "warning" not in output, output
    return build / "embed"


def test_all_built_in_layers_are_linked(program):
    from pydl import _core

    names = set(call(program, "layers").split())
    assert "Convolution" in names
    assert names == set(_core.layer_declarations()) | {"Softsign"}


def test_trains_and_resumes(program, tmp_path):
    output = call(program, "train", tmp_path / "snapshot.safetensors")
    assert "resumed run: same weights" in output
    assert 'did you mean "num_output"?' in output
    assert (tmp_path / "snapshot.safetensors").stat().st_size > 0


@pytest.mark.parametrize("model", ["lenet", "mixed"])
def test_bundle_gives_what_python_gives(program, model, tmp_path):
    path = ROOT / "examples" / "mnist" / "lenet_deploy.prototxt"
    if model == "mixed":
        path = tmp_path / "mixed.prototxt"
        path.write_text(MIXED_NET)
    net, random = pydl.Net(path), np.random.default_rng(0)
    for blob in (blob for blobs in net.params.values() for blob in blobs):
        blob.data[...] = 0.1 * random.standard_normal(blob.shape)
    net.save(tmp_path / "net.safetensors")
    name = net.inputs[0]
    shape = (7, *net.blobs[name].shape[1:])  # not the batch size of the file
    x = random.standard_normal(shape).astype(np.float32)
    expected = net.forward(**{name: x})[net.outputs[0]]
    x.tofile(tmp_path / "x.f32")
    call(program, "run", tmp_path / "net.safetensors", tmp_path / "x.f32", tmp_path / "y.f32")
    y = np.fromfile(tmp_path / "y.f32", np.float32).reshape(expected.shape)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


def test_what_is_linked(program):
    """The core is shared where the wheel's is used and part of the program else; no Python."""
    if not which("readelf"):
        pytest.skip("readelf not found: apt install binutils")
    needed = [line for line in call("readelf", "-d", program).splitlines() if "NEEDED" in line]
    assert any("libstdc++" in line or "libc++" in line for line in needed)
    assert not any("python" in line for line in needed), needed
    shared = program.parent.name == "embed-pip"
    assert any("libpydl" in line for line in needed) == shared, needed


SOFTSIGN_NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "soft" type: "Softsign" bottom: "x" top: "y" softsign_param { scale: 0.5 } }
"""

LOAD_LAYERS = """
import sys
from pathlib import Path
package, library, net_file = sys.argv[1:]
sys.path.insert(0, package)
import numpy as np
import pydl

assert Path(pydl.__file__).parents[1] == Path(package)
def show(call, argument):
    try:
        print(call(argument))
    except pydl.Error as error:
        print("Error:", str(error).splitlines()[0])
show(pydl.Net, net_file)
show(pydl.load_layers, library)
show(pydl.load_layers, library)
net, x = pydl.Net(net_file), np.array([[-3, 0, 1], [0.5, 2, 9]], np.float32)
np.testing.assert_allclose(net.forward(x=x)["y"], x / (0.5 + abs(x)), rtol=1e-6)
pydl.check_gradients(net_file)
for wrong in ("scale: -2", "scael: 2"):
    Path("wrong.prototxt").write_text(Path(net_file).read_text().replace("scale: 0.5", wrong))
    show(pydl.Net, "wrong.prototxt")
"""


@pytest.mark.parametrize("program", ["pip"], indirect=True)
def test_python_loads_its_layer(program, package, tmp_path):
    """One core, one registry, one Error: shared by Python's module and the user's library."""
    library, net = program.with_name("libsoftsign.so"), tmp_path / "net.prototxt"
    net.write_text(SOFTSIGN_NET)
    shown = call(
        sys.executable, "-c", LOAD_LAYERS, package.parent, library, net, cwd=tmp_path
    ).splitlines()
    assert '"Softsign" is not a known layer type' in shown[0]
    assert shown[1:3] == ["['Softsign']"] * 2
    assert 'layer "soft" (Softsign): softsign_param.scale must be positive' in shown[3]
    assert 'did you mean "scale"?' in shown[4]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "x.f32: cannot be read"), (b"\0" * 4 * 100, "x.f32: holds 100 numbers")],
)
def test_errors_end_with_a_message(program, content, problem, tmp_path):
    pydl.Net(ROOT / "examples" / "mnist" / "lenet_deploy.prototxt").save(tmp_path / "n.safetensors")
    if content is not None:
        (tmp_path / "x.f32").write_bytes(content)
    command = [program, "run", tmp_path / "n.safetensors", tmp_path / "x.f32", tmp_path / "y.f32"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("embed: ") and problem in done.stderr
    assert not (tmp_path / "y.f32").exists()


def test_a_foreign_bundle_is_refused(program, tmp_path):
    (tmp_path / "n.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    command = [program, "run", tmp_path / "n.safetensors", tmp_path / "x", tmp_path / "y"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "n.safetensors" in done.stderr


def test_wheel_holds_what_it_should(package):
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    names = {p.relative_to(package).as_posix() for p in files}
    headers = {f"include/pydl/{p.name}" for p in (ROOT / "csrc/include/pydl").glob("*.h")}
    assert headers == {n for n in names if n.endswith((".h", ".hpp"))}
    assert {"lib/cmake/pydl/pydlConfig.cmake", "__init__.py"} <= names
    assert sum(n.startswith("_core.") for n in names) == 1
    assert sum(n.startswith("lib/libpydl.") for n in names) == 1
    assert not [n for n in names if n.endswith((".cpp", ".o", ".a")) or n.startswith("tests/")]

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path)
    assert len(packed.getvalue()) < 8e6


def test_sdist_can_be_built_from(tmp_path):
    pytest.importorskip("scikit_build_core")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    call(sys.executable, "-c", code, tmp_path, cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    needed = {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"}
    for pattern in ("cmake/*.cmake", "csrc/**/*.cpp", "csrc/**/*.h", "csrc/**/*.cmake",
                    "pydl/**/*.py", "examples/embed/*"):  # fmt: skip
        needed |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
    assert needed <= names, sorted(needed - names)
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]
