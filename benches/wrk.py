"""wrk, the load generator, and nginx as the reference for serving the same bytes."""

import gzip
import json
import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import requests
from bench import free_port, memory
from harness import tool, wait_for

# wrk rounds its figures and prints them in several units. This script prints the exact ones.
SCRIPT = """
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"scrapes": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def load(url, encoding, connections, seconds, headers=()):
    """Scrapes on this number of connections, one request after the other on each.

    Returns the scrapes a second, and the median and 99th percentile of their seconds.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        command = [
            *(tool("wrk"), f"--duration={seconds}s", f"--connections={connections}"),
            *(f"--threads={min(connections, os.cpu_count())}", f"--script={script.name}"),
            *(f"--header={header}" for header in [f"Accept-Encoding: {encoding}", *headers]),
            *("--timeout=30s", url),
        ]
        run = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=seconds + 60
        )
    said = json.loads(run.stdout[run.stdout.index("{") :])
    assert not said["errors"] and said["scrapes"], f"{url}: {run.stdout}"
    return {
        "scrapes_per_second": said["scrapes"] / said["seconds"],
        "p50": said["p50"],
        "p99": said["p99"],
    }


class Nginx:
    """nginx, which serves one page from files, plain and compressed.

    It is tuned for that: a worker for each core, files kept open, no log. The kernel sends the files by itself, or
    nginx sends them in large pieces.
    """

    CONFIG = """
    daemon off;
    worker_processes auto;
    pid {folder}/nginx.pid;
    error_log {folder}/error.log;
    events {{ worker_connections 1024; }}
    http {{
        access_log off;
        sendfile {sendfile};
        tcp_nopush on;
        output_buffers 2 512k;
        open_file_cache max=10;
        open_file_cache_valid 1h;
        keepalive_requests 1000000000;
        gzip_static on;
        gzip_vary on;
        default_type "text/plain; version=0.0.4; charset=utf-8";
        client_body_temp_path {folder}/body;
        proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi;
        scgi_temp_path {folder}/scgi;
        uwsgi_temp_path {folder}/uwsgi;
        server {{
            listen 127.0.0.1:{port}{secure};
            root {folder};
            {access}
        }}
    }}
    """

    def __init__(self, folder, plain, packed, sendfile, access=""):
        assert gzip.decompress(packed), "not a page"
        # If root starts nginx, its workers run as another user.
        folder.chmod(0o755)
        (folder / "metrics").write_bytes(plain)
        (folder / "metrics.gz").write_bytes(packed)
        self.folder, port = folder, free_port()
        config = folder / "nginx.conf"
        secure = " ssl" if access else ""
        fields = {"folder": folder, "port": port, "secure": secure, "access": access}
        config.write_text(self.CONFIG.format(sendfile=sendfile, **fields))
        command = [tool("nginx"), "-e", folder / "error.log", "-c", config]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.url = f"{'https' if access else 'http'}://127.0.0.1:{port}"

    def __enter__(self):
        try:
            wait_for("nginx answers", self.answers)
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f"{error}\n{(self.folder / 'error.log').read_text()}") from None
        return self

    def answers(self):
        assert self.child.poll() is None, f"nginx ended with code {self.child.returncode}"
        try:
            # A 401 is an answer, too.
            return requests.get(f"{self.url}/metrics", timeout=10, verify=False).status_code in (200, 401)
        except requests.ConnectionError:
            return False

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(timeout=20)

    def processes(self):
        """The ids of the master and its workers."""
        pid = self.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def memory(self, field):
        return sum(memory(pid, field) for pid in self.processes())


@contextmanager
def nginx_beside(exporter, sendfile="on", access=""):
    """nginx with a copy of the exporter's page. `access` is who may read it, and the certificate."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (body(exporter, encoding) for encoding in ("identity", "gzip"))
        with Nginx(Path(folder), plain, packed, sendfile, access) as nginx:
            yield nginx


def body(exporter, encoding):
    """The page as it is sent in this encoding."""
    response = exporter.get("/metrics", headers={"Accept-Encoding": encoding}, stream=True)
    response.raise_for_status()
    assert response.headers.get("Content-Encoding", "identity") == encoding
    return response.raw.read(decode_content=False)
