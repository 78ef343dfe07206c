"""How long the exporter takes to start, and how much memory it needs for up to a million keys.

Its memory is measured at the maximum. At that time it holds a page, makes the next one while it refreshes accounts, and
sends the last one to a reader. The peak is recorded before and after a reader without gzip, for which the exporter
decompresses the page.
"""

import socket
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import requests
from bench import KEYS_PER_USER, free_port, memory, save, value
from harness import Exporter, exporter_binary, exporter_environment, wait_for

# In the demo organization.
ACCOUNTS = 3
STARTS, START_SECONDS = 20, 30
IDLE_SECONDS = 10
# Accounts with the maximum number of users that AWS allows.
USERS = 5_000
KEYS = (10_000, 125_000, 250_000, 500_000, 1_000_000)
# Each account is refreshed at least twice, and the page is rendered after each.
INTERVAL = 30
READY_SECONDS = 300
KEY = b"\niam_access_key_active{"
# The exporter's own metrics are at the end of the page, within this number of bytes.
OWN_BYTES = 1 << 16


def main():
    save(
        "start",
        {
            "start": starts(),
            "idle": idle(),
            "users": USERS,
            "interval": INTERVAL,
            "growth": [growth(keys) for keys in KEYS],
        },
    )


def starts():
    """From the process's start to the first answered scrape, and to the first with every account.

    Medians of several starts of the demo organization, in seconds.
    """
    answered, whole = zip(*(start() for _ in range(STARTS)))
    return {"starts": STARTS, "answered": median(answered), "whole": median(whole)}


def start():
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [exporter_binary(), "demo", f"--web.listen-address=127.0.0.1:{port}"]
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            env=exporter_environment(folder),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            first = None
            while time.perf_counter() < started + START_SECONDS:
                page = scrape(port)
                now = time.perf_counter() - started
                if page:
                    first = first or now
                    if page.count(b"\niam_users{") == ACCOUNTS:
                        return first, now
            raise AssertionError(f"no page within {START_SECONDS} s")
        finally:
            child.terminate()
            child.wait(timeout=20)


def scrape(port):
    """The page, or nothing while the exporter does not listen yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(1 << 20), b""))
    except ConnectionRefusedError:
        return None


def idle():
    """The resident memory of the demo organization at rest."""
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), "demo") as exporter:
        exporter.wait_until_ready()
        time.sleep(IDLE_SECONDS)
        return {"resident": memory(exporter.child.pid, "VmRSS")}


def growth(keys):
    """Memory with this number of keys after several refreshes and renderings, and the size of the page."""
    accounts = round(keys / KEYS_PER_USER / USERS)
    demo = ("demo", f"--accounts={accounts}", f"--users={USERS}", f"--refresh.interval={INTERVAL}s")
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), *demo) as exporter:
        pid = exporter.child.pid
        wait_for("all accounts were read", lambda: exporter.get("/-/ready").ok, READY_SECONDS)
        until = time.monotonic() + 2.5 * INTERVAL
        while time.monotonic() < until:
            packed = sum(map(len, chunks(exporter, "gzip")))
            time.sleep(1)
        figures = {
            "accounts": accounts,
            "gzip_bytes": packed,
            "resident": memory(pid, "VmRSS"),
            "peak": memory(pid, "VmHWM"),
        }
        found, end = 0, b""
        for chunk in chunks(exporter, "identity"):
            # The name may span two chunks.
            found += (end[1 - len(KEY) :] + chunk).count(KEY)
            end = (end + chunk)[-OWN_BYTES:]
        own = end.decode(errors="replace")
        return {
            **figures,
            "keys": found,
            "series": value(own, "iam_exporter_page_series"),
            "plain_bytes": value(own, 'iam_exporter_page_bytes{encoding="identity"}'),
            "page_seconds": value(own, "iam_exporter_page_render_duration_seconds"),
            "peak_with_plain": memory(pid, "VmHWM"),
        }


def chunks(exporter, encoding):
    """The page in pieces, as the exporter sends it. It is too large to handle as a whole."""
    headers = {"Accept-Encoding": encoding}
    response = requests.get(
        f"{exporter.url}/metrics", headers=headers, stream=True, timeout=READY_SECONDS
    )
    response.raise_for_status()
    while chunk := response.raw.read(1 << 20, decode_content=False):
        yield chunk


if __name__ == "__main__":
    main()
