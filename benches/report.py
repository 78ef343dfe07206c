"""Renews the tables of docs/benchmarks.md from the results in target/.

The text around them is written by hand. Fails if a result or a table's mark is missing, or if a mark is unknown.
"""

import json
import operator
import re
import sys
from operator import itemgetter

from bench import MIB, OPERATIONS, RESULTS, ROOT

PAGE = ROOT / "docs/benchmarks.md"
START = re.compile(r"<!-- table: (.*) -->")
# Between its marks there may be only lines of a table.
BLOCK = re.compile(r"<!-- table: (.*) -->\n(?:\|.*\n|\n)*<!-- end -->")
CRITERION = ROOT / "target/criterion"
# Users in the benchmarks of the parts.
SIZES = 5_000, 25_000, 100_000
NAMES = "scrape", "tls", "cost", "storage", "start", "rest", "rules", "boards", "silent"
RENDERED = "render/text_encoder", "render/page"
COMPARED = ("parse/report", "parse/csv_byte_record"), RENDERED
# The two sizes of the fleet.
PANEL_SECONDS = 1, 2
# Faster panels share one row.
SHORT_SECONDS = 0.1
RELATIONS = {"at least": operator.ge, "at most": operator.le, "under": operator.lt}


def main():
    results = {name: result(name) for name in NAMES}
    machine, *others = [each["machine"] for each in results.values()]
    if any(other != machine for other in others):
        sys.exit("the results are of different machines or versions: run `make bench`")
    PAGE.write_text(renewed(PAGE.read_text(), tables(machine, results, *criterion())))


def renewed(page, tables):
    """The page with these tables between the marks with their names."""
    marked = START.findall(page)
    wrong = {name for name in [*marked, *tables] if marked.count(name) != (name in tables)}
    if wrong:
        sys.exit(f"{PAGE}: marks that are missing, unknown or there twice: {sorted(wrong)}")

    def block(match):
        return f"<!-- table: {match[1]} -->\n\n{written(tables[match[1]])}\n\n<!-- end -->"

    page, blocks = BLOCK.subn(block, page)
    if blocks != len(tables):
        sys.exit(f"{PAGE}: a table has no end mark, or there is text between its marks")
    return page


def result(name):
    file = RESULTS / f"{name}.json"
    if not file.is_file():
        sys.exit(f"{file} is missing: run `target/venv/bin/python benches/{name}.py`")
    return json.loads(file.read_text())


def criterion():
    """Criterion's medians in seconds, and the allocations counted in the same run, by benchmark."""
    file = CRITERION / "allocations.json"
    if not file.is_file():
        sys.exit(f"{file} is missing: run `cargo bench --locked --bench pipeline`")
    medians = {}
    for benchmark in CRITERION.glob("**/new/benchmark.json"):
        estimates = json.loads(benchmark.with_name("estimates.json").read_text())
        name = json.loads(benchmark.read_text())["full_id"]
        medians[name] = estimates["median"]["point_estimate"] / 1e9
    return medians, json.loads(file.read_text())


def tables(machine, results, medians, allocations):
    """The tables by the names of their marks. Each is a list of rows, and each row a dict by column."""
    beside_nginx, refreshing = results["scrape"]["beside_nginx"], results["scrape"]["while_refreshing"]
    storage, start, cost = results["storage"], results["start"], results["cost"]
    return {
        "machine": [{"measured on": name, "": value} for name, value in machine.items()],
        "targets": targets(results, medians),
        "sizing": sizing(storage, start),
        "scraped-page": scraped_page(beside_nginx),
        "scrapes": scrapes(beside_nginx["loads"]),
        "scrapes-over-tls": scrapes_over_tls(results["tls"]["loads"]),
        "refreshes": refreshes(refreshing),
        "scrapes-during-refreshes": scrapes_during_refreshes(refreshing),
        "silent": beside_silent_ones(results["silent"]["loads"]),
        "rest": at_rest(results["rest"]),
        "rules": rules_of_prometheus(results["rules"]["sizes"]),
        "account": account(cost["readers"]),
        "account-at-rest": account_at_rest(cost["at_rest"]),
        "disk": disk(storage),
        "dashboards": dashboards(results["boards"]["sizes"]),
        "start": start_times(start),
        "memory": memory(start["growth"]),
        "parts": parts(medians, allocations),
    }


