"""CPU time of a fleet at rest: 1,000 accounts of 50 users, refreshed at the default interval, without scrapes.

Each account is refreshed once in an interval, and its report does not change.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from bench import cpu_seconds, save
from harness import Exporter, wait_for

ACCOUNTS, USERS = 1_000, 50
# The default of --refresh.interval.
INTERVAL = 300
READY_SECONDS = 120
LAST_SUCCESS = re.compile(r"^iam_refresh_last_success_timestamp_seconds\S* (\S+)$", re.MULTILINE)
# By then the page of the first refreshes is rendered.
SETTLE_SECONDS = 5


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=INTERVAL, help="default: %(default)s")
    seconds = arguments.parse_args().seconds
    save("rest", {"accounts": ACCOUNTS, "users": USERS, **rest(seconds)})


def rest(seconds):
    """The exporter's CPU time in this many seconds, and how many accounts it refreshed in that time."""
    demo = ("demo", f"--accounts={ACCOUNTS}", f"--users={USERS}")
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), *demo) as exporter:
        wait_for("all accounts were read", lambda: exporter.get("/-/ready").ok, READY_SECONDS)
        time.sleep(SETTLE_SECONDS)
        started, clock = time.time(), time.monotonic()
        before = cpu_seconds(exporter.child.pid)
        time.sleep(seconds)
        used = cpu_seconds(exporter.child.pid) - before
        seconds = time.monotonic() - clock
        page = exporter.page_bytes("gzip").decode()
    refreshed = sum(float(success) >= started for success in LAST_SUCCESS.findall(page))
    # The page may be a minute old.
    least = ACCOUNTS * min(1, (seconds - 60) / INTERVAL) / 2
    assert refreshed >= least, f"only {refreshed} accounts were refreshed"
    return {"seconds": seconds, "cpu_seconds": used, "refreshed": refreshed}


if __name__ == "__main__":
    main()
