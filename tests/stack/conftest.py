"""Fixtures of the tests that run the built exporter with other real programs."""

import os
from datetime import datetime, timedelta, timezone

import pytest
from harness import NPM, Exporter, npm
from moto.iam.responses import IamResponse
from moto.server import ThreadedMotoServer
from moto_account import MotoAccount, list_service_specific_credentials, reset


def pytest_configure(config):
    """Hides the developer's own AWS account and proxy from boto3 and requests, and lists the tests that were skipped."""
    config.option.reportchars += "s"
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Shows the log of every server of a failed test."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(log := getattr(value, "log", None), str):
                report.sections.append((f"log of {name}", log))
    return report


@pytest.fixture(scope="session")
def npm_packages():
    """The folder with the installed packages of tests/npm."""
    npm("ci")
    return NPM / "node_modules"


@pytest.fixture(scope="session")
def moto():
    """The address of a moto server, which runs in this process.

    moto's reports have a time in 2015. Here they are five hours old, so that the exporter asks for a new one but still
    uses the old. moto also lacks the list of service-specific credentials, which is added.
    """
    made = IamResponse.get_credential_report

    def get_credential_report(self):
        answer = made(self)
        then = datetime.now(timezone.utc) - timedelta(hours=5)
        answer.result["GeneratedTime"] = f"{then:%Y-%m-%dT%H:%M:%SZ}"
        return answer

    IamResponse.get_credential_report = get_credential_report
    IamResponse.list_service_specific_credentials = list_service_specific_credentials
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    IamResponse.get_credential_report = made
    del IamResponse.list_service_specific_credentials


@pytest.fixture
def account(moto):
    """An empty account without a credential report."""
    reset(moto)
    return MotoAccount(moto)


@pytest.fixture
def company(account):
    """An account with a key of every kind."""
    account.add_user("young", 10)
    account.add_user("almost-due", 89.9)
    account.add_user("just-over", 90.5)
    account.add_user("ancient", 400)
    account.add_user("two,keys", 30, 200)
    account.add_user("without-keys")
    [key] = account.add_user("retired", 500)
    account.deactivate_key("retired", key)
    account.add_service_credential("young", 10)
    # Makes a report now. Otherwise the exporter waits two seconds for it in each test.
    account.iam.generate_credential_report()
    return account


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The exporter with its made-up organization."""
    with Exporter(tmp_path_factory.mktemp("demo"), "demo") as exporter:
        exporter.wait_until_ready()
        yield exporter


@pytest.fixture
def exporter(company, tmp_path):
    """The exporter of the company's account. Its only flag is the address."""
    with Exporter(tmp_path, endpoint=company.endpoint) as exporter:
        exporter.wait_until_ready()
        yield exporter
