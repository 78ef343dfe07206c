"""CPU time of Prometheus for the rules of deploy/, beside the earlier rules, which joined all keys.

To save hours of scrapes, the page of a made-up organization is served with timestamps. Each scrape adds half an hour of
samples of some series, until Prometheus has all of them in memory. Then it loads the rules and does nothing else.
Findings come last: first those of some owners, and then those of all.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from random import Random

import requests
import yaml
from bench import cpu_seconds, free_port, save
from harness import ROOT, Exporter, MadeUpPage, Process, tool, wait_for

# Accounts, users in each, and the seconds between evaluations: of rules with few alerts, and of all others. An
# evaluation takes less.
SIZES = (100, 48, 5, 10), (1_000, 48, 10, 40), (5_000, 97, 20, None)
# The last commit with rules that joined all keys. They were made for at most 100,000.
BEFORE = "0dbcbc7"
# The share of owners with alerts in a well-kept fleet. In the demo all have one, because a quarter of all users has
# never rotated a key.
FEW = 0.05
# How often rules with few alerts are evaluated, and all others. Prometheus collects its garbage beside some of these.
EVALUATIONS, EVALUATIONS_OF_OTHERS = 6, 2
# How often the rules of another commit and those of deploy/ are measured alternately.
ROUNDS = 2

MINUTE = 60
# The lines of a scrape.
SCRAPED = 300_000
FINDINGS = re.compile("iam_owner_(findings|most_urgent_finding|less_urgent_findings|finding_timestamp_seconds)$")
# These have an alert for some values. Most accounts of the demo have one.
ROOT_KEYS = "iam_owner_root_access_keys"
VIOLATIONS = "iam_control_violations"
ROOT_CONTROL = re.compile('control="root_(mfa|not_used)"')
CONTROL_DATA = "iam_exporter_control_data_available"
# Series of keys and users. Only the earlier rules read them, without looking back.
EACH_KEY = re.compile("iam_(access_key|user)_")
SPARSE = 4 * MINUTE, 3
DENSE = MINUTE, 30
# Times that change while all is well.
MOVES = re.compile("iam_exporter_page_rendered|iam_refresh_last_success|iam_credential_report_generated")
# No rule reads these. The last are reasons of failures, which only the text of an alert uses, and that alert does not
# fire here.
OWNERS = "iam_owner_access_keys"
UNREAD = re.compile('reason="(?!clock")')
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
TARGET = 'job="iam-key-exporter",instance="localhost:9718"'
LONGEST = 600


def main():
    arguments = argparse.ArgumentParser(description="Measures the rules and writes target/bench/rules.json.")
    arguments.add_argument("--accounts", type=int, choices=[size[0] for size in SIZES], help="only this size")
    arguments.add_argument(
        "--beside", metavar="COMMIT", help="only print the cost of these rules and of those of COMMIT, alternately"
    )
    options = arguments.parse_args()
    sizes = [size for size in SIZES if options.accounts in (None, size[0])]
    if options.beside:
        for size in sizes:
            compare(*size, options.beside)
    else:
        save("rules", {"sizes": [measure(*size) for size in sizes]})


def compare(accounts, users, interval, _, commit):
    """Prints the cost of the shipped rules and of those of a commit, with alerts for some of the owners."""
    # A shorter interval leaves time for both before the samples are old.
    interval //= 2
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        both = {"few": shipped_rules(folder / "shipped", interval)}
        both[f"few of {commit}"] = rules_of(commit, folder / "theirs", interval)
        assert all(both.values()), f"there is no commit {commit} with rules"
        samples = SAMPLE.findall(page(folder, accounts, users, read_by(both.values())))
        silent, few, _ = staged(samples)
        evaluated(folder, [(silent + few, {f"{name}, {turn}": both[name] for turn in range(ROUNDS) for name in both})])


def measure(accounts, users, interval, longer):
    """The cost of an evaluation with this organization.

    There are four kinds of rules: those of deploy/ with alerts for some of the owners, those of deploy/ with alerts for
    all, the simplest rules with as many alerts, and the earlier ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shipped = shipped_rules(folder / "shipped", interval)
        others = other_rules(folder, longer) if longer else {}
        names = read_by([shipped, *others.values()])
        samples = SAMPLE.findall(page(folder, accounts, users, names))
        owners = [(labels, int(value)) for name, labels, value in samples if name == OWNERS]
        silent, few, rest = staged(samples)
        stages = [(silent, {"silent": shipped}), (few, {"few": shipped}), (rest, others)]
        return {
            "accounts": accounts,
            "keys": sum(keys for _, keys in owners),
            "owners": sum('status="unrotated"' in labels for labels, _ in owners),
            "rules": evaluated(folder, [stage for stage in stages if stage[1]]),
        }


