"""A key becomes too old, its owner gets an alert, and the key is rotated. Every program except AWS is real.

AWS (moto) → exporter → Prometheus with the rules of deploy/ → Alertmanager with the routes of deploy/ → webhooks. `make
story` runs only this test and prints the messages.
"""

import json
from datetime import datetime, timedelta, timezone

import yaml
from alerting import (
    PROMETHEUS,
    Alertmanager,
    Webhooks,
    alertmanager_config,
    rendered_rules,
    to_webhooks,
)
from harness import Exporter, Prometheus, wait_for

# In seconds.
REFRESH = 2
EVALUATION = 1
WAIT = 3
# The limit for an alert to resolve, and the time until its message is sent.
TWO_INTERVALS = 2 * (REFRESH + EVALUATION)
DELIVERY = 3

# The exporter cuts ages to hundredths of a day, so a key becomes unrotated at 90.01 days.
STEP = 864
LEFT = 10
ALMOST_DUE = 90 + (STEP - LEFT) / 86400

RUNBOOKS = "https://wiki.example.com/iam"
TAGS = "labels: { user_tags: [team, owner] }\n"
# The messages of the whole story about unrotated keys, by team.
TOLD = {"/platform": ["firing", "resolved"], "/payments": ["firing"]}
# The rules with shorter waiting times.
VALUES = {
    "interval": f"{EVALUATION}s",
    "wait": f"{WAIT}s",
    "urls": {"runbook": RUNBOOKS, "status": "https://keys.example.com", "dashboard": ""},
}


class Stage:
    """The programs, and the messages of the receivers."""

    def __init__(self, folder, account):
        self.folder = folder
        self.account = account
        self.starts = 0
        self.targets = folder / "targets.json"
        self.webhooks = Webhooks()
        self.shown = 0

    def start_exporter(self):
        """Starts an exporter at its own address. Prometheus discovers it, as it does with pods."""
        self.starts += 1
        folder = self.folder / f"exporter-{self.starts}"
        folder.mkdir()
        config = folder / "config.yaml"
        config.write_text(TAGS)
        flags = (f"--config.file={config}", f"--refresh.interval={REFRESH}s")
        exporter = Exporter(folder, *flags, endpoint=self.account.endpoint)
        self.targets.write_text(json.dumps([{"targets": [exporter.url.removeprefix("http://")]}]))
        return exporter

    def alertmanager(self):
        return Alertmanager(self.folder, to_webhooks(alertmanager_config(), self.webhooks.address))

    def prometheus(self, alertmanager):
        """The configuration of deploy/ with these rules and addresses, and with seconds instead of minutes."""
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config["rule_files"] = [rendered_rules(self.folder / "rules", VALUES)]
        [job] = config["scrape_configs"]
        job["job_name"] = "any-name"
        del job["static_configs"]
        job["file_sd_configs"] = [{"files": [str(self.targets)]}]
        address = alertmanager.url.removeprefix("http://")
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [address]}]}]
        return Prometheus(self.folder, config=json.dumps(config))

    def told(self, receiver, name):
        """The state and labels of each alert of this name in the messages to the receiver."""
        messages = self.webhooks.at(receiver)
        return [a for m in messages for a in m["alerts"] if a["labels"]["alertname"] == name]

    def show(self, scene):
        """Prints the messages since the last scene, for `make story`."""
        print(f"\n{scene}")
        for path, message in self.webhooks.posts[self.shown :]:
            for alert in message["alerts"]:
                annotations = alert["annotations"]
                print(f"  {path[1:]} {alert['status']}: {annotations['summary']}")
                print(f"    {annotations['description']}\n    {annotations['runbook_url']}")
        self.shown = len(self.webhooks.posts)

    def told_of_keys(self, receiver):
        """The states of the team's alert, without repetitions."""
        states = [alert["status"] for alert in self.told(receiver, "IamOwnerKeysUnrotated")]
        return [now for before, now in zip([None, *states], states) if now != before]


