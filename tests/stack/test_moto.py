"""The exporter shows each change of a key that is made through AWS's API, here moto's."""

import csv
import io
import json
import subprocess

import pytest
from harness import Exporter, Page, dead_endpoint, exporter_binary, exporter_environment
from moto_account import ACCOUNT

DAY = 24 * 60 * 60
AGES = {
    ("young", "1"): 10,
    ("almost-due", "1"): 89.9,
    ("just-over", "1"): 90.5,
    ("ancient", "1"): 400,
    ("two,keys", "1"): 30,
    ("two,keys", "2"): 200,
    ("retired", "1"): 500,
}
INACTIVE = ("retired", "1")
OLDEST_FIRST = [("ancient", "1"), ("two,keys", "2"), ("just-over", "1")]


@pytest.fixture
def page(exporter):
    return exporter.page()


def test_every_key_has_its_age(page):
    assert page.by_key("iam_access_key_age_days") == pytest.approx(AGES, abs=0.02)


def test_keys_that_are_active_and_too_old_are_unrotated(page):
    unrotated = page.by_key("iam_access_key_unrotated")
    assert unrotated == {key: key in OLDEST_FIRST for key in AGES}


def test_the_count_is_that_of_the_unrotated_keys(page):
    count = page.value("iam_unrotated_keys_total", account_id=ACCOUNT)
    assert count == sum(page.by_key("iam_access_key_unrotated").values()) == len(OLDEST_FIRST)


def test_active_keys_are_due_90_days_after_their_rotation(page):
    rotated = page.by_key("iam_access_key_last_rotated_timestamp_seconds")
    expected = {key: at + 90 * DAY for key, at in rotated.items() if key != INACTIVE}
    assert page.by_key("iam_access_key_rotation_due_timestamp_seconds") == expected


def test_the_inactive_key_is_exported_as_such(page):
    assert page.by_key("iam_access_key_active") == {key: key != INACTIVE for key in AGES}
    assert page.value("iam_access_keys", account_id=ACCOUNT, status="inactive") == 1


def test_service_specific_credentials_are_judged_like_keys(company, tmp_path):
    company.add_user("old")
    company.add_service_credential("old", 400)
    company.add_service_credential("retired", 400, status="Inactive")
    with Exporter(tmp_path, endpoint=company.endpoint) as exporter:
        exporter.wait_until_ready()
        page = exporter.page()
    found = {
        labels["user"]: value
        for labels, value in page.family("iam_service_specific_credential_unrotated")
    }
    assert found == {"old": 1, "young": 0, "retired": 0}
    assert page.value("iam_unrotated_service_credentials", account_id=ACCOUNT) == 1
    done = check(company.endpoint, tmp_path, "csv")
    [row] = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["service"]]
    assert (row["user"], row["service"], row["expires"]) == ("old", "bedrock.amazonaws.com", "")
    assert "unrotated service-specific credentials: 1;" in done.stderr


def test_a_user_without_keys_is_a_user(page):
    users = {labels["user"] for labels, _ in page.family("iam_user_info")}
    assert users == {user for user, _ in AGES} | {"without-keys"}


def test_nothing_was_rejected(page):
    assert page.value("iam_credential_report_rejected_rows", account_id=ACCOUNT) == 0


def test_deleted_keys_go_and_new_ones_come(account, tmp_path):
    [key] = account.add_user("leaving", 100)
    with Exporter(tmp_path, "--refresh.interval", "1s", endpoint=account.endpoint) as exporter:
        exporter.wait_for_page("the key is there", lambda page: "leaving" in page.text)

        account.delete_key("leaving", key)
        exporter.wait_for_page(
            "no series of the deleted key is left",
            lambda page: not any(
                {("user", "leaving"), ("key", "1")} <= labels for _, labels in page.samples
            ),
        )

        account.add_user("new", 95)
        exporter.wait_for_page(
            "the new key is unrotated",
            lambda page: page.by_key("iam_access_key_unrotated").get(("new", "1")) == 1,
        )


def read_table(text):
    return [tuple(row.split()[2:4]) for row in text.splitlines()[1:]]


def read_csv(text):
    return [(row["user"], row["key"]) for row in csv.DictReader(io.StringIO(text))]


def read_json(text):
    return [(finding["user"], str(finding["key"])) for finding in json.loads(text)]


def read_page(text):
    page = Page(text)
    ages = page.by_key("iam_access_key_age_days")
    unrotated = page.by_key("iam_access_key_unrotated")
    return sorted((key for key in unrotated if unrotated[key]), key=lambda key: -ages[key])


READERS = {"table": read_table, "json": read_json, "csv": read_csv, "prometheus": read_page}


def check(endpoint, folder, form="table", flags=()):
    return subprocess.run(
        [exporter_binary(), "check", "--format", form, *flags],
        env=exporter_environment(folder, endpoint),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("form", READERS)
def test_check_prints_the_unrotated_keys_oldest_first(company, tmp_path, form):
    done = check(company.endpoint, tmp_path, form)
    assert READERS[form](done.stdout) == OLDEST_FIRST
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize("form", READERS)
def test_check_of_rotated_keys_prints_none(account, tmp_path, form):
    account.add_user("young", 10)
    done = check(account.endpoint, tmp_path, form)
    assert READERS[form](done.stdout) == []
    assert done.returncode == 0, done.stderr


def test_check_says_how_much_it_found_and_nothing_else(company, tmp_path):
    done = check(company.endpoint, tmp_path)
    assert done.stderr == "unrotated keys: 3; accounts read: 1 of 1\n"


def test_check_tells_of_a_key_its_id_owner_and_rule(account, tmp_path):
    [key] = account.add_user("strict", 40, tags={"team": "payments", "other": "tag"})
    config = tmp_path / "config.yaml"
    config.write_text(
        "rotation: { rules: [{ match: { tags: { team: pay* } }, max_age: 30d }] }\n"
    )
    done = check(account.endpoint, tmp_path, "json", [f"--config.file={config}"])
    [finding] = json.loads(done.stdout)
    assert finding["access_key_id"] == key
    assert finding["status"] == "unrotated"
    assert finding["tags"] == {"team": "payments"}
    assert finding["rule"] == "rotation.rules[0]: max age 30d"


def test_check_without_an_answer_could_not_tell(tmp_path):
    reserved, endpoint = dead_endpoint()
    with reserved:
        done = check(endpoint, tmp_path)
    assert done.returncode == 2
    assert "network" in done.stderr
    assert done.stderr.endswith(
        "could not tell for all keys: unrotated keys: 0; accounts read: 0 of 1\n"
    )
