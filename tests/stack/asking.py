"""The dashboards, and the work of Grafana between them and Prometheus: variables and their values in queries."""

import json
import re

from harness import ROOT

FOLDER = ROOT / "dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# `$1` is not a variable. It is a group of a regular expression.
VARIABLE = re.compile(r"\$(?P<bare>[a-z_]\w*)|\$\{(?P<name>\w+)(?:\.[^}:]+)?(?::\w+)?\}")
# Grafana's values for a scrape interval of a second and a short range.
BUILT_IN = {"__interval": "1s", "__rate_interval": "4s", "__range": "10s", "__range_s": "10"}


# --- The JSON ---


def panels(board):
    """All panels except rows, which are headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_of(board, title):
    [panel] = [panel for panel in panels(BOARDS[board]) if panel["title"] == title]
    return panel


def variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def strings(value):
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


# --- What Grafana does ---


def escape(value):
    """The value as Grafana's Prometheus data source escapes it for a quoted regular expression."""
    return re.sub(r"[\\$^*{}\[\]+?.()|]", lambda m: "\\\\" + m[0].replace("\\", "\\\\"), value)


def as_text(variable, value):
    """A variable's value in a query. A list if several are chosen, None if all are."""
    if value is None:
        return variable["allValue"]
    if not variable.get("multi"):
        return value.replace("\\", "\\\\")
    # If a variable has no options, `()` matches no account.
    escaped = [escape(one) for one in value]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def interpolate(text, board, chosen, built_in=BUILT_IN):
    def value(match):
        name = match["bare"] or match["name"]
        if name in built_in:
            return built_in[name]
        return as_text(variables(board)[name], chosen[name])

    return VARIABLE.sub(value, text)


def options(prometheus, board, name, chosen):
    """The options (text, value) of a variable, after those before it are chosen."""
    variable = variables(board)[name]
    query = interpolate(variable["query"]["query"], board, chosen)
    if values := re.fullmatch(r"label_values\((.+), *(\w+)\)", query):
        found = prometheus.api(f"label/{values[2]}/values", **{"match[]": values[1]})
    else:
        expression = re.fullmatch(r"query_result\((.+)\)", query)[1]
        found = [
            "{" + ",".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + f"}} {value} 0"
            for labels, value in prometheus.query(expression)
        ]
    if not variable["regex"]:
        return [(value, value) for value in found]
    regex = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    groups = [m.groupdict() for m in map(regex.search, found) if m]
    return [(group.get("text", group["value"]), group["value"]) for group in groups]


def defaults(prometheus, board, **choice):
    """The chosen values after the dashboard opens, or after this choice."""
    chosen = {}
    for name, variable in variables(board).items():
        if name in choice:
            chosen[name] = choice[name]
        elif variable["type"] == "custom":
            chosen[name] = variable["current"]["value"]
        elif variable.get("includeAll") and "allValue" in variable:
            chosen[name] = None
        elif variable["type"] == "query":
            offered = sorted(options(prometheus, board, name, chosen))
            values = [value for _, value in offered]
            chosen[name] = values if variable.get("includeAll") else values[0]
    return chosen


def ask(prometheus, board, target, chosen, at=None):
    """Runs an instant query. Returns the labels and value of each series."""
    query = interpolate(target["expr"], board, chosen)
    parameters = {"query": query} | ({"time": at} if at else {})
    result = prometheus.api("query", **parameters)["result"]
    return [(series["metric"], float(series["value"][1])) for series in result]


def ask_over_time(prometheus, board, target, chosen):
    now = prometheus.value("vector(time())")
    query = interpolate(target["expr"], board, chosen)
    result = prometheus.api("query_range", query=query, start=now - 5, end=now, step=1)["result"]
    return [(series["metric"], series["values"]) for series in result]
