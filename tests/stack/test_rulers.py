"""One story for every program that evaluates rules: Prometheus 2 and 3, and vmalert with VictoriaMetrics.

The exporter's page is made up, so that the test decides its content. Everything else is real: scrapes, rules,
Alertmanager. Seconds stand for minutes. tests/rules/story.yml has the same story over days.
"""

import json
import re
import socket
import time
from contextlib import ExitStack
from itertools import product

import pytest
import requests
from alerting import (
    PROMETHEUS_OWN,
    Alertmanager,
    Webhooks,
    alertmanager_config,
    rendered_rules,
    to_webhooks,
)
from harness import MadeUpPage, Process, tool, wait_for
from newer import newer

PLATFORM, PAYMENTS = "111111111111", "222222222222"


class Page(MadeUpPage):
    """A made-up page of an exporter. It may also not respond."""

    def __init__(self):
        self.answers = True
        # The number of unrotated keys of each account. None if no refresh has succeeded since the start.
        self.accounts = {PLATFORM: 0, PAYMENTS: 1}
        # When the last refresh of an account that hangs ended, and accounts that were never tried.
        self.hangs = {}
        self.pending = 0
        # Root's keys, whether root lacks MFA, and the number of old API keys of each account. None if it is not known.
        self.root_keys, self.no_mfa, self.api_keys = ({PLATFORM: 0, PAYMENTS: 0} for _ in range(3))
        # Each owner in an account has these findings.
        self.owners, self.findings = 1, ["unrotated"]
        super().__init__()

    def text(self):
        if not self.answers:
            return None
        unread = sum(keys is None for keys in self.accounts.values())
        lines = [
            'iam_exporter_build_info{version="1"} 1',
            "iam_exporter_discovery_success 1",
            f'iam_exporter_accounts{{state="pending"}} {self.pending}',
            f'iam_exporter_accounts{{state="failing"}} {unread}',
            f'iam_exporter_accounts{{state="ok"}} {len(self.accounts) - unread}',
        ]
        for account, keys in self.accounts.items():
            lines.append(f'iam_refresh_success{{account_id="{account}"}} {int(keys is not None)}')
            ended = self.hangs.get(account, time.time())
            if keys is not None:
                name = "iam_refresh_last_success_timestamp_seconds"
                lines.append(f'{name}{{account_id="{account}"}} {ended:.0f}')
            if keys is not None:
                team = "platform" if account == PLATFORM else "payments"
                owner = f'account_id="{account}",account_name="",tag_team="{team}"'
                for number, finding in product(range(self.owners), self.findings if keys else []):
                    own = f'{owner},tag_number="{number or ""}",finding="{finding}"'
                    lines.append(f"iam_owner_most_urgent_finding{{{own}}} {keys}")
                    lines.append(f"iam_owner_less_urgent_findings{{{own}}} 0")
                    lines.append(f"iam_owner_finding_timestamp_seconds{{{own}}} 1735689600")
                lines.append(f'iam_unrotated_keys_total{{account_id="{account}"}} {keys}')
                lines += self.others(account, owner)
        return "\n".join(lines) + "\n"

    def others(self, account, owner):
        """What else is known of an account."""
        if (keys := self.root_keys.get(account)) is not None:
            yield f'iam_owner_root_access_keys{{account_id="{account}",account_name=""}} {keys}'
        if (violations := self.no_mfa.get(account)) is not None:
            yield f'iam_control_violations{{account_id="{account}",control="root_mfa"}} {violations}'
        if (old := self.api_keys.get(account)) is not None:
            yield f'iam_unrotated_service_credentials{{account_id="{account}"}} {old}'
            if old:
                own = f'{owner},finding="unrotated_service_credential"'
                yield f"iam_owner_findings{{{own}}} {old}"
                yield f"iam_owner_finding_timestamp_seconds{{{own}}} 1735689600"


def free_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return reserved.getsockname()[1]


def scrape_config(page):
    """The name of the job does not matter."""
    job = {"job_name": "anything/but/ours", "static_configs": [{"targets": [page.address]}]}
    return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}


