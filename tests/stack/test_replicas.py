"""Several exporters under one real Prometheus with the rules of deploy/: each alert fires once."""

import json
from contextlib import ExitStack

import pytest
import yaml
from alerting import PROMETHEUS, rendered_rules
from harness import Exporter, Prometheus, wait_for

SETUPS = {
    "two replicas": [[], []],
    "three shards": [["--total-shards", "3", "--shard", str(shard)] for shard in range(3)],
}
# In the demo.
ACCOUNTS = 3
# Labels that name the subject of an alert. The replica and its state are not among them.
ABOUT = "alertname, severity, account_id, account_name, tag_team, tag_owner"
# Labels of the demo's owners.
OWNER = "account_id, account_name, tag_team, tag_owner"


def fired(folder, setup):
    """How often each alert fires if several exporters serve the demo organization."""
    with ExitStack() as running:
        addresses = []
        for index, flags in enumerate(setup):
            home = folder / str(index)
            home.mkdir()
            exporter = running.enter_context(Exporter(home, "demo", *flags))
            addresses.append(exporter.url.removeprefix("http://"))
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        rules = rendered_rules(folder / "rules", {"interval": "1s", "wait": "3s"})
        config["rule_files"] = [rules]
        config.pop("alerting", None)
        [job] = config["scrape_configs"]
        job["static_configs"] = [{"targets": addresses}]
        prometheus = running.enter_context(Prometheus(folder, config=json.dumps(config)))
        firing = 'ALERTS{alertstate="firing",alertname=~"IamOwner.+|IamRoot.+"}'
        # The number of series in the demo that each alert counts.
        counted = {
            "IamOwnerKeysUnrotated": 'iam_owner_access_keys{status="unrotated"} > 0',
            "IamOwnerKeysDueSoon": 'iam_owner_most_urgent_finding{finding="due_soon"}',
            "IamOwnerKeysNeverUsed": 'iam_owner_most_urgent_finding{finding="never_used"}',
            "IamOwnerExemptionEnding": 'iam_owner_most_urgent_finding{finding="exemption_ending"}',
            "IamOwnerServiceCredentialsUnrotated": 'iam_owner_findings{finding="unrotated_service_credential"}',
            "IamRootAccessKeyActive": "iam_owner_root_access_keys > 0",
            "IamRootMfaMissing": 'iam_control_violations{control="root_mfa"} > 0',
        }

        def is_settled():
            if prometheus.value("count(count by (account_id) (iam_owner_access_keys))") != ACCOUNTS:
                return False
            counts = [
                (
                    prometheus.value(f"count(group by ({OWNER}) ({found}))"),
                    prometheus.value(f'count(ALERTS{{alertname="{name}"}})'),
                )
                for name, found in counted.items()
            ]
            return all(found and found == firing for found, firing in counts)

        wait_for("an alert on every owner, and none to come", is_settled, seconds=60)
        counts = prometheus.query(f"count by ({ABOUT}) ({firing})")
        return {frozenset(labels.items()): count for labels, count in counts}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return fired(tmp_path_factory.mktemp("alone"), [[]])


@pytest.mark.parametrize("setup", SETUPS)
def test_each_alert_fires_once(alone, tmp_path, setup):
    assert len(alone) > 10 and set(alone.values()) == {1}
    assert fired(tmp_path, SETUPS[setup]) == alone
