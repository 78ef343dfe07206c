"""The exporter under hard conditions.

No descriptors, little memory, a full disk for the log, slow and half-closed readers, storms of connections and of
reloads, and stops at any moment. During each, a client scrapes ten times a second. Afterwards the exporter still runs,
its pages are whole, and it has no more memory and descriptors than before. HARD_SEED repeats a run.
"""

import os
import random
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import requests
from crowd import Crowd
from harness import (
    LISTENING,
    Exporter,
    Page,
    exporter_binary,
    exporter_environment,
    gunzip,
    wait_for,
)

MIB = 1 << 20
SECONDS = 12
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")
# glibc keeps freed memory in a heap for each thread: some 50 MiB after several rounds of 240 readers.
MEMORY_GROWTH = 32 * MIB
# The same value as in src/report/mod.rs.
MAX_REPORT_BYTES = 64 * MIB


@pytest.fixture(scope="module")
def dice():
    seed = int(os.environ.get("HARD_SEED") or time.time())
    print("HARD_SEED =", seed)
    return random.Random(seed)


class Scraper(threading.Thread):
    """Scrapes ten times a second from 127.0.0.1, and checks each page. A scrape is lost if there is no answer. An
    answer that is not a whole page is always a failure."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.scrapes, self.lost, self.failures = url, 0, [], []
        self.done = threading.Event()
        self.slowest = 0

    def run(self):
        while not self.done.wait(0.1):
            started = time.monotonic()
            try:
                check_whole(scrape(self.url))
            except (requests.ConnectionError, requests.Timeout) as error:
                self.lost.append(f"{error!r:.300}")
            except Exception as error:  # Any of them is one too many: they are shown at the end.
                self.failures.append(f"{error!r:.300}")
            self.scrapes += 1
            self.slowest = max(self.slowest, time.monotonic() - started)


def scrape(url):
    """The text of the page."""
    headers = {"Accept-Encoding": "gzip", "Connection": "close"}
    response = requests.get(f"{url}/metrics", headers=headers, timeout=10, stream=True)
    assert response.status_code == 200, response.status_code
    body = response.raw.read(decode_content=False)
    assert len(body) == int(response.headers["Content-Length"]), "cut off"
    return gunzip(body).decode()


def check_whole(text):
    """Fails if the page is torn: it has no end, a series comes twice, or a count differs from its keys."""
    assert text.endswith("\n") and "\nprocess_start_time_seconds " in text
    page = Page(text)
    unrotated = {}
    for labels, value in page.family("iam_access_key_unrotated"):
        unrotated[labels["account_id"]] = unrotated.get(labels["account_id"], 0) + value
    for labels, value in page.family("iam_unrotated_keys_total"):
        assert unrotated.get(labels["account_id"], 0) == value, labels


def resident(pid):
    status = open(f"/proc/{pid}/status").read()
    return int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) * 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextmanager
def hard_times(exporter, lost=0):
    """Scrapes during the `with`, and compares memory and descriptors before and after.

    `lost` is how many scrapes may fail.
    """
    pid = exporter.child.pid
    for path in ("/", "/keys.csv", "/metrics"):
        requests.get(exporter.url + path, timeout=20)
    # Warms up: glibc keeps the memory of the first slow readers.
    for path in ("/metrics", "/keys.csv"):
        with Crowd(exporter.url, "reader", 240, ADDRESSES[:4], path=path, encoding="identity"):
            time.sleep(0.5)
    wait_for("the readers are gone", lambda: descriptors(pid) < 40, 20)
    memory, open_files = resident(pid), descriptors(pid)
    scraper = Scraper(exporter.url)
    scraper.start()
    try:
        yield scraper
    finally:
        scraper.done.set()
        scraper.join(20)
    assert exporter.is_alive(), exporter.log
    assert scraper.scrapes > 5 and not scraper.failures, scraper.failures
    assert len(scraper.lost) <= lost, scraper.lost
    check_whole(scrape(exporter.url))
    wait_for("descriptors are as before", lambda: descriptors(pid) <= open_files + 2, 20)
    wait_for("memory is as before", lambda: resident(pid) < memory + MEMORY_GROWTH, 20)


@pytest.fixture
def small(tmp_path):
    """The demo organization with a configuration that can be changed."""
    config = tmp_path / "config.yaml"
    config.write_text("rotation: {max_age: 90d}\n")
    arguments = ("demo", f"--config.file={config}", "--web.enable-lifecycle")
    with Exporter(tmp_path, *arguments) as exporter:
        exporter.wait_until_ready()
        exporter.config = config
        yield exporter


def test_descriptors_are_exhausted(small):
    pid = small.child.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with hard_times(small, lost=5):
        before = small.page().value("iam_exporter_http_accept_failures_total")
        # Leaves four descriptors, which the crowd uses up.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + 4, usual[1]))
        with Crowd(small.url, "silent", 100, ADDRESSES, total=300):
            time.sleep(5)
            # No descriptor is left, so the exporter cannot accept connections.
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, usual[1]))
            time.sleep(2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        wait_for("it answers again", lambda: answers(small.url), 5)
    failures = small.page().value("iam_exporter_http_accept_failures_total") - before
    assert 0 < failures <= 1_000, failures
    assert small.log.count("connections not accepted") <= 2


def answers(url):
    try:
        return bool(scrape(url))
    except (OSError, AssertionError):
        return False


def test_few_descriptors_are_enough_under_a_crowd(tmp_path):
    few = f'ulimit -n 96; exec "{exporter_binary()}" demo --web.listen-address 127.0.0.1:0'
    with shell(tmp_path, few) as exporter:
        exporter.wait_until_ready()
        with Crowd(exporter.url, "silent", 1_000, ADDRESSES), hard_times_under_crowd(exporter):
            time.sleep(SECONDS / 2)
        assert exporter.page().value("iam_exporter_http_accept_failures_total") == 0


@contextmanager
def hard_times_under_crowd(exporter):
    scraper = Scraper(exporter.url)
    scraper.start()
    yield
    scraper.done.set()
    scraper.join(20)
    assert exporter.is_alive() and not scraper.lost + scraper.failures


class shell(Exporter):
    """The exporter, started by this line of a shell."""

    def __init__(self, folder, line, log=None):
        self.log_file = log or folder / "exporter.log"
        with self.log_file.open("wb") as file:
            self.child = subprocess.Popen(
                ["sh", "-c", line],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=exporter_environment(folder),
            )
        self.url = None
        if log is None:
            found = wait_for("it listens", lambda: re.search(LISTENING, self.log))
            self.url = f"http://127.0.0.1:{found[1]}"

    def wait_until_ready(self):
        wait_for("it is ready", lambda: self.get("/-/ready").ok, 120)


def test_memory_is_limited_and_the_report_is_as_large_as_it_may_be(tmp_path):
    report = tmp_path / "report.csv"
    columns = (
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
        "password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,"
        "access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,"
        "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
        "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
        "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
    )
    key = "true,2020-01-01T00:00:00+00:00,2026-01-01T00:00:00+00:00,us-east-1,s3"
    nothing = "false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
    head = f"{columns}\n"
    rest = f",2020-01-01T00:00:00+00:00,false,N/A,N/A,N/A,false,{key},{nothing}\n"
    size = len(head)
    with report.open("w") as file:
        file.write(head)
        for number in range(10**7):
            name = f"user-{number:07}"
            line = f"{name},arn:aws:iam::123456789012:user/{name}{rest}"
            if (size := size + len(line)) > MAX_REPORT_BYTES:
                break
            file.write(line)
    limit = 2_000_000  # In kB.
    line = f'ulimit -v {limit}; exec "{exporter_binary()}" --source.reports {report}'
    with shell(tmp_path, f"{line} --web.listen-address 127.0.0.1:0") as exporter:
        exporter.wait_until_ready()
        users = re.compile(rb"^iam_users\{.*\} (\d+)$", re.MULTILINE)

        def read_whole():
            found = users.search(exporter.page_bytes("gzip"))
            return found and int(found[1]) == number

        wait_for("every user is on the page", read_whole, 120, every=1)
        with Crowd(exporter.url, "reader", 100, ADDRESSES, encoding="identity"):
            with Crowd(exporter.url, "reader", 20, ADDRESSES[4:], path="/keys.csv"):
                assert requests.get(exporter.url, timeout=60).ok
        assert read_whole() and exporter.is_alive()


def test_the_disk_for_the_log_is_full(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = f'exec "{exporter_binary()}" demo --web.listen-address 127.0.0.1:{port} 2>/dev/full'
    with shell(tmp_path, line, log=tmp_path / "nothing.log") as exporter:
        exporter.url = f"http://127.0.0.1:{port}"
        wait_for("it listens", lambda: answers(exporter.url))
        exporter.wait_until_ready()
        with hard_times(exporter):
            for _ in range(20):
                exporter.child.send_signal(signal.SIGHUP)
                time.sleep(0.2)


@pytest.mark.parametrize("path", ["/metrics", "/keys.csv"])
def test_readers_are_slow_and_half_closed(small, path):
    host, port = small.url.removeprefix("http://").split(":")
    with hard_times(small):
        options = {"encoding": "identity", "path": path}
        with Crowd(small.url, "reader", 240, ADDRESSES[:4], **options):
            for _ in range(SECONDS * 4):
                with socket.create_connection((host, int(port)), 10) as client:
                    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                    client.shutdown(socket.SHUT_WR)
                    answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
                head, _, body = answer.partition(b"\r\n\r\n")
                assert int(re.search(rb"content-length: (\d+)", head)[1]) == len(body)
                time.sleep(0.2)


@pytest.mark.parametrize("kind", ["silent", "half-sent", "idle"])
def test_ten_thousand_connections_a_minute(small, kind):
    with hard_times(small) as scraper:
        with Crowd(small.url, kind, 1_000, ADDRESSES, rate=10_000 / 60):
            time.sleep(SECONDS)
    assert scraper.slowest < 2, scraper.slowest


def test_reloads_during_refreshes(small):
    with hard_times(small):
        until = time.monotonic() + SECONDS
        days = 30
        while time.monotonic() < until:
            days = days % 300 + 1
            new = small.config.with_suffix(".new")
            new.write_text(f"rotation: {{max_age: {days}d}}\n")
            new.rename(small.config)
            small.child.send_signal(signal.SIGHUP)
            threading.Thread(target=small.reload, daemon=True).start()
            time.sleep(0.1)
    assert small.log.count("configuration reloaded") <= 2 * SECONDS


def test_it_is_told_to_stop_at_any_moment(tmp_path, dice):
    for round in range(10):
        folder = tmp_path / str(round)
        folder.mkdir()
        exporter = Exporter(folder, "demo")
        scraper = Scraper(exporter.url)
        scraper.start()
        time.sleep(dice.random() * 1.5)
        scraper.done.set()
        exporter.child.send_signal(dice.choice([signal.SIGTERM, signal.SIGINT]))
        assert exporter.child.wait(15) == 0, exporter.log
        scraper.join(20)
        assert not scraper.failures, scraper.failures
        assert "panicked" not in exporter.log