def prometheus(program, folder, page, alertmanager, rules, resend="1s"):
    """Prometheus with these rules."""
    address = alertmanager.url.removeprefix("http://")
    config = scrape_config(page) | {
        "rule_files": [rules],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]},
    }
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))
    return Process(
        [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--web.listen-address=127.0.0.1:0",
            f"--rules.alert.resend-delay={resend}",
        ],
        folder / "prometheus.log",
        r'"Listening on" (?:component=web )?address=127\.0\.0\.1:(\d+)',
    )


def victoria_metrics(folder, page):
    """VictoriaMetrics, which scrapes the page."""
    file = folder / "scrape.yml"
    file.write_text(json.dumps(scrape_config(page)))
    port = free_port()
    return Process(
        [
            newer("victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-storageDataPath={folder / 'store'}",
            f"-promscrape.config={file}",
            "-search.latencyOffset=0s",
            "-memory.allowedBytes=128MB",
        ],
        folder / "victoria-metrics.log",
        rf"started server at http://127\.0\.0\.1:({port})/",
    )


def vmalert(folder, store, alertmanager, rules):
    """vmalert, which evaluates the rules and stores the results in VictoriaMetrics."""
    port = free_port()
    return Process(
        [
            newer("vmalert"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-rule={rules}",
            f"-datasource.url={store.url}",
            f"-remoteWrite.url={store.url}",
            "-remoteWrite.flushInterval=200ms",
            f"-remoteRead.url={store.url}",
            f"-notifier.url={alertmanager.url}",
            # The default is 30 seconds, because a sample takes a moment until queries find it.
            "-rule.evalDelay=3s",
            "-rule.resendDelay=1s",
        ],
        folder / "vmalert.log",
        rf"started server at http://127\.0\.0\.1:({port})/",
    )


@pytest.fixture(params=["prometheus 2", "prometheus 3", "vmalert"])
def stage(request, tmp_path):
    """The page, and the messages of the receivers: alert, account and status, without repetitions."""
    # VictoriaMetrics can take ten seconds to find a new series. The rules must have recorded values to look back on by
    # then.
    values = {"interval": "2s", "wait": "16s", "remember": "1h", "slack_seconds": 5}
    values["thresholds"] = {"account_left_for": "1h", "refresh_seconds": 10}
    rules = rendered_rules(tmp_path / "rules", values)
    with ExitStack() as running:
        page = running.enter_context(Page())
        webhooks = running.enter_context(Webhooks())
        config = to_webhooks(alertmanager_config(), webhooks.address)
        manager = running.enter_context(Alertmanager(tmp_path, config))
        if request.param == "vmalert":
            store = running.enter_context(victoria_metrics(tmp_path, page))
            running.enter_context(vmalert(tmp_path, store, manager, rules))
        else:
            find = tool if request.param == "prometheus 2" else newer
            running.enter_context(prometheus(find("prometheus"), tmp_path, page, manager, rules))
        yield page, webhooks


def told(webhooks, name, account=""):
    """The states of an alert in messages to security, without repetitions."""
    states = []
    for message in webhooks.at("/security-team"):
        for alert in message["alerts"]:
            labels = alert["labels"]
            if labels["alertname"] == name and labels.get("account_id", "") == account:
                if states[-1:] != [alert["status"]]:
                    states.append(alert["status"])
    return states


KEYS = "IamOwnerKeysUnrotated"


def test_the_story(stage):
    page, webhooks = stage

    def wait(name, account, states):
        wait_for(f"{name} {account} {states}", lambda: told(webhooks, name, account) == states, seconds=90)

    wait(KEYS, PAYMENTS, ["firing"])
    assert told(webhooks, KEYS, PLATFORM) == []
    # A key gets too old and is rotated. Then another one gets too old.
    page.accounts[PLATFORM] = 1
    wait(KEYS, PLATFORM, ["firing"])
    page.accounts[PLATFORM] = 0
    wait(KEYS, PLATFORM, ["firing", "resolved"])
    page.accounts[PLATFORM] = 2
    again = ["firing", "resolved", "firing"]
    wait(KEYS, PLATFORM, again)
    # The exporter stops, for longer than every waiting time.
    page.answers = False
    wait("IamKeyExporterDown", "", ["firing"])
    time.sleep(20)
    # It comes back and cannot read an account, for longer than every waiting time.
    page.accounts[PLATFORM] = None
    page.answers = True
    wait("IamKeyExporterDown", "", ["firing", "resolved"])
    wait("IamRefreshFailing", PLATFORM, ["firing"])
    time.sleep(20)
    assert told(webhooks, KEYS, PLATFORM) == again
    assert told(webhooks, KEYS, PAYMENTS) == ["firing"]
    # The exporter reads the account again, and the key is rotated. The other account leaves.
    page.accounts[PLATFORM] = 0
    wait(KEYS, PLATFORM, [*again, "resolved"])
    assert told(webhooks, KEYS, PAYMENTS) == ["firing"]
    del page.accounts[PAYMENTS]
    wait(KEYS, PAYMENTS, ["firing", "resolved"])
    wait("IamAccountLeft", PAYMENTS, ["firing"])
    # Not before the first scrape either.
    assert told(webhooks, "IamKeyExporterAbsent") == []


def test_an_alert_stays_while_nobody_knows_what_it_is_about(stage):
    """The account is read all the time, but root's row, a permission and the list of API keys are missing."""
    page, webhooks = stage
    names = ["IamRootAccessKeyActive", "IamRootMfaMissing", "IamOwnerServiceCredentialsUnrotated"]

    def wait(states):
        for name in names:
            wait_for(f"{name} {states}", lambda: told(webhooks, name, PLATFORM) == states, seconds=90)

    def set_all(value):
        for known in [page.root_keys, page.no_mfa, page.api_keys]:
            known[PLATFORM] = value

    wait_for("an alert on keys", lambda: told(webhooks, KEYS, PAYMENTS), seconds=90)
    set_all(1)
    wait(["firing"])
    set_all(None)
    wait_for("what is missing", lambda: told(webhooks, "IamKeyExporterRootNotDecided", PLATFORM), seconds=90)
    # Longer than anything waits.
    time.sleep(20)
    wait(["firing"])
    set_all(0)
    wait(["firing", "resolved"])
    assert [name for name in names if told(webhooks, name, PAYMENTS)] == []


def test_an_account_that_fails_hangs_or_is_never_tried_is_an_alert(stage):
    """A panic counts as a failed refresh."""
    page, webhooks = stage
    security = lambda name, account: told(webhooks, name, account)
    wait_for("an alert on keys", lambda: security(KEYS, PAYMENTS), seconds=90)
    page.accounts["333333333333"] = None
    page.hangs[PLATFORM] = time.time()
    page.pending = 1
    for name, account in [
        ("IamRefreshFailing", "333333333333"),
        ("IamRefreshFailing", PLATFORM),
        ("IamAccountsPending", ""),
    ]:
        wait_for(f"{name} {account}", lambda: security(name, account) == ["firing"], seconds=90)
    assert security("IamRefreshFailing", PAYMENTS) == []


@pytest.mark.parametrize("find", [tool, newer], ids=["prometheus 2", "prometheus 3"])
def test_what_the_optional_rules_read_is_on_the_page_of_prometheus(find, tmp_path):
    """A labelled metric has a series for each group of rules, or for each Alertmanager."""
    program = find("prometheus")
    rules = rendered_rules(tmp_path / "rules", {})
    with ExitStack() as running:
        page = running.enter_context(Page())
        manager = running.enter_context(Alertmanager(tmp_path, {"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}))
        server = running.enter_context(prometheus(program, tmp_path, page, manager, rules))

        def missing():
            text = server.get("/metrics").text
            labels = {name: f'{{.*{label}=' if (label := "".join(own)) else " " for name, own in PROMETHEUS_OWN.items()}
            return [name for name, label in labels.items() if not re.search(f"^{name}{label}", text, re.MULTILINE)]

        wait_for("every metric is there", lambda: missing() == [])
        groups = re.findall(r'rule_group="(.*?)"', server.get("/metrics").text)
        assert any(re.fullmatch(".*;iam-.*", group) for group in groups), groups


@pytest.fixture(params=["prometheus 2", "prometheus 3", "from prometheus 2 to 3", "vmalert"])
def start(request, tmp_path):
    """Starts the programs that evaluate the rules, for the first or the second time."""
    programs = {"prometheus 2": [tool, tool], "prometheus 3": [newer, newer], "from prometheus 2 to 3": [tool, newer]}
    with ExitStack() as running:
        if request.param == "vmalert":
            stores = []

            def start_vmalert(time, page, manager, rules):
                if not stores:
                    stores.append(running.enter_context(victoria_metrics(tmp_path, page)))
                return vmalert(tmp_path, stores[0], manager, rules)

            yield start_vmalert
        else:
            found = [find("prometheus") for find in programs[request.param]]
            yield lambda time, *others: prometheus(found[time], tmp_path, *others)


def test_a_restart_of_six_minutes_is_not_one_message(start, tmp_path):
    """One and a half seconds stand for a minute. Prometheus begins to scrape up to five seconds after its start."""
    rules = rendered_rules(tmp_path / "rules", {"interval": "6s", "wait": "24s", "slack_seconds": 5})
    with ExitStack() as running:
        page = running.enter_context(Page())
        webhooks = running.enter_context(Webhooks())
        config = to_webhooks(alertmanager_config(), webhooks.address)
        manager = running.enter_context(Alertmanager(tmp_path, config))
        page.accounts[PLATFORM] = None
        with start(0, page, manager, rules):
            wait_for("an alert on keys", lambda: told(webhooks, KEYS, PAYMENTS), seconds=90)
            wait_for("one on an account", lambda: told(webhooks, "IamRefreshFailing", PLATFORM), seconds=90)
            time.sleep(2)
        messages = len(webhooks.posts)
        time.sleep(9)
        with start(1, page, manager, rules):
            time.sleep(20)
            firing = requests.get(f"{manager.url}/api/v2/alerts", timeout=10).json()
            assert {alert["labels"]["alertname"] for alert in firing} == {KEYS, "IamRefreshFailing"}
        later = [alert for _, message in webhooks.posts[messages:] for alert in message["alerts"]]
        assert [(alert["labels"], alert["status"]) for alert in later] == []


@pytest.mark.parametrize("find", [tool, newer], ids=["prometheus 2", "prometheus 3"])
def test_more_alerts_than_the_queue_of_prometheus_holds_all_arrive(find, tmp_path):
    """Rules send their alerts one after another. So the queue must hold the alerts of one rule, not those of all."""
    program = find("prometheus")
    rules = rendered_rules(tmp_path / "rules", {"interval": "20s", "wait": "8s"})
    findings = ["unrotated", "due_soon", "never_used"]
    with ExitStack() as running:
        page = running.enter_context(Page())
        page.accounts = {f"{number:012}": 1 for number in range(1_000)}
        page.owners, page.findings = 4, findings
        # Otherwise each account has an alert that says that they are not known.
        page.root_keys = dict.fromkeys(page.accounts, 0)
        config = {"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}
        manager = running.enter_context(Alertmanager(tmp_path, config))
        server = running.enter_context(prometheus(program, tmp_path, page, manager, rules))
        own = lambda name: float(re.search(rf"^{name}(?:{{.*}})? (\S+)$", server.get("/metrics").text, re.MULTILINE)[1])

        def arrived():
            found = requests.get(f"{manager.url}/api/v2/alerts?filter=account_id!=%22%22", timeout=60).json()
            return len(found) == 12_000

        wait_for("every alert arrived", arrived, seconds=120, every=2)
        evaluations = own("prometheus_rule_group_iterations_total")
        # Prometheus sends all alerts again.
        wait_for("more evaluations", lambda: own("prometheus_rule_group_iterations_total") > evaluations, seconds=90)
        # Before Prometheus has found Alertmanager, it drops the alert about the missing exporter.
        assert own("prometheus_notifications_dropped_total") <= 1
        assert arrived()
