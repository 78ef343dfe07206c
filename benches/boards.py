"""How long Prometheus takes to answer each panel of the dashboards, over 30 days of a large fleet.

Lists of keys and all numbers need only the present: one scrape of the demo's page. The page is reduced to the metrics
of the dashboards, and to the keys and users of the accounts that they show.

Graphs need a past. promtool writes it from text, with a sample every five minutes, and only for series that graphs use.
"""

import argparse
import re
import tempfile
import time
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from random import Random
from statistics import median
from subprocess import DEVNULL, run

import requests
from bench import save
# From the tests. `bench` adds their folder to the path.
from asking import BOARDS, BUILT_IN, interpolate, options, panels, strings, variables
from drawing import interpolate as with_step
from harness import Exporter, MadeUpPage, Prometheus, parse_labels, tool, wait_for

# The accounts, and the users in each. Each user has about one key.
SIZES = [(1_000, 48), (1_000, 483)]
CONFIG = """
labels: { user_tags: [team, owner] }
rotation:
  rules:
    - match: { user: "etl-*" }
      exempt: { reason: until the carrier takes a second key }
"""
TEAM = "payments"
DAYS, DAY = 30, 86_400
ROUNDS = 9
READY_SECONDS, SCRAPED_SECONDS = 300, 120
JOB = "iam-key-exporter"
SCRAPE = """
global: { scrape_interval: 15s, scrape_timeout: 15s }
scrape_configs:
  - job_name: JOB
    static_configs: [{ targets: ["ADDRESS"] }]
"""
# These have several series for each user. Panels show them for root users, and for the accounts that the variables
# choose.
DETAILS = "iam_(?:access_key|user)_"
ROOT_USER = "<root_account>"
INFO = "iam_account_info"
NAME = re.compile(r"\b(?:iam|process)_\w+")
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
# The originals, for `with_step`.
LATER = {name: "${" + name + "}" for name in BUILT_IN}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--step", type=int, default=300, help="default: %(default)s")
    arguments.add_argument("--size", help="ACCOUNTSxUSERS; default: two sizes")
    given = arguments.parse_args()
    sizes = [tuple(map(int, given.size.split("x")))] if given.size else SIZES
    figures = {"days": DAYS, "step": given.step, "team": TEAM}
    found = []
    for size in sizes:
        found.append(measure(*size, given.step))
        save("boards", figures | {"sizes": found})


def measure(accounts, users, step):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with fleet(Path(folder), accounts, users, step) as (prometheus, now, keys):
            asked = Asked(prometheus, now)
            opened = {name: open_board(asked, board) for name, board in BOARDS.items()}
            found = [
                {"board": name, "panel": panel["title"], "queries": len(panel["targets"])}
                | {chosen: [] for chosen in opened[name]["chosen"]}
                for name, board in BOARDS.items()
                for panel in panels(board)
            ]
            # Alternately and in random order, so that slow moments of Prometheus, such as garbage collection, do not
            # always hit the same panel.
            dice = Random(1)
            for _ in range(ROUNDS):
                for each in dice.sample(found, len(found)):
                    board = BOARDS[each["board"]]
                    for chosen, values in opened[each["board"]]["chosen"].items():
                        each[chosen].append(asked.panel(board, each["panel"], values))
    return {
        "accounts": accounts,
        "keys": keys,
        "variables": {name: each["seconds"] for name, each in opened.items()},
        "panels": [each | {c: summary(each[c]) for c in ("all", "team")} for each in found],
    }


def open_board(asked, board):
    """The variables with all teams and with one, and how long their queries take."""
    started = time.monotonic()
    every = asked.defaults(board)
    seconds = time.monotonic() - started
    one = asked.defaults(board, {"team": [TEAM], "account": every["account"]})
    return {"seconds": seconds, "chosen": {"all": every, "team": one}}


def summary(rounds):
    return {
        "seconds": median(seconds for seconds, _ in rounds),
        "worst": max(seconds for seconds, _ in rounds),
        "bytes": rounds[0][1],
    }


