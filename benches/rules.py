"""CPU time that the shipped rules cost Prometheus, beside the rules of before, which joined all keys.

Nobody waits for hours of scrapes. The page of a made-up organization is served with times: each scrape gives half an
hour of samples of some series, until all are in the memory of Prometheus. Then it loads the rules, and nothing else
costs CPU time.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from random import Random
from threading import Thread

import requests
import yaml
from bench import cpu_seconds, free_port, save
from harness import ROOT, Exporter, Process, tool, wait_for

# Accounts, users in each, seconds between evaluations, and how many evaluations are measured.
SIZES = (100, 48, 10, 3), (1_000, 48, 20, 2), (5_000, 97, 60, 2)
# The last commit with rules that joined all keys, and the most keys that they were made for.
BEFORE = "0dbcbc7"
BEFORE_KEYS = 100_000

# How many of all owners have alerts: none, as many as in a fleet that is kept in order, and all that have one in the
# demo, in which a quarter of all users has never rotated a key.
SHARES = {"silent": 0, "few": 0.05, "now": 1}

MINUTE = 60
# The lines of a scrape.
SCRAPED = 300_000
FINDINGS, ROOT_KEYS = "iam_owner_findings", "iam_owner_root_access_keys"
# Series of keys and users. Only the rules of before read them, and none of these looks back.
EACH_KEY = re.compile("iam_(access_key|user)_")
SPARSE = 4 * MINUTE, 3
DENSE = MINUTE, 30
# Times that move on while all is well.
MOVES = re.compile("iam_exporter_page_rendered|iam_refresh_last_success|iam_credential_report_generated")
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
TARGET = 'job="iam-key-exporter",instance="localhost:9718"'
LONGEST = 600


def main():
    save("rules", {"sizes": [measure(*size) for size in SIZES]})


def measure(accounts, users, interval, evaluations):
    """What an evaluation costs with this organization: of the shipped rules, with alerts for some of the owners, of the
    simplest rules with as many alerts, and of those of before."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shipped = shipped_rules(folder / "now", interval)
        bare = bare_rules(folder / "bare", interval)
        before = rules_of_before(folder / "before", interval)
        if accounts * users > BEFORE_KEYS:
            before = []
        samples = SAMPLE.findall(page(folder, accounts, users, read_by([shipped, before])))
        keys = [(labels, float(value)) for name, labels, value in samples if name == "iam_owner_access_keys"]
        figures = {
            "accounts": accounts,
            "keys": int(sum(value for _, value in keys)),
            "owners": sum('status="unrotated"' in labels for labels, _ in keys),
            "series": len(samples),
            "rules": {},
        }
        for name, share in SHARES.items():
            rules = {name: shipped}
            if share == 1:
                rules |= {"bare": bare} | ({"before": before} if before else {})
            figures["rules"] |= evaluated(folder, rules, with_findings(samples, share), interval, evaluations)
        return figures


def with_findings(samples, share):
    """These samples, but only this number of the owners have findings."""
    dice = Random(1)
    chosen = defaultdict(lambda: dice.random() < share)

    def kept(name, labels, value):
        if name == FINDINGS:
            return chosen[labels.partition(",finding=")[0]]
        return name != ROOT_KEYS or chosen[labels]

    return [sample for sample in samples if kept(*sample)]


def shipped_rules(folder, interval):
    """The default rules, evaluated more often."""
    folder.mkdir()
    values = folder / "mine.yaml"
    values.write_text(f"interval: {interval}s\n")
    command = [sys.executable, ROOT / "deploy/prometheus/render.py", "--output", folder, "--values", values]
    subprocess.run(command, check=True, timeout=60)
    return sorted(folder.glob("rules/*.yml"))


def bare_rules(folder, interval):
    """Rules that have as many alerts as the shipped ones on owners, and annotations that are the same for all. What they
    cost is what Prometheus itself needs for this number of alerts."""
    folder.mkdir()
    names = ["summary", "description", "status_url", "dashboard_url", "runbook_url"]
    rules = [
        {
            "alert": f"Iam{finding}",
            "expr": f'{FINDINGS}{{finding="{finding}"}} > 0',
            "labels": {"severity": "warning"},
            "annotations": {name: "The same for all." for name in names},
        }
        for finding in ["unrotated", "due_soon", "never_used", "exemption_ending"]
    ]
    file = folder / "bare.yml"
    file.write_text(json.dumps({"groups": [{"name": "bare", "interval": f"{interval}s", "rules": rules}]}))
    return [file]


def rules_of_before(folder, interval):
    """The rules of before, evaluated as often; none if the history is not there."""
    folder.mkdir()
    git = ["git", "-C", str(ROOT)]
    listed = subprocess.run(
        [*git, "ls-tree", "--name-only", BEFORE, "deploy/prometheus/rules/"], capture_output=True, text=True, timeout=60
    )
    for path in listed.stdout.split():
        text = subprocess.run([*git, "show", f"{BEFORE}:{path}"], capture_output=True, check=True, timeout=60).stdout
        rules = yaml.safe_load(text)
        for group in rules["groups"]:
            group["interval"] = f"{interval}s"
        (folder / Path(path).name).write_text(json.dumps(rules))
    return sorted(folder.glob("*.yml"))


