"""Makes docs/benchmarks.md of what the measurements left below target. Fails where one is missing."""

import json
import sys
import textwrap

from bench import MIB, RESULTS, ROOT

CRITERION = ROOT / "target/criterion"
# Users, in the measurements of the parts.
SIZES = 5_000, 25_000, 100_000


def main():
    scrape, cost, storage, start = map(measured, ("scrape", "cost", "storage", "start"))
    machines = [each["machine"] for each in (scrape, cost, storage, start)]
    if any(machine != machines[0] for machine in machines):
        sys.exit("the measurements are of different machines or versions: run `make bench`")
    medians, allocations = criterion()
    sections = [
        introduction(machines[0]),
        targets(scrape, start, medians),
        sizing(storage, start),
        scrapes(scrape["beside_nginx"]),
        scrapes_meanwhile(scrape["while_refreshing"]),
        account(cost),
        disk(storage),
        start_and_memory(start),
        parts(medians, allocations),
    ]
    paragraphs = [wrapped(text) for section in sections for text in section.strip().split("\n\n")]
    (ROOT / "docs/benchmarks.md").write_text("\n\n".join(paragraphs) + "\n")


def measured(name):
    """A measurement's figures."""
    file = RESULTS / f"{name}.json"
    if not file.is_file():
        sys.exit(f"{file} is missing: run `target/venv/bin/python benches/{name}.py`")
    return json.loads(file.read_text())


def criterion():
    """Criterion's medians by benchmark, in seconds, and the allocations that the same run counted."""
    file = CRITERION / "allocations.json"
    if not file.is_file():
        sys.exit(f"{file} is missing: run `cargo bench --locked --bench pipeline`")
    medians = {}
    for benchmark in CRITERION.glob("**/new/benchmark.json"):
        estimates = json.loads(benchmark.with_name("estimates.json").read_text())
        name = json.loads(benchmark.read_text())["full_id"]
        medians[name] = estimates["median"]["point_estimate"] / 1e9
    return medians, json.loads(file.read_text())


def introduction(machine):
    return f"""
# Measured

```sh
make bench
```

makes this page anew, in about half an hour: it installs nginx, wrk and what the tests need, builds
the exporter, and runs everything below, all on 127.0.0.1. After that each part also runs alone, by
the command that stands with it, and `target/venv/bin/python benches/report.py` writes the page.
`IAM_KEY_EXPORTER_BIN` measures another build.

Machines differ, and so does what else they do: ratios mean more than figures. What is compared was
measured in one run; speeds by turns, in several rounds, of which these are the medians.

{table(["measured on", ""], machine.items())}
"""


def targets(scrape, start, medians):
    loads = scrape["beside_nginx"]["loads"]
    gzip = [load["ratio"]["nginx"] for load in loads if load["encoding"] == "gzip"]
    ratio = scrape["while_refreshing"]["ratio"]
    kept, nginx_kept = (ratio[name]["scrapes_per_second"] for name in ("exporter", "nginx"))
    small, middle, *_, large = start["growth"]

    def peak_a_key(size):
        return size["peak_with_plain"] / size["keys"]

    def at_worst(which, one, other):
        return which(medians[f"{one}/{size}"] / medians[f"{other}/{size}"] for size in SIZES)

    def beside_the_line(name):
        """What some users take ÷ what a straight line from few users to many says."""
        few, some, many = (medians[f"{name}/{size}"] for size in SIZES)
        share = (SIZES[1] - SIZES[0]) / (SIZES[2] - SIZES[0])
        return some / (few + (many - few) * share)

    rows = [
        target(
            "Reading a report ÷ a bare pass of the `csv` crate",
            at_worst(max, "parse/report", "parse/csv_byte_record"),
            at_most=2.5,
        ),
        target(
            "The `prometheus` crate's gathering and encoding ÷ rendering a page",
            at_worst(min, "render/text_encoder", "render/page"),
            at_least=6,
        ),
        target(
            "Reading 25,000 users ÷ a straight line between the others",
            beside_the_line("parse/report"),
            at_most=1.1,
        ),
        target(
            "Rendering 25,000 users ÷ a straight line between the others",
            beside_the_line("render/page"),
            at_most=1.1,
        ),
        target("A refresh of 5,000 users, ms", medians["refresh/5000"] * 1e3, at_most=100),
        target(
            "Throughput with gzip ÷ nginx's",
            min(load["scrapes_per_second"] for load in gzip),
            at_least=0.9,
        ),
        target("p99 with gzip ÷ nginx's", max(load["p99"] for load in gzip), at_most=1.5),
        target("Throughput during refreshes ÷ without", kept, at_least=0.9),
        target("the same ÷ what nginx keeps beside them", kept / nginx_kept, at_least=0.9),
        target("Resident when idle, MiB", start["idle"]["resident"] / MIB, at_most=25),
        target(
            f"Peak memory with {small['keys']:,} keys, MiB",
            small["peak_with_plain"] / MIB,
            at_most=60,
        ),
        target(
            f"Peak memory with {large['keys']:,} keys ÷ the page's bytes",
            large["peak_with_plain"] / large["plain_bytes"],
            at_most=3,
        ),
        target(
            f"the same for each key ÷ with {middle['keys']:,} keys",
            peak_a_key(large) / peak_a_key(middle),
            at_most=1.1,
        ),
        target("From start to a whole page, ms", start["start"]["whole"] * 1e3, at_most=100),
    ]
    return f"""
## Targets

Details are below. Of 1, 16 and 64 connections, and of 5,000, 25,000 and 100,000 users,
these are the worst.

{table(["", "target", "measured", ""], rows)}
"""