def targets(results, medians):
    scrape, start = results["scrape"], results["start"]
    loads = scrape["beside_nginx"]["loads"]
    gzip = [load["ratio"]["nginx"] for load in loads if load["encoding"] == "gzip"]
    least = min(load["scrapes_per_second"] for load in gzip)
    over_tls = min(load["ratio"]["scrapes_per_second"] for load in results["tls"]["loads"])
    ratio = scrape["while_refreshing"]["ratio"]
    kept, nginx_kept = (ratio[server]["scrapes_per_second"] for server in ("exporter", "nginx"))
    small, middle, *_, large = start["growth"]
    peak = "peak_with_plain"
    of_the_page = large[peak] / large["plain_bytes"]
    peak_a_key = (large[peak] / large["keys"]) / (middle[peak] / middle["keys"])
    encoder = ratios(medians, *RENDERED)
    _, fleet, largest = (size["rules"]["few"]["cpu_seconds"] for size in results["rules"]["sizes"])

    def target(name, value, relation, limit):
        met = "met" if RELATIONS[relation](value, limit) else "**missed**"
        return {"": name, "target": f"{relation} {limit}", "measured": number(value), "result": met}

    return [
        target("The `prometheus` crate's encoding ÷ rendering", min(encoder), "at least", 6),
        target("A refresh of 5,000 users, ms", medians["refresh/5000"] * 1e3, "at most", 100),
        target("Throughput with gzip ÷ nginx's", least, "at least", 0.9),
        target("p99 with gzip ÷ nginx's", max(load["p99"] for load in gzip), "at most", 1.5),
        target("Throughput over TLS with a password ÷ nginx's", over_tls, "at least", 0.8),
        target("Throughput during refreshes ÷ without", kept, "at least", 0.9),
        target("The same ratio ÷ nginx's ratio", kept / nginx_kept, "at least", 0.9),
        target("A fleet at rest, % of a core", cores(results["rest"]) * 100, "under", 1),
        target("Resident when idle, MiB", start["idle"]["resident"] / MIB, "at most", 25),
        target(f"Peak with {small['keys']:,} keys, MiB", small[peak] / MIB, "at most", 60),
        target(f"Peak with {large['keys']:,} keys ÷ the page", of_the_page, "at most", 3),
        target(
            f"Peak for each of {large['keys']:,} keys ÷ for each of {middle['keys']:,}",
            peak_a_key,
            "at most",
            1.1,
        ),
        target("The rules once, 50,000 keys, alerts for 5 % of the owners, CPU s", fleet, "under", 0.5),
        target("The rules once, 500,000 keys, alerts for 5 % of the owners, CPU s", largest, "under", 2),
        target("From start to a whole page, ms", start["start"]["whole"] * 1e3, "at most", 100),
        *(
            target(f"The slowest panel with {size['keys']:,} keys, s", slowest(size), "under", limit)
            for size, limit in zip(results["boards"]["sizes"], PANEL_SECONDS, strict=True)
        ),
    ]


def sizing(storage, start):
    """The cost of each further key, between the smallest and the largest page."""
    small, large = start["growth"][0], start["growth"][-1]

    def each(name):
        return (large[name] - small[name]) / (large["keys"] - small["keys"]) * 1000

    disk = storage["bytes_a_day"]["hundredths"] / storage["keys"] * 1000
    costs = {
        "memory at its peak": mebibytes(each("peak")),
        "memory at its peak, if a client reads without gzip": mebibytes(each("peak_with_plain")),
        "bytes of a scrape, with gzip": megabytes(each("gzip_bytes")),
        "time of a rendering, on one core": duration(each("page_seconds")),
        "Prometheus's disk for a day, at a scrape a minute": megabytes(disk),
    }
    return [{"": name, "1,000 keys": cost} for name, cost in costs.items()]


def scraped_page(figures):
    return [
        {
            "keys": figures["keys"],
            "series": figures["series"],
            "page": megabytes(figures["bytes"]["identity"]),
            "gzip": megabytes(figures["bytes"]["gzip"]),
            "peak memory of the exporter": mebibytes(figures["memory"]["exporter"]),
            "of nginx's processes": mebibytes(figures["memory"]["nginx"]),
        }
    ]


def scrapes(loads):
    def columns(load, field, form):
        return {
            "exporter": form(load["exporter"][field]),
            "nginx": form(load["nginx"][field]),
            "ratio": bold(load["ratio"]["nginx"][field]),
            "nginx, no `sendfile`": form(load["nginx_without_sendfile"][field]),
            "ratio, no `sendfile`": bold(load["ratio"]["nginx_without_sendfile"][field]),
        }

    return figures_of_loads(loads, columns)


def scrapes_over_tls(loads):
    def columns(load, field, form):
        servers = {server: form(load[server][field]) for server in ("exporter", "nginx")}
        return servers | {"ratio": bold(load["ratio"][field])}

    return figures_of_loads(loads, columns)


