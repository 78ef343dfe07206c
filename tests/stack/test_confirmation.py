"""Rotated, deactivated or deleted keys clear long before the next report.

moto's report always has the current state. The fake's report stays an hour old.
"""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from fake_aws import (
    ACCOUNT,
    DENIED,
    GENERATE,
    GET,
    IDENTITY,
    LIST_CREDENTIALS,
    LIST_KEYS,
    FakeAws,
    Key,
    result,
    time_ago,
    with_one_key,
)
from harness import Exporter, wait_for

INTERVAL = 2
EVERY = ("--refresh.interval", f"{INTERVAL}s")
# The next refresh begins within an interval. The refresh and the page need a second, or more on a busy machine.
SOON = INTERVAL + 2


def unrotated(page):
    [(_, count)] = page.family("iam_unrotated_keys_total")
    return count


def wait_for_count(exporter, count):
    what = f"{count} unrotated keys"
    return exporter.wait_for_page(
        what, lambda page: unrotated(page) == count, seconds=SOON, every=0.05
    )


@pytest.fixture
def exporter(company, tmp_path):
    """The exporter of moto's company."""
    with Exporter(tmp_path, *EVERY, endpoint=company.endpoint) as exporter:
        exporter.wait_until_ready()
        yield exporter


def rotate(account, user, key):
    account.iam.create_access_key(UserName=user)
    account.delete_key(user, key)


def deactivate(account, user, key):
    account.deactivate_key(user, key)


def delete(account, user, key):
    account.delete_key(user, key)


def delete_user(account, user, key):
    account.delete_key(user, key)
    account.delete_user(user)


@pytest.mark.parametrize("deal_with", [rotate, deactivate, delete, delete_user])
def test_a_key_that_was_dealt_with_is_cleared_within_an_interval(company, exporter, deal_with):
    assert unrotated(exporter.page()) == 3
    [key] = company.key_ids("ancient")
    deal_with(company, "ancient", key)
    wait_for_count(exporter, 2)


def test_each_flagged_user_costs_one_call_a_refresh(exporter):
    def refreshes(page):
        # moto's report is too old, so every refresh asks for another.
        return page.aws_requests("GenerateCredentialReport")

    page = exporter.wait_for_page("five refreshes", lambda page: refreshes(page) >= 5)
    flagged = unrotated(page)
    # The last refresh may be running.
    least, most = flagged * (refreshes(page) - 1), flagged * refreshes(page)
    assert least <= page.aws_requests("ListAccessKeys") <= most


def test_nobody_but_flagged_users_is_asked_about(tmp_path):
    users = with_one_key({"young": 10, "old": 100, "almost-due": 89, "older": 200})
    with FakeAws(users) as aws, Exporter(tmp_path, *EVERY, endpoint=aws.endpoint):
        wait_for("four refreshes", lambda: aws.actions().count(GENERATE) >= 4)
    asked = [(request.action, request.user) for request in aws.requests]
    report = [(IDENTITY, ""), (GET, ""), (GENERATE, ""), (GET, "")]
    flagged = [(LIST_KEYS, "old"), (LIST_KEYS, "older")]
    # The report stays the same, so the exporter asks only once for the alias, the service-specific credentials and the
    # data for controls. At its end the first refresh asks again for the identity. The keys count only if it did not
    # change.
    details = [("ListAccountAliases", ""), (LIST_CREDENTIALS, "")]
    of_controls = [("GetAccountSummary", ""), ("GetAccountPasswordPolicy", ""), ("ListVirtualMFADevices", "")]
    first = [*report, *details, *flagged, *of_controls, (IDENTITY, "")]
    # Details are asked for at the same time, and so is the data for controls.
    for begin, calls in (4, details), (8, of_controls):
        end = begin + len(calls)
        assert set(asked[begin:end]) == set(calls)
        asked[begin:end] = calls
    assert asked == [*first, *(report + flagged) * 9][: len(asked)]


@pytest.fixture
def aws():
    """An AWS with a report that is an hour old, so that the exporter does not fetch another."""
    users = with_one_key({"old": 100, "young": 10})
    with FakeAws(users, report_age=timedelta(hours=1)) as aws:
        yield aws


@pytest.fixture
def lagging(aws, tmp_path):
    """The exporter of the AWS with that report."""
    with Exporter(tmp_path, *EVERY, endpoint=aws.endpoint) as exporter:
        exporter.wait_until_ready()
        yield exporter


