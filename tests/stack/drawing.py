"""Draws dashboards as Grafana does, without a Grafana.

tests/boards draws them with Grafana's own libraries in a browser. This module does the work of Grafana's server between
its pages and Prometheus: steps of queries, built-in variables, the format of responses.
"""

import json
import mimetypes
import re
import subprocess
import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode, urlsplit

import requests
from browser import Browser
from harness import ROOT, tool, wait_for

APP = ROOT / "tests/boards"
DASHBOARDS = ROOT / "dashboards"
SCRAPE_INTERVAL = 60_000
# The width of the margin in tests/boards.
NAVIGATION = 300

# --- The work of Grafana's server ---

# For each limit in milliseconds, the round step that replaces shorter ones.
ROUND_STEPS = [
    (10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1_500, 1_000),
    (3_500, 2_000), (7_500, 5_000), (12_500, 10_000), (17_500, 15_000), (25_000, 20_000),
    (45_000, 30_000), (90_000, 60_000), (210_000, 120_000), (450_000, 300_000),
    (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000),
    (5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000),
    (32_400_000, 21_600_000), (64_800_000, 43_200_000), (604_800_000, 86_400_000),
]  # fmt: skip
MAX_POINTS = 11_000


def round_step(milliseconds):
    return next((step for below, step in ROUND_STEPS if milliseconds < below), 604_800_000)


def duration(milliseconds):
    for unit, length in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"


def interpolate(query, start, end):
    """The step of a query, and its expression with the built-in variables replaced."""
    points = query.get("maxDataPoints") or 100
    smallest = max(SCRAPE_INTERVAL, round_step((end - start) / MAX_POINTS))
    step = max(round_step((end - start) / points), smallest)
    values = {
        "__interval": duration(step),
        "__range": f"{round((end - start) / 1_000)}s",
        "__rate_interval": duration(max(step + SCRAPE_INTERVAL, 4 * SCRAPE_INTERVAL)),
    }

    def value(match):
        return values[match[1] or match[2]]

    return step, re.sub(r"\$(?:(__\w+)|\{(__\w+)\})", value, query["expr"])


def number(text):
    """The number for JSON, or None for an infinity or NaN, which JSON does not have."""
    value = float(text)
    return value if abs(value) != float("inf") and value == value else None


def special(points):
    """The indexes of the values that are not finite. Grafana's frames list them separately."""
    kinds = {"NaN": "NaN", "+Inf": "Inf", "-Inf": "NegInf"}
    found = {kind: [] for kind in kinds.values()}
    for place, (_, text) in enumerate(points):
        if text in kinds:
            found[kinds[text]].append(place)
    return found if any(found.values()) else None


def frame(query, series, step, is_range):
    """One series in the format that Grafana sends to its pages."""
    labels = series["metric"]
    points = series["values"] if is_range else [series["value"]]
    legend = query.get("legendFormat")
    name = legend and re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: labels.get(m[1], ""), legend)
    config = {"displayNameFromDS": name} if name else {}
    fields = [
        {"name": "Time", "type": "time", "config": {"interval": step} if is_range else {}},
        {"name": "Value", "type": "number", "labels": labels, "config": config},
    ]
    fields[0]["typeInfo"] = {"frame": "time.Time"}
    fields[1]["typeInfo"] = {"frame": "float64"}
    kind = "timeseries-multi" if is_range else "numeric-multi"
    meta = {"type": kind, "typeVersion": [0, 1]}
    meta["custom"] = {"resultType": "matrix" if is_range else "vector"}
    data = {"values": [[round(at * 1_000) for at, _ in points], [number(v) for _, v in points]]}
    if entities := special(points):
        data["entities"] = [None, entities]
    schema = {"refId": query["refId"], "meta": meta, "fields": fields}
    return {"schema": schema | ({"name": name} if name else {}), "data": data}


