"""Several exporters under one real Prometheus with the shipped rules: each alert fires once."""

import json
from contextlib import ExitStack

import pytest
import yaml
from alerting import PROMETHEUS
from harness import Exporter, Prometheus, wait_for
from test_alert_story import shipped_rules

SETUPS = {
    "two replicas": [[], []],
    "three shards": [["--total-shards", "3", "--shard", str(shard)] for shard in range(3)],
}
# What an alert is about; neither the exporter that said so nor its state.
ABOUT = "alertname, severity, account_id, user, key, reason"


def fired(folder, setup):
    """How often each alert fires on the demo organization, as several exporters serve it."""
    with ExitStack() as running:
        addresses = []
        for index, flags in enumerate(setup):
            home = folder / str(index)
            home.mkdir()
            exporter = running.enter_context(Exporter(home, "demo", *flags))
            addresses.append(exporter.url.removeprefix("http://"))
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config["rule_files"] = [f"{shipped_rules(folder / 'rules')}/*.yml"]
        config.pop("alerting", None)
        [job] = config["scrape_configs"]
        job["static_configs"] = [{"targets": addresses}]
        prometheus = running.enter_context(Prometheus(folder, config=json.dumps(config)))
        firing = 'ALERTS{alertstate="firing",user!=""}'
        unrotated = "sum(max by (account_id, user, key) (iam_access_key_unrotated))"
        warned = f'count({firing[:-1]},alertname="IamAccessKeyUnrotated",severity="warning"}})'
        pending = 'count(ALERTS{alertstate="pending",user!=""})'

        def is_settled():
            count = prometheus.value(unrotated)
            return count and prometheus.value(warned) == count and not prometheus.value(pending)

        wait_for("an alert on every unrotated key, and none to come", is_settled, seconds=60)
        counts = prometheus.query(f"count by ({ABOUT}) ({firing})")
        return {frozenset(labels.items()): count for labels, count in counts}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return fired(tmp_path_factory.mktemp("alone"), [[]])


@pytest.mark.parametrize("setup", SETUPS)
def test_each_alert_fires_once(alone, tmp_path, setup):
    assert len(alone) > 150 and set(alone.values()) == {1}
    assert fired(tmp_path, SETUPS[setup]) == alone