# The final list of a user's keys, by the key in the report.
OUTCOMES = {
    "rotated": lambda key: [Key("AKIANEW", time_ago(timedelta()))],
    "deactivated": lambda key: [replace(key, status="Inactive")],
    "key deleted": lambda key: [],
    "user deleted": lambda key: None,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_key_is_cleared_while_the_report_lags(aws, lagging, outcome):
    assert unrotated(lagging.page()) == 1
    asked = aws.actions().count(LIST_KEYS)
    [key] = aws.keys["old"]
    aws.keys["old"] = OUTCOMES[outcome](key)
    wait_for_count(lagging, 0)
    assert aws.actions().count(LIST_KEYS) <= asked + 1
    assert aws.actions().count(GET) == 1


def test_an_account_at_rest_costs_one_call_a_refresh_and_one_for_each_user_whom_the_report_flags(
    aws, lagging
):
    aws.keys["old"] = [Key("AKIANEW", time_ago(timedelta()))]
    wait_for_count(lagging, 0)
    before = len(aws.requests)
    # Each refresh begins with this call.
    wait_for("four refreshes", lambda: aws.actions()[before:].count(IDENTITY) >= 4)
    asked = [(request.action, request.user) for request in aws.requests[before:]]
    each = [(IDENTITY, ""), (LIST_KEYS, "old")]
    begin = asked.index(each[0])
    assert asked[begin:] == (each * 9)[: len(asked) - begin]
    assert unrotated(lagging.page()) == 0


def test_a_key_that_is_reactivated_is_back_within_an_interval(aws, lagging):
    [key] = aws.keys["old"]
    aws.keys["old"] = [replace(key, status="Inactive")]
    wait_for_count(lagging, 0)
    aws.keys["old"] = [key]
    wait_for_count(lagging, 1)
    assert aws.actions().count(GET) == 1


def test_the_ids_of_flagged_keys_are_shown(aws, lagging):
    infos = lagging.page().family("iam_access_key_info")
    ids = {labels["user"]: labels["access_key_id"] for labels, _ in infos}
    assert ids == {"old": aws.keys["old"][0].id, "young": ""}


@pytest.fixture
def denied(aws, tmp_path):
    """The exporter after several refreshes. Its role does not allow to list access keys."""
    aws.fault = {LIST_KEYS: DENIED}
    with Exporter(tmp_path, *EVERY, endpoint=aws.endpoint) as exporter:
        wait_for("four refreshes", lambda: aws.actions().count(LIST_KEYS) >= 4)
        yield exporter


def test_without_the_permission_the_word_of_the_report_stands(denied):
    page = denied.page()
    assert page.by_key("iam_access_key_unrotated") == {("old", "1"): 1, ("young", "1"): 0}
    assert page.is_refreshed()


def test_a_missing_permission_is_logged_once(denied):
    [warning] = re.findall(r"^.* level=(?:WARN|ERROR) .*$", denied.log, re.MULTILINE)
    assert 'msg="confirmation failed"' in warning
    assert "reason=access_denied " in warning


def test_a_missing_permission_shows_until_it_is_there(aws, denied):
    def available(page):
        [(_, value)] = page.family("iam_exporter_confirmation_available")
        return value

    assert available(denied.page()) == 0
    aws.fault = {}
    denied.wait_for_page("confirmation works", lambda page: available(page) == 1)


def test_after_a_reload_the_new_keys_of_a_profile_are_used_and_tell_whose_they_are(tmp_path):
    """This reload changes no list of accounts, so the exporter does not read that again. It reads the profile again."""
    profiles, config = tmp_path / "profiles", tmp_path / "config.yaml"
    config.write_text(f'accounts: [{{ id: "{ACCOUNT}", profile: audit }}]\n')

    def profile(key):
        profiles.write_text(f"[audit]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    with FakeAws(with_one_key({"unrotated": 100})) as aws:
        of_profile = aws.answers[IDENTITY]
        aws.answers[IDENTITY] = lambda form: (
            result(IDENTITY, "<Account>210987654321</Account>")
            if "AKIAOTHER" in form["Authorization"]
            else of_profile
        )
        profile("AKIAOURS")
        arguments = ["--config.file", config, *EVERY, "--web.enable-lifecycle"]
        credentials = {"AWS_SHARED_CREDENTIALS_FILE": str(profiles)}
        with Exporter(
            tmp_path, *arguments, endpoint=aws.endpoint, credentials=credentials
        ) as exporter:
            exporter.wait_until_ready()
            wait_for_count(exporter, 1)
            profile("AKIAOTHER")
            assert exporter.reload() == 200
            page = exporter.wait_for_page(
                "the refresh fails",
                lambda page: page.value("iam_refresh_success", account_id=ACCOUNT) == 0,
            )
            assert unrotated(page) == 1
            assert "the credentials belong to account 210987654321" in exporter.log
