"""Every metric and label in rules, dashboards and documentation exists in the exporter.

The exporter's own list of metrics decides. The test splits PromQL into words. That is enough to tell metrics, labels
and functions apart, and finds more than a text search.
"""

import json
import re
import subprocess
from dataclasses import dataclass, field

import pytest
import yaml
from alerting import PROMETHEUS_OWN
from harness import ROOT, exporter_binary

# --- The words of PromQL ---

TOKEN = re.compile(
    r"""
      (?P<space>\s+|\#[^\n]*)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    | (?P<variable>\$\w+|\$\{[^}]*\})
    | (?P<number>\d[\w.]*(?::\d\w*)?)  # also the range and step of a subquery
    | (?P<name>[a-zA-Z_:][\w:]*)
    | (?P<symbol>=~|!~|!=|==|>=|<=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "atan2", "bool", "offset", "start", "end", "inf", "nan"}
# The arguments of functions that are labels. After `...`, all following arguments are.
LABEL_TEXTS = {"label_replace": [0, 2], "label_join": [0, 2, ...], "count_values": [0]}


@dataclass
class Names:
    """The names in an expression: metrics, labels, and the labels of each metric's matchers."""

    metrics: set = field(default_factory=set)
    labels: set = field(default_factory=set)
    made: set = field(default_factory=set)
    matched: set = field(default_factory=set)


def names(expression):
    tokens = [
        (match.lastgroup, match[0])
        for match in TOKEN.finditer(expression)
        if match.lastgroup != "space"
    ] + [("end", "")]
    found = Names()
    calls = []  # The name before each open parenthesis, and the texts inside.
    position = 0
    metric = None
    aggregation = ""  # As in `count_values by (user) ("age", …)`.
    while position < len(tokens) - 1:
        kind, text = tokens[position]
        following = tokens[position + 1][1]
        position += 1
        if kind == "name" and text.lower() in LABEL_LISTS and following == "(":
            end = closing(tokens, position, "(", ")")
            found.labels.update(t for k, t in tokens[position:end] if k == "name")
            position = end
        elif kind == "name":
            word = text.lower() in OPERATORS or following == "(" or following.lower() in LABEL_LISTS
            metric = None if word else text
            if metric:
                found.metrics.add(metric)
            if following == "(":
                calls.append((text.lower(), []))
                position += 1
            elif following.lower() in LABEL_LISTS:
                aggregation = text.lower()
        elif text == "{":
            end = closing(tokens, position - 1, "{", "}")
            for inner in range(position, end):
                if tokens[inner][0] == "name" and re.match("[=!]", tokens[inner + 1][1]):
                    found.labels.add(tokens[inner][1])
                    found.matched.add((metric, tokens[inner][1]))
            position = end
        elif text == "(":
            calls.append((aggregation, []))
            aggregation = ""
        elif text == ")" and calls:
            texts_of_call(found, *calls.pop())
        elif kind == "string" and calls:
            calls[-1][1].append(text[1:-1])
    return found


def closing(tokens, position, opens, closes):
    """The position after the bracket that closes the next one."""
    depth = 0
    while position < len(tokens):
        text = tokens[position][1]
        depth += (text == opens) - (text == closes)
        position += 1
        if text == closes and depth == 0:
            return position
    raise AssertionError(f"no {closes}")


def texts_of_call(found, function, texts):
    """The labels in a function's text arguments. The first is the label that it makes."""
    places = LABEL_TEXTS.get(function, [])
    for place, text in enumerate(texts):
        if place in places or (... in places and place > 1):
            (found.made if place == 0 else found.labels).add(text)


# --- Known names ---

# Prometheus's own.
BUILT_IN = {"up", "ALERTS"}
ALERT = {"alertname", "alertstate", "severity"}
# Service discovery adds these to each series. The rules drop them.
TARGET = set(yaml.safe_load((ROOT / "deploy/prometheus/values.yaml").read_text())["target_labels"])


@dataclass
class Catalogue:
    """The labels of every metric, the metrics and labels that rules record, and the requested tags."""

    labels: dict
    recorded: dict
    tags: set

    def complaints(self, found):
        """The names in an expression that do not exist."""
        known = self.every_label() | found.made
        others = self.recorded.keys() | PROMETHEUS_OWN.keys() | BUILT_IN
        for metric in sorted(found.metrics - self.labels.keys() - others):
            yield f"no metric {metric}"
        for label in sorted(found.labels - known):
            yield f"no label {label}"
        for metric, label in sorted(found.matched, key=str):
            # A tag may be used with any metric. Joins add tags to metrics without them.
            own = self.labels.get(metric, PROMETHEUS_OWN.get(metric))
            if own is not None and label not in own | TARGET | self.tags and label in known:
                yield f"no label {label} of {metric}"

    def every_label(self):
        metrics = [*self.labels.values(), *self.recorded.values(), *PROMETHEUS_OWN.values()]
        return set().union(*metrics, self.tags, TARGET, ALERT)

    def complaints_of_labels(self, labels):
        return [f"no label {label}" for label in sorted(set(labels) - self.every_label())]

    def complaints_of_text(self, text):
        """Words in a text that look like a metric but are not. For `iam_user_.*`, some metric must begin so."""
        for name, rest in re.findall(r"(?<![\w.:/-])((?:iam|process)_[a-z0-9_]*)(\.?\*|\()?", text):
            if not (any(m.startswith(name) for m in self.labels) if rest else name in self.labels):
                yield f"no metric {name}{rest}"


RULE_FILES = sorted((ROOT / "deploy/prometheus").rglob("*.yml"))
ALERTMANAGER = sorted((ROOT / "deploy/alertmanager").rglob("*.yml"))
TEMPLATES = sorted((ROOT / "deploy/alertmanager").rglob("*.tmpl"))
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "dashboards").glob("*.md")) + sorted((ROOT / "deploy").rglob("*.md"))


