"""Recording and alerting rules: promtool's opinion, its tests of them, and what holds for every alert."""

import json
import re
import subprocess

import pytest
import yaml
from alerting import PROMETHEUS, alerts, rule_files
from harness import ROOT, tool

TESTS = sorted((ROOT / "tests/rules").glob("*.yml"))
NAMES = sorted({rule["alert"] for rule in alerts()})
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
RUNBOOK_URL = "https://example.com/iam-key-exporter/runbooks.md#"


def promtool(*arguments):
    done = subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_is_valid_and_loads_every_rule_file():
    said = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert f"SUCCESS: {len(rule_files())} rule files found" in said


def test_the_rules_pass_the_linter():
    promtool("check", "rules", "--lint=all", "--lint-fatal", *rule_files())


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_they_should(file):
    assert "SUCCESS" in promtool("test", "rules", file)


def cases(kind):
    """What each test expects, of this kind."""
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            yield test.get(kind, [])


def fires_between(name, case):
    """Whether the case has the alert not firing, then firing, then not firing any more."""
    times = sorted(
        (int(look["eval_time"].removesuffix("m")), "exp_alerts" in look)
        for look in case
        if look["alertname"] == name
    )
    return [fires for _, fires in times] == [False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tested_not_to_fire_to_fire_and_to_clear(name):
    assert any(fires_between(name, case) for case in cases("alert_rule_test"))


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in alerts() if "for" in rule}))
def test_every_alert_that_waits_is_tested_while_it_does(name):
    pending = [
        look
        for case in cases("promql_expr_test")
        for look in case
        if f'alertname="{name}"' in look["expr"] and 'alertstate="pending"' in str(look)
    ]
    assert pending


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ["critical", "warning", "info"]
    assert sorted(rule["annotations"]) == ["description", "runbook_url", "summary"]
    assert rule["annotations"]["runbook_url"] == RUNBOOK_URL + rule["alert"].lower()


def test_every_alert_has_a_section_in_the_runbooks_and_every_such_section_an_alert():
    sections = re.findall(r"^## (Iam\w+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(sections) == NAMES


def test_every_query_in_the_runbooks_is_one(tmp_path):
    blocks = re.findall(r"^```promql\n(.*?)^```$", RUNBOOKS, re.MULTILINE | re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines()]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"SUCCESS: {len(queries)} rules found" in promtool("check", "rules", file)
    assert len(queries) >= len(NAMES)


def test_the_runbooks_are_linked_to_by_one_address():
    """So that one `sed`, the one that access-keys.yml names, is enough."""
    text = "".join(file.read_text() for file in rule_files())
    urls = set(re.findall(r"https://[^\s|#]+", text)) - {"https://…"}
    assert urls == {RUNBOOK_URL.removesuffix("#")}


def test_rules_that_read_themselves_do_so_more_often_than_prometheus_looks_back():
    for file in rule_files():
        for group in yaml.safe_load(file.read_text())["groups"]:
            assert group["interval"] == "1m", group["name"]
