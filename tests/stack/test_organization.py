"""A whole organization in moto: the exporter lists the accounts, assumes the roles, and serves one page."""

import os
import pty
import re
import subprocess

import boto3
import pytest
from harness import TEST_CREDENTIALS, Exporter, exporter_binary, exporter_environment
from moto_account import ACCOUNT, MotoAccount, reset

CONFIG = "organization: {role_name: iam-key-exporter}\n"


@pytest.fixture
def organization(moto):
    """The management account and three others, one of them closed. Returns the ids by name."""
    reset(moto)
    credentials = {name.lower(): value for name, value in TEST_CREDENTIALS.items()}
    client = boto3.client(
        "organizations", endpoint_url=moto, region_name="us-east-1", **credentials
    )
    client.create_organization(FeatureSet="ALL")
    ids = {}
    for name in ("production", "sandbox", "closed"):
        status = client.create_account(Email=f"{name}@example.com", AccountName=name)
        ids[name] = status["CreateAccountStatus"]["AccountId"]
    client.close_account(AccountId=ids["closed"])
    for account, user, age in (
        (ACCOUNT, "hub", 10),
        (ids["production"], "old", 400),
        (ids["sandbox"], "young", 5),
        (ids["closed"], "gone", 700),
    ):
        member = MotoAccount(moto, account)
        member.add_user(user, age)
        # Makes a report now. Otherwise the exporter waits two seconds for it.
        member.iam.generate_credential_report()
    return ids


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


def start(folder, config, moto, *flags):
    return Exporter(folder, "--config.file", config, *flags, endpoint=moto)


def check(config, moto, *flags):
    return subprocess.run(
        [exporter_binary(), "check", "--config.file", config, *flags],
        env=exporter_environment(config.parent, moto),
        capture_output=True,
        text=True,
        timeout=60,
    )


def names(page):
    """The names on the page by account id."""
    return {
        labels["account_id"]: labels["account_name"]
        for labels, _ in page.family("iam_account_info")
    }


def test_the_active_accounts_are_on_the_page_with_their_names(organization, config, moto, tmp_path):
    with start(tmp_path, config, moto) as exporter:
        # Accounts are read while others are still looked for.
        exporter.wait_until_ready()
        page = exporter.wait_for_page(
            "all accounts were found", lambda page: page.value("iam_exporter_discovery_success") == 1
        )
        assert names(page) == {
            ACCOUNT: "master",
            organization["production"]: "production",
            organization["sandbox"]: "sandbox",
        }
        totals = {
            labels["account_id"]: value
            for labels, value in page.family("iam_unrotated_keys_total")
        }
        assert totals == {ACCOUNT: 0, organization["production"]: 1, organization["sandbox"]: 0}
        # The credentials belong to the management account, so it needs no role.
        assert page.aws_requests("AssumeRole") == 2


def test_a_closed_account_leaves_the_page_at_a_reload(organization, config, moto, tmp_path):
    with start(tmp_path, config, moto, "--web.enable-lifecycle") as exporter:
        exporter.wait_until_ready()
        config.write_text(
            f"organization: {{role_name: r, exclude: ['{organization['sandbox']}']}}\n"
        )
        assert exporter.reload() == 200
        page = exporter.wait_for_page(
            "the account is gone", lambda page: organization["sandbox"] not in names(page)
        )
        assert set(names(page)) == {ACCOUNT, organization["production"]}
        assert organization["sandbox"] not in page.text


def test_shards_share_the_accounts(organization, config, moto, tmp_path):
    seen = []
    for shard in range(3):
        folder = tmp_path / str(shard)
        folder.mkdir()
        with start(folder, config, moto, "--shard", str(shard), "--total-shards", "3") as exporter:
            page = exporter.wait_for_page(
                "the accounts were listed",
                lambda page: page.value("iam_exporter_discovery_success") == 1,
            )
            assert page.value("iam_exporter_shard") == shard
            assert page.value("iam_exporter_shards") == 3
            exporter.wait_for_page(
                "none is pending",
                lambda page: page.value("iam_exporter_accounts", state="pending") == 0,
            )
            seen += names(exporter.page())
    assert sorted(seen) == sorted([ACCOUNT, organization["production"], organization["sandbox"]])


def test_check_prints_the_keys_of_all_accounts(organization, config, moto):
    done = check(config, moto, "--format", "csv")
    assert done.returncode == 1, done.stderr
    [line] = done.stdout.splitlines()[1:]
    assert line.startswith(f"{organization['production']},production,old,1,")
    assert "accounts read: 3 of 3" in done.stderr


def test_check_of_an_account_that_cannot_be_read_prints_the_others(organization, config, moto):
    # The configuration expects another account for the default credentials.
    config.write_text(CONFIG + "accounts: [{id: '999999999999', name: elsewhere}]\n")
    done = check(config, moto, "--format", "csv")
    assert done.returncode == 2
    assert ",production,old,1," in done.stdout
    assert "account 999999999999: credentials: the credentials belong to account" in done.stderr
    assert "accounts read: 3 of 4" in done.stderr


def test_check_shows_its_progress_on_a_terminal(organization, config, moto):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [exporter_binary(), "check", "--config.file", config],
        env=exporter_environment(config.parent, moto) | {"TERM": "xterm"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        text = b""
        while chunk := read(ours):
            text += chunk
        assert child.wait(timeout=30) == 1
    os.close(ours)
    counts = [int(count) for count in re.findall(rb"(\d)/3 accounts", text)]
    assert counts and counts == sorted(counts), text


def read(terminal):
    """The received text. Empty if the other end is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