def rules():
    """The file and the text of every recording rule and alert."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text()).get("groups", []):
            for rule in group["rules"]:
                yield path.name, rule


def asked_tags():
    """The labels of the tags that examples of configurations request."""
    texts = [path.read_text() for path in [*DOCUMENTS, *RULE_FILES]]
    lists = re.findall(r"user_tags: \[([\w, -]+)\]", "\n".join(texts))
    tags = {tag.strip() for found in lists for tag in found.split(",")}
    return {"tag_" + re.sub(r"\W", "_", tag) for tag in tags}


@pytest.fixture(scope="module")
def catalogue():
    done = subprocess.run(
        [exporter_binary(), "metrics-doc"], capture_output=True, text=True, timeout=60, check=True
    )
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \| ", done.stdout, re.MULTILINE)
    labels = {metric: set(re.findall(r"`(\w+)`", cell)) for metric, cell in rows}
    assert labels["iam_access_key_unrotated"] == {"account_id", "user", "key"}
    tags = asked_tags()
    for own in labels.values():
        if "tag_NAME" in own:
            own |= tags
    recorded = {}
    for _, rule in rules():
        if "record" in rule:
            recorded.setdefault(rule["record"], set()).update(rule.get("labels", {}))
    return Catalogue(labels, recorded, tags)


# --- Tests of this test ---

SAMPLES = {
    "sum by (account_id) (iam_access_key_unrotated)": [],
    "sum by (acount_id) (iam_access_key_unrotated)": ["no label acount_id"],
    "sum(iam_access_key_unrotated) by (acount_id)": ["no label acount_id"],
    "sum(iam_access_keys_unrotated)": ["no metric iam_access_keys_unrotated"],
    'iam_access_keys{status="active"} > 0': [],
    'iam_access_keys{state="active"}': ["no label state of iam_access_keys"],
    'iam_access_keys{stauts!~"a|b", job="x"}': ["no label stauts"],
    "iam_users + on (account) group_left (acount_name) iam_account_info": [
        "no label account",
        "no label acount_name",
    ],
    "increase(iam_refresh_failures_total[5m] offset 1h) # iam_nothing": [],
    "rate(iam_refresh_failure_total[$__rate_interval])": ["no metric iam_refresh_failure_total"],
    "iam_user_tag * $max_age / 9e3 == bool Inf": ["no metric iam_user_tag"],
    'label_replace(iam_users, "text", "no_label", "acount_id", "")': ["no label acount_id"],
    'sum by (text) (label_replace(iam_users, "text", "$1", "account_id", "(.*)"))': [],
    'label_join(iam_users, "text", "-", "account_id", "accuont_name")': ["no label accuont_name"],
    'count_values("age", iam_access_key_age_days)': [],
    'sum by (age) (count_values by (user) ("age", iam_access_key_age_days))': [],
    'up{job="iam"} == 0 and on (job, instance) process_open_fds unless absent(upp)': [
        "no metric upp"
    ],
    'iam_user_info{tag_team=~"$team"}': [],
    'iam_user_info{tag_taem=~"$team"}': ["no label tag_taem"],
    'sum by (tag_team) (iam_owner_access_keys{status="unrotated", account_name=~"a"})': [],
    'iam_owner_root_access_keys{status="unrotated"}': [
        "no label status of iam_owner_root_access_keys"
    ],
    "account:iam_made_up:count": ["no metric account:iam_made_up:count"],
    "max without (instance, pod, nod) (iam_owner_access_keys)": ["no label nod"],
    'prometheus_notifications_dropped_total{rule_group="a"}': [
        "no label rule_group of prometheus_notifications_dropped_total"
    ],
    "prometheus_notifications_lost_total": ["no metric prometheus_notifications_lost_total"],
}


@pytest.mark.parametrize("expression", SAMPLES)
def test_a_misspelt_name_is_found(catalogue, expression):
    assert list(catalogue.complaints(names(expression))) == SAMPLES[expression]


def test_a_misspelt_name_in_a_text_is_found(catalogue):
    text = "`iam_users`, iam_userz, iam_user_.*|iam_usr_.*, iam_user_(m|t).*, x.iam_userz, process_fds"
    complaints = ["no metric iam_userz", "no metric iam_usr_.*", "no metric process_fds"]
    assert list(catalogue.complaints_of_text(text)) == complaints


# --- Rules ---


def labels_in_template(text):
    """The labels in a template of Prometheus or Alertmanager."""
    return set(re.findall(r"(?:\$labels|Labels)\.(\w+)", text)) | set(
        re.findall(r"\blabel \"(\w+)\"", text)
    )


def queries_in_template(text):
    """The queries in a template. printf inserts labels into them."""
    return [
        next(filter(None, found)).replace("%q", '""')
        for found in re.findall(r"printf (?:`([^`]+)`|\"((?:[^\"\\]|\\.)+)\")[^}]*\| query", text)
    ]


def test_there_are_rules():
    assert sum("alert" in rule for _, rule in rules()) > 10


@pytest.mark.parametrize(
    "rule", [pytest.param(r, id=f"{f}-{r.get('alert') or r['record']}") for f, r in rules()]
)
def test_a_rule_names_what_exists(catalogue, rule):
    found = names(rule["expr"])
    complaints = list(catalogue.complaints(found))
    for text in rule.get("annotations", {}).values():
        complaints += catalogue.complaints_of_labels(labels_in_template(text) - found.made)
        for query in queries_in_template(text):
            complaints += catalogue.complaints(names(query))
    assert complaints == []


def test_queries_in_annotations_are_seen():
    texts = [text for _, rule in rules() for text in rule.get("annotations", {}).values()]
    assert sum(text.count("| query") for text in texts) == sum(
        len(queries_in_template(text)) for text in texts
    )


def labels_of_alertmanager(value):
    """The labels in routes, groups and inhibitions."""
    if isinstance(value, list):
        for inner in value:
            yield from labels_of_alertmanager(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("group_by", "equal"):
                yield from inner
            elif name.endswith("matchers"):
                yield from (re.match(r"\w+", matcher)[0] for matcher in inner)
            else:
                yield from labels_of_alertmanager(inner)


@pytest.mark.parametrize("path", ALERTMANAGER, ids=lambda path: path.name)
def test_alertmanager_names_what_exists(catalogue, path):
    labels = set(labels_of_alertmanager(yaml.safe_load(path.read_text())))
    assert labels
    assert catalogue.complaints_of_labels(labels) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_name_what_exists(catalogue, path):
    labels = labels_in_template(path.read_text())
    assert labels
    assert catalogue.complaints_of_labels(labels) == []


# --- Dashboards ---


def queries_of(board):
    """Every query of a dashboard: its place and expression. A query with a variable label comes once for each value."""
    chosen = [v for v in board["templating"]["list"] if v["type"] == "custom"]
    for where, expression in written_queries_of(board):
        expressions = [expression]
        for variable in chosen:
            values = [option["value"] for option in variable["options"]]
            if (name := f"${variable['name']}") in expression:
                expressions = [e.replace(name, value) for e in expressions for value in values]
        yield from ((where, each) for each in expressions)


def written_queries_of(board):
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            values = re.fullmatch(r"label_values\((.+), *(\w+)\)", query)
            whole = values and f"count by ({values[2]}) ({values[1]})"
            yield variable["name"], whole or re.fullmatch(r"query_result\((.+)\)", query)[1]


def labels_shown(board):
    """The labels in legends, links and columns of tables."""
    text = json.dumps(board["panels"])
    found = set(re.findall(r"\{\{(\w+)\}\}", text))
    found |= set(re.findall(r"\$\{__(?:data\.fields|field\.labels)\.(\w+)", text))
    for panel in board["panels"]:
        for step in panel.get("transformations", []):
            columns = step["options"].get("renameByName", {})
            # A matrix names its first column after two others.
            found |= {n for n in columns if not n.startswith("Value") and "\\" not in n}
    return found


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_names_what_exists(catalogue, path):
    board = json.loads(path.read_text())
    complaints = [
        f"{where}: {complaint}"
        for where, expression in queries_of(board)
        for complaint in catalogue.complaints(names(expression))
    ]
    made = set().union(*(names(expression).made for _, expression in queries_of(board)))
    labels = labels_shown(board) - made
    assert labels
    assert complaints + catalogue.complaints_of_labels(labels) == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_works_without_the_rules(catalogue, path):
    board = json.loads(path.read_text())
    named = set().union(*(names(expression).metrics for _, expression in queries_of(board)))
    assert named
    assert named & catalogue.recorded.keys() == set()


# --- Documentation ---


def pieces_of_code(text):
    """PromQL in a document, in fenced blocks and between backticks, and samples of pages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "promql":
            yield body
        else:
            yield from re.findall(r"\b(?:iam|process)_\w+\{[^}\n]*\}", body)
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        if re.search(r"\biam_\w+ *[{)]", span):
            yield span


