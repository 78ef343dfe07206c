"""How fast the exporter serves a page of 10,000 keys, beside nginx with the same bytes from a file.

It also measures how a refresh of 100,000 users affects scrapes.

The throughput of one machine says little about another. So the two are measured alternately, and the result is the
median of the rounds' ratios. wrk uses the same share of the processor for both.
"""

import os
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from threading import Event, Thread

from bench import KEYS_PER_USER, cpu_seconds, medians, memory, save, value
import population
from harness import Exporter, wait_for
from wrk import body, load, nginx_beside

KEYS, ACCOUNTS = 10_000, 10
ENCODINGS = ("gzip", "identity")
CONNECTIONS = (1, 16, 64)
ROUNDS, SECONDS = 7, 3

REFRESHED_USERS = 100_000
REFRESH_ROUNDS, REFRESH_SECONDS, REFRESH_CONNECTIONS = 5, 10, 16
BUSY_INTERVAL, QUIET_INTERVAL = "5s", "1d"


def main():
    save("scrape", {"beside_nginx": beside_nginx(), "while_refreshing": while_refreshing()})


def beside_nginx():
    users = round(KEYS / KEYS_PER_USER / ACCOUNTS)
    demo = ("demo", f"--accounts={ACCOUNTS}", f"--users={users}")
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), *demo) as exporter:
        page = exporter.wait_until_ready()
        with (
            nginx_beside(exporter) as nginx,
            nginx_beside(exporter, sendfile="off") as nginx_without_sendfile,
        ):
            servers = {
                "exporter": exporter,
                "nginx": nginx,
                "nginx_without_sendfile": nginx_without_sendfile,
            }
            loads = [
                by_turns(servers, encoding, connections)
                for encoding in ENCODINGS
                for connections in CONNECTIONS
            ]
            return {
                "demo": " ".join(demo),
                "keys": len(page.family("iam_access_key_active")),
                "series": len(page.samples),
                "bytes": {name: len(body(exporter, name)) for name in ENCODINGS},
                "rounds": ROUNDS,
                "seconds": SECONDS,
                "loads": loads,
                # nginx's master and workers. Shared memory counts once for each.
                "memory": {
                    "exporter": memory(exporter.child.pid, "VmHWM"),
                    "nginx": nginx.memory("VmHWM"),
                },
            }


def by_turns(servers, encoding, connections):
    """Puts the same load on the servers alternately, several times. Returns the ratios of the first server to the
    others, too.
    """
    rounds = [
        {
            name: load(f"{server.url}/metrics", encoding, connections, SECONDS)
            for name, server in servers.items()
        }
        for _ in range(ROUNDS)
    ]
    first, *others = servers
    return {
        "encoding": encoding,
        "connections": connections,
        **{name: medians([each[name] for each in rounds]) for name in servers},
        "ratio": {
            other: medians([ratios(each[first], each[other]) for each in rounds])
            for other in others
        },
    }


def ratios(one, other):
    return {name: one[name] / other[name] for name in one}


def while_refreshing():
    """The same page of 100,000 users, at rest and while the report changes all the time.

    nginx serves it beside each, to show the effect of shared cores alone.
    """
    users = population.users(REFRESHED_USERS)
    states = {"quiet": [], "busy": []}
    for _ in range(REFRESH_ROUNDS):
        states["quiet"].append(scraped(users, QUIET_INTERVAL))
        states["busy"].append(scraped(users, BUSY_INTERVAL))
    pairs = list(zip(states["quiet"], states["busy"]))
    assert all(busy["refreshes"]["a_minute"] for _, busy in pairs), "the report was not read again"
    return {
        "users": REFRESHED_USERS,
        "report_bytes": len(population.report(users)),
        "rounds": REFRESH_ROUNDS,
        "seconds": REFRESH_SECONDS,
        "connections": REFRESH_CONNECTIONS,
        "interval": BUSY_INTERVAL,
        "states": {
            state: {part: medians([each[part] for each in rounds]) for part in rounds[0]}
            for state, rounds in states.items()
        },
        "ratio": {
            server: medians([ratios(busy[server], quiet[server]) for quiet, busy in pairs])
            for server in ("exporter", "nginx")
        },
    }


def scraped(users, interval):
    """The exporter and nginx under the same load while the exporter refreshes at this interval."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{population.ACCOUNT}.csv")
        arguments = (f"--source.reports={file}", f"--refresh.interval={interval}")
        with changing(users, file), Exporter(Path(folder), *arguments) as exporter:
            wait_for("the report was read", lambda: exporter.get("/-/ready").ok)
            with nginx_beside(exporter) as nginx:
                before = reads(exporter)
                ours = load(f"{exporter.url}/metrics", "gzip", REFRESH_CONNECTIONS, REFRESH_SECONDS)
                a_minute = (reads(exporter) - before) / REFRESH_SECONDS * 60
                refreshes = {"a_minute": a_minute, **durations(exporter)}
                # Without scrapes, the CPU time is that of refreshes.
                before = cpu_seconds(exporter.child.pid)
                theirs = load(f"{nginx.url}/metrics", "gzip", REFRESH_CONNECTIONS, REFRESH_SECONDS)
                used = cpu_seconds(exporter.child.pid) - before
                refreshes["cores"] = used / REFRESH_SECONDS
                return {"exporter": ours, "nginx": theirs, "refreshes": refreshes}


@contextmanager
def changing(users, file):
    """A report file in which one user's creation time moves every few seconds, so that each refresh finds a change.

    The exporter ignores a file younger than two seconds, so the file is dated back.
    """
    report = population.report(users)
    file.write_text(report)
    place = report.index(users[-1].created, report.rindex("\n"))
    times = (datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=n) for n in count())
    end = Event()

    def change():
        with file.open("r+b", buffering=0) as open_file:
            while not end.wait(4):
                open_file.seek(place)
                open_file.write(population.written(next(times)).encode())
                settled = time.time() - 3
                os.utime(file, (settled, settled))

    thread = Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def reads(exporter):
    """The number of new reports that the exporter has read."""
    return exporter.log.count('msg="report read"')


def durations(exporter):
    """The seconds of the last refresh and of the last rendering of the page."""
    page = exporter.page_bytes("gzip").decode()
    return {
        "refresh": value(page, "iam_refresh_duration_seconds"),
        "page": value(page, "iam_exporter_page_render_duration_seconds"),
    }


if __name__ == "__main__":
    main()
