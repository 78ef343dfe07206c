"""The exporter during and after a fault of AWS, in real time.

Each scenario has its own AWS and exporter. AWS is healthy at first, then has a fault that outlasts the exporter's
pause, and then recovers. All scenarios run at the same time, in three minutes.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from fake_aws import (
    ACCOUNT,
    DROP,
    GENERATE,
    GET,
    HANG,
    LIST_KEYS,
    Answer,
    FakeAws,
    Request,
    error,
    report,
    state,
    with_one_key,
)
from harness import Exporter, Page, dead_endpoint

REASONS = {
    "access_denied",
    "credentials",
    "throttled",
    "limit_exceeded",
    "report_not_ready",
    "timeout",
    "network",
    "service_error",
    "malformed_report",
    "unreadable_file",
    "clock",
    "internal_error",
}


@dataclass(frozen=True)
class Scenario:
    """A fault, and the reason that the exporter must count for it."""

    fault: dict
    reason: str
    # How many refreshes fail before AWS recovers. If AWS asks for fewer calls it is 1, because the second pause may be
    # four minutes long.
    failures: int = 2
    refresh_timeout: str = "2m"


def every_call(answer):
    return {GET: answer, GENERATE: answer}


SCENARIOS = {
    "access denied": Scenario(every_call(error(403, "AccessDenied")), "access_denied"),
    "expired token": Scenario(every_call(error(403, "ExpiredToken")), "credentials"),
    "throttling": Scenario(every_call(error(400, "Throttling")), "throttled", failures=1),
    "no capacity": Scenario(
        {GENERATE: error(409, "LimitExceeded")}, "limit_exceeded", failures=1
    ),
    "report in progress": Scenario(
        {GET: error(404, "ReportInProgress")}, "report_not_ready", refresh_timeout="20s"
    ),
    "report not present": Scenario(
        {GET: error(410, "ReportNotPresent"), GENERATE: state("STARTED")},
        "report_not_ready",
        refresh_timeout="20s",
    ),
    "hang": Scenario(every_call(HANG), "timeout", refresh_timeout="5s"),
    "dropped connection": Scenario(every_call(DROP), "network"),
    "garbage": Scenario(every_call(Answer(200, b"\x00garbage<")), "service_error"),
    "service failure": Scenario(every_call(error(500, "ServiceFailure")), "service_error"),
    # Newer than the first report, which is made when the test begins.
    "not a report": Scenario(
        {GET: report("<!doctype html>", age=timedelta(hours=4, minutes=1))}, "malformed_report"
    ),
}

UNIDENTIFIED = "iam_exporter_unidentified_refresh_failures_total"

# The shortest pause after a failure. The exporter makes no calls during it.
PAUSE = 60
# The longest pause after a second failure if AWS asks for fewer calls, and some seconds more.
LONGEST_RECOVERY = 250
KEYS = {"rotated": 10, "unrotated": 100}


@dataclass
class Course:
    """The observations of a scenario."""

    scenario: Scenario
    before: Page
    # One page a second.
    during: list[Page] = field(default_factory=list)
    # Requests to AWS during the fault, and those since the first failure.
    requests: list[Request] = field(default_factory=list)
    since_failure: list[Request] = field(default_factory=list)
    healed: bool = False
    alive: bool = False
    log: str = ""


def failures(page):
    return {
        labels["reason"]: value
        for labels, value in page.family("iam_refresh_failures_total")
        if labels["account_id"] == ACCOUNT
    }


def run(scenario, folder):
    flags = ["--refresh.interval", "2s", "--refresh.timeout", scenario.refresh_timeout]
    with (
        FakeAws(with_one_key(KEYS)) as aws,
        Exporter(folder, *flags, endpoint=aws.endpoint) as exporter,
    ):
        course = Course(scenario, before=exporter.wait_until_ready())

        aws.fault = scenario.fault
        began = time.monotonic()
        exporter.wait_for_page("the first failure", lambda page: not page.is_refreshed())
        failed = time.monotonic()

        def has_lasted(page):
            course.during.append(page)
            enough = sum(failures(page).values()) >= scenario.failures
            return enough and time.monotonic() > began + PAUSE + 1

        exporter.wait_for_page("the fault lasts", has_lasted, seconds=2 * PAUSE, every=1)
        ended = time.monotonic()
        aws.fault = {}
        course.requests = [it for it in aws.requests if began <= it.at <= ended]
        course.since_failure = [it for it in course.requests if it.at > failed]

        try:
            exporter.wait_for_page("it works", Page.is_refreshed, seconds=LONGEST_RECOVERY)
            course.healed = True
        except AssertionError:
            # A separate test checks this. The others do not need it.
            pass
        course.alive = exporter.is_alive()
    course.log = exporter.log
    return course


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """Every scenario's course, or the error that prevented it."""
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        return {
            name: pool.submit(run, scenario, tmp_path_factory.mktemp("fault"))
            for name, scenario in SCENARIOS.items()
        }


@pytest.fixture(params=SCENARIOS)
def course(courses, request):
    return courses[request.param].result()


def test_the_last_good_keys_stay(course):
    keys = course.before.by_key("iam_access_key_last_rotated_timestamp_seconds")
    unrotated = course.before.by_key("iam_access_key_unrotated")
    assert unrotated == {("rotated", "1"): 0, ("unrotated", "1"): 1}
    for page in course.during:
        assert page.by_key("iam_access_key_last_rotated_timestamp_seconds") == keys
        assert page.by_key("iam_access_key_unrotated") == unrotated


def test_the_fault_shows(course):
    shown = {page.value("iam_refresh_success", account_id=ACCOUNT) for page in course.during}
    assert shown == {0}


def test_failures_are_counted_under_their_reason(course):
    counts = failures(course.during[-1])
    assert set(counts) == REASONS
    assert {reason for reason, count in counts.items() if count > 0} == {course.scenario.reason}


def test_the_fault_is_logged_once(course):
    warnings = re.findall(r"^.* level=(?:WARN|ERROR) .*$", course.log, re.MULTILINE)
    assert len(warnings) == 1
    assert 'msg="refresh failed"' in warnings[0]
    assert f"reason={course.scenario.reason} " in warnings[0]


def test_aws_is_asked_for_reports_at_most_six_times_a_minute(course):
    times = [request.at for request in course.requests if request.action in (GET, GENERATE)]
    busiest = max(sum(start <= at < start + 60 for at in times) for start in times)
    assert busiest <= 6


def test_confirmation_goes_on_while_the_report_fails(course):
    assert LIST_KEYS in {request.action for request in course.since_failure}


def test_it_heals_without_a_restart(course):
    assert course.healed
    assert course.alive
    assert course.log.count('msg="refresh works again"') == 1


def test_an_aws_that_was_never_reachable_is_a_network_failure(tmp_path):
    reserved, endpoint = dead_endpoint()
    with reserved, Exporter(tmp_path, endpoint=endpoint) as exporter:
        assert exporter.get("/metrics").ok
        page = exporter.wait_for_page(
            "the first failure",
            lambda page: page.value(UNIDENTIFIED, reason="network") == 1,
        )
    assert page.value("iam_exporter_accounts", state="failing") == 1
    # An account without a known id has no series.
    assert "account_id=" not in page.text