def target(what, value, at_least=None, at_most=None):
    """A row: what it should be, what it is, and whether that is met."""
    if at_least is not None:
        limit, met = f"at least {at_least}", value >= at_least
    else:
        limit, met = f"at most {at_most}", value <= at_most
    return what, limit, number(value), "met" if met else "**missed**"


def sizing(storage, start):
    """What each further key costs, between the smallest and the largest page."""
    small, large = start["growth"][0], start["growth"][-1]

    def each(name):
        return (large[name] - small[name]) / (large["keys"] - small["keys"]) * 1000

    disk = storage["bytes_a_day"]["hundredths"] / storage["keys"] * 1000
    rows = [
        ("memory, at its peak", mebibytes(each("peak"))),
        ("the same where somebody reads without gzip", mebibytes(each("peak_with_plain"))),
        ("bytes of a scrape, with gzip", megabytes(each("gzip_bytes"))),
        ("a core, after each change and once a minute", duration(each("page_seconds"))),
        ("Prometheus's disk, a day, at a scrape a minute", megabytes(disk)),
    ]
    idle = mebibytes(start["idle"]["resident"])
    return f"""
## Sizing

What each 1,000 keys cost, on top of {idle} of memory:

{table(["", "1,000 keys"], rows)}

[scaling.md](scaling.md) has what a fleet of accounts costs, and how several processes share it.
"""


def scrapes(figures):
    rows = [
        [
            what,
            load["encoding"],
            load["connections"],
            form(load["exporter"][name]),
            *(
                cell
                for other, ratio in load["ratio"].items()
                for cell in (form(load[other][name]), f"**{ratio[name]:.2f}**")
            ),
        ]
        for name, (what, form) in LOAD.items()
        for load in figures["loads"]
    ]
    heads = ["", "encoding", "connections", "exporter"]
    heads += ["nginx", "ratio", "without `sendfile`", "ratio"]
    plain, packed = (megabytes(figures["bytes"][name]) for name in ("identity", "gzip"))
    ours, theirs = (mebibytes(figures["memory"][name]) for name in ("exporter", "nginx"))
    return f"""
## Scrapes

```sh
target/venv/bin/python benches/scrape.py
```

The page of {figures["keys"]:,} keys, {figures["series"]:,} series, {plain} or {packed} with gzip
(`{figures["demo"]}`), beside nginx with the same bytes in files: a worker for each core, files kept
open, compressed beforehand, no log; once with `sendfile`, as usual, and once without, which can be
faster where client and server are one machine. wrk asks on each connection for one page after the
other, for {figures["seconds"]} s at a time, in {figures["rounds"]} rounds, on the same cores. Unlike
the files, the end of the exporter's page, its own metrics, changes 20 times a second.

Ratios are the exporter's figure divided by nginx's in the same round.

{table(heads, rows)}

Most memory that they had meanwhile: {ours}, and {theirs} of nginx's processes together.
"""


