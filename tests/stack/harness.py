"""Shared by the tests: processes of the exporter and Prometheus, and pages of metrics.

All of them listen on 127.0.0.1 and on a port that the system chooses. Every wait has a limit.
"""

import os
import re
import shutil
import socket
import subprocess
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import requests

ROOT = Path(__file__).resolve().parents[2]
NPM = ROOT / "tests/npm"
LISTEN = ("--web.listen-address", "127.0.0.1:0")
TEST_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


# Taken out of the environment, because the exporter warns of variables that belong to no flag.
BINARY = Path(os.environ.pop("IAM_KEY_EXPORTER_BIN", "") or ROOT / "target/debug/iam-key-exporter")


def exporter_binary():
    """The exporter under test. If it is missing, the test fails."""
    assert BINARY.is_file(), f"no {BINARY}: run `cargo test`, or set IAM_KEY_EXPORTER_BIN"
    return BINARY.resolve()


def tool(name):
    """The path of an installed program."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: `make tools` installs it"
    return path


def npm(command):
    """Runs an npm command in tests/npm. If the command fails, so does the test."""
    done = subprocess.run(
        [tool("npm"), command], cwd=NPM, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for(what, condition, seconds=30, every=0.1):
    """Polls until the condition is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)
    return value


def dead_endpoint():
    """A socket and its URL. Connections to it are refused, and its port stays taken while it is open."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved, f"http://127.0.0.1:{reserved.getsockname()[1]}"


def exporter_environment(home, endpoint=None, credentials=TEST_CREDENTIALS):
    """The environment without the developer's credentials, configuration and proxy, and without the real AWS."""
    environment = {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **credentials}
    if endpoint:
        environment["AWS_ENDPOINT_URL"] = endpoint
    return environment


class Process:
    """A server that logs its port. Use it in a `with`."""

    # Headers for each request, for example with a password.
    options = {}

    def __init__(self, command, log_file, listening, environment=None):
        self.log_file = log_file
        with log_file.open("wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            found = wait_for(f"{command[0]} listens", lambda: self._listens(listening))
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log}") from None
        self.url = f"http://127.0.0.1:{found[1]}"

    def _listens(self, listening):
        assert self.is_alive(), f"ended with code {self.child.returncode}"
        return re.search(listening, self.log)

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def is_alive(self):
        return self.child.poll() is None

    def get(self, path, **options):
        try:
            return requests.get(self.url + path, timeout=10, **self.options, **options)
        except requests.RequestException as error:
            raise AssertionError(f"no answer: {error}") from None

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"did not end within 20 s of SIGTERM\n{self.log}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Server:
    """A server in a thread. Use it in a `with`."""

    def __init__(self, server):
        server.daemon_threads = True
        server.block_on_close = False
        self.server = server
        self.address = f"127.0.0.1:{server.server_address[1]}"

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class MadeUpPage(Server):
    """A fake exporter. Its page is the result of `text`. If that is None, it does not respond."""

    def __init__(self):
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                text = page.text()
                body = (text or "").encode()
                self.send_response(503 if text is None else 200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), Handler))


# The log's line with the port.
LISTENING = r"msg=listening .* addresses=127\.0\.0\.1:(\d+)"


class Exporter(Process):
    """The exporter, with AWS at the endpoint."""

    def __init__(
        self, folder, *arguments, endpoint=None, credentials=TEST_CREDENTIALS, command=None
    ):
        """`command` can start the binary in another way."""
        super().__init__(
            [*(command or [exporter_binary()]), *arguments, *LISTEN],
            folder / "exporter.log",
            LISTENING,
            exporter_environment(folder, endpoint, credentials),
        )

    def page(self):
        return Page(self.page_bytes("identity").decode())

    def page_bytes(self, encoding):
        """The page in this encoding, decompressed."""
        response = self.get("/metrics", headers={"Accept-Encoding": encoding}, stream=True)
        response.raise_for_status()
        assert response.headers.get("Content-Encoding", "identity") == encoding
        body = response.raw.read(decode_content=False)
        return gunzip(body) if encoding == "gzip" else body

    def wait_for_page(self, what, condition, **timing):
        """Polls until the condition is true for a page, and returns that page."""

        def look():
            page = self.page()
            return condition(page) and page

        try:
            return wait_for(what, look, **timing)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def reload(self):
        """Asks the exporter to read its configuration again. Returns the status of the response."""
        return requests.post(f"{self.url}/-/reload", timeout=10).status_code

    def wait_until_ready(self):
        return self.wait_for_page("every account was read", Page.is_refreshed)


def scrape_config(jobs):
    """A Prometheus configuration that scrapes the address of each job once a second."""
    return "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" + "".join(
        f"  - job_name: {job}\n    static_configs: [targets: ['{address}']]\n"
        for job, address in jobs.items()
    )


class Prometheus(Process):
    """A real Prometheus, the installed one or another. It scrapes these jobs, or uses its own configuration."""

    def __init__(self, folder, jobs=None, config=None, arguments=(), program=None):
        config_file = folder / "prometheus.yml"
        config_file.write_text(config or scrape_config(jobs))
        super().__init__(
            [
                program or tool("prometheus"),
                f"--config.file={config_file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                "--web.listen-address=127.0.0.1:0",
                *arguments,
            ],
            folder / "prometheus.log",
            r'"Listening on"(?: component=web)? address=127\.0\.0\.1:(\d+)',
        )
        # It listens before it answers queries. Until its storage is open, queries get a 503.
        try:
            wait_for("Prometheus is ready", lambda: self.get("/-/ready").ok)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log}") from None

    def api(self, path, **parameters):
        response = self.get(f"/api/v1/{path}", params=parameters)
        assert response.ok, response.text
        return response.json()["data"]

    def query(self, expression):
        """Runs an instant query. Returns the labels and value of each series."""
        result = self.api("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def value(self, expression):
        """The only value of a query, or None if it has no series."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return series[0][1] if series else None


SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Page:
    """A page in the text format. Rejects malformed lines and duplicate series."""

    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        self.samples = {}
        for line in text.split("\n"):
            if line and not line.startswith("#"):
                sample = SAMPLE.fullmatch(line)
                assert sample, f"no sample: {line}"
                name, labels, value = sample.groups()
                series = (name, frozenset(parse_labels(labels or "")))
                assert series not in self.samples, f"twice: {line}"
                self.samples[series] = float(value)

    def value(self, name, **labels):
        """The value of exactly this series, or None if it is absent."""
        return self.samples.get((name, frozenset(labels.items())))

    def family(self, name):
        """The labels and value of each series of a metric."""
        return [(dict(labels), value) for (n, labels), value in self.samples.items() if n == name]

    def by_key(self, name):
        """A metric of access keys by user and slot. Only for pages with one account."""
        return {(labels["user"], labels["key"]): value for labels, value in self.family(name)}

    def aws_requests(self, operation):
        """The number of requests of this operation to AWS, with any outcome."""
        counts = self.family("iam_exporter_aws_requests_total")
        return sum(value for labels, value in counts if labels["operation"] == operation)

    def is_refreshed(self):
        """Whether the last refresh of every account succeeded."""
        states = self.family("iam_refresh_success")
        pending = self.value("iam_exporter_accounts", state="pending")
        return bool(states) and not pending and all(value == 1 for _, value in states)


def parse_labels(text):
    for name, value in LABEL.findall(text):
        yield name, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def gunzip(body):
    """Unpacks a single gzip member, because some clients stop after the first."""
    member = zlib.decompressobj(wbits=31)
    text = member.decompress(body)
    assert member.eof and not member.unused_data, "not exactly one gzip member"
    return text
