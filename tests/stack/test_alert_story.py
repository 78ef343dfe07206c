"""From a key that becomes too old to the people who own it, and back: every program is the real one.

AWS (played by moto) → exporter → Prometheus with the shipped rules → Alertmanager with the shipped
routes → webhooks. `make story` runs this alone and shows what the receivers are told.
"""

import json
import re
from datetime import date, datetime, timedelta, timezone

import yaml
from alerting import PROMETHEUS, Alertmanager, Webhooks, alertmanager_config, rule_files
from harness import Exporter, Prometheus, wait_for

# Seconds.
REFRESH = 2
EVALUATION = 1
# How long an alert may take to resolve, and the time in which its message is then sent.
TWO_INTERVALS = 2 * (REFRESH + EVALUATION)
DELIVERY = 3

# Ages count in hundredths of a day: a key is unrotated when 90.01 days old.
STEP = 864
LEFT = 10
ALMOST_DUE = 90 + (STEP - LEFT) / 86400

RUNBOOKS = "https://wiki.example.com/iam"
TAGS = "labels: { user_tags: [team, owner] }\n"
# What each receiver is told of unrotated keys in the whole story, each time once.
TOLD = {
    "/platform": [("firing", "deploy"), ("resolved", "deploy")],
    "/payments": [("firing", "backup")],
    "/security-team": [],
}


def shipped_rules(folder):
    """The rules, but that nobody has to wait: evaluated each second, and with `for: 1s`."""
    folder.mkdir()
    for file in rule_files():
        text = file.read_text().replace("https://example.com/iam-key-exporter/runbooks.md", RUNBOOKS)
        text = re.sub(r"^( +interval): 1m$", rf"\1: {EVALUATION}s", text, flags=re.MULTILINE)
        text = re.sub(r"^( +for): \d+m$", r"\1: 1s", text, flags=re.MULTILINE)
        (folder / file.name).write_text(text)
    return folder


class Stage:
    """The programs, and what the receivers were told."""

    def __init__(self, folder, account):
        self.folder = folder
        self.account = account
        self.starts = 0
        self.targets = folder / "targets.json"
        self.webhooks = Webhooks()
        self.shown = 0

    def start_exporter(self):
        """Starts it at an address of its own, which Prometheus finds out, as it is with pods."""
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
        config = alertmanager_config()
        for receiver in config["receivers"]:
            url = f"http://{self.webhooks.address}/{receiver['name']}"
            name = receiver["name"]
            receiver.clear()
            receiver.update(name=name, webhook_configs=[{"url": url, "send_resolved": True}])
        return Alertmanager(self.folder, config)

    def prometheus(self, alertmanager):
        """The shipped configuration, with these rules and addresses, and seconds for minutes."""
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config["rule_files"] = [f"{shipped_rules(self.folder / 'rules')}/*.yml"]
        [job] = config["scrape_configs"]
        del job["static_configs"]
        job["file_sd_configs"] = [{"files": [str(self.targets)]}]
        address = alertmanager.url.removeprefix("http://")
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [address]}]}]
        return Prometheus(self.folder, config=json.dumps(config))

    def told(self, receiver, name):
        """Each alert of this name in each message to the receiver: its state and labels."""
        messages = self.webhooks.at(receiver)
        return [a for m in messages for a in m["alerts"] if a["labels"]["alertname"] == name]

    def show(self, scene):
        """Prints what the receivers were told since the last scene, for `make story`."""
        print(f"\n{scene}")
        for path, message in self.webhooks.posts[self.shown :]:
            for alert in message["alerts"]:
                annotations = alert["annotations"]
                print(f"  {path[1:]} {alert['status']}: {annotations['summary']}")
                print(f"    {annotations['description']}\n    {annotations['runbook_url']}")
        self.shown = len(self.webhooks.posts)

    def told_of_keys(self, receiver):
        alerts = self.told(receiver, "IamAccessKeyUnrotated")
        return [(alert["status"], alert["labels"]["user"]) for alert in alerts]


def test_the_story_of_a_key(account, tmp_path):
    stage = Stage(tmp_path, account)
    account.add_user("backup", 100, tags={"team": "payments"})
    # Without a key yet: tags are read once for each report, and all of moto's are of a day in 2015.
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
    stage.account.add_key("deploy", ALMOST_DUE)
    verdict = 'iam_access_key_unrotated{user="deploy"}'
    wait_for("the key is seen, and is in time", lambda: prometheus.value(verdict) == 0)
    assert stage.told_of_keys("/platform") == []
    # It takes LEFT seconds, a refresh, a scrape, an evaluation, and what Alertmanager waits.
    [alert] = wait_for("an alert", lambda: stage.told("/platform", "IamAccessKeyUnrotated"))
    assert alert["status"] == "firing"
    due = alert["labels"].pop("due")
    assert abs(date.fromisoformat(due) - datetime.now(timezone.utc).date()) <= timedelta(days=1)
    assert alert["labels"] == {
        "alertname": "IamAccessKeyUnrotated",
        "severity": "warning",
        "account_id": stage.account.id,
        "user": "deploy",
        "key": "1",
        "tag_team": "platform",
        "tag_owner": "platform-oncall",
    }
    assert alert["annotations"] == {
        "summary": "Access key 1 of deploy in 123456789012 has not been rotated for 90 days",
        "description": "Key 1 of deploy in account 123456789012 is 90.0 days old and was due for"
        f" rotation on {due}. Owner: platform-oncall, team: platform.",
        "runbook_url": f"{RUNBOOKS}#iamaccesskeyunrotated",
    }

def key_is_rotated(stage):
    [old] = stage.account.key_ids("deploy")
    stage.account.iam.create_access_key(UserName="deploy")
    stage.account.delete_key("deploy", old)
    wait_for(
        "the alert resolves",
        lambda: ("resolved", "deploy") in stage.told_of_keys("/platform"),
        seconds=TWO_INTERVALS + DELIVERY,
    )


def down(stage):
    return [alert["status"] for alert in stage.told("/security-team", "IamKeyExporterDown")]


# When the alert on the other key began. It would be another time, had the alert ended in between.
BEGAN = 'ALERTS_FOR_STATE{alertname="IamAccessKeyUnrotated",user="backup"}'


def exporter_is_stopped(stage, exporter, prometheus):
    before = prometheus.value(BEGAN)
    # It may have been down for a moment before it was up for the first time.
    told = len(down(stage))
    exporter.stop()
    wait_for("down", lambda: "firing" in down(stage)[told:])
    assert prometheus.query("iam_access_key_unrotated") == []
    assert prometheus.value(BEGAN) == before


def exporter_is_started_again(stage, prometheus):
    before = prometheus.value(BEGAN)
    told = len(down(stage))
    with stage.start_exporter() as exporter:
        exporter.wait_until_ready()
        wait_for("not down any more", lambda: "resolved" in down(stage)[told:])
        wait_for(
            "the key is there again",
            lambda: prometheus.value("count(iam_access_key_unrotated == 1)") == 1,
        )
        assert prometheus.value(BEGAN) == before