def scrapes_meanwhile(figures):
    quiet, busy = (figures["states"][state] for state in ("quiet", "busy"))
    rows = [
        [
            what,
            server,
            form(quiet[server][name]),
            form(busy[server][name]),
            f"**{ratio[name]:.2f}**",
        ]
        for name, (what, form) in LOAD.items()
        for server, ratio in figures["ratio"].items()
    ]
    refreshes = busy["refreshes"]
    report, page = (duration(refreshes[what]) for what in ("refresh", "page"))
    return f"""
## Scrapes during refreshes

By the same command. The page of {figures["users"]:,} users, with gzip, on {figures["connections"]}
connections; all of one account, though AWS allows no more than 5,000 in any. Its report, of
{megabytes(figures["report_bytes"])}, is read from a file: once, or every {figures["interval"]} and
each time another one. While it is scraped that makes {number(refreshes["a_minute"])} refreshes a
minute, each of {report} for the report and {page} for the page; they take
{refreshes["cores"]:.2f} of a core. wrk takes all cores. So does wrk with nginx, which serves that page
beside the exporter: what nginx loses is the cores' doing, not the exporter's.

{table(["", "of", "without refreshes", "with", "ratio"], rows)}

At the default `--refresh.interval` an account is refreshed every five minutes, and AWS renews its
report every four hours.
"""


def sums(reader):
    """What the table of readers has of one, as numbers."""
    calls = sum(reader["calls"].values())
    return calls, reader["seconds"], reader["cpu_seconds"], reader["peak_memory"]


def account(figures):
    readers = figures["readers"]
    names = {
        "page": "exporter, account on the page",
        "confirmed": "exporter, all unrotated keys confirmed",
        "script": "script",
    }
    rows = [
        [
            name,
            f"{sum(readers[reader]['calls'].values()):,}",
            duration(readers[reader]["seconds"]),
            duration(readers[reader]["cpu_seconds"]),
            mebibytes(readers[reader]["peak_memory"]),
        ]
        for reader, name in names.items()
    ]
    for reader in ("page", "confirmed"):
        ratios = [
            one / other
            for one, other in zip(sums(readers["script"]), sums(readers[reader]), strict=True)
        ]
        cells = [f"**{ratio:.2g}**" if ratio < 10 else f"**{ratio:.0f}**" for ratio in ratios]
        rows.append([f"script ÷ {names[reader]}", *cells])
    actions = sorted({action for reader in readers.values() for action in reader["calls"]})
    calls = [
        [f"`{action}`", *(f"{readers[reader]['calls'].get(action, 0):,}" for reader in names)]
        for action in actions
    ]
    throttled, script_throttled = (
        readers[reader]["throttled"] for reader in ("confirmed", "script")
    )
    return f"""
## What an account costs

```sh
target/venv/bin/python benches/cost.py
```

An account of {figures["users"]:,} users with {figures["keys"]:,} keys, of which
{figures["unrotated"]:,}, those of {figures["unrotated_users"]:,} users, are unrotated. A call takes
{duration(figures["latency"])}, each API answers {figures["rate"]} requests a second, a report takes
{figures["generation"]} s. Beside the exporter a [script](../benches/n_plus_one.py) that lists the
users, the keys of each and the last use of each key through boto3, in threads, as fast as these
rates allow. Both found the same keys. Requests that came too fast: {throttled} of the exporter's,
{script_throttled} of the script's.

{table(["", "calls", "time", "CPU", "peak memory"], rows)}

{table(["calls", *names.values()], calls)}

Confirmation is at 5 users a second (`confirm.rate`), here with `--refresh.timeout=5m`. Each further
refresh asks about them again, and about nothing else for four hours; the script starts over each
time. The exporter was scraped every five seconds meanwhile, which is part of its CPU time.
"""


def disk(figures):
    day, sample = figures["bytes_a_day"], figures["age_bytes_a_sample"]
    forms = {"hundredths": "hundredths of a day, as published", "full": "days to the second"}
    rows = [(name, f"{sample[form]:.2f}", megabytes(day[form])) for form, name in forms.items()]
    sizes = ", ".join(str(size["keys"]) for size in figures["sizes"])
    return f"""
## Prometheus's disk

```sh
target/venv/bin/python benches/storage.py
```

A day of pages at one scrape a minute, in the block that `promtool` makes of its samples, index
included, write-ahead log not. From pages of {sizes} keys, on a line to {figures["keys"]:,}: the
third size lay within {figures["forecast_error"]:.1%} of where the first two put it. Every second key
is used each day, so that its last use changes with each report; the exporter's own metrics change
with each scrape; all else stays.

{table(["ages in", "bytes a sample of ages", f"a day, {figures['keys']:,} keys"], rows)}

Ages in whole hundredths of a day change every 14.4 minutes instead of with every scrape: that makes
their samples {sample["full"] / sample["hundredths"]:.1f} times smaller, and the whole page's
{day["full"] / day["hundredths"]:.1f} times.
"""


