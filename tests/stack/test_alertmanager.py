"""The Alertmanager configuration of deploy/: the receivers, and the number and text of messages.

Each test runs with the installed Alertmanager and with a newer one.
"""

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from alerting import (
    ALERTMANAGER,
    PROMETHEUS,
    Alertmanager,
    Mailbox,
    Webhooks,
    alertmanager_config,
    alerts,
    routes,
    to_webhooks,
)
from harness import tool, wait_for
from newer import newer

CONFIG = ALERTMANAGER / "alertmanager.yml"
RUNBOOK = "https://example.com/iam-key-exporter/runbooks.md#"
STATUS = "https://iam-key-exporter.example.com/?account=111111111111&tag=team%3A"


@pytest.fixture(params=["installed", "newer"], scope="module")
def program(request):
    """Finds a program of Alertmanager: the installed one, or a newer one."""
    return tool if request.param == "installed" else newer


def amtool(program, *arguments):
    command = [program("amtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_its_templates_are_valid(program):
    said = amtool(program, "check-config", CONFIG)
    assert "- 1 templates" in said


def test_the_linter_finds_no_fault_with_the_routes_and_inhibitions():
    """It also reads the rules. One receiver sends nothing on purpose, because the digest has its alerts."""
    linter = Path(sys.executable).with_name("amlint")
    assert linter.is_file(), "amlint is not installed: `make tools` installs it"
    options = ["--strict", "--ignore", "empty-receiver", "--rules", str(PROMETHEUS / "rules/*.yml")]
    options += ["--rules", str(PROMETHEUS / "optional/*.yml")]
    done = subprocess.run([linter, "check", *options, CONFIG], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


OWNER = {"alertname": "IamOwnerKeysUnrotated", "account_id": "1", "severity": "warning"}
KEY = {"alertname": "IamAccessKeyUnrotated", "account_id": "1", "user": "u", "severity": "warning"}
ROUTES = {
    "a team": (OWNER | {"tag_team": "platform"}, "security-team,platform"),
    "another team": (OWNER | {"tag_team": "payments"}, "security-team,payments"),
    "keys that are due, of a team": (
        OWNER | {"alertname": "IamOwnerKeysDueSoon", "tag_team": "platform"},
        "security-team,platform",
    ),
    "of nobody": (OWNER, "security-team,only-in-the-digest"),
    "an unknown team": (OWNER | {"tag_team": "gone"}, "security-team,only-in-the-digest"),
    "one key": (KEY | {"tag_team": "payments"}, "security-team,payments"),
    "root": (
        {"alertname": "IamRootAccessKeyActive", "account_id": "1", "severity": "critical"},
        "security-team",
    ),
    "no exporter": ({"alertname": "IamKeyExporterDown", "severity": "warning"}, "security-team"),
    "keys that are not judged": (
        {"alertname": "IamAccessKeysNotJudged", "severity": "warning"},
        "security-team",
    ),
    "an account": (
        {"alertname": "IamRefreshFailing", "severity": "warning", "account_id": "1"},
        "security-team",
    ),
}


@pytest.mark.parametrize("labels, receivers", ROUTES.values(), ids=ROUTES)
def test_routes(program, labels, receivers):
    pairs = [f"{name}={value}" for name, value in labels.items()]
    said = amtool(program, "config", "routes", "test", f"--config.file={CONFIG}", *pairs)
    assert said.split("\n")[0].strip() == receivers


def shipped():
    return yaml.safe_load(CONFIG.read_text())


def test_what_has_time_comes_weekly_and_the_file_says_which_flag_that_needs():
    """Without the flag, Alertmanager forgets a sent alert after five days and sends it again."""
    repeats = {route["repeat_interval"] for route in routes(shipped()["route"]) if "repeat_interval" in route}
    assert repeats == {"4h", "24h", "7d"}
    assert "--data.retention=240h" in CONFIG.read_text()


def test_no_inhibition_mutes_an_alert_on_keys_or_compares_nothing():
    on_keys = [rule["alert"] for rule in alerts() if rule["alert"].startswith(("IamOwner", "IamRoot"))]
    for rule in shipped()["inhibit_rules"]:
        assert rule["equal"] in (["account_id"], ["job", "namespace"])
        assert not [name for name in on_keys if name in str(rule["target_matchers"])]
        assert "IamOwner" not in str(rule["target_matchers"])


@pytest.fixture
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def slack():
    with Webhooks() as slack:
        yield slack


@pytest.fixture
def alertmanager(tmp_path, mailbox, slack, program):
    """Alertmanager with other times and addresses. The rest of the configuration is unchanged."""
    config = alertmanager_config()
    url = tmp_path / "slack-webhook-url"
    url.write_text(f"http://{slack.address}/slack")
    config["global"] |= {
        "smtp_smarthost": mailbox.address,
        "smtp_require_tls": False,
        "slack_api_url_file": str(url),
    }
    with Alertmanager(tmp_path, config, program("prometheus-alertmanager")) as alertmanager:
        yield alertmanager


def unrotated(team="", account="111111111111", count=3, name="IamOwnerKeysUnrotated"):
    """An alert on an owner's keys, as a rule makes it."""
    labels = {"account_id": account, "account_name": "production", "tag_team": team}
    who = f"account {account} (production), team {team}"
    return {
        "labels": {"alertname": name, "severity": "warning", **labels},
        "annotations": {
            "summary": "Access keys were not rotated in time.",
            "description": f"Access keys of {who} that were not rotated in time: {count}.",
            "status_url": f"{STATUS}{team}",
            "runbook_url": RUNBOOK + name.lower(),
        },
    }


def named(name, severity="warning", **labels):
    annotations = {"summary": f"summary of {name}", "description": f"description of {name}"}
    annotations["runbook_url"] = RUNBOOK + name.lower()
    return {"labels": {"alertname": name, "severity": severity, **labels}, "annotations": annotations}


def resolved(alert):
    return alert | {"endsAt": f"{datetime.now(timezone.utc) - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"}


def attachments(slack):
    return [attachment for post in slack.at("/slack") for attachment in post["attachments"]]


def test_a_team_gets_one_message_and_security_a_digest(alertmanager, slack, mailbox):
    due = unrotated("platform", name="IamOwnerKeysDueSoon")
    alertmanager.fire(unrotated("platform"), due, unrotated("payments"), unrotated())
    wait_for("messages to all three", lambda: slack.posts and len(mailbox.mails) == 2)
    [message] = attachments(slack)
    assert message["title"] == "2 × IAM access keys in production, team platform"
    assert message["title_link"] == RUNBOOK.removesuffix("#")
    line = "• Access keys of account 111111111111 (production), team platform that were not rotated in time: 3."
    assert message["text"].splitlines() == [f"{line} <{STATUS}platform|Keys>"] * 2
    [mail] = mailbox.to("payments@example.com")
    assert mail["Subject"] == "1 × IamOwnerKeysUnrotated in production, team payments"
    assert mail.get_body().get_content_type() == "text/plain"
    assert mail.get_body().get_content().strip().splitlines() == [
        "- Access keys of account 111111111111 (production), team payments that were not rotated in time: 3.",
        f"  {STATUS}payments",
        "",
        f"What to do: {RUNBOOK}iamownerkeysunrotated",
    ]
    [digest] = mailbox.to("security@example.com")
    assert digest["Subject"] == "4 × IAM access keys in production"
    assert digest.get_body().get_content().count("- Access keys of") == 4


@pytest.mark.parametrize("team", ["platform", "payments"])
def test_what_is_resolved_is_said(alertmanager, slack, mailbox, team):
    def messages():
        """The subject and the lines of each message to the team."""
        mails = [(m["Subject"], m.get_body().get_content()) for m in mailbox.to("payments@example.com")]
        chats = [(a["title"], a["text"]) for a in attachments(slack)]
        return [(title, text.strip().splitlines()) for title, text in mails + chats]

    first, second = unrotated(team), unrotated(team, account="222222222222")
    alertmanager.fire(first, second)
    wait_for("a message", lambda: len(messages()) == 1)
    alertmanager.fire(resolved(first), second)
    wait_for("another message", lambda: len(messages()) == 2)
    alertmanager.fire(resolved(second))
    wait_for("a last message", lambda: len(messages()) == 3)
    _, (_, one_left), (none_left, none_left_text) = messages()
    bullet, heading = ("•", "*Resolved*") if team == "platform" else ("-", "Resolved:")
    gone = f"{bullet} Access keys were not rotated in time. production, team {team}"
    assert one_left[0].startswith(f"{bullet} Access keys of account 222222222222")
    assert [heading, gone] == [line for line in one_left if line in (heading, gone)]
    assert none_left == f"Resolved: 1 × IamOwnerKeysUnrotated in production, team {team}"
    assert none_left_text[:2] == [heading, gone]


@pytest.mark.parametrize("team", ["platform", "payments"])
def test_without_an_address_of_the_status_page_messages_link_to_the_dashboard(alertmanager, slack, mailbox, team):
    alert, dashboard = unrotated(team), "https://grafana.example.com/d/iam-key-account?var-account=111111111111"
    del alert["annotations"]["status_url"]
    alert["annotations"]["dashboard_url"] = dashboard
    alertmanager.fire(alert)
    if team == "platform":
        wait_for("a message", lambda: slack.posts)
        [message] = attachments(slack)
        assert message["text"].strip().endswith(f" <{dashboard}|Dashboard>")
    else:
        [mail] = wait_for("a mail", lambda: mailbox.to("payments@example.com"))
        assert f"  {dashboard}" in mail.get_body().get_content().splitlines()


def test_slack_does_not_take_names_for_markup(alertmanager, slack):
    alert = unrotated("platform")
    alert["annotations"]["description"] = "Key 1 of <root_account> & more"
    alertmanager.fire(alert)
    wait_for("a message", lambda: slack.posts)
    [message] = attachments(slack)
    assert message["text"].startswith("• Key 1 of &lt;root_account&gt; &amp; more <https://")


def test_an_active_key_of_root_is_a_message_of_its_own(alertmanager, mailbox):
    root = named("IamRootAccessKeyActive", "critical", account_id="1", account_name="production")
    alertmanager.fire(root, unrotated())
    wait_for("two mails", lambda: len(mailbox.mails) == 2)
    [mail] = [mail for mail in mailbox.mails if "Root" in mail["Subject"]]
    assert mail["Subject"] == "1 × IamRootAccessKeyActive in production"
    assert mail.get_body().get_content().startswith("- CRITICAL: description of IamRootAccessKeyActive")


def test_many_accounts_that_cannot_be_read_are_one_message(alertmanager, mailbox):
    failing = [named("IamRefreshFailing", account_id=f"{n:012}") for n in range(20)]
    alertmanager.fire(*failing)
    [mail] = wait_for("a mail", lambda: mailbox.mails)
    assert mail["Subject"] == "20 × IamRefreshFailing"
    assert mail.get_body().get_content().count("- description of IamRefreshFailing") == 20


def label_set(alert):
    return frozenset(pair for pair in alert["labels"].items() if pair[1])


ONE, OTHER = {"account_id": "1"}, {"account_id": "2"}
MINE, YOURS = {"job": "j", "namespace": "mine"}, {"job": "j", "namespace": "yours"}
INHIBITED = {
    "what is uncertain without a refresh": (
        named("IamRefreshFailing", **ONE),
        [
            named("IamCredentialReportStale", **ONE),
            named("IamKeyExporterConfirmationUnavailable", **ONE),
            named("IamKeyExporterConfirmationWaiting", **ONE),
            named("IamKeyExporterTagsUnavailable", **ONE),
            named("IamKeyExporterControlDataUnavailable", **ONE),
            named("IamKeyExporterServiceCredentialsUnavailable", **ONE),
            named("IamKeyExporterAccountNameUnavailable", **ONE),
        ],
        [
            named("IamCredentialReportStale", **OTHER),
            named("IamCredentialReportRejectedRows", **ONE),
            named("IamOwnerKeysUnrotated", **ONE),
            named("IamRootAccessKeyActive", "critical", **ONE),
        ],
    ),
    # Of one of several exporters. Another one can have accounts that it does not try, and the missing shard can be
    # another one.
    "nothing because an exporter is down": (
        named("IamKeyExporterDown", instance="a", **MINE),
        [],
        [
            named("IamKeyExporterShardMissing", **MINE),
            named("IamAccountsPending", **MINE),
            named("IamKeyExporterAbsent", **MINE),
            named("IamKeyExporterDown", instance="b", **MINE),
            named("IamRefreshFailing", **ONE),
            named("IamOwnerKeysUnrotated", **ONE),
        ],
    ),
    "no accounts because nobody finds any": (
        named("IamAccountDiscoveryFailing", **MINE),
        [named("IamKeyExporterNoAccounts", **MINE)],
        [named("IamKeyExporterNoAccounts", **YOURS), named("IamAccountLeft", **(MINE | ONE))],
    ),
}


def wait_until_just_these_are_inhibited(alertmanager, fired, inhibited):
    def suppressed():
        """The inhibited alerts, or None while Alertmanager has not processed all of them."""
        found = alertmanager.alerts()
        states = [alert["status"]["state"] for alert in found]
        if len(states) < len(fired) or "unprocessed" in states:
            return None
        return {label_set(alert) for alert, state in zip(found, states) if state == "suppressed"}

    # Alertmanager inhibits the others a moment after it receives the alert that inhibits them.
    expected = {label_set(alert) for alert in inhibited}
    wait_for("just these are inhibited", lambda: suppressed() == expected)


@pytest.mark.parametrize("source, inhibited, others", INHIBITED.values(), ids=INHIBITED)
def test_inhibits(alertmanager, source, inhibited, others):
    fired = [source, *inhibited, *others]
    alertmanager.fire(*fired)
    wait_until_just_these_are_inhibited(alertmanager, fired, inhibited)


def test_the_alerts_of_these_tests_are_those_of_the_rules():
    known = {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
    fired = [alert for source, *lists in INHIBITED.values() for alert in [source, *sum(lists, [])]]
    used = {(a["labels"]["alertname"], a["labels"]["severity"]) for a in fired}
    assert used - known == set()


# --- A first installation: 5,000 old keys of 100 owners in 20 accounts ---

TEAMS = ["platform", "payments", "research", "web", ""]


def first_installation():
    return [unrotated(team, account=f"{account:012}", count=50) for account in range(20) for team in TEAMS]


def test_a_first_installation_is_one_message_for_each_team_and_one_digest_each_week(tmp_path, slack, program):
    """A second stands for ten minutes. The week is shortened to six seconds."""
    config = to_webhooks(alertmanager_config(), slack.address)
    keys = [route for route in routes(config["route"]) if route.get("repeat_interval") == "7d"]
    assert len(keys) == 2
    for route in keys:
        route["repeat_interval"] = "6s"
    with Alertmanager(tmp_path, config, program("prometheus-alertmanager")) as alertmanager:
        found = first_installation()
        # Not all accounts appear in the same evaluation.
        alertmanager.fire(*found[:30])
        alertmanager.fire(*found[30:])
        wait_for("messages to everybody", lambda: len(slack.posts) >= 3)
        sent = {path: [len(post["alerts"]) for post in slack.at(path)] for path, _ in slack.posts}
        assert sent == {"/platform": [20], "/payments": [20], "/security-team": [100]}
        wait_for("the same again a week later", lambda: len(slack.posts) >= 6)
        sent = {path: [len(post["alerts"]) for post in slack.at(path)] for path, _ in slack.posts}
        assert sent == {"/platform": [20, 20], "/payments": [20, 20], "/security-team": [100, 100]}


# --- kube-prometheus ---

# Its Alertmanager groups by namespace. All its inhibitions compare the namespace, and the first two also the name.
KUBE_PROMETHEUS = {
    "route": {
        "receiver": "all",
        "group_by": ["namespace"],
        "group_wait": "1s",
        "group_interval": "1s",
        "repeat_interval": "12h",
    },
    "inhibit_rules": [
        {
            "source_matchers": ["severity = critical"],
            "target_matchers": ["severity =~ warning|info"],
            "equal": ["namespace", "alertname"],
        },
        {
            "source_matchers": ["severity = warning"],
            "target_matchers": ["severity = info"],
            "equal": ["namespace", "alertname"],
        },
        {
            "source_matchers": ["alertname = InfoInhibitor"],
            "target_matchers": ["severity = info"],
            "equal": ["namespace"],
        },
    ],
}


@pytest.mark.parametrize("namespace", ["", "monitoring"])
def test_kube_prometheus_mutes_none_of_our_alerts(tmp_path, slack, program, namespace):
    receivers = [{"name": "all", "webhook_configs": [{"url": f"http://{slack.address}/all"}]}]
    config = KUBE_PROMETHEUS | {"receivers": receivers}
    fired = [
        named(rule["alert"], rule["labels"]["severity"], account_id=account, namespace=namespace)
        for rule in alerts()
        for account in ["1", "2"]
    ]
    others = [named("InfoInhibitor", "none", namespace=namespace), named("Watchdog", "none")]
    with Alertmanager(tmp_path, config, program("prometheus-alertmanager")) as alertmanager:
        alertmanager.fire(*others, *fired)
        wait_until_just_these_are_inhibited(alertmanager, [*fired, *others], [])
        expected = {label_set(alert) for alert in fired}
        arrived = lambda: {label_set(a) for post in slack.at("/all") for a in post["alerts"]}
        wait_for("every alert arrives", lambda: expected <= arrived())
