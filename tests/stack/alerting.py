"""An alert's way from a rule to a person: Alertmanager and the servers that receive its messages.

The files of deploy/ are used as they are, with other addresses and times.
"""

import json
import socketserver
import subprocess
import sys
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import yaml
from harness import ROOT, Process, Server, tool

PROMETHEUS = ROOT / "deploy/prometheus"
ALERTMANAGER = ROOT / "deploy/alertmanager"
# Prometheus's own metrics, with their labels. A test looks for each on the page of a real Prometheus.
PROMETHEUS_OWN = {
    "prometheus_rule_evaluation_failures_total": {"rule_group"},
    "prometheus_rule_group_iterations_missed_total": {"rule_group"},
    "prometheus_rule_group_last_duration_seconds": {"rule_group"},
    "prometheus_notifications_dropped_total": set(),
    "prometheus_notifications_errors_total": {"alertmanager"},
    "prometheus_notifications_sent_total": {"alertmanager"},
    "prometheus_notifications_queue_length": set(),
    "prometheus_notifications_queue_capacity": set(),
    "prometheus_notifications_alertmanagers_discovered": set(),
}


def rule_files():
    return sorted(PROMETHEUS.glob("rules/*.yml"))


def optional_files():
    return sorted(PROMETHEUS.glob("optional/*.yml"))


def all_rules():
    files = rule_files() + optional_files()
    groups = [g for f in files for g in yaml.safe_load(f.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts():
    return [rule for rule in all_rules() if "alert" in rule]


def routes(route):
    """The route and all routes below it."""
    yield route
    for child in route.get("routes", []):
        yield from routes(child)


def alertmanager_config():
    """The configuration of deploy/, without its waiting times."""
    config = yaml.safe_load((ALERTMANAGER / "alertmanager.yml").read_text())
    config["templates"] = [str(ALERTMANAGER / pattern) for pattern in config["templates"]]
    for route in routes(config["route"]):
        route.update({time: "1s" for time in ["group_wait", "group_interval"] if time in route})
    return config


def to_webhooks(config, address):
    """The configuration with a webhook in place of each receiver. Its path is the receiver's name."""
    for receiver in config["receivers"]:
        name = receiver["name"]
        receiver.clear()
        receiver.update(name=name)
        if name != "only-in-the-digest":
            url = f"http://{address}/{name}"
            receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
    return config


def rendered_rules(folder, values):
    """Renders the default rules with these values, each into the folder. Returns a pattern of their files."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mine.yaml"
    # YAML includes JSON.
    file.write_text(json.dumps(values))
    command = [sys.executable, PROMETHEUS / "render.py", "--output", folder, "--values", file]
    subprocess.run(command, check=True, timeout=60)
    return str(folder / "rules/*.yml")


class Alertmanager(Process):
    """A real Alertmanager without peers: the installed one, or another."""

    def __init__(self, folder, config, program=None):
        config_file = folder / "alertmanager.yml"
        # YAML includes JSON.
        config_file.write_text(json.dumps(config))
        super().__init__(
            [
                program or tool("prometheus-alertmanager"),
                f"--config.file={config_file}",
                f"--storage.path={folder / 'alertmanager'}",
                "--web.listen-address=127.0.0.1:0",
                "--cluster.listen-address=",
                "--data.retention=240h",
            ],
            folder / "alertmanager.log",
            r'"Listening on" address=127\.0\.0\.1:(\d+)',
        )

    def fire(self, *alerts):
        """Accepts alerts as Prometheus sends them: labels and annotations of each."""
        response = requests.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=10)
        assert response.ok, response.text

    def alerts(self):
        """All alerts, including inhibited ones."""
        return self.get("/api/v2/alerts").json()


class Webhooks(Server):
    """Receives JSON, from Alertmanager's webhooks or in Slack's format."""

    def __init__(self):
        # All requests in order: the path and the body.
        self.posts = posts = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((self.path, json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    def at(self, path):
        return [body for posted, body in self.posts if posted == path]


class Mailbox(Server):
    """Receives mail by SMTP. It knows the commands that Alertmanager sends."""

    def __init__(self):
        self.mails = mails = []

        class Handler(socketserver.StreamRequestHandler):
            timeout = 30

            def handle(self):
                self.say("220 ready")
                while line := self.rfile.readline():
                    command = line.split()[0].upper()
                    if command == b"DATA":
                        self.say("354 go on")
                        mails.append(message_from_bytes(self.message(), policy=policy.default))
                    elif command == b"QUIT":
                        return self.say("221 bye")
                    self.say("250 ok")

            def say(self, line):
                self.wfile.write(f"{line}\r\n".encode())

            def message(self):
                """Reads up to a line with only a dot. SMTP doubles a dot at the start of any other line."""
                lines = iter(self.rfile.readline, b".\r\n")
                return b"".join(line[1:] if line.startswith(b"..") else line for line in lines)

        super().__init__(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))

    def to(self, address):
        return [mail for mail in self.mails if mail["To"] == address]
