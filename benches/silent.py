"""Scrapes beside 1,000 and 10,000 silent connections from one address, compared with Debian's node_exporter.

The silent connections come from 127.0.0.2. The scrapes come from 127.0.0.1, each on its own connection. A closed
connection is opened again, at most 200 times a second.
"""

import argparse
import http.client
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from bench import free_port, memory, said, save
from crowd import Crowd
from harness import Exporter, tool, wait_for

KINDS = "silent", "half-sent", "reader"
CONNECTIONS = 1_000, 10_000
NODE_EXPORTER = "prometheus-node-exporter"
PAUSE_SECONDS = 0.02


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=10, help="for each, default: %(default)s")
    seconds = arguments.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, Exporter(Path(folder), "demo") as exporter:
        exporter.wait_until_ready()
        with node_exporter() as (node, url):
            servers = {
                "exporter": (exporter.url, exporter.child.pid),
                "node_exporter": (url, node.pid),
            }
            crowds = [(kind, CONNECTIONS[0]) for kind in KINDS] + [(KINDS[0], CONNECTIONS[1])]
            loads = [
                {
                    "kind": kind,
                    "connections": connections,
                    **{
                        name: measure(*server, kind, connections, seconds)
                        for name, server in servers.items()
                    },
                }
                for kind, connections in crowds
            ]
    version = said(NODE_EXPORTER, "--version")
    save("silent", {"seconds": seconds, "node_exporter": version, "loads": loads})


@contextmanager
def node_exporter():
    """Its process and its address."""
    port = free_port()
    command = [tool(NODE_EXPORTER), f"--web.listen-address=127.0.0.1:{port}"]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for("node_exporter answers", lambda: scrape(url) is not None)
        yield child, url
    finally:
        child.terminate()
        child.wait(timeout=20)


def measure(url, pid, kind, connections, seconds):
    """The seconds of scrapes, the number without an answer, and the cost of the crowd."""
    before = memory(pid, "VmRSS")
    with Crowd(url, kind, connections):
        until, times, lost = time.monotonic() + seconds, [], 0
        while time.monotonic() < until:
            took = scrape(url)
            if took is None:
                lost += 1
            else:
                times.append(took)
            time.sleep(PAUSE_SECONDS)
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        grown = memory(pid, "VmRSS") - before
    # Closed connections are gone before the next measurement.
    wait_for("the crowd is gone", lambda: len(os.listdir(f"/proc/{pid}/fd")) < 100, 60)
    times.sort()
    return {
        "scrapes": len(times),
        "lost": lost,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "descriptors": descriptors,
        "memory": max(grown, 0),
    }


def scrape(url):
    """The seconds of one scrape, or None if there was no answer."""
    host, port = url.removeprefix("http://").split(":")
    started = time.monotonic()
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        response.read()
        return time.monotonic() - started if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


if __name__ == "__main__":
    main()
