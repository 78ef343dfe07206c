"""Owners of keys: a real Prometheus joins keys and tags of two accounts in moto."""

import pytest
from harness import Exporter, Prometheus, wait_for
from moto_account import MotoAccount, reset

PRODUCTION = "123456789012"
SANDBOX = "210987654321"
TEAM, COST_CENTER = "team", "cost-center"

# By account and user: tags, and the ages of keys in days.
USERS = {
    # Both accounts have a user of this name, with different teams.
    (PRODUCTION, "backup"): ({TEAM: "Süd: storage", COST_CENTER: "4711"}, [100]),
    (SANDBOX, "backup"): ({TEAM: "research"}, [10]),
    (PRODUCTION, "deploy"): ({TEAM: "platform", COST_CENTER: "0815"}, [200, 20]),
    (PRODUCTION, "nobody's"): ({}, [300]),
    (PRODUCTION, "old-system"): ({TEAM: "legacy"}, [400]),
    (SANDBOX, "old-system"): ({TEAM: "legacy", COST_CENTER: "1"}, [500]),
    (SANDBOX, "nobody's"): ({"unasked": "for"}, [95]),
}

LABELS = f"labels: {{ user_tags: [{TEAM}, {COST_CENTER}] }}\n"
EXEMPTION = """
rotation:
  rules:
    - match: { tags: { team: legacy } }
      exempt: { until: 2999-01-01, reason: until the migration }
"""
CONFIGURATIONS = {PRODUCTION: LABELS, SANDBOX: LABELS + EXEMPTION}
# The end of the last day, in UTC.
EXEMPT_UNTIL = 32_472_230_400
EXEMPT = (SANDBOX, "old-system", "1")


def owners(tag):
    """The tag's value for every key. Empty if the user does not have the tag."""
    return {
        (account, user, str(slot)): tags.get(tag, "")
        for (account, user), (tags, ages) in USERS.items()
        for slot, _ in enumerate(ages, start=1)
    }


def by_key(series, read):
    """The values by account, user and slot. Rejects duplicate keys."""
    found = {}
    for labels, value in series:
        key = (labels["account_id"], labels["user"], labels["key"])
        assert key not in found, key
        found[key] = read(labels, value)
    return found


def exporter_of(account, folder):
    """Makes the users in the account, and starts its exporter."""
    for (account_id, name), (tags, ages) in USERS.items():
        if account_id == account.id:
            account.add_user(name, *ages, tags=tags)
    config = folder / "config.yaml"
    config.write_text(CONFIGURATIONS[account.id])
    return Exporter(
        folder,
        f"--config.file={config}",
        endpoint=account.endpoint,
        credentials=account.credentials,
    )


@pytest.fixture(scope="module")
def prometheus(moto, tmp_path_factory):
    """Prometheus after a scrape of each account's exporter."""
    reset(moto)
    folder = tmp_path_factory.mktemp
    production, sandbox = MotoAccount(moto, PRODUCTION), MotoAccount(moto, SANDBOX)
    with (
        exporter_of(production, folder("production")) as one,
        exporter_of(sandbox, folder("sandbox")) as other,
    ):
        jobs = {}
        for name, exporter in {"production": one, "sandbox": other}.items():
            exporter.wait_until_ready()
            jobs[name] = exporter.url.removeprefix("http://")
        with Prometheus(folder("prometheus"), jobs) as prometheus:
            wait_for(
                "a scrape of both exporters",
                lambda: prometheus.value("count(iam_refresh_success == 1)") == len(jobs),
            )
            yield prometheus


def with_tags(labels):
    """A query that adds these labels of the user to each key's verdict."""
    return (
        "iam_access_key_unrotated"
        f" * on (account_id, user) group_left ({labels}) iam_user_tags"
    )


def test_every_key_has_the_team_of_its_user(prometheus):
    joined = prometheus.query(with_tags("tag_team"))
    assert by_key(joined, lambda labels, _: labels.get("tag_team", "")) == owners(TEAM)


def test_a_tag_whose_key_has_a_dash_is_a_label(prometheus):
    joined = prometheus.query(with_tags("tag_cost_center"))
    found = by_key(joined, lambda labels, _: labels.get("tag_cost_center", ""))
    assert found == owners(COST_CENTER)


def test_the_join_keeps_every_verdict(prometheus):
    joined = prometheus.query(with_tags("tag_team, tag_cost_center"))
    expected = {
        (account, user, str(slot)): age > 90 and (account, user, str(slot)) != EXEMPT
        for (account, user), (_, ages) in USERS.items()
        for slot, age in enumerate(ages, start=1)
    }
    assert by_key(joined, lambda _, value: value) == expected


def test_tags_that_were_not_asked_for_are_no_labels(prometheus):
    series = prometheus.query("iam_user_tags")
    names = {name for labels, _ in series for name in labels if name.startswith("tag_")}
    assert names == {"tag_team", "tag_cost_center"}


def test_unrotated_keys_can_be_counted_by_team(prometheus):
    counts = prometheus.query(f"sum by (tag_team) ({with_tags('tag_team')}) > 0")
    found = {labels.get("tag_team", ""): value for labels, value in counts}
    assert found == {"Süd: storage": 1, "platform": 1, "legacy": 1, "": 2}


def test_metrics_by_owner_count_the_same_without_a_join(prometheus):
    counts = prometheus.query('sum by (tag_team) (iam_owner_access_keys{status="unrotated"}) > 0')
    found = {labels.get("tag_team", ""): value for labels, value in counts}
    assert found == {"Süd: storage": 1, "platform": 1, "legacy": 1, "": 2}


def test_keys_are_exempt_by_a_tag_in_the_account_that_says_so(prometheus):
    series = prometheus.query("iam_access_key_exemption_end_timestamp_seconds")
    assert by_key(series, lambda _, value: value) == {EXEMPT: EXEMPT_UNTIL}
    assert [labels["reason"] for labels, _ in series] == ["until the migration"]
