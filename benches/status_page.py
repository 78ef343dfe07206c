"""The size and speed of the status page with 40,000 keys to list: the first page, a search, every key, the file and the
calendar.

Fails if a page is too large or too slow for people.
"""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import requests
from bench import save
from harness import Exporter, wait_for

# With these, about 40,000 keys are unrotated, due soon or exempt. With fewer accounts, about 40,000 exist in all.
ACCOUNTS, ACCOUNTS_OF_EVERY, USERS = 40, 13, 3_100
KEYS = 40_000
READY_SECONDS = 120
ROUNDS = 15
PAGES = {
    "first": "/",
    "all": "/?show=all&sort=due",
    "search": "/?q=payments-oncall&show=all&sort=user",
    "team": "/?tag=team:payments&sort=last_used",
    "account": "/?account={account}",
    "key": "/key?account={account}&user={user}&key={key}",
    "file": "/keys.csv?show=all",
    "calendar": "/due.ics",
}
# For pages, not files. The first reader after a change or a minute waits until the page is made. Others share it.
MAX_BYTES, MAX_SECONDS, MAX_FIRST_SECONDS = 20_000, 0.1, 0.5


def main():
    with running(ACCOUNTS) as exporter:
        # The first request counts every key.
        first_look, _ = read(exporter.url)
        lines = listed(exporter, "all")
        # API keys have no slot.
        keys = (line.split(",") for line in reversed(lines))
        account, _, user, key, *_ = next(fields for fields in keys if fields[3])
        figures = {
            name: measure(exporter.url + path.format(account=account, user=user, key=key))
            for name, path in PAGES.items()
        }
    with running(ACCOUNTS_OF_EVERY) as exporter:
        listed(exporter, "every")
        figures["every"] = measure(f"{exporter.url}/?show=every")
    save("status_page", {"keys": len(lines), "first_look": first_look, "pages": figures})
    for name, page in figures.items():
        if page["type"].startswith("text/html"):
            assert page["gzip_bytes"] < MAX_BYTES and page["seconds"] < MAX_SECONDS, name
            assert page["slowest_first_seconds"] < MAX_FIRST_SECONDS, name
    assert first_look < MAX_FIRST_SECONDS


@contextmanager
def running(accounts):
    """An exporter of this many accounts, after all refreshes."""
    demo = ("demo", f"--accounts={accounts}", f"--users={USERS}")
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), *demo) as exporter:
        wait_for("all accounts were read", lambda: exporter.get("/-/ready").ok, READY_SECONDS)
        yield exporter


def listed(exporter, show):
    """The lines of the file of these keys."""
    lines = exporter.get(f"/keys.csv?show={show}").text.splitlines()[1:]
    assert len(lines) >= KEYS, f"only {len(lines)} keys"
    return lines


def measure(url):
    """The size of a page, and the time until its last byte: for its slowest first reader, and for those who share it."""
    # Each number makes it another page, with the same keys.
    number = "&accounts=" if "?" in url else "?accounts="
    first = [read(f"{url}{number}{reader}")[0] for reader in range(1, ROUNDS + 1)]
    times, answers = zip(*(read(url) for _ in range(ROUNDS)))
    return {
        "type": answers[0].headers["Content-Type"],
        "gzip_bytes": int(answers[0].headers["Content-Length"]),
        "bytes": len(answers[0].content),
        "seconds": median(times),
        "slowest_first_seconds": max(first),
    }


def read(url):
    """The time until the last byte of a page, and the answer."""
    started = time.perf_counter()
    answer = requests.get(url, headers={"Accept-Encoding": "gzip"}, timeout=60)
    assert answer.status_code == 200, url
    return time.perf_counter() - started, answer


if __name__ == "__main__":
    main()