def other_rules(folder, interval):
    """Rules to evaluate with alerts for all owners."""
    found = {
        "now": shipped_rules(folder / "now", interval),
        "bare": bare_rules(folder / "bare", interval),
        "before": rules_of(BEFORE, folder / "before", interval),
    }
    return {name: files for name, files in found.items() if files}


def staged(samples):
    """Three stages of samples: all without findings, the findings of some owners, and those of all others."""
    dice = Random(1)
    is_one_of_few = defaultdict(lambda: dice.random() < FEW)
    silent, few, rest = [], [], []
    for name, labels, value in samples:
        if name == OWNERS or UNREAD.search(labels):
            continue
        if has_alert(name, labels, value):
            if name == ROOT_KEYS:
                # Without any number of root's keys, another alert would fire.
                silent.append((name, f'{labels},replica="other"', "0"))
            found_with = re.sub(",(finding|control|data)=.*", "", labels)
            (few if is_one_of_few[found_with] else rest).append((name, labels, value))
        else:
            silent.append((name, labels, value))
    return silent, few, rest


def has_alert(name, labels, value):
    if name == CONTROL_DATA:
        return value == "0"
    of_root = name == ROOT_KEYS or name == VIOLATIONS and ROOT_CONTROL.search(labels)
    return FINDINGS.match(name) or of_root and value != "0"


def shipped_rules(folder, interval):
    """The default rules, evaluated more often."""
    folder.mkdir()
    values = folder / "mine.yaml"
    values.write_text(f"interval: {interval}s\n")
    command = [sys.executable, ROOT / "deploy/prometheus/render.py", "--output", folder, "--values", values]
    subprocess.run(command, check=True, timeout=60)
    return sorted(folder.glob("rules/*.yml"))


def bare_rules(folder, interval):
    """Rules with as many alerts on owners as those of deploy/, and the same annotations for all.

    Their cost is the cost of Prometheus itself for this number of alerts.
    """
    folder.mkdir()
    names = ["summary", "description", "status_url", "dashboard_url", "runbook_url"]
    rules = [
        {
            "alert": f"Iam{finding}",
            "expr": f'iam_owner_most_urgent_finding{{finding="{finding}"}} > 0',
            "labels": {"severity": "warning"},
            "annotations": {name: "The same for all." for name in names},
        }
        for finding in ["unrotated", "due_soon", "never_used", "exemption_ending"]
    ]
    file = folder / "bare.yml"
    file.write_text(json.dumps({"groups": [{"name": "bare", "interval": f"{interval}s", "rules": rules}]}))
    return [file]


def rules_of(commit, folder, interval):
    """The default rules of a commit, evaluated as often, or no rules if the history is not available."""
    folder.mkdir()
    git = ["git", "-C", str(ROOT)]
    listed = subprocess.run(
        [*git, "ls-tree", "--name-only", commit, "deploy/prometheus/rules/"], capture_output=True, text=True, timeout=60
    )
    for path in listed.stdout.split():
        text = subprocess.run([*git, "show", f"{commit}:{path}"], capture_output=True, check=True, timeout=60).stdout
        rules = yaml.safe_load(text)
        for group in rules["groups"]:
            group["interval"] = f"{interval}s"
        (folder / Path(path).name).write_text(json.dumps(rules))
    return sorted(folder.glob("*.yml"))


def read_by(rules):
    """The names of the metrics in these rules."""
    texts = [file.read_text() for files in rules for file in files]
    names = {name for text in texts for name in re.findall(r"(?<![\w:])iam_\w+", text)}
    return sorted(names | {"iam_exporter_build_info", "iam_exporter_accounts", OWNERS})


def page(folder, accounts, users, names):
    demo = ("demo", f"--accounts={accounts}", f"--users={users}", f"--metrics.allowlist={'|'.join(names)}")
    with Exporter(folder, *demo) as exporter:
        wait_for("all accounts were read", lambda: exporter.get("/-/ready").ok, LONGEST)
        # Tags come a moment later than reports.
        wait_for("the page is whole", lambda: is_whole(exporter, accounts), LONGEST, every=5)
        return exporter.page_bytes("gzip").decode()


def is_whole(exporter, accounts):
    text = exporter.page_bytes("gzip").decode()
    return f'iam_exporter_accounts{{state="ok"}} {accounts}\n' in text and 'tag_team="payments"' in text


def evaluated(folder, stages):
    """The cost of each stage's rules, after its samples have arrived."""
    # Samples may be ten minutes ahead of time. Then nothing is older than five minutes until the end.
    last = int(time.time()) + LONGEST - MINUTE
    figures = {}
    with Scrapes(last) as scrapes, Prometheus(folder, scrapes) as process:
        for samples, rules in stages:
            scrapes.add(samples)
            process.scrape()
            wait_for("all series are scraped", lambda: scrapes.is_over, LONGEST, every=1)
            kept = own(process, "prometheus_tsdb_head_samples_appended_total")
            assert kept >= scrapes.served, f"of {scrapes.served} samples only {kept:.0f} were kept: a scrape took too long"
            process.load([])
            idle = idle_share(process)
            for name, files in rules.items():
                number = EVALUATIONS if name.startswith(("silent", "few")) else EVALUATIONS_OF_OTHERS
                figures[name] = cost(process, files, idle, number)
                print(name, figures[name], file=sys.stderr)
                assert name != "silent" or figures[name]["alerts"] == 0, "an alert fires without a finding"
    late = time.time() - last
    assert late < 5 * MINUTE, f"the last sample was {late:.0f} s ago"
    return figures


