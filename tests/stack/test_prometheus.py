"""A real Prometheus scrapes the demo organization, with gzip as it does by default, and without."""

import re

import pytest
from harness import Prometheus, wait_for
from relay import PlainRelay

JOBS = ["gzip", "plain"]
ACCOUNTS = 3


@pytest.fixture(scope="module")
def relay(demo):
    with PlainRelay(demo.url) as relay:
        yield relay


@pytest.fixture(scope="module")
def prometheus(demo, relay, tmp_path_factory):
    """Prometheus after several scrapes by each job."""
    jobs = {"gzip": demo.url.removeprefix("http://"), "plain": relay.address}
    with Prometheus(tmp_path_factory.mktemp("prometheus"), jobs) as prometheus:
        wait_for(
            "five scrapes by each job",
            lambda: len(prometheus.query("count_over_time(up[1m]) >= 5")) == len(JOBS),
        )
        yield prometheus


def test_prometheus_was_sent_gzip(prometheus, relay, demo):
    # Prometheus does not show the encoding of the response, so the test sends the same request again.
    [accepted] = set(relay.asked)
    response = demo.get("/metrics", headers={"Accept-Encoding": accepted})
    assert response.headers["Content-Encoding"] == "gzip"


def test_the_relay_was_sent_plain_text(prometheus, relay):
    assert set(relay.answered) == {None}


@pytest.mark.parametrize("job", JOBS)
def test_every_scrape_works(prometheus, job):
    assert prometheus.value(f'min_over_time(up{{job="{job}"}}[1m])') == 1
    targets = prometheus.api("targets")["activeTargets"]
    errors = [target["lastError"] for target in targets if target["labels"]["job"] == job]
    assert errors == [""]


def test_prometheus_logs_no_warning(prometheus):
    assert not re.findall(r"(?i)^.*level=(?:warn|error).*$", prometheus.log, re.MULTILINE)


@pytest.mark.parametrize("job", JOBS)
def test_every_sample_is_taken(prometheus, demo, job):
    samples = len(demo.page().samples)
    assert prometheus.value(f'scrape_samples_scraped{{job="{job}"}}') == samples
    added = f'scrape_samples_post_metric_relabeling{{job="{job}"}}'
    assert prometheus.value(added) == samples


@pytest.mark.parametrize("job", JOBS)
def test_every_key_has_an_age(prometheus, demo, job):
    keys = len(demo.page().family("iam_access_key_age_days"))
    assert keys > 0
    assert prometheus.value(f'count(iam_access_key_age_days{{job="{job}"}})') == keys


@pytest.mark.parametrize("job", JOBS)
def test_the_counts_are_those_of_the_unrotated_keys(prometheus, job):
    equal = prometheus.query(
        f'sum by (account_id) (iam_access_key_unrotated{{job="{job}"}})'
        f' == sum by (account_id) (iam_unrotated_keys_total{{job="{job}"}})'
    )
    assert len(equal) == ACCOUNTS
    assert all(count > 0 for _, count in equal)


@pytest.mark.parametrize("job", JOBS)
def test_exactly_the_keys_older_than_their_limit_are_unrotated(prometheus, job):
    # Only active keys that are not exempt have a due date. Some rules allow more than 90 days.
    due = f'iam_access_key_rotation_due_timestamp_seconds{{job="{job}"}}'
    limit = f"({due} - iam_access_key_last_rotated_timestamp_seconds) / 86400"
    old = f'(iam_access_key_age_days{{job="{job}"}} > {limit})'
    unrotated = f'(iam_access_key_unrotated{{job="{job}"}} == 1)'
    assert prometheus.query(f"{unrotated} unless {old}") == []
    assert prometheus.query(f"{old} unless {unrotated}") == []
    assert prometheus.value(f"count({unrotated})") > 0


@pytest.mark.parametrize("job", JOBS)
def test_counters_increase(prometheus, job):
    requests = f'iam_exporter_http_requests_total{{code="200",job="{job}"}}'
    assert prometheus.value(f"increase({requests}[1m])") > 0


def test_prometheus_knows_the_types(prometheus, demo):
    types = demo.page().types
    metadata = prometheus.api("metadata")
    known = {name: {entry["type"] for entry in metadata[name]} for name in types}
    assert known == {name: {kind} for name, kind in types.items()}