def labels_in_tables(text):
    """Metric and label of every row that begins with a metric and has a cell with only labels."""
    for row in re.findall(r"^\| `((?:iam|process)_\w+)` \|(.*)\|$", text, re.MULTILINE):
        for cell in row[1].split(" | "):
            if re.fullmatch(r"[ ,…]*(`\w+`[ ,…]*)+", cell):
                yield from ((row[0], label) for label in re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_what_exists(catalogue, path):
    text = path.read_text()
    complaints = list(catalogue.complaints_of_text(text))
    for piece in pieces_of_code(text):
        complaints += catalogue.complaints(names(piece))
    for metric, label in labels_in_tables(text):
        if label not in catalogue.labels.get(metric, set()):
            complaints.append(f"no label {label} of {metric}")
    assert complaints == []


def test_the_readme_has_queries_and_tables_to_check():
    text = (ROOT / "README.md").read_text()
    assert any("iam_user_tags" in names(piece).metrics for piece in pieces_of_code(text))
    assert ("iam_access_key_unrotated", "key") in labels_in_tables(text)


# --- Links ---

LINKED = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINKED += sorted(set(DOCUMENTS) - set(LINKED))


def without_code(text):
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """The anchors of the headings, by GitHub's rules: a repeated heading gets a number."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w -]", "", shown).replace(" ", "-")
        numbered = (anchor, *(f"{anchor}-{number}" for number in range(1, len(found) + 1)))
        found.add(next(name for name in numbered if name not in found))
    return found


def dead_links(path, page):
    """Links and pictures of a page that lead to a missing file or heading."""
    text = re.sub(r"`[^`\n]+`", "", without_code(page))
    for link in re.findall(r"(?:\]\(|src(?:set)?=\")([^)\s\"]+)", text):
        file, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = path.parent / file
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target.read_text() if file else page):
            yield f"{link}: no such heading"


def test_a_dead_link_is_found():
    page = """# Two words: `code`, and [a link](README.md)
# Same
# Same
[1](#two-words-code-and-a-link) [2](#same-1) [3](docs/install.md#kubernetes) [4](docs) [5](https://example.com/#a)
`[6](none)` [7](#same-2) [8](docs/none.md) [9](docs/install.md#kubernets) <img src="docs/images/none.png">
"""
    assert list(dead_links(ROOT / "made-up.md", page)) == [
        "#same-2: no such heading",
        "docs/none.md: no such file",
        "docs/install.md#kubernets: no such heading",
        "docs/images/none.png: no such file",
    ]


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert list(dead_links(path, path.read_text())) == []