def answer(prometheus, query, start, end):
    """The response of Grafana's server to one query."""
    step, expression = interpolate(query, start, end)
    is_range = bool(query.get("range")) and not query.get("instant")
    parameters = {"query": expression}
    if is_range:
        path = "query_range"
        parameters |= {"start": start // step * step / 1_000, "end": end // step * step / 1_000}
        parameters |= {"step": step / 1_000}
    else:
        path = "query"
        parameters |= {"time": end / 1_000}
    found = requests.post(f"{prometheus}/api/v1/{path}", data=parameters, timeout=60).json()
    if found["status"] != "success":
        return {"status": 400, "error": found["error"], "frames": []}
    frames = [frame(query, series, step, is_range) for series in found["data"]["result"]]
    nothing = {"schema": {"refId": query["refId"], "fields": []}, "data": {"values": []}}
    return {"status": 200, "frames": frames or [nothing]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Logs nothing. The tests report failures."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/api/ds/query"):
            asked = json.loads(body)
            start, end = int(asked["from"]), int(asked["to"])
            with ThreadPoolExecutor(4) as threads:
                answers = threads.map(
                    lambda query: answer(self.server.prometheus, query, start, end),
                    asked["queries"],
                )
            results = dict(zip([query["refId"] for query in asked["queries"]], answers))
            failed = any("error" in result for result in results.values())
            self.send_json({"results": results}, 400 if failed else 200)
        else:
            self.pass_on(body)

    def do_GET(self):
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            return self.pass_on()
        if path.startswith("/dashboards/"):
            return self.send_file(self.server.dashboards / path.removeprefix("/dashboards/"))
        if icon := re.fullmatch(r"/.*/img/icons/(.+)", path):
            return self.send_file(APP / "dist/icons" / icon[1])
        if font := re.fullmatch(r"/.*/fonts/\w+/(.+)", path):
            return self.send_file(APP / "dist/fonts" / font[1])
        file = APP / "dist" / path.removeprefix("/")
        return self.send_file(file if file.is_file() else APP / "dist/index.html")

    def pass_on(self, body=None):
        """Passes requests of variables to Prometheus's own API."""
        found = re.fullmatch(r"/api/datasources/uid/\w+/resources/(.+)", self.path)
        if not found:
            return self.send_json({})
        url = f"{self.server.prometheus}/{found[1]}"
        headers = {"Content-Type": self.headers.get("Content-Type") or "text/plain"}
        passed = requests.request(self.command, url, data=body, headers=headers, timeout=60)
        return self.send_bytes(passed.content, "application/json", passed.status_code)

    def send_json(self, value, status=200):
        self.send_bytes(json.dumps(value).encode(), "application/json", status)

    def send_file(self, file):
        if not file.is_file():
            return self.send_bytes(b"", "text/plain", 404)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return self.send_bytes(file.read_bytes(), kind)

    def send_bytes(self, body, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# --- Drawing ---


def build():
    """Installs the packages of tests/boards if they are missing, and bundles it."""
    wanted = (APP / "package-lock.json").read_bytes()
    installed = APP / "node_modules/.installed"
    if not installed.is_file() or installed.read_bytes() != wanted:
        npm("ci", "--no-audit", "--no-fund")
        installed.write_bytes(wanted)
    npm("run", "build")


def npm(*command):
    done = subprocess.run(
        [tool("npm"), *command], cwd=APP, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Drawing:
    """A browser that shows dashboards with data from a Prometheus. Use it in a `with`."""

    def __init__(self, folder, prometheus):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.prometheus = prometheus.url
        self.server.dashboards = DASHBOARDS
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.browser = Browser(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.quit()
        self.server.shutdown()
        self.server.server_close()

    def draw(self, board, width=1440, theme="dark", **parameters):
        """Shows a whole dashboard. Returns the content of every panel."""
        self.look(width, 1_000)
        query = urlencode({"theme": theme, **parameters})
        self.browser.get(f"{self.url}/d/{board}?{query}")
        try:
            wait_for(f"{board} is drawn", lambda: self.ask("isComplete()"), seconds=90, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.ask('failures()')}\n{self.complaints()}") from None
        self.look(width, self.ask("height()"))
        self.settle()
        return self.ask("panels()")

    def look(self, width, height):
        """Changes the window's size."""
        self.browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def ask(self, what):
        return self.browser.execute_script(f"return window.boards && window.boards.{what}")

    def settle(self):
        """Waits until the picture stays the same."""
        seen = []

        def is_still():
            seen.append(self.screenshot())
            return len(seen) > 1 and seen[-1] == seen[-2]

        wait_for("the dashboard stays as it is", is_still, seconds=30, every=0.7)

    def screenshot(self, without_navigation=False):
        """The picture, as a PNG."""
        clip = {}
        if without_navigation:
            width, height = self.browser.execute_script("return [innerWidth, innerHeight]")
            box = {"x": NAVIGATION, "y": 0, "width": width - NAVIGATION, "height": height}
            clip["clip"] = box | {"scale": 1}
        image = self.browser.devtools("Page.captureScreenshot", format="png", **clip)
        return b64decode(image["data"])

    def failures(self):
        """The errors of failed queries."""
        return self.ask("failures()")

    def complaints(self):
        return self.browser.complaints()