def figures_of_loads(loads, columns):
    """A row for each figure of each load, with these columns about the servers."""
    return [
        {"": name, "encoding": load["encoding"], "connections": load["connections"], **columns(load, field, form)}
        for field, (name, form) in LOAD.items()
        for load in loads
    ]


def refreshes(figures):
    busy = figures["states"]["busy"]["refreshes"]
    return [
        {
            "report": megabytes(figures["report_bytes"]),
            "refreshes a minute": number(busy["a_minute"]),
            "time of a refresh": duration(busy["refresh"]),
            "time of a rendering": duration(busy["page"]),
            "cores used": f"{busy['cores']:.2f}",
        }
    ]


def scrapes_during_refreshes(figures):
    quiet, busy = (figures["states"][state] for state in ("quiet", "busy"))
    return [
        {
            "": name,
            "of": server,
            "without refreshes": form(quiet[server][field]),
            "with": form(busy[server][field]),
            "ratio": bold(ratio[field]),
        }
        for field, (name, form) in LOAD.items()
        for server, ratio in figures["ratio"].items()
    ]


def beside_silent_ones(loads):
    def row(load, name, write):
        return {
            "connections": load["connections"],
            "that are": load["kind"],
            "": name.replace("_", " "),
            **{server: write(load[server][name]) for server in ("exporter", "node_exporter")},
        }

    return [row(load, *figure) for figure in SILENT for load in loads]


def at_rest(figures):
    return [
        {
            "accounts": figures["accounts"],
            "users in each": figures["users"],
            "measured for": duration(figures["seconds"]),
            "CPU time": duration(figures["cpu_seconds"]),
            "share of a core": f"{cores(figures):.2%}",
        }
    ]


def cores(figures):
    return figures["cpu_seconds"] / figures["seconds"]


# The measured rules, and how often Prometheus evaluates them.
RULES = {
    "silent": ("shipped, no owner has alerts", 240),
    "few": ("shipped, one owner of twenty has alerts", 240),
    "now": ("shipped, as many as in the demo", 240),
    "bare": ("only a comparison, with texts that never change", 240),
    "before": ("of before", 60),
}


def rules_of_prometheus(sizes):
    def row(size, name, figures):
        title, interval = RULES[name]
        return {
            "keys": size["keys"],
            "accounts": size["accounts"],
            "owners": size["owners"],
            "rules": title,
            "alerts": figures["alerts"],
            "CPU time of an evaluation": duration(figures["cpu_seconds"]),
            "share of a core": f"{figures['cpu_seconds'] / interval:.1%}",
            "failed rules": int(figures["failed"]),
        }

    return [row(size, *each) for size in sizes for each in size["rules"].items()]


def account(readers):
    def row(name, form, value, compared=True):
        page, confirmed, script = map(value, map(readers.get, ("page", "confirmed", "script")))
        return {
            "": name,
            "exporter: account on the page": form(page),
            "exporter: all unrotated keys confirmed": form(confirmed),
            "script": form(script),
            "script ÷ account on the page": times(script / page) if compared else "",
            "script ÷ all confirmed": times(script / confirmed) if compared else "",
        }

    def times(ratio):
        return f"**{ratio:.2g}**" if ratio < 10 else f"**{ratio:.0f}**"

    actions = sorted({action for reader in readers.values() for action in reader["calls"]})
    missing = set(OPERATIONS) - set(actions)
    if missing:
        sys.exit(f"cost.json lacks {sorted(missing)}: run `target/venv/bin/python benches/cost.py`")
    return [
        row("calls", int, lambda reader: sum(reader["calls"].values())),
        row("time", duration, itemgetter("seconds")),
        row("CPU time", duration, itemgetter("cpu_seconds")),
        row("peak memory", mebibytes, itemgetter("peak_memory")),
        row("throttled calls", int, itemgetter("throttled"), compared=False),
        *(
            row(f"`{action}`", int, lambda reader: reader["calls"].get(action, 0), compared=False)
            for action in actions
        ),
    ]


def account_at_rest(accounts):
    """The calls to AWS in each refresh."""
    operations = sorted({operation for each in accounts for operation in each["calls"]})
    return [
        {
            "flagged users": number(each["flagged"]),
            **{f"`{it}`": number(each["calls"].get(it, 0)) for it in operations},
        }
        for each in accounts
    ]


def disk(figures):
    samples, days = figures["age_bytes_a_sample"], figures["bytes_a_day"]

    def row(name, sample, day):
        keys = f"a day, {figures['keys']:,} keys"
        return {"ages in": name, "bytes a sample of ages": sample, keys: day}

    def ratio(figure):
        return f"**{figure['full'] / figure['hundredths']:.1f}**"

    forms = {"hundredths": "hundredths of a day, as published", "full": "days to the second"}
    return [
        *(row(name, f"{samples[form]:.2f}", megabytes(days[form])) for form, name in forms.items()),
        row("ratio", ratio(samples), ratio(days)),
        row("error of the forecast", "", f"{figures['forecast_error']:.1%}"),
    ]