def cost(process, files, idle, evaluations):
    """CPU and wall seconds of one evaluation of all rules of these files, and Prometheus's own figures."""
    groups = sum(len(yaml.safe_load(file.read_text())["groups"]) for file in files)
    failed = own(process, "prometheus_rule_evaluation_failures_total")
    process.load(files)
    # First, rules restore the state of alerts from before a restart.
    cpu_of_evaluations(process, groups)
    cpu, seconds = cpu_of_evaluations(process, evaluations * groups)
    figures = {
        "cpu_seconds": (cpu - idle * seconds) / evaluations,
        "wall_seconds": own(process, "prometheus_rule_group_last_duration_seconds"),
        "failed": own(process, "prometheus_rule_evaluation_failures_total") - failed,
        "alerts": process.count('ALERTS{alertname=~"Iam.*"}'),
    }
    process.load([])
    return figures


def cpu_of_evaluations(process, number):
    """CPU and wall seconds until this many more groups were evaluated.

    Each group begins at its own time in the interval. So between two ends of the same group, every group is evaluated
    once.
    """
    done = lambda: own(process, "prometheus_rule_group_duration_seconds_count")
    first = done()
    return cpu_until(process, lambda: done() >= first + number)


def idle_share(process):
    """The share of a core that Prometheus uses without rules."""
    end = time.monotonic() + 10
    cpu, seconds = cpu_until(process, lambda: process.get("/metrics") and time.monotonic() > end)
    return cpu / seconds


def cpu_until(process, condition):
    """The CPU seconds until the condition is true, and the time at that moment. It is checked each second."""
    cpu, started = cpu_seconds(process.child.pid), time.monotonic()
    wait_for("the evaluations", condition, LONGEST, every=1)
    return cpu_seconds(process.child.pid) - cpu, time.monotonic() - started


def lines(name, labels, value, times):
    """A series with its samples."""
    series = f"{name}{{{labels + ',' if labels else ''}{TARGET}}}"
    moves = MOVES.match(name)
    return [f"{series} {at if moves else value} {at * 1000}\n" for at in times]


class Scrapes(MadeUpPage):
    """A server whose every scrape has further series, each with all its samples. Use it in a `with`."""

    def __init__(self, last):
        super().__init__()
        # The body for this job. Prometheus may scrape others.
        self.rest, self.last = [("up", "", "1")], last
        self.served, self.is_over = 0, False

    def add(self, samples):
        self.rest += samples
        self.is_over = False

    def text(self):
        # Prometheus has read everything before this.
        self.is_over = not self.rest
        found = []
        while self.rest and len(found) < SCRAPED:
            name, labels, value = self.rest.pop()
            found += lines(name, labels, value, self.times(name))
        self.served += len(found)
        return "".join(found)

    def times(self, name):
        step, number = SPARSE if EACH_KEY.match(name) else DENSE
        return range(self.last - step * (number - 1), self.last + 1, step)


class Prometheus(Process):
    """A Prometheus that scrapes these series, or evaluates rules."""

    def __init__(self, folder, scrapes):
        self.config = folder / "prometheus.yml"
        self.config.write_text("{}")
        # Samples with timestamps stay when their target disappears.
        job = {"job_name": "made-up", "honor_labels": True, "scrape_interval": "10s", "scrape_timeout": "10s"}
        self.jobs = [job | {"static_configs": [{"targets": [scrapes.address]}]}]
        port = free_port()
        super().__init__(
            [
                tool("prometheus"),
                f"--config.file={self.config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
            ],
            folder / "prometheus.log",
            rf'"Listening on" address=127\.0\.0\.1:({port})',
        )

    def scrape(self):
        self.configure({"scrape_configs": self.jobs})

    def load(self, files):
        """Stops scraping, and loads the rules of these files."""
        self.configure({"rule_files": [str(file) for file in files]})

    def configure(self, config):
        self.config.write_text(json.dumps(config))
        requests.post(f"{self.url}/-/reload", timeout=LONGEST).raise_for_status()

    def count(self, series):
        result = self.get("/api/v1/query", params={"query": f"count({series})"}).json()["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


def own(process, name):
    """The sum of one of Prometheus's own metrics."""
    return sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", process.get("/metrics").text, re.MULTILINE)))


if __name__ == "__main__":
    main()
