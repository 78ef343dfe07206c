"""A past for dashboards, as if a Prometheus had scraped an exporter for a week.

It is made from the current page. Keys became unrotated when they were due. Each key that is not unrotated had a
predecessor, and some of those were rotated too late.
"""

import random
import subprocess

from harness import tool

DAYS = 7
STEP = 240  # In seconds. Must be less than the five minutes for which Prometheus uses a sample.
HOUR, DAY = 3_600, 86_400
# The number of requests of each operation in a step.
REQUESTS = {"ok": 0.6, "client_error": 0.004}


def write(page, address, folder, job):
    """Writes blocks of Prometheus's storage for a week that ends an hour ago."""
    rng = random.Random(1)
    now = int(page.value("iam_exporter_page_rendered_timestamp_seconds"))
    end = (now - HOUR) // HOUR * HOUR
    times = range(end - DAYS * DAY, end, STEP)
    lines = [
        line
        for name, labels, value in series(page, rng, times)
        for line in samples(name, labels | {"instance": address, "job": job}, value, times)
    ]
    text = folder / "past.txt"
    text.write_text("\n".join(lines) + "\n# EOF\n")
    command = [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    # promtool reads the whole text again for each block.
    command += ["--max-block-duration=200h"]
    done = subprocess.run(
        [*command, text, folder / "tsdb"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text.unlink()


def samples(name, labels, value, times):
    selector = ",".join(f'{label}="{text}"' for label, text in labels.items())
    for at in times:
        if (sample := value(at)) is not None:
            yield f"{name}{{{selector}}} {sample} {at}"


def series(page, rng, times):
    """Every series: its name, its labels, and a function from a time to its value."""
    unrotated = past_of_unrotated_keys(page, rng)
    accounts = [labels for labels, _ in page.family("iam_unrotated_keys_total")]
    for labels in accounts:
        yield "iam_unrotated_keys_total", labels, total_at(unrotated, labels["account_id"])
        yield "iam_credential_report_generated_timestamp_seconds", labels, report_at(rng)
    infos = [labels for labels, _ in page.family("iam_account_info")]
    named = sorted((labels["account_name"], labels["account_id"]) for labels in infos)
    # The dashboard of an account opens with the first account. For all accounts this would take too long.
    yield from owners(page, unrotated, {account for _, account in named[:3]})
    outage = range(times[-1] - 3 * DAY, times[-1] - 3 * DAY + 9 * HOUR)
    for labels, value in page.family("iam_exporter_accounts"):
        change = {"failing": 1, "ok": -1}.get(labels["state"], 0)
        yield "iam_exporter_accounts", labels, during(outage, value + change, value)
    yield "iam_exporter_shard", {}, during(outage, 0, 0)
    failing = {"account_id": accounts[0]["account_id"], "reason": "access_denied"}
    for labels, _ in page.family("iam_refresh_failures_total"):
        chance = 1 / 4 if labels == failing else 0
        yield "iam_refresh_failures_total", labels, counter(rng, times, chance, outage)
    for labels, _ in page.family("iam_exporter_aws_requests_total"):
        chance = REQUESTS.get(labels["outcome"], 0)
        yield "iam_exporter_aws_requests_total", labels, counter(rng, times, chance, times)


def past_of_unrotated_keys(page, rng):
    """When keys were unrotated, by account and user: from and until."""
    found = {}
    rotated = {
        frozenset(labels.items()): at
        for labels, at in page.family("iam_access_key_last_rotated_timestamp_seconds")
    }
    for labels, due in page.family("iam_access_key_rotation_due_timestamp_seconds"):
        past = found.setdefault((labels["account_id"], labels["user"]), [])
        past.append((due, float("inf")))
        last = rotated[frozenset(labels.items())]
        past.append((last - rng.uniform(0, 12) * DAY, last))
    return found


def total_at(unrotated, account):
    spans = [span for (own, _), past in unrotated.items() if own == account for span in past]
    return lambda at: sum(since <= at < until for since, until in spans)


def owners(page, unrotated, accounts):
    """Owners' keys by status. Earlier, a key that was unrotated counts as unrotated instead of ok."""
    tags = {
        (labels["account_id"], labels["user"]): tuple(
            sorted((n, v) for n, v in labels.items() if n.startswith("tag_"))
        )
        for labels, _ in page.family("iam_user_tags")
    }
    now = {}
    for labels, value in page.family("iam_owner_access_keys"):
        if labels["account_id"] not in accounts:
            continue
        own = tuple(sorted((n, v) for n, v in labels.items() if n.startswith("tag_") and v))
        now.setdefault((labels["account_id"], own), {})[labels["status"]] = (labels, value)
    spans = {}
    for (account, user), past in unrotated.items():
        own = tuple((n, v) for n, v in tags.get((account, user), ()) if v)
        spans.setdefault((account, own), []).extend(past)
    for owner, by_status in now.items():
        own = spans.get(owner, [])
        living = by_status["unrotated"][1] + by_status["ok"][1]

        def unrotated_at(at, own=own):
            return sum(since <= at < until for since, until in own)

        def ok_at(at, living=living, unrotated_at=unrotated_at):
            return max(0, living - unrotated_at(at))

        for status, (labels, value) in by_status.items():
            past = {"unrotated": unrotated_at, "ok": ok_at}.get(status)
            yield "iam_owner_access_keys", labels, past or (lambda _, value=value: value)


def report_at(rng):
    """The time of the newest report. There is one every four hours."""
    offset = rng.randrange(4 * HOUR)
    return lambda at: at - (at + offset) % (4 * HOUR + 300)


def during(span, then, else_):
    """One value during a time span, and another before and after."""
    return lambda at: then if at in span else else_


def counter(rng, times, chance, active):
    """A counter that grows at random while it is active."""
    count, values = 0, {}
    for at in times:
        if chance and at in active:
            count += int(chance) + (rng.random() < chance % 1)
        values[at] = count
    return values.get
