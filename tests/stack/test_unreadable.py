"""Files and folders without read permission.

The exporter does not run as root here, because root may read everything.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from fake_aws import ACCOUNT, FakeAws, credential_report, with_one_key
from harness import Exporter, Page, exporter_binary, exporter_environment, tool

NOBODY = "65534"
KEYS = {"unrotated": 100}
DENIED = "Permission denied"


@pytest.fixture(scope="module")
def place():
    """A folder that every user may search, with a copy of the binary. The original's folder may be private."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(exporter_binary(), folder / "exporter")
        yield folder


@pytest.fixture
def command(place):
    """A command that runs the binary as the user nobody."""
    if os.geteuid() != 0:
        return [exporter_binary()]
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [tool("setpriv"), *ids, place / "exporter"]


@pytest.fixture
def reports(place):
    """A folder with two report files, one of them of this account."""
    folder = Path(tempfile.mkdtemp(dir=place))
    folder.chmod(0o755)
    text = credential_report(with_one_key(KEYS))
    (folder / "prod.csv").write_text(text)
    (folder / "other.csv").write_text(text.replace(ACCOUNT, "210987654321"))
    yield folder
    folder.chmod(0o755)


def check(command, reports, **environment):
    return subprocess.run(
        [*command, "check", *(["--source.reports", reports] if reports else [])],
        env=exporter_environment("/nonexistent", credentials=environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


# The path to change, and its mode: not readable, or readable but not searchable.
CASES = {
    "a file of mode 000": ("prod.csv", 0o000),
    "a folder of mode 000": ("", 0o000),
    "a folder of mode 644": ("", 0o644),
}


@pytest.mark.parametrize("case", CASES)
def test_check_could_not_tell(case, command, reports):
    name, mode = CASES[case]
    (reports / name).chmod(mode)
    done = check(command, reports)
    assert done.returncode == 2, done.stdout + done.stderr
    assert DENIED in done.stderr
    assert "internal_error" not in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_what_is_known_stays_and_fails_until_it_may_be_read_again(case, command, reports, tmp_path):
    name, mode = CASES[case]
    path = reports / name
    arguments = ["--source.reports", reports, "--refresh.interval", "1s"]
    with Exporter(tmp_path, *arguments, command=command) as exporter:
        exporter.wait_until_ready()
        before = path.stat().st_mode
        path.chmod(mode)

        # Accounts are refreshed at different times.
        accounts = {ACCOUNT: 0, "210987654321": 1 if name else 0}

        def fails(page):
            return all(
                page.value("iam_refresh_success", account_id=account) == success
                for account, success in accounts.items()
            )

        page = exporter.wait_for_page("it fails", fails)
        assert page.value("iam_unrotated_keys_total", account_id=ACCOUNT) == 1
        if not name:
            exporter.wait_for_page(
                "discovery fails", lambda page: page.value("iam_exporter_discovery_success") == 0
            )
        assert DENIED in exporter.log
        path.chmod(before)
        exporter.wait_for_page("it works again", Page.is_refreshed)


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_profile_file_that_may_not_be_read_is_named(variable, command, reports):
    file = reports / "profiles"
    file.write_text("[default]\n")
    file.chmod(0o000)
    done = check(command, None, AWS_ENDPOINT_URL="http://127.0.0.1:9", **{variable: str(file)})
    assert done.returncode == 2
    assert f"{file}: {DENIED}" in done.stderr


def test_a_token_file_that_may_not_be_read_is_named(command, reports):
    file = reports / "token"
    file.write_text("a.web.token")
    file.chmod(0o000)
    token = {"AWS_ROLE_ARN": "r", "AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}
    done = check(command, None, AWS_ENDPOINT_URL="http://127.0.0.1:9", **token)
    assert done.returncode == 2
    assert f"{file}: {DENIED}" in done.stderr


def test_a_configuration_that_may_not_be_read_any_more_changes_nothing(command, reports, tmp_path):
    file = reports / "config.yaml"
    file.write_text("rotation: {max_age: 90d}\n")
    arguments = ["--config.file", file, "--web.enable-lifecycle"]
    with (
        FakeAws(with_one_key(KEYS)) as aws,
        Exporter(tmp_path, *arguments, endpoint=aws.endpoint, command=command) as exporter,
    ):
        exporter.wait_until_ready()
        file.chmod(0o000)
        assert exporter.reload() == 500
        last = "iam_exporter_config_last_reload_successful"
        page = exporter.wait_for_page("the failure shows", lambda page: page.value(last) == 0)
        assert page.value("iam_unrotated_keys_total", account_id=ACCOUNT) == 1