class Asked:
    """A Prometheus with queries about one moment, and the 30 days before it."""

    def __init__(self, prometheus, now):
        self.url, self.now = f"{prometheus.url}/api/v1", now

    def get(self, path, **parameters):
        if path.startswith("label"):
            response = requests.get(f"{self.url}/{path}", params=parameters, timeout=120)
        else:
            response = requests.post(f"{self.url}/{path}", data=parameters, timeout=120)
        assert response.ok, (parameters, response.text)
        return response

    def api(self, path, **parameters):
        moment = {"time": self.now}
        if path.startswith("label"):
            moment = {"start": self.now - DAYS * DAY, "end": self.now}
        return self.get(path, **parameters, **moment).json()["data"]

    def query(self, expression):
        result = self.api("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def defaults(self, board, given=None):
        """The variables after the dashboard opens."""
        chosen = {}
        for name, variable in variables(board).items():
            if given and name in given:
                chosen[name] = given[name]
            elif variable["type"] == "custom":
                chosen[name] = variable["current"]["value"]
            elif variable.get("includeAll") and variable.get("allValue"):
                chosen[name] = None
                options(self, board, name, chosen)
            elif variable["type"] == "query":
                values = [value for _, value in sorted(options(self, board, name, chosen))]
                chosen[name] = values if variable.get("includeAll") else values[0]
        return chosen

    def panel(self, board, title, chosen):
        """Seconds and bytes of all queries of a panel, one after another."""
        [panel] = [panel for panel in panels(board) if panel["title"] == title]
        days = int((panel.get("timeFrom") or f"{DAYS}d").removesuffix("d"))
        end = int(self.now * 1_000)
        seconds, size = 0, 0
        for target in panel["targets"]:
            expression = interpolate(target["expr"], board, chosen, LATER)
            query = {"expr": expression, "maxDataPoints": panel.get("maxDataPoints") or 1_000}
            step, expression = with_step(query, end - days * DAY * 1_000, end)
            span = {"start": self.now - days * DAY, "end": self.now, "step": step / 1_000}
            started = time.monotonic()
            if target.get("range"):
                answer = self.get("query_range", query=expression, **span)
            else:
                answer = self.get("query", query=expression, time=self.now)
            seconds += time.monotonic() - started
            size += len(answer.content)
        return seconds, size


# --- The fleet ---


@contextmanager
def fleet(folder, accounts, users, step):
    """A Prometheus with the present of the fleet, and the past of the series in graphs."""
    page = demo_page(folder, accounts, users)
    keys = page.count("\niam_access_key_active{")
    with Served(page) as server:
        first = write_past(folder, page, server.address, step)
        prometheus = Prometheus(
            folder,
            config=SCRAPE.replace("JOB", JOB).replace("ADDRESS", server.address),
            arguments=[f"--storage.tsdb.retention.time={2 * DAYS}d"],
        )
        try:
            now = scraped_at(prometheus)
            server.add_details_of(accounts_of_panels(Asked(prometheus, now)))
            now = scraped_at(prometheus, f'count(iam_access_key_active{{user!="{ROOT_USER}"}})')
        except AssertionError:
            prometheus.stop()
            raise
    # Nothing else uses the processor now.
    with prometheus:
        yield prometheus, now, keys


def demo_page(folder, accounts, users):
    """The demo's page with all metrics that the dashboards use. The exporter has stopped."""
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    named = sorted({name for board in BOARDS.values() for text in strings(board) for name in NAME.findall(text)})
    demo = ("demo", f"--accounts={accounts}", f"--users={users}", f"--config.file={config}")
    with Exporter(folder, *demo, f"--metrics.allowlist={'|'.join(named)}") as exporter:
        wait_for("all accounts were read", lambda: exporter.get("/-/ready").ok, READY_SECONDS, 1)
        page = exporter.page_bytes("gzip").decode()
    assert page.count("\niam_users{") == accounts
    return page


class Served(MadeUpPage):
    """Serves a part of this page. It has details only of root users and of these accounts."""

    def __init__(self, page):
        super().__init__()
        self.page = page
        self.add_details_of([])

    def add_details_of(self, accounts):
        wanted = f'.*\\buser="{ROOT_USER}"|.*\\baccount_id="(?:{"|".join(accounts)})"'
        lines = re.compile(f"^(?!#)(?:(?!{DETAILS})|{wanted}).*\n", re.MULTILINE)
        self.served = "".join(line[0] for line in lines.finditer(self.page))

    def text(self):
        return self.served


def accounts_of_panels(asked):
    """The accounts that the variables choose, with all teams and with one."""
    found = set()
    for board in BOARDS.values():
        for values in open_board(asked, board)["chosen"].values():
            for name, value in values.items():
                if name.startswith("account"):
                    found |= {value} if isinstance(value, str) else set(value or [])
    return found


def scraped_at(prometheus, there="up == 1"):
    """Waits until a scrape has stored this metric. Returns the time of the scrape."""
    query = f"max(timestamp(up)) and on () ({there})"
    return wait_for("a scrape", lambda: prometheus.value(query), SCRAPED_SECONDS, 1)


def write_past(folder, page, address, step):
    """Writes blocks of Prometheus's storage. Returns the account that a dashboard shows first."""
    spans = drawn()
    wanted = re.compile(f"^(?:{'|'.join(spans)})[{{ ].*$", re.MULTILINE)
    past = [sample(match[0]) for match in wanted.finditer(page)]
    first = min((own["account_name"], own["account_id"]) for n, own, _ in past if n == INFO)[1]
    text = folder / "past.txt"
    with text.open("w") as file:
        for name, labels, value in past:
            if is_asked_for(name, labels, first):
                file.writelines(samples(name, labels, value, address, spans[name], step))
        file.write("# EOF\n")
    command = ["tsdb", "create-blocks-from", "--max-block-duration=1500h", "openmetrics"]
    run(
        [tool("promtool"), *command, text, folder / "tsdb"], check=True, stdout=DEVNULL, timeout=900
    )
    text.unlink()
    return first


def drawn():
    """For each metric by name, how many days back the graphs need."""
    spans = {}
    for board in BOARDS.values():
        for panel in panels(board):
            days = int((panel.get("timeFrom") or f"{DAYS}d").removesuffix("d"))
            for target in panel["targets"]:
                names = NAME.findall(target["expr"]) if target["range"] else []
                spans |= {name: max(days, spans.get(name, 0)) for name in names}
        for text in map(str, [board["panels"], board["templating"]]):
            for name, days in re.findall(r"last_over_time\((\w+)\[(\d+)d\]", text):
                spans[name] = max(int(days), spans.get(name, 0))
    return spans


def is_asked_for(name, labels, first):
    """The dashboard of an account opens with the first account."""
    if name == "iam_owner_access_keys":
        drawn_for_all = labels["tag_team"] == TEAM and labels["status"] == "unrotated"
        return drawn_for_all or labels["account_id"] == first
    return name != "iam_refresh_failures_total" or labels["account_id"] == first


def sample(line):
    name, labels, value = SAMPLE.fullmatch(line).groups()
    return name, dict(parse_labels(labels or "")), float(value)


def samples(name, labels, value, address, days, step):
    """The lines of a series up to now. A number of keys changes about once a day."""
    own = labels | {"instance": address, "job": JOB}
    series = name + "{" + ",".join(f'{label}="{text}"' for label, text in own.items()) + "}"
    end = int(time.time()) // step * step
    times = range(end - days * DAY, end, step)
    dice = Random(series)
    if name.endswith("_total") and "iam_unrotated" not in name:
        values = (n * 0.1 // 1 for n, _ in enumerate(times))
    elif "timestamp_seconds" in name:
        values = (at - at % (4 * 3_600) for at in times)
    elif "keys" in name:
        changes = (dice.choice([-1, 1]) if dice.random() < step / DAY else 0 for _ in times)
        values = (max(0, value + change) for change in changes)
    else:
        values = repeat(value)
    return (f"{series} {one:.0f} {at}\n" for one, at in zip(values, times))


if __name__ == "__main__":
    main()