def start_and_memory(figures):
    rows = [
        [
            f"{size['keys']:,}",
            f"{size['series']:,.0f}",
            megabytes(size["plain_bytes"]),
            megabytes(size["gzip_bytes"]),
            duration(size["page_seconds"]),
            mebibytes(size["resident"]),
            *(
                f"{mebibytes(size[peak])}, {size[peak] / size['plain_bytes']:.1f} times the page"
                for peak in ("peak", "peak_with_plain")
            ),
        ]
        for size in figures["growth"]
    ]
    heads = ["keys", "series", "page", "gzip", "made in"]
    heads += ["resident", "peak", "peak, read without gzip"]
    starts, idle = figures["start"], mebibytes(figures["idle"]["resident"])
    return f"""
## Start and memory

```sh
target/venv/bin/python benches/start.py
```

`demo` answers its first scrape {duration(starts["answered"])} after its start, and has all accounts
on the page after {duration(starts["whole"])} (medians of {starts["starts"]} starts). When nothing
happens it has {idle} resident.

With accounts of {figures["users"]:,} users, each refreshed every {figures["interval"]} s, the page
made anew after each refresh, and scraped with gzip; the last column after somebody also read the
page without gzip, which is then kept unpacked:

{table(heads, rows)}
"""


def parts(medians, allocations):
    names = sorted({name.rpartition("/")[0] for name in medians})

    def row(name):
        times = [medians.get(f"{name}/{size}") for size in SIZES]
        counted = allocations.get(f"{name}/{SIZES[0]}")
        return [
            f"`{name}`",
            *(duration(time) if time else "" for time in times),
            *(
                (f"{counted['allocations']:,}", megabytes(counted["bytes"]))
                if counted
                else ("", "")
            ),
        ]

    def times_as_long(one, other):
        ratios = [medians[f"{one}/{size}"] / medians[f"{other}/{size}"] for size in SIZES]
        return "{:.1f}, {:.1f} and {:.1f}".format(*ratios)

    def each_user(name):
        """How much longer it takes for each of the most users than for each of the fewest."""
        few, *_, many = (medians[f"{name}/{size}"] / size for size in SIZES)
        return f"{many / few:.1f}"

    heads = ["", *(f"{size:,} users" for size in SIZES)]
    heads += [f"allocations, {SIZES[0]:,} users", "bytes of these"]
    return f"""
## The parts

```sh
cargo bench --locked --bench pipeline
```

One account of the demo organization on its way from the report's bytes to a scrape.

{table(heads, map(row, names))}

`parse/csv_byte_record` does no more than find the fields of the same report with the `csv` crate: to
read it, users, keys, times and all, takes
{times_as_long("parse/report", "parse/csv_byte_record")} times as long. `render/text_encoder` gathers
and encodes the same series with the `prometheus` crate:
{times_as_long("render/text_encoder", "render/page")} times as long as `render/page`. Both hand on
what they write, and keep none of it. `page_gzip` compresses, too; `scrape` is over a connection that
is kept.

5,000 users are in the processor's caches, 100,000 are not. For each of 100,000 users reading takes
{each_user("parse/report")} times as long as for each of 5,000, and rendering
{each_user("render/page")} times; the `csv` crate's pass takes
{each_user("parse/csv_byte_record")} times as long, and the `prometheus` crate's encoding
{each_user("render/text_encoder")} times.
"""


def wrapped(paragraph):
    """Text in lines whose length does not hang on its figures; tables and commands as they are."""
    if paragraph.startswith(("|", "```", "#")):
        return paragraph
    return textwrap.fill(paragraph, 110, break_long_words=False, break_on_hyphens=False)


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def number(value):
    """With the digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds):
    if seconds >= 1:
        return f"{number(seconds)} s"
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"


def mebibytes(size):
    """Of memory."""
    return f"{number(size / MIB)} MiB"


def megabytes(size):
    """Of everything else."""
    return f"{number(size / 1e6)} MB" if size >= 1e5 else f"{number(size / 1e3)} kB"


# What a load tells, and how it is written.
LOAD = {
    "scrapes_per_second": ("scrapes a second", number),
    "p50": ("p50", duration),
    "p99": ("p99", duration),
}


if __name__ == "__main__":
    main()
