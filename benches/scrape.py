"""How fast a page of 10,000 keys is served, beside nginx which serves the same bytes from a file; and
what scrapes notice of a refresh of 100,000 users.

Throughput of one machine says little of another's, so the two are measured alternately, and what counts
is the median of the rounds' ratios. wrk takes its share of the processor from both alike.
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
                # Of nginx, master and workers: what they share counts once for each.
                "memory": {
                    "exporter": memory(exporter.child.pid, "VmHWM"),
                    "nginx": nginx.memory("VmHWM"),
                },
            }


def by_turns(servers, encoding, connections):
    """The servers under the same load, one after the other, several times; and the ratios of the first
    to each other one."""
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
    """The same page of 100,000 users served while nothing happens, and while the report changes and is
    read again and again; and by nginx, beside each, to tell what sharing the cores alone costs."""
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
                # Nobody scrapes the exporter now: what it needs is for refreshes.
                before = cpu_seconds(exporter.child.pid)
                theirs = load(f"{nginx.url}/metrics", "gzip", REFRESH_CONNECTIONS, REFRESH_SECONDS)
                used = cpu_seconds(exporter.child.pid) - before
                refreshes["cores"] = used / REFRESH_SECONDS
                return {"exporter": ours, "nginx": theirs, "refreshes": refreshes}


@contextmanager
def changing(users, file):
    """A report file in which one user's creation moves every few seconds: each refresh finds another. The
    exporter does not take a file that is younger than two seconds, so the file is dated back.
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
    """How many reports it has read that were new."""
    return exporter.log.count('msg="report read"')


def durations(exporter):
    """How long the last refresh and the last page took, in seconds."""
    page = exporter.page_bytes("gzip").decode()
    return {
        "refresh": value(page, "iam_refresh_duration_seconds"),
        "page": value(page, "iam_exporter_page_render_duration_seconds"),
    }


if __name__ == "__main__":
    main()
