"""The size and speed of the status page with 40,000 keys to list: the first page, a search, every key, the file and the
calendar.

Fails if a page is too large or too slow for people.
"""

import gzip
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
# For pages, not files.
MAX_BYTES, MAX_SECONDS = 20_000, 0.1


def main():
    with running(ACCOUNTS) as exporter:
        # The first request counts every key.
        first_look = measure(f"{exporter.url}/", rounds=1)["seconds"]
        lines = listed(exporter, "all")
        account, _, user, key, *_ = lines[-1].split(",")
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


def measure(url, rounds=ROUNDS):
    """The size of a page, and the median time until its last byte."""
    times = []
    with requests.Session() as session:
        for _ in range(rounds):
            started = time.perf_counter()
            with session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=60) as answer:
                body = answer.raw.read(decode_content=False)
            times.append(time.perf_counter() - started)
            assert answer.status_code == 200, url
    return {
        "type": answer.headers["Content-Type"],
        "gzip_bytes": len(body),
        "bytes": len(gzip.decompress(body)),
        "seconds": median(times),
        "slowest": max(times),
    }


if __name__ == "__main__":
    main()