def test_the_story_of_a_key(account, tmp_path):
    stage = Stage(tmp_path, account)
    account.add_user("backup", 100, tags={"team": "payments"})
    # The user gets a key later. The exporter reads tags once for each report, and moto's reports are all from 2015.
    account.add_user("deploy", tags={"team": "platform", "owner": "platform-oncall"})
    account.iam.generate_credential_report()
    with (
        stage.webhooks,
        stage.start_exporter() as exporter,
        stage.alertmanager() as alertmanager,
        stage.prometheus(alertmanager) as prometheus,
    ):
        wait_for("an alert on the key that is too old", lambda: stage.told_of_keys("/payments"))
        stage.show("At first")
        key_passes_its_limit(stage, prometheus)
        stage.show("The key of deploy has passed its limit")
        key_is_rotated(stage)
        stage.show("It was rotated")
        exporter_is_stopped(stage, exporter, prometheus)
        stage.show("The exporter was stopped")
        exporter_is_started_again(stage, prometheus)
        stage.show("It was started again")
        assert {receiver: stage.told_of_keys(receiver) for receiver in TOLD} == TOLD


def key_passes_its_limit(stage, prometheus):
    created = datetime.now(timezone.utc) - timedelta(days=ALMOST_DUE)
    stage.account.add_key("deploy", ALMOST_DUE)
    verdict = 'iam_access_key_unrotated{user="deploy"}'
    wait_for("the key is seen, and is in time", lambda: prometheus.value(verdict) == 0)
    assert stage.told_of_keys("/platform") == []
    # The limit adds LEFT seconds, a refresh, a scrape, an evaluation, and Alertmanager's waiting time.
    [alert] = wait_for("an alert", lambda: stage.told("/platform", "IamOwnerKeysUnrotated"))
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "IamOwnerKeysUnrotated",
        "severity": "warning",
        "account_id": stage.account.id,
        "tag_team": "platform",
        "tag_owner": "platform-oncall",
    }
    assert alert["annotations"] == {
        "summary": "Access keys were not rotated in time.",
        "description": "Access keys of account 123456789012, owner platform-oncall, team platform that were not"
        f" rotated in time: 1. The oldest was created on {created:%F}.",
        "status_url": "https://keys.example.com/?account=123456789012&tag=owner%3Aplatform-oncall&tag=team%3Aplatform&other_tags=none&kind=access_key",
        "runbook_url": f"{RUNBOOKS}#iamownerkeysunrotated",
    }


def key_is_rotated(stage):
    [old] = stage.account.key_ids("deploy")
    stage.account.iam.create_access_key(UserName="deploy")
    stage.account.delete_key("deploy", old)
    wait_for(
        "the alert resolves",
        lambda: "resolved" in stage.told_of_keys("/platform"),
        seconds=TWO_INTERVALS + DELIVERY,
    )


def down(stage):
    return [alert["status"] for alert in stage.told("/security-team", "IamKeyExporterDown")]


# How often the other team's alert fired. It fires at every evaluation, also while the exporter is down.
COUNT = 'count_over_time(ALERTS{alertname="IamOwnerKeysUnrotated",tag_team="payments"}[%ds])'


def was_always_there(prometheus, seconds):
    """Whether the alert fired at each evaluation. The time span may cut off the first and the last."""
    return prometheus.value(COUNT % seconds) >= seconds / EVALUATION - 1


def exporter_is_stopped(stage, exporter, prometheus):
    # It may have been down for a moment before its first start was complete.
    told = len(down(stage))
    exporter.stop()
    wait_for("down", lambda: "firing" in down(stage)[told:])
    assert prometheus.query("iam_owner_access_keys") == []
    assert was_always_there(prometheus, 2 * WAIT)


def exporter_is_started_again(stage, prometheus):
    told = len(down(stage))
    with stage.start_exporter() as exporter:
        exporter.wait_until_ready()
        wait_for("not down any more", lambda: "resolved" in down(stage)[told:])
        wait_for(
            "the key is there again",
            lambda: prometheus.value("count(iam_access_key_unrotated == 1)") == 1,
        )
        assert was_always_there(prometheus, 2 * WAIT)
