#!/usr/bin/env python3
"""Writes docs/layers.md from what the layers declare; --check only says whether it is current."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pydl import _core

PAGE = Path(__file__).parent.parent / "docs" / "layers.md"
HEAD = """# Layers

What each layer does and its parameters in a prototxt, with their defaults. Written by
`tools/make_layer_docs.py` from the declarations beside the code in `csrc/layers`.

"""


def type_text(field: dict[str, Any]) -> str:
    if field["type"] == "enum":
        names = ", ".join(field["enum"])
        return f"list of {names}" if field["repeated"] else names
    name = field["message"]["name"] if field["type"] == "message" else field["type"]
    return f"list of {name}" if field["repeated"] else name


def default_text(field: dict[str, Any]) -> str:
    value = field["default"]
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(schema: dict[str, Any]) -> list[str]:
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in schema["fields"]:
        cells = (f"`{field['name']}`", type_text(field), default_text(field), field["help"])
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def messages_in(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The messages among a schema's fields, by name, theirs included."""
    found: dict[str, dict[str, Any]] = {}
    for field in schema["fields"]:
        if field["type"] == "message":
            found[field["message"]["name"]] = field["message"]
            found.update(messages_in(field["message"]))
    return found


def page() -> str:
    declarations = _core.layer_declarations()
    lines = [", ".join(f"[{name}](#{name.lower()})" for name in declarations), ""]
    shared: dict[str, dict[str, Any]] = {}
    for name, layer in declarations.items():
        lines += [f"## {name}", "", layer["doc"], ""]
        for field, schema in layer["params"].items():
            shared.update(messages_in(schema))
            lines += [f"`{field}`", "", *table(schema), ""]
    lines += ["## Messages that several layers use", ""]
    for name, schema in sorted(shared.items()):
        lines += [f"### {name}", "", *table(schema), ""]
    return HEAD + "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = page()
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_text() == text
        print("docs/layers.md is current" if current else "docs/layers.md is not current: run me")
        return 0 if current else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
