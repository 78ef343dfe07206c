"""Fixtures of the tests that run the built exporter against other real programs."""

import os
from datetime import datetime, timedelta, timezone

import pytest
from harness import NPM, Exporter, npm
from moto.iam.responses import IamResponse
from moto.server import ThreadedMotoServer
from moto_account import MotoAccount, list_service_specific_credentials, reset


def pytest_configure(config):
    """Keeps the developer's own AWS account and proxy out of boto3 and requests.

    And lists the tests that did not run, with the reason.
    """
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
    """The folder of the packages that tests/npm names, installed."""
    npm("ci")
    return NPM / "node_modules"


@pytest.fixture(scope="session")
def moto():
    """The address of a moto server, which runs in this process.

    Its reports say that they were made in 2015. Here they are of five hours ago, which is old enough to be asked for
    again, and young enough to be believed. It also has the list of service-specific credentials, which moto lacks.
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
    """An empty account, of which no credential report was made yet."""
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
    # Spares each test the two seconds that the exporter waits for a report's generation.
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
    """The exporter of the company's account, with no flag but the address to listen on."""
    with Exporter(tmp_path, endpoint=company.endpoint) as exporter:
        exporter.wait_until_ready()
        yield exporter
