"""Real Prometheus servers scrape over TLS, with passwords and with certificates. Others are refused."""

import os
import re
import subprocess
import time
from threading import Event, Thread

import pytest
import requests
from certificates import Authority
from harness import Exporter, Page, Prometheus, tool, wait_for
from newer import newer

ALICE = ("alice", "secret")
# The hash of the password, made by libxcrypt.
HASH = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
REFUSED = "iam_exporter_http_refused_total"
ROTATION_SECONDS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with certificates of servers and clients."""
    folder = tmp_path_factory.mktemp("certificates")
    servers, clients, others = (Authority(folder, name) for name in ("servers", "clients", "others"))
    servers.issue("server")
    clients.issue("good")
    clients.issue("expired", days=-1)
    others.issue("foreign")
    return folder


def serve(folder, place, config, **identity):
    """The demo organization behind this web configuration, and a client that may read it."""
    (folder / "web.yml").write_text(config)
    exporter = Exporter(
        folder, "demo", "--users=20", f"--web.config.file={folder / 'web.yml'}", "--log.level=debug"
    )
    exporter.url = exporter.url.replace("http://", "https://")
    exporter.options = {"verify": str(place / "servers.crt"), **identity}
    return exporter


def tls(place):
    return f"tls_server_config:\n  cert_file: {place}/server.crt\n  key_file: {place}/server.key\n"


@pytest.fixture(scope="module")
def with_passwords(place, tmp_path_factory):
    users = f"basic_auth_users:\n  alice: {HASH}\n"
    with serve(tmp_path_factory.mktemp("passwords"), place, tls(place) + users, auth=ALICE) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def with_certificates(place, tmp_path_factory):
    clients = f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {place}/clients.crt\n"
    good = (place / "good.crt", place / "good.key")
    with serve(tmp_path_factory.mktemp("clients"), place, tls(place) + clients, cert=good) as exporter:
        yield exporter


def refusals(exporter):
    return {labels["reason"]: value for labels, value in exporter.page().family(REFUSED)}


def job(name, exporter, place, trusted="servers", client=None, password=None, versions=None):
    tls_config = {"ca_file": f"{place}/{trusted}.crt", **(versions or {})}
    if client:
        tls_config |= {"cert_file": f"{place}/{client}.crt", "key_file": f"{place}/{client}.key"}
    fields = ", ".join(f"{key}: {value}" for key, value in tls_config.items())
    target = exporter.url.removeprefix("https://")
    basic_auth = f"    basic_auth: {{username: alice, password: {password}}}\n" if password else ""
    return (
        f"  - job_name: {name}\n    scheme: https\n    tls_config: {{{fields}}}\n{basic_auth}"
        f"    static_configs: [targets: ['{target}']]\n"
    )


OLD = {"min_version": "TLS10", "max_version": "TLS11"}
GOOD = {"password", "certificate"}
# The reason for which the exporter refuses each of the others.
BAD = {
    "wrong-password": "password",
    "no-password": "password",
    "wrong-ca": "handshake",
    "old-version": "handshake",
    "expired": "certificate",
    "foreign": "certificate",
    "no-certificate": "certificate",
}


@pytest.fixture(scope="module", params=["installed", "newer"])
def prometheus(request, place, with_passwords, with_certificates, tmp_path_factory):
    program = newer("prometheus") if request.param == "newer" else None
    by_password, by_certificate = (with_passwords, place), (with_certificates, place)
    jobs = [
        job("password", *by_password, password="secret"),
        job("wrong-password", *by_password, password="wrong"),
        job("no-password", *by_password),
        job("wrong-ca", *by_password, trusted="others", password="secret"),
        job("old-version", *by_password, password="secret", versions=OLD),
        job("certificate", *by_certificate, client="good"),
        job("expired", *by_certificate, client="expired"),
        job("foreign", *by_certificate, client="foreign"),
        job("no-certificate", *by_certificate),
    ]
    config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" + "".join(jobs)
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(folder, config=config, program=program) as prometheus:
        every = len(GOOD) + len(BAD)
        wait_for(
            "three scrapes by each job",
            lambda: len(prometheus.query("count_over_time(up[1m]) >= 3")) == every,
        )
        yield prometheus


def test_prometheus_scrapes_with_a_password_and_with_a_certificate(prometheus):
    up = {labels["job"] for labels, value in prometheus.query("min_over_time(up[1m])") if value}
    assert up == GOOD


def test_each_job_that_may_not_come_in_says_why(prometheus):
    reasons = dict.fromkeys(BAD, "tls|x509|certificate")
    reasons |= dict.fromkeys(["wrong-password", "no-password"], "401")
    found = {}

    # After some scrapes Prometheus says no more than that there is no connection.
    def every_reason_was_given():
        for target in prometheus.api("targets")["activeTargets"]:
            name, error = target["labels"]["job"], target["lastError"]
            assert bool(error) == (name in BAD), (name, error)
            if error and re.search(reasons[name], error):
                found[name] = error
        return found.keys() == reasons.keys()

    wait_for("the reason of each job", every_reason_was_given)


def test_each_refusal_is_counted_by_its_reason_and_logged_once(
    prometheus, with_passwords, with_certificates
):
    reasons = [(with_passwords, {"password", "handshake"}), (with_certificates, {"certificate"})]
    for exporter, expected in reasons:

        def agree():
            # Prometheus keeps scraping, so the counts can change between the two pages.
            before, log, after = refusals(exporter), exporter.log, refusals(exporter)
            lines = [line for line in log.splitlines() if re.search("(message|msg)=refused", line)]
            logged = {
                reason: sum(f"reason={reason} " in line for line in lines) for reason in before
            }
            is_same = before == after and logged == before
            return is_same and lines and {reason for reason in before if before[reason]}

        assert wait_for("the log and the page agree", agree) == expected
        warnings = [line for line in exporter.log.splitlines() if "level=WARN" in line]
        # One log line for each reason and minute, independent of the number of attempts.
        minutes = (time.time() - os.stat(exporter.log_file.parent / "web.yml").st_mtime) / 60
        assert len(expected) <= len(warnings) <= len(expected) * (minutes + 1), warnings
        assert all("peer=127.0.0.1:" in line for line in warnings), warnings
        assert "secret" not in exporter.log


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_the_page_comes_over_http_of_both_versions(with_passwords, place, version):
    command = [
        *(tool("curl"), "--silent", "--show-error", f"--http{version}", "--user", "alice:secret"),
        *("--cacert", place / "servers.crt", "--write-out", "\n%{http_version}"),
        f"{with_passwords.url}/metrics",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    page, _, used = done.stdout.rpartition("\n")
    assert used == version
    assert Page(page).family("iam_access_key_age_days")


def test_openssl_cannot_choose_tls_1_1(with_passwords):
    before = refusals(with_passwords)["handshake"]
    command = [
        *(tool("openssl"), "s_client", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"),
        *("-connect", with_passwords.url.removeprefix("https://")),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    assert done.returncode != 0 and " alert " in done.stderr, done.stderr
    wait_for("one more refusal", lambda: refusals(with_passwords)["handshake"] > before)


def test_no_scrape_is_lost_while_certificates_rotate(tmp_path):
    servers = Authority(tmp_path, "servers")
    servers.issue("server")
    with serve(tmp_path, tmp_path, tls(tmp_path)) as exporter:
        end, presented = Event(), set()

        def rotate():
            while not end.wait(1):
                for suffix, content in zip(("crt", "key"), servers.issue_bytes("server")):
                    new = tmp_path / "new"
                    new.write_bytes(content)
                    new.rename(tmp_path / f"server.{suffix}")

        rotating = Thread(target=rotate)
        rotating.start()
        try:
            scrapes, started = 0, time.monotonic()
            with requests.Session() as kept:
                while (passed := time.monotonic() - started) < ROTATION_SECONDS:
                    # On a new connection, and on one that stays open.
                    with exporter.get("/metrics", stream=True) as response:
                        certificate = response.raw.connection.sock.getpeercert(binary_form=True)
                        presented.add(certificate)
                        assert response.ok and response.content
                    health = kept.get(f"{exporter.url}/-/healthy", timeout=5, **exporter.options)
                    assert health.ok
                    scrapes += 1
                    time.sleep(max(0, scrapes / 10 - passed))
        finally:
            end.set()
            rotating.join()
        assert scrapes > ROTATION_SECONDS * 5, scrapes
        assert len(presented) > ROTATION_SECONDS / 3, len(presented)
        assert refusals(exporter)["handshake"] == 0
