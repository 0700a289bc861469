"""What the pages say is what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pydl

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["layer", "zoo"])
def test_generated_page_is_current(page):
    """docs/layers.md is what tools/make_layer_docs.py writes, and docs/zoo.md likewise."""
    command = [sys.executable, ROOT / "tools" / f"make_{page}_docs.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tools")
    assert result.returncode == 0, result.stdout + result.stderr


def test_readme_names_files_that_exist():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    assert [
        link for link in links if not link.startswith("http") and not (ROOT / link).exists()
    ] == []


def test_readme_commands_are_marked():
    """CI runs the code blocks behind these marks."""
    text = (ROOT / "README.md").read_text()
    for mark in ("train", "test"):
        block = re.search(rf"<!-- {mark} -->\n```bash\n(.+)\n```", text)
        assert block and block[1].startswith("python3 -m venv")


def test_import_needs_numpy_only():
    """`import pydl` and a net's life load no package but numpy."""
    code = """
import sys, pydl
spec = {"name": "n", "layers": [
    {"name": "x", "type": "Input", "top": ["x"],
     "params": {"input_param": {"shape": [{"dim": [1, 2]}]}}},
    {"name": "y", "type": "ReLU", "bottom": ["x"], "top": ["y"]}]}
pydl.Net(spec).forward()
roots = {name.split(".")[0] for name, module in sys.modules.items()
         if "-packages" in (getattr(module, "__file__", None) or "")}
print(*sorted(root for root in roots if not root.startswith("_")))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= {"numpy", "pydl"}


def test_public_names_exist():
    for name in pydl.__all__:
        assert getattr(pydl, name) is not None