def read_by(rules):
    """The names of the metrics in these rules."""
    texts = [file.read_text() for files in rules for file in files]
    names = {name for text in texts for name in re.findall(r"(?<![\w:])iam_\w+", text)}
    return sorted(names | {"iam_exporter_build_info", "iam_exporter_accounts", "iam_owner_access_keys"})


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


def evaluated(folder, rules, samples, interval, evaluations):
    """What the rules cost, by their names, and what Prometheus says of them."""
    # Samples may be ten minutes ahead of time. Nothing is older than five minutes until then.
    last = int(time.time()) + LONGEST - MINUTE
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    with Scrapes(samples, last) as scrapes, Prometheus(folder, data, scrapes) as process:
        wait_for("all series are scraped", lambda: scrapes.rest == [], LONGEST, every=1)
        # The last scrape is still being read.
        time.sleep(10)
        process.load([])
        idle, seconds = cpu_during(process, 10)
        idle /= seconds
        figures = {}
        for name, files in rules.items():
            figures[name] = cost(process, files, interval, evaluations, idle)
            print(name, figures[name], file=sys.stderr)
        late = time.time() - last
        assert late < 5 * MINUTE, f"the last sample was {late:.0f} s ago"
        return figures


def cost(process, files, interval, evaluations, idle):
    """CPU and wall seconds of one evaluation of all rules of these files."""
    groups = sum(len(yaml.safe_load(file.read_text())["groups"]) for file in files)
    done = lambda: own(process, "prometheus_rule_group_duration_seconds_count")
    before = done()
    failed = own(process, "prometheus_rule_evaluation_failures_total")
    process.load(files)
    wait_for("each group was evaluated", lambda: done() - before >= groups, LONGEST, every=1)
    # Groups begin at different times of the interval, and each begins once in an interval.
    before = done()
    cpu, seconds = cpu_during(process, evaluations * interval)
    count = (done() - before) / groups
    assert count >= 1, "an evaluation takes longer than the interval"
    return {
        "cpu_seconds": (cpu - idle * seconds) / count,
        "wall_seconds": own(process, "prometheus_rule_group_last_duration_seconds"),
        "failed": own(process, "prometheus_rule_evaluation_failures_total") - failed,
        "alerts": process.count('ALERTS{alertname=~"Iam.*"}'),
    }


def cpu_during(process, seconds):
    """The CPU seconds that it takes in this time, and the time that it was."""
    cpu, started = cpu_seconds(process.child.pid), time.monotonic()
    time.sleep(seconds)
    return cpu_seconds(process.child.pid) - cpu, time.monotonic() - started


def lines(name, labels, value, times, unit):
    """A series with its samples, with times in this part of a second."""
    series = f"{name}{{{labels + ',' if labels else ''}{TARGET}}}"
    moves = MOVES.match(name)
    return [f"{series} {at if moves else value} {at * unit}\n" for at in times]


class Scrapes:
    """A server of which each scrape gets further series, each with all its samples. To be used in a `with`."""

    def __init__(self, samples, last):
        # Series of keys have fewer samples. All are of this job only.
        self.rest = rest = [*samples, ("up", "", "1")]

        def times(name):
            step, number = SPARSE if EACH_KEY.match(name) else DENSE
            return range(last - step * (number - 1), last + 1, step)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = []
                while rest and len(body) < SCRAPED:
                    name, labels, value = rest.pop()
                    body += lines(name, labels, value, times(name), 1000)
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("".join(body).encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Prometheus(Process):
    """A Prometheus that scrapes these series."""

    def __init__(self, folder, data, scrapes):
        self.config = folder / "prometheus.yml"
        # With their own time, samples stay when their target goes.
        target = [{"targets": [scrapes.address]}]
        job = {"job_name": "made-up", "honor_labels": True, "scrape_interval": "5s", "scrape_timeout": "5s"}
        self.config.write_text(json.dumps({"scrape_configs": [job | {"static_configs": target}]}))
        port = free_port()
        super().__init__(
            [
                tool("prometheus"),
                f"--config.file={self.config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
            ],
            folder / "prometheus.log",
            rf'"Listening on" address=127\.0\.0\.1:({port})',
        )

    def load(self, files):
        """Scrapes nothing more, and loads the rules of these files."""
        self.config.write_text(json.dumps({"rule_files": [str(file) for file in files]}))
        requests.post(f"{self.url}/-/reload", timeout=LONGEST).raise_for_status()

    def count(self, series):
        result = self.get("/api/v1/query", params={"query": f"count({series})"}).json()["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


def own(process, name):
    """The sum of a metric of Prometheus itself."""
    return sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", process.get("/metrics").text, re.MULTILINE)))


if __name__ == "__main__":
    main()
