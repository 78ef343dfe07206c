#!/usr/bin/env python3
"""Renders the rules from source/, texts.yaml and values.yaml. Needs PyYAML.

It replaces each ${name} by that value and adds to each alert its severity, labels and runbook. It does nothing
that a Helm template could not do, too, with `replace`, `fromYaml` and `toYaml`.
"""

import argparse
import re
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
HEADER = """\
# Made by render.py from source/{source}. Change that file or values.yaml instead of this one.
#
"""


class Rules(yaml.SafeDumper):
    """Writes YAML for readers: expressions unchanged, long texts folded."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


def write_text(dumper, text):
    style = "|" if "\n" in text else ">" if len(text) > 90 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Rules.add_representer(str, write_text)


def merged(values, changes, where=""):
    """The values with these changes. Unknown names are an error."""
    result = dict(values)
    for name, change in changes.items():
        # Labels and annotations of an alert may be new.
        if name not in values and where not in ["labels."] and not where.startswith("alerts.Iam"):
            raise SystemExit(f"there is no value {where}{name}")
        inner = isinstance(values.get(name), dict) and isinstance(change, dict)
        result[name] = merged(values[name], change, f"{where}{name}.") if inner else change
    return result


def flat(values, prefix=""):
    """Every value as text, by its name with dots."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(value)
        else:
            yield prefix + name, str(value)


def filled(text, texts):
    """The text with each ${name} replaced, also inside the replacements."""

    def value(match):
        if match[1] not in texts:
            raise SystemExit(f"there is no value {match[1]}")
        line = text[: match.start()].rpartition("\n")[2]
        indent = line[: len(line) - len(line.lstrip())]
        return filled(texts[match[1]], texts).replace("\n", "\n" + indent)

    text = re.sub(r"\$\{([\w.]+)\}", value, text)
    return text.replace(",}", "}").replace("{}", "")


def alert(rule, texts, values):
    """The alert with its settings in values.yaml. None if it is disabled."""
    name = rule["alert"]
    own = values["alerts"][name]
    if own.get("enabled") is False:
        return None
    rendered = {"alert": name, "expr": filled(rule["expr"], texts)}
    if "for" in own:
        rendered["for"] = own["for"]
    rendered["labels"] = {"severity": own["severity"], **values["labels"], **own.get("labels", {})}
    annotations = rule["annotations"] | {"runbook_url": f"${{urls.runbook}}#{name.lower()}"}
    rendered["annotations"] = {
        kind: filled(text, texts)
        for kind, text in annotations.items()
        if values["urls"].get(kind.removesuffix("_url"), True)
    }
    return rendered


def rules(rule, source, texts, values):
    """The rules for an entry of the source: one, or two if the entry looks back."""
    if "record" in rule:
        return [rule | {"expr": filled(rule["expr"], texts)}]
    if "finding" in rule:
        texts = texts | {"finding": rule["finding"]}
    if "lately" not in rule:
        return [alert(rule, texts, values)]
    lately = f"(\n{indented(rule['lately'])}\n)\n{source['lost']}"
    record = {
        "record": source["record"],
        "expr": filled(f"time() + 0 * (\n{indented(lately)}\n)", texts),
        "labels": {"finding": rule["finding"]},
    }
    expr = "\nor\n".join([rule["expr"], lately, source["remembered"]])
    return [record, alert(rule | {"expr": expr}, texts, values)]


def indented(text):
    return "\n".join(f"  {line}" for line in text.splitlines())


def rendered(path, values):
    """The path of the rules of this source, and their text."""
    text = path.read_text()
    source = yaml.safe_load(text)
    shared = yaml.safe_load((HERE / "texts.yaml").read_text())
    texts = dict(flat(values)) | shared | source.get("texts", {})
    groups = []
    for group in source["groups"]:
        found = [r for rule in group["rules"] for r in rules(rule, source, texts, values) if r]
        groups.append({"name": group["name"], "interval": values["interval"], "rules": found})
    comment = filled(text[: text.index("\n\n") + 1], texts)
    body = yaml.dump({"groups": groups}, Dumper=Rules, sort_keys=False, width=110, allow_unicode=True)
    return source["output"], HEADER.format(source=path.name) + comment + "\n" + spaced(body)


def spaced(body):
    """Adds an empty line before each rule except the first of a group."""
    return re.sub(r"(?<!rules:)\n(      - (?:alert|record): )", r"\n\n\1", body)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--values", type=Path, action="append", default=[], metavar="FILE")
    arguments.add_argument("--output", type=Path, default=HERE, metavar="DIR")
    options = arguments.parse_args()
    values = yaml.safe_load((HERE / "values.yaml").read_text())
    for changes in options.values:
        values = merged(values, yaml.safe_load(changes.read_text()) or {})
    values["urls"]["status"] = (values["urls"]["status"] or "").removesuffix("/")
    for path in sorted(HERE.glob("source/*.yaml")):
        output, text = rendered(path, values)
        file = options.output / output
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