def dashboards(sizes):
    """The time of the queries of each panel, with all teams and with one."""
    panels = list(zip(*(size["panels"] for size in sizes), strict=True))
    long = [both for both in panels if max(map(panel_seconds, both)) >= SHORT_SECONDS]
    rest = [both for both in panels if both not in long]

    def row(panel, queries, times):
        columns = {"panel": panel, "queries": queries}
        for size, (every, one) in zip(sizes, times, strict=True):
            columns[f"{size['keys']:,} keys"] = duration(every)
            columns[f"{size['keys']:,} keys, one team"] = duration(one)
        return columns

    def times(panel):
        return panel["all"]["seconds"], panel["team"]["seconds"]

    def most(place):
        found = [times(both[place]) for both in rest]
        return max(every for every, _ in found), max(one for _, one in found)

    others = [both[0]["queries"] for both in rest]
    return [
        *(
            row(f"{both[0]['board']}: {both[0]['panel']}", both[0]["queries"], map(times, both))
            for both in sorted(long, key=lambda both: -panel_seconds(both[-1]))
        ),
        row(f"each of the {len(rest)} others, at most", max(others), map(most, range(len(sizes)))),
    ]


def panel_seconds(panel):
    return max(panel["all"]["seconds"], panel["team"]["seconds"])


def slowest(size):
    return max(map(panel_seconds, size["panels"]))


def start_times(figures):
    return [
        {
            "first scrape answered after": duration(figures["start"]["answered"]),
            "all accounts on the page after": duration(figures["start"]["whole"]),
            "resident when idle": mebibytes(figures["idle"]["resident"]),
        }
    ]


def memory(growth):
    def peak(size, name):
        return f"{mebibytes(size[name])}, {size[name] / size['plain_bytes']:.1f} times the page"

    return [
        {
            "keys": size["keys"],
            "series": int(size["series"]),
            "page": megabytes(size["plain_bytes"]),
            "gzip": megabytes(size["gzip_bytes"]),
            "rendered in": duration(size["page_seconds"]),
            "resident": mebibytes(size["resident"]),
            "peak": peak(size, "peak"),
            "peak, read without gzip": peak(size, "peak_with_plain"),
        }
        for size in growth
    ]


def parts(medians, allocations):
    def row(name, times, allocated):
        columns = [f"{size:,} users" for size in SIZES]
        columns += [f"allocations, {SIZES[0]:,} users", "bytes of these"]
        return {"": name, **dict(zip(columns, [*times, *allocated], strict=True))}

    def part(name):
        times = [medians.get(f"{name}/{size}") for size in SIZES]
        counted = allocations.get(f"{name}/{SIZES[0]}")
        return row(
            f"`{name}`",
            [duration(time) if time else "" for time in times],
            [counted["allocations"], megabytes(counted["bytes"])] if counted else ["", ""],
        )

    def compared(one, other):
        times = [f"**{ratio:.1f}**" for ratio in ratios(medians, one, other)]
        return row(f"`{one}` ÷ `{other}`", times, ["", ""])

    names = sorted({name.rpartition("/")[0] for name in medians})
    return [*map(part, names), *(compared(*pair) for pair in COMPARED)]


def ratios(medians, one, other):
    return [medians[f"{one}/{size}"] / medians[f"{other}/{size}"] for size in SIZES]


def written(rows):
    """A table in Markdown. Its columns are the keys of its first row."""
    lines = [rows[0], ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(value):
    return f"{value:,}" if isinstance(value, int) else value


def bold(ratio):
    return f"**{ratio:.2f}**"


def number(value):
    """The number with its significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds):
    if seconds >= 1:
        return f"{number(seconds)} s"
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"


def mebibytes(size):
    """For memory."""
    return f"{number(size / MIB)} MiB"


def megabytes(size):
    """For everything else."""
    return f"{number(size / 1e6)} MB" if size >= 1e5 else f"{number(size / 1e3)} kB"


# The figures of a load, and the format of each.
LOAD = {
    "scrapes_per_second": ("scrapes a second", number),
    "p50": ("p50", duration),
    "p99": ("p99", duration),
}

# The figures of the benchmark with silent clients, and the format of each.
SILENT = [
    ("p50", duration),
    ("p99", duration),
    ("lost", int),
    ("descriptors", int),
    ("memory", mebibytes),
]


if __name__ == "__main__":
    main()
