#!/usr/bin/env python3
"""Writes the table of values into the chart's README.md. Needs PyYAML.

A value's text is the comment above it that begins with `# --`. A line `# @default: …` stands for a default that is too
long for a table.
"""

import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent / "iam-key-exporter"
TABLE = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- end -->)", re.DOTALL)


def documented(text):
    """(name with dots, text, default) of each value with a comment, in the order of the file."""
    path, comment, default = [], [], None
    for line in text.splitlines():
        found = re.fullmatch(r"( *)(?:# (.*)|([\w]+):.*|.*)", line)
        indent, said, key = len(found[1]) // 2, found[2], found[3]
        if said and said.startswith("-- "):
            comment, default = [said[3:]], None
        elif said and said.startswith("@default: "):
            default = said.removeprefix("@default: ")
        elif said and comment:
            comment.append(said)
        elif key:
            path = [*path[:indent], key]
            if comment:
                yield ".".join(path), " ".join(comment), default
            comment = []


def value_of(values, name):
    for key in name.split("."):
        values = values[key]
    return values


def table():
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    yield "| value | default | |"
    yield "|---|---|---|"
    for name, said, default in documented(text):
        shown = default or f"`{json.dumps(value_of(values, name))}`"
        yield f"| `{name}` | {shown} | {said} |"


def with_table(readme):
    """The README with the table as the values are now."""
    lines = "\n".join(table())
    return TABLE.sub(lambda _: f"\n{lines}\n\n", readme)


def main():
    readme = CHART / "README.md"
    readme.write_text(with_table(readme.read_text()))


if __name__ == "__main__":
    main()
