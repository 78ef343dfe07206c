"""Silent clients do not block requests, and slow readers cost little memory."""

import http.client
import re
import socket
import ssl
import time

import pytest
import requests
from certificates import Authority
from crowd import KINDS, Crowd
from harness import Exporter, wait_for

MIB = 1 << 20
OTHER_ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")
# Scrapes and health checks in each round.
ASKED = 100
P99_SECONDS = 0.25
SAME_ADDRESS_SECONDS = 5
PATHS = [
    ("/metrics", "gzip"),
    ("/metrics", "identity"),
    ("/", "identity"),
    ("/keys.csv", "identity"),
    ("/keys.csv", "gzip"),
    ("/?show=every", "identity"),
    ("/due.ics", "identity"),
]


def ask(url, path, source):
    """Sends a request on a new connection. Returns the seconds until the whole response is read."""
    scheme, _, address = url.partition("://")
    host, port = address.split(":")
    options = {"timeout": 10, "source_address": (source, 0)}
    started = time.monotonic()
    if scheme == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, int(port), context=context, **options)
    else:
        connection = http.client.HTTPConnection(host, int(port), **options)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, (response.status, body)
    return time.monotonic() - started


def ask_until_answered(url, path, source):
    """Like `ask`, and retries after a refusal."""
    started = time.monotonic()
    while True:
        try:
            ask(url, path, source)
            return time.monotonic() - started
        except (OSError, http.client.HTTPException, AssertionError):
            assert time.monotonic() - started < SAME_ADDRESS_SECONDS, f"no answer to {path}"
            time.sleep(0.1)


def p99(times):
    return sorted(times)[len(times) * 99 // 100 - 1]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The exporter with large pages, and a configuration that can be changed."""
    folder = tmp_path_factory.mktemp("large")
    config = folder / "config.yaml"
    config.write_text("rotation: {max_age: 90d}\n")
    arguments = ("demo", "--users=5000", f"--config.file={config}", "--web.enable-lifecycle")
    with Exporter(folder, *arguments) as exporter:
        wait_for("it is ready", lambda: exporter.get("/-/ready").ok, 60)
        exporter.config = config
        yield exporter


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_connections_of_one_address_delay_nobody(large, kind):
    with Crowd(large.url, kind, 1_000):
        times = []
        for _ in range(ASKED // 2):
            times += [ask(large.url, path, "127.0.0.1") for path in ("/metrics", "/-/healthy")]
            time.sleep(0.02)
        for path in ("/metrics", "/-/healthy"):
            assert ask_until_answered(large.url, path, "127.0.0.2") < SAME_ADDRESS_SECONDS
    assert p99(times) < P99_SECONDS, sorted(times)[-5:]
    assert large.child.poll() is None


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = Authority(folder, "servers").issue("server")
    config = folder / "web.yml"
    config.write_text(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n")
    with Exporter(folder, "demo", "--users=5000", f"--web.config.file={config}") as exporter:
        exporter.url = exporter.url.replace("http://", "https://")
        exporter.options = {"verify": str(folder / "servers.crt")}
        wait_for("it is ready", lambda: exporter.get("/-/ready").ok, 60)
        yield exporter


@pytest.mark.parametrize("kind", ["silent", "handshake"])
def test_handshakes_that_never_end_delay_nobody(with_tls, kind):
    with Crowd(with_tls.url, kind, 256):
        times = []
        for _ in range(ASKED // 2):
            times += [ask(with_tls.url, path, "127.0.0.1") for path in ("/metrics", "/-/healthy")]
            time.sleep(0.02)
        assert ask_until_answered(with_tls.url, "/metrics", "127.0.0.2") < SAME_ADDRESS_SECONDS
    assert p99(times) < P99_SECONDS, sorted(times)[-5:]


def test_ten_thousand_connections_one_after_the_other_delay_nobody(large):
    total = 10_000
    with Crowd(large.url, "half-sent", 1_000, rate=5_000, total=total) as crowd:
        times, started = [], time.monotonic()
        while time.monotonic() - started < 8:
            times += [ask(large.url, path, "127.0.0.1") for path in ("/metrics", "/-/healthy")]
        assert ask_until_answered(large.url, "/metrics", "127.0.0.2") < SAME_ADDRESS_SECONDS
        assert crowd.stop() == total
    assert p99(times) < P99_SECONDS, sorted(times)[-5:]


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("path", ["/metrics", "/", "/keys.csv", "/-/healthy"])
def test_a_client_that_closes_its_half_gets_the_whole_answer(large, path, version):
    host, port = large.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(f"GET {path} {version}\r\nHost: x\r\n\r\n".encode())
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(re.search(rb"content-length: (\d+)", head)[1]) == len(body)



class Measured:
    """Measures the exporter's memory. The harness cannot read a page of this size as a whole."""

    def __init__(self, exporter):
        self.exporter = exporter
        self.page_bytes = self.value('iam_exporter_page_bytes{encoding="identity"}')
        for path, encoding in PATHS:
            requests.get(exporter.url + path, headers={"Accept-Encoding": encoding}, timeout=60)
        time.sleep(1)
        self.rest = self.resident()

    def value(self, series):
        text = self.exporter.page_bytes("gzip").decode()
        return float(re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)[1])

    def resident(self):
        status = open(f"/proc/{self.exporter.child.pid}/status").read()
        return int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) * 1024

    def check(self, what):
        grown = (self.resident() - self.rest) / self.page_bytes
        assert grown < 2, f"{what}: {grown:.1f} pages of {self.page_bytes / MIB:.0f} MiB above rest"


@pytest.mark.parametrize("path, encoding", PATHS)
def test_250_slow_readers_cost_less_than_two_pages(large, path, encoding):
    measured = Measured(large)
    options = {"sources": OTHER_ADDRESSES, "path": path, "encoding": encoding}
    with Crowd(large.url, "reader", 250, **options):
        connections = "iam_exporter_http_connections"
        wait_for("all are there", lambda: measured.value(connections) > 200, 20)
        for _ in range(5):
            measured.check(path)
            time.sleep(0.3)


def test_slow_readers_of_old_pages_cost_less_than_two_pages(large):
    measured = Measured(large)
    reload = f"{large.url}/-/reload"
    with Crowd(large.url, "reader", 150, sources=OTHER_ADDRESSES[:3], rate=20):
        options = {"sources": OTHER_ADDRESSES[3:], "path": "/keys.csv", "rate": 20}
        with Crowd(large.url, "reader", 100, encoding="identity", **options):
            for days in range(91, 101):
                large.config.write_text(f"rotation: {{max_age: {days}d}}\n")
                assert requests.post(reload, timeout=20).ok
                time.sleep(0.5)
                measured.check(f"max_age {days}")
    large.config.write_text("rotation: {max_age: 90d}\n")
    assert requests.post(reload, timeout=20).ok
