"""The cost of one account of 5,000 users: the exporter beside a script that calls AWS for each user and key.

Both run at the same time, each with its own AWS. There a call takes 60 ms, an API answers 20 requests a second, and a
report takes 2 s. Both must find the same keys.

The exporter is measured twice: when the account is on its page, and when it has confirmed every user with an unrotated
key, and so has the ids of these keys.

It also measures an account at rest: the calls to AWS of a refresh while the report is young.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench import OPERATIONS, cpu_seconds, memory, save
import population
from fake_aws import IDENTITY, LIST_KEYS, FakeAws, with_one_key
from harness import Exporter, Page, exporter_environment, wait_for

USERS = 5_000
# With the default, a refresh ends after about 600 users, and the next refresh continues.
TIMEOUT = "--refresh.timeout=5m"
LATENCY, RATE, GENERATION = 0.06, 20, 2
MOST_SECONDS = 900
# The users with an unrotated key in accounts at rest, and the number of refreshes.
FLAGGED, REFRESHES = (0, 10, 100), 3
# Enough for 100 users at 5 a second. The first refresh, which also asks again whose the credentials are, ends in it.
REST_SECONDS = 30


@dataclass(frozen=True)
class Key:
    """An unrotated key. Its id is empty if it is not known yet."""

    user: str
    created: int
    id: str


def main():
    users = population.users(USERS)
    with ThreadPoolExecutor() as both:
        runs = [both.submit(run, users) for run in (run_exporter, run_script)]
        (found, stages), (expected, script) = (run.result() for run in runs)
    assert expected and found == expected, "the exporter and the script found different keys"
    save(
        "cost",
        {
            "users": USERS,
            "keys": sum(len(user.keys) for user in users),
            "unrotated": len(expected),
            "unrotated_users": len({key.user for key in expected}),
            "latency": LATENCY,
            "rate": RATE,
            "generation": GENERATION,
            "readers": {**stages, "script": script},
            "at_rest": at_rest(),
        },
    )


def run_exporter(users):
    """The keys that it found, and its figures at both times."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, slow_aws(users) as aws:
        with Exporter(Path(folder), TIMEOUT, endpoint=aws.endpoint) as exporter:

            def figures():
                pid = exporter.child.pid
                return costs(aws, started, cpu_seconds(pid), memory(pid, "VmHWM"))

            def confirmed():
                found = unrotated(exporter)
                return all(key.id for key in found) and found

            wait_for("the account was read", lambda: exporter.get("/-/ready").ok, MOST_SECONDS)
            page = figures()
            first = {(key.user, key.created) for key in unrotated(exporter)}
            found = wait_for("all are confirmed", confirmed, MOST_SECONDS, every=5)
            assert first == {(key.user, key.created) for key in found}, "the first page was wrong"
            return found, {"page": page, "confirmed": figures()}


def at_rest():
    """The calls of each refresh of accounts at rest, by operation."""
    with ThreadPoolExecutor() as all_of_them:
        calls = all_of_them.map(calls_at_rest, FLAGGED)
        return [{"flagged": flagged, "calls": each} for flagged, each in zip(FLAGGED, calls)]


def calls_at_rest(flagged):
    ages = {f"old-{number}": 100 for number in range(flagged)}
    users = with_one_key({**ages, "young": 10})
    hour = timedelta(hours=1)
    with tempfile.TemporaryDirectory() as folder, FakeAws(users, report_age=hour) as aws:
        interval = f"--refresh.interval={REST_SECONDS}s"
        with Exporter(Path(folder), interval, endpoint=aws.endpoint) as exporter:
            exporter.wait_until_ready()
            time.sleep(REST_SECONDS)
            before = len(aws.actions())

            def begun():
                calls = enumerate(aws.actions())
                return [place for place, it in calls if place >= before and it == IDENTITY]

            # The last one may still be running.
            wait_for("refreshes", lambda: len(begun()) > REFRESHES, MOST_SECONDS, every=1)
            first, *_, end = begun()
            calls = Counter(aws.actions()[first:end])
    refreshes = calls[IDENTITY]
    assert calls[LIST_KEYS] == flagged * refreshes, f"not at rest: {calls}"
    return {operation: count / refreshes for operation, count in calls.items()}


def slow_aws(users):
    """An AWS without a report."""
    return FakeAws(users, timedelta(0), generation=GENERATION, latency=LATENCY, rate=RATE)


def unrotated(exporter):
    page = Page(exporter.page_bytes("gzip").decode())
    created = page.by_key("iam_access_key_last_rotated_timestamp_seconds")
    ids = {
        (labels["user"], labels["key"]): labels["access_key_id"]
        for labels, _ in page.family("iam_access_key_info")
    }
    flags = page.by_key("iam_access_key_unrotated")
    return {Key(key[0], int(created[key]), ids[key]) for key, flag in flags.items() if flag}


def run_script(users):
    """The keys that the script found, and its figures."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, slow_aws(users) as aws:
        run = subprocess.run(
            [sys.executable, Path(__file__).with_name("n_plus_one.py"), str(RATE)],
            env=exporter_environment(folder, aws.endpoint),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=MOST_SECONDS,
        )
        said = json.loads(run.stdout)
        found = {Key(**key) for key in said["unrotated"]}
        return found, costs(aws, started, said["cpu_seconds"], said["peak_memory"])


def costs(aws, started, cpu, peak):
    return {
        "seconds": time.monotonic() - started,
        "calls": dict.fromkeys(OPERATIONS, 0) | Counter(aws.actions()),
        "throttled": aws.throttled,
        "cpu_seconds": cpu,
        "peak_memory": peak,
    }


if __name__ == "__main__":
    main()
