"""Recording and alerting rules: promtool's checks and tests, and checks of every alert."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from alerting import PROMETHEUS, alerts, all_rules, optional_files, rule_files
from harness import ROOT, tool
from newer import newer

TESTS = sorted((ROOT / "tests/rules").glob("*.yml"))
NAMES = sorted({rule["alert"] for rule in alerts()})
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
RUNBOOK_URL = "https://example.com/iam-key-exporter/runbooks.md#"
VALUES = yaml.safe_load((PROMETHEUS / "values.yaml").read_text())


@pytest.fixture(params=["installed", "newer"], scope="module")
def promtool(request):
    """Runs promtool, the installed or a newer one. Returns its output."""
    program = tool("promtool") if request.param == "installed" else newer("promtool")

    def run(*arguments):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_configuration_is_valid_and_loads_every_rule_file(promtool):
    said = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert f"SUCCESS: {len(rule_files())} rule files found" in said


def test_the_rules_pass_the_linter(promtool):
    promtool("check", "rules", "--lint=all", "--lint-fatal", *rule_files(), *optional_files())


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_they_should(promtool, file):
    assert "SUCCESS" in promtool("test", "rules", file)


# --- One source ---


def render(folder, values=None):
    """The rules that render.py makes, by file name."""
    options = []
    if values is not None:
        file = folder / "mine.yaml"
        # YAML includes JSON.
        file.write_text(json.dumps(values))
        options = ["--values", file]
    output = folder / "rendered"
    command = [sys.executable, PROMETHEUS / "render.py", "--output", output, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {str(file.relative_to(output)): file.read_text() for file in output.rglob("*.yml")}


def rendered_alerts(folder, values):
    groups = [g for text in render(folder, values).values() for g in yaml.safe_load(text)["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_the_rules_are_what_the_source_renders(tmp_path):
    files = [*rule_files(), *optional_files()]
    shipped = {str(file.relative_to(PROMETHEUS)): file.read_text() for file in files}
    assert render(tmp_path) == shipped


def test_every_value_is_used_and_every_alert_is_in_the_values(tmp_path):
    assert sorted(VALUES["alerts"]) == NAMES
    sources = [*PROMETHEUS.glob("source/*.yaml"), PROMETHEUS / "texts.yaml"]
    text = "".join(file.read_text() for file in sources)
    flat = [name for name in VALUES if name not in ("alerts", "labels", "interval", "urls", "thresholds")]
    flat += [f"thresholds.{name}" for name in VALUES["thresholds"]]
    assert [name for name in flat if f"${{{name}}}" not in text] == []


def test_values_change_what_is_rendered_and_promtool_accepts_it(promtool, tmp_path):
    mine = {
        "selector": 'cluster="production"',
        "urls": {"runbook": "https://wiki.example.org/keys", "status": "", "dashboard": ""},
        "labels": {"namespace": "security"},
        "thresholds": {"report_hours": 12},
        "alerts": {
            "IamOwnerKeysDueSoon": {"severity": "info", "for": "1h", "labels": {"team": "iam"}},
            "IamAccountLeft": {"enabled": False},
        },
    }
    found = rendered_alerts(tmp_path, mine)
    assert "IamAccountLeft" not in found
    due = found["IamOwnerKeysDueSoon"]
    assert due["for"] == "1h"
    assert due["labels"] == {"severity": "info", "namespace": "security", "team": "iam"}
    assert sorted(due["annotations"]) == ["description", "runbook_url", "summary"]
    assert due["annotations"]["runbook_url"] == "https://wiki.example.org/keys#iamownerkeysduesoon"
    assert not any(word in str(found).lower() for word in ["status page", "dashboard"])
    assert "< time() - 12 * 3600" in found["IamCredentialReportStale"]["expr"]
    for rule in found.values():
        queries = re.findall(r"query \(printf ([`\"].*?[`\"]) \$", rule["annotations"]["description"])
        for query in [rule["expr"], *queries]:
            for matchers in re.findall(r"(?<![\w:])iam_\w+(?![\w:])(\{[^}]*\})?", query):
                assert 'cluster="production"' in matchers, rule
    files = sorted((tmp_path / "rendered").rglob("*.yml"))
    promtool("check", "rules", "--lint=all", "--lint-fatal", *files)


def test_an_address_that_ends_with_a_slash_is_the_same_address(tmp_path):
    """The exporter has no page at `//`."""
    found = [rendered_alerts(tmp_path, {"urls": {"status": url}}) for url in ["https://k.example/", "https://k.example"]]
    assert found[0] == found[1]


def test_a_value_that_there_is_not_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tresholds: {}\n")
    command = [sys.executable, PROMETHEUS / "render.py", "--output", tmp_path, "--values", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "there is no value tresholds\n")


# --- The tests ---


def cases(kind):
    """The expectations of each test, of this kind."""
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            yield test.get(kind, [])


def minutes(time):
    """The minutes of `1h5m`, `90m` or `2h`."""
    hours, rest = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", time).groups()
    return int(hours or 0) * 60 + int(rest or 0)


def fires_between(name, case):
    """Whether in this case the alert is silent, then fires, then clears."""
    looks = [look for look in case if look["alertname"] == name]
    looks.sort(key=lambda look: minutes(look["eval_time"]))
    fires = ["exp_alerts" in look for look in looks]
    return True in fires and not fires[0] and not fires[-1]


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tested_not_to_fire_to_fire_and_to_clear(name):
    assert any(fires_between(name, case) for case in cases("alert_rule_test"))


# --- Properties of every rule ---


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ["critical", "warning"]
    links = {"dashboard_url", "status_url"} & set(rule["annotations"])
    assert links in (set(), {"dashboard_url"}, {"dashboard_url", "status_url"})
    assert set(rule["annotations"]) - links == {"description", "runbook_url", "summary"}
    assert rule["annotations"]["runbook_url"] == RUNBOOK_URL + rule["alert"].lower()


def test_every_alert_about_keys_leads_to_them_and_one_about_root_does_not_lead_to_other_keys():
    without = {r["alert"] for r in alerts() if "status_url" not in r["annotations"]}
    of_accounts = {name for name in without if re.match("IamOwner|IamAccessKey|IamRoot|IamRefresh", name)}
    assert of_accounts == {"IamRootMfaMissing", "IamRootUsed"}


def test_only_an_active_key_of_root_wakes_a_person():
    critical = [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "critical"]
    assert critical == ["IamRootAccessKeyActive"]


def test_a_name_has_one_severity():
    """Otherwise an inhibition by name, like that of kube-prometheus, would mute the less severe alert."""
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_no_label_is_a_template_and_no_summary_either():
    """If a label changes, a restart of Prometheus resolves the alert and fires another."""
    for rule in alerts():
        assert not [text for text in rule["labels"].values() if "{{" in text], rule["alert"]
        assert "{{" not in rule["annotations"]["summary"]
        assert "for" not in rule, "it begins again with each restart"
        assert "count_values" not in rule["expr"] or "count by" in rule["expr"]


def test_no_rule_reads_itself_and_no_recording_rule_reads_another():
    recorded = {rule["record"] for rule in all_rules() if "record" in rule}
    for rule in all_rules():
        assert "ALERTS" not in rule["expr"]
        if "record" in rule:
            assert not [name for name in recorded if name in rule["expr"]], rule["record"]
        # A value recorded in this evaluation does not count, because VictoriaMetrics does not have it yet.
        for name in recorded:
            reads = re.findall(rf"(\w+)\(\s*{re.escape(name)}(?:{{[^}}]*}})?\[\w+\]", rule["expr"])
            assert rule["expr"].count(name) == len(reads), rule["expr"]
            assert set(reads) <= {"last_over_time", "max_over_time"}


def test_no_rule_has_a_limit_nor_does_a_default_one_look_at_each_key():
    for file in [*rule_files(), *optional_files()]:
        assert all("limit" not in group for group in yaml.safe_load(file.read_text())["groups"])
    for file in rule_files():
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                assert not re.search(r"\biam_(access_key_|user_)", rule["expr"]), rule


def test_no_rule_knows_a_name_of_a_job():
    assert not [rule for rule in all_rules() if re.search(r"\bjob\s*[=!]", rule["expr"])]


def test_an_alert_outlives_a_restart_of_six_minutes():
    """An alert ends four intervals after Prometheus last sent it, and that may be an interval before the stop."""
    for file in rule_files():
        for group in yaml.safe_load(file.read_text())["groups"]:
            assert 3 * int(group["interval"].removesuffix("m")) >= 6 + int(group["interval"].removesuffix("m"))


# --- Runbooks ---


def test_every_alert_has_a_section_in_the_runbooks_and_every_such_section_an_alert():
    sections = re.findall(r"^## (Iam\w+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(sections) == NAMES
    links_at_the_top = re.findall(r"\(#(iam\w+)\)", RUNBOOKS.split("\n## ")[0])
    assert sorted(links_at_the_top) == sorted(name.lower() for name in NAMES)


def test_every_section_of_an_alert_has_something_to_run_or_to_ask():
    sections = re.split(r"^## (Iam\w+)$", RUNBOOKS, flags=re.MULTILINE)[1:]
    bare = [n for n, text in zip(sections[::2], sections[1::2]) if "```" not in text.split("\n## ")[0]]
    assert bare == []


def test_every_query_in_the_runbooks_is_one(promtool, tmp_path):
    blocks = re.findall(r"^```promql\n(.*?)^```$", RUNBOOKS, re.MULTILINE | re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines()]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"SUCCESS: {len(queries)} rules found" in promtool("check", "rules", file)
    assert len(queries) >= 20
