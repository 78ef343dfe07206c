"""The shipped Alertmanager configuration: who gets which message, how many, and what it says."""

import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from alerting import ALERTMANAGER, Alertmanager, Mailbox, Webhooks, alertmanager_config, alerts
from harness import tool, wait_for

CONFIG = ALERTMANAGER / "alertmanager.yml"
RUNBOOK = "https://example.com/iam-key-exporter/runbooks.md#"


def amtool(*arguments):
    done = subprocess.run([tool("amtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_its_templates_are_valid():
    said = amtool("check-config", CONFIG)
    assert "- 1 templates" in said


KEY = {"alertname": "IamAccessKeyUnrotated", "account_id": "1", "user": "u", "key": "1"}
ROUTES = {
    "a team": (KEY | {"severity": "warning", "tag_team": "platform"}, "platform"),
    "another team": (KEY | {"severity": "warning", "tag_team": "payments"}, "payments"),
    "a team, for information": (KEY | {"severity": "info", "tag_team": "platform"}, "platform"),
    "another, for information": (KEY | {"severity": "info", "tag_team": "payments"}, "payments"),
    "critical": (
        KEY | {"severity": "critical", "tag_team": "platform"},
        "security-team,platform",
    ),
    "critical, of another team": (
        KEY | {"severity": "critical", "tag_team": "payments"},
        "security-team,payments",
    ),
    "critical, of nobody": (KEY | {"severity": "critical"}, "security-team"),
    "of nobody": (KEY | {"severity": "warning"}, "security-team"),
    "an unknown team": (KEY | {"severity": "warning", "tag_team": "gone"}, "security-team"),
    "root": (
        {"alertname": "IamRootAccessKeyActive", "user": "<root_account>", "severity": "critical"},
        "security-team",
    ),
    "no exporter": ({"alertname": "IamKeyExporterDown", "severity": "critical"}, "security-team"),
    "an account": (
        {"alertname": "IamRefreshFailing", "severity": "warning", "account_id": "1"},
        "security-team",
    ),
}


@pytest.mark.parametrize("labels, receivers", ROUTES.values(), ids=ROUTES)
def test_routes(labels, receivers):
    pairs = [f"{name}={value}" for name, value in labels.items()]
    said = amtool("config", "routes", "test", f"--config.file={CONFIG}", *pairs)
    assert said.strip() == receivers


def test_no_message_comes_less_often_than_alertmanager_remembers_it():
    """It forgets after five days what it sent, and sends it again."""
    config = alertmanager_config()

    def repeats(route):
        if "repeat_interval" in route:
            yield route["repeat_interval"]
        for child in route.get("routes", []):
            yield from repeats(child)

    assert set(repeats(config["route"])) <= {"4h", "24h", "4d"}


@pytest.fixture
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def slack():
    with Webhooks() as slack:
        yield slack


@pytest.fixture
def alertmanager(tmp_path, mailbox, slack):
    """Alertmanager with nothing changed but times and the addresses of the servers."""
    config = alertmanager_config()
    url = tmp_path / "slack-webhook-url"
    url.write_text(f"http://{slack.address}/slack")
    config["global"] |= {
        "smtp_smarthost": mailbox.address,
        "smtp_require_tls": False,
        "slack_api_url_file": str(url),
    }
    with Alertmanager(tmp_path, config) as alertmanager:
        yield alertmanager


def unrotated(user, team="", severity="warning", key="1", age=100):
    """An alert on a key, as the rules make it."""
    return {
        "labels": {
            "alertname": "IamAccessKeyUnrotated",
            "severity": severity,
            "account_id": "111111111111",
            "account_name": "production",
            "user": user,
            "key": key,
            "tag_team": team,
        },
        "annotations": {
            "summary": f"Access key {key} of {user} in production has not been rotated for {age} days",
            "description": f"Key {key} of {user} in account 111111111111 (production) is {age}.0 days old.",
            "runbook_url": f"{RUNBOOK}iamaccesskeyunrotated",
        },
    }


def named(name, severity="warning", **labels):
    """An alert of the exporter."""
    annotations = {"summary": f"summary of {name}", "description": f"description of {name}"}
    annotations["runbook_url"] = RUNBOOK + name.lower()
    return {"labels": {"alertname": name, "severity": severity, **labels}, "annotations": annotations}


def resolved(alert):
    return alert | {"endsAt": f"{datetime.now(timezone.utc) - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"}


def attachments(slack):
    return [attachment for post in slack.at("/slack") for attachment in post["attachments"]]


def test_twelve_keys_of_a_team_in_an_account_are_one_message(alertmanager, slack, mailbox):
    keys = [unrotated(f"user-{n:02}", "platform") for n in range(1, 13)]
    alertmanager.fire(*keys, unrotated("theirs", "payments"), unrotated("nobody's"))
    wait_for("messages to all three", lambda: slack.posts and len(mailbox.mails) == 2)
    [message] = attachments(slack)
    assert message["title"] == "12 × IamAccessKeyUnrotated in production, team platform"
    assert message["title_link"] == f"{RUNBOOK}iamaccesskeyunrotated"
    assert message["text"].splitlines() == [
        f"• Key 1 of user-{n:02} in account 111111111111 (production) is 100.0 days old."
        for n in range(1, 13)
    ]


def test_a_mail_about_one_key(alertmanager, mailbox):
    alertmanager.fire(unrotated("backup", "payments", severity="critical", age=200))
    wait_for("mails to the team and to security", lambda: len(mailbox.mails) == 2)
    [mail] = mailbox.to("payments@example.com")
    [copy] = mailbox.to("security@example.com")
    assert mail["Subject"] == "Access key 1 of backup in production has not been rotated for 200 days"
    assert copy["Subject"] == mail["Subject"]
    assert mail.get_body().get_content_type() == "text/plain"
    assert mail.get_body().get_content().strip().splitlines() == [
        "- CRITICAL: Key 1 of backup in account 111111111111 (production) is 200.0 days old.",
        "",
        f"What to do: {RUNBOOK}iamaccesskeyunrotated",
    ]


@pytest.mark.parametrize("team", ["platform", "payments"])
def test_what_is_resolved_is_said(alertmanager, slack, mailbox, team):
    def messages():
        """Subject and lines of each message to the team."""
        mails = [(m["Subject"], m.get_body().get_content()) for m in mailbox.mails]
        chats = [(a["title"], a["text"]) for a in attachments(slack)]
        return [(title, text.strip().splitlines()) for title, text in mails + chats]

    first, second = unrotated("first", team), unrotated("second", team, age=91)
    alertmanager.fire(first, second)
    wait_for("a message", lambda: len(messages()) == 1)
    alertmanager.fire(resolved(first), second)
    wait_for("another message", lambda: len(messages()) == 2)
    alertmanager.fire(resolved(second))
    wait_for("a last message", lambda: len(messages()) == 3)
    _, (one_left, one_left_text), (none_left, none_left_text) = messages()
    bullet, heading = ("•", "*Resolved*") if team == "platform" else ("-", "Resolved:")
    assert one_left_text[0] == f"{bullet} {second['annotations']['description']}"
    assert one_left_text[-2:] == [heading, f"{bullet} {first['annotations']['summary']}"]
    assert none_left == f"Resolved: 1 × IamAccessKeyUnrotated in production, team {team}"
    assert none_left_text == [heading, f"{bullet} {second['annotations']['summary']}"]


def test_slack_does_not_take_the_root_user_for_markup(alertmanager, slack):
    alertmanager.fire(unrotated("<root_account>", "platform"))
    wait_for("a message", lambda: slack.posts)
    [message] = attachments(slack)
    assert message["text"].startswith("• Key 1 of &lt;root_account&gt; in account ")


def test_many_accounts_that_cannot_be_read_are_one_message(alertmanager, mailbox):
    failing = [named("IamRefreshFailing", account_id=f"{n:012}") for n in range(20)]
    alertmanager.fire(*failing)
    [mail] = wait_for("a mail", lambda: mailbox.mails)
    assert mail["Subject"] == "20 × IamRefreshFailing"
    assert mail.get_body().get_content().count("- description of IamRefreshFailing") == 20


def label_set(alert):
    return frozenset(pair for pair in alert["labels"].items() if pair[1])


ONE, OTHER = {"account_id": "1"}, {"account_id": "2"}
A_KEY = {"account_id": "1", "user": "u", "key": "1"}
ROOT_KEY = A_KEY | {"user": "<root_account>"}
DOWN = named("IamKeyExporterDown", "critical")
INHIBITED = {
    "a warning of a key that is critical": (
        unrotated("old", severity="critical"),
        [unrotated("old")],
        [unrotated("other"), unrotated("old", key="2")],
    ),
    "that a key is due, when it is unrotated": (
        named("IamAccessKeyUnrotated", **A_KEY),
        [named("IamAccessKeyRotationDue", "info", **A_KEY)],
        [named("IamAccessKeyRotationDue", "info", **(A_KEY | OTHER)), named("IamAccessKeyNeverUsed", **A_KEY)],
    ),
    "other alerts on a key of root": (
        named("IamRootAccessKeyActive", "critical", **ROOT_KEY),
        [
            named("IamAccessKeyUnrotated", "critical", **ROOT_KEY),
            named("IamAccessKeyNeverUsed", **ROOT_KEY),
        ],
        [named("IamAccessKeyNeverUsed", **(ROOT_KEY | OTHER)), unrotated("other")],
    ),
    "what is uncertain without a refresh": (
        named("IamRefreshFailing", **ONE),
        [
            named("IamCredentialReportStale", **ONE),
            named("IamKeyExporterConfirmationUnavailable", **ONE),
            named("IamKeyExporterTagsUnavailable", **ONE),
        ],
        [
            named("IamCredentialReportStale", **OTHER),
            named("IamCredentialReportRejectedRows", **ONE),
            unrotated("old"),
        ],
    ),
    "what is uncertain without an exporter": (
        DOWN,
        [
            named("IamKeyExporterDown", instance="a"),
            named("IamRefreshFailing", **ONE),
            named("IamCredentialReportStale", **ONE),
            named("IamCredentialReportRejectedRows", **ONE),
            named("IamKeyExporterConfirmationUnavailable", **ONE),
            named("IamKeyExporterTagsUnavailable", **ONE),
            named("IamKeyExporterConfigReloadFailed", job="iam-key-exporter"),
            named("IamAccountDiscoveryFailing", job="iam-key-exporter"),
        ],
        [unrotated("old"), unrotated("old", severity="critical", key="2"), named("Other")],
    ),
    "nothing where one of several exporters is down": (
        named("IamKeyExporterDown", instance="a"),
        [],
        [named("IamRefreshFailing", **ONE), unrotated("old")],
    ),
}


@pytest.mark.parametrize("source, inhibited, others", INHIBITED.values(), ids=INHIBITED)
def test_inhibits(alertmanager, source, inhibited, others):
    alertmanager.fire(source, *inhibited, *others)
    fired = [source, *inhibited, *others]

    def suppressed():
        """Which alerts are inhibited; None until Alertmanager has looked at all of them."""
        found = alertmanager.alerts()
        states = [alert["status"]["state"] for alert in found]
        if len(states) < len(fired) or "unprocessed" in states:
            return None
        return {label_set(alert) for alert, state in zip(found, states) if state == "suppressed"}

    # It learns of the alert that inhibits others a moment after it has taken it.
    expected = {label_set(alert) for alert in inhibited}
    wait_for("just these are inhibited", lambda: suppressed() == expected)


def test_the_alerts_of_these_tests_are_those_of_the_rules():
    known = {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
    fired = [alert for source, *lists in INHIBITED.values() for alert in [source, *sum(lists, [])]]
    used = {(a["labels"]["alertname"], a["labels"]["severity"]) for a in fired}
    assert used - known == {("Other", "warning")}
