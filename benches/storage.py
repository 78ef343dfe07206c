"""The disk space in Prometheus for a day of pages, at one scrape a minute.

It also measures the saving from ages in whole hundredths of a day, which change every 14.4 minutes instead of at every
scrape.

The samples of the day are made from a real page. promtool writes them as Prometheus does, in chunks of 120, into one
block, as after compaction.

10,000 keys have 170 million samples a day, too many to write as text. So there are blocks with fewer keys. Two of them
give the bytes for each key and the bytes without any, and a third one checks the forecast.
"""

import json
import re
import subprocess
import tempfile
from itertools import repeat
from pathlib import Path
from random import Random

from bench import save, value
from harness import Exporter, tool

# In one account. The bytes of the last are forecast from the others.
USERS = (100, 200, 400)
KEYS = 10_000
MINUTE, REFRESH, REPORT, DAY = 60, 5 * 60, 4 * 60 * 60, 24 * 60 * 60
TIMES = range(0, DAY, MINUTE)
# Blocks begin at multiples of their length. A day that begins there is in one block.
BLOCK = 54 * 60 * 60
START = 10_000 * BLOCK

AGE, CREATED = "iam_access_key_age_days", "iam_access_key_last_rotated_timestamp_seconds"
LAST_USED = "iam_access_key_last_used_timestamp_seconds"
SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


def hundredths(seconds):
    """An age in days as in the exporter."""
    return seconds // 864 / 100


def full(seconds):
    """An age in days, not rounded."""
    return seconds / DAY


FORMS = {"hundredths": hundredths, "full": full}


def main():
    sizes = [measure(users) for users in USERS]
    least, middle, most = sizes
    errors = [foretold(least, middle, form, most["keys"]) / total(most, form) - 1 for form in FORMS]
    save(
        "storage",
        {
            "scrapes": len(TIMES),
            "keys": KEYS,
            "sizes": sizes,
            "forecast_error": max(map(abs, errors)),
            "bytes_a_day": {form: foretold(least, most, form, KEYS) for form in FORMS},
            "age_bytes_a_sample": {
                form: most[form]["ages"]["chunks"] / most[form]["ages"]["samples"] for form in FORMS
            },
        },
    )


def foretold(small, large, form, keys):
    """A forecast of the bytes of a day of pages with this number of keys, on the line through two sizes."""
    low, high = total(small, form), total(large, form)
    return low + (high - low) / (large["keys"] - small["keys"]) * (keys - small["keys"])


def total(size, form):
    return size[form]["page"]["chunks"] + size[form]["page"]["index"]


def measure(users):
    """The bytes of a day, of the whole page and of the ages alone, for each form of ages."""
    page = demo_page(users)
    samples = SAMPLE.findall(page)
    ages = [sample for sample in samples if sample[0] == AGE]
    figures = {"keys": len(ages), "series": len(samples)}
    for form, age in FORMS.items():
        figures[form] = {
            "page": block_bytes(lines(page, samples, age)),
            "ages": block_bytes(lines(page, ages, age)),
        }
    return figures


def demo_page(users):
    with tempfile.TemporaryDirectory() as folder:
        with Exporter(Path(folder), "demo", "--accounts=1", f"--users={users}") as exporter:
            exporter.wait_until_ready()
            return exporter.page_bytes("gzip").decode()


def lines(page, samples, age):
    """The day's lines of each series, in OpenMetrics. Most series never change."""
    begin = int(value(page, "iam_exporter_page_rendered_timestamp_seconds"))
    created = {labels: int(at) for name, labels, at in SAMPLE.findall(page) if name == CREATED}
    dice = Random(1)
    for name, labels, first in samples:
        if name == AGE:
            at_first = begin - created[labels]
            values = (age(at_first + time) for time in TIMES)
        elif name == "iam_credential_report_generated_timestamp_seconds":
            values = noted_every(REPORT, begin)
        elif name == LAST_USED and dice.random() < 0.5:
            # Every second key is used each day, and the next report has the time.
            values = noted_every(REPORT, begin)
        elif name == "iam_refresh_last_success_timestamp_seconds":
            values = noted_every(REFRESH, begin)
        elif name.startswith(("iam_refresh_duration", "iam_exporter_", "process_")):
            # Few other series change at every scrape.
            values = (dice.random() for _ in TIMES)
        else:
            values = repeat(first)
        yield "".join(f"{name}{labels} {now} {START + time}\n" for time, now in zip(TIMES, values))


def noted_every(seconds, begin):
    """The values of a time that changes this often."""
    return (begin + time // seconds * seconds for time in TIMES)


def block_bytes(lines):
    """The bytes of the block that promtool makes of these lines, with its index."""
    with tempfile.TemporaryDirectory() as folder:
        text, blocks = Path(folder, "text"), Path(folder, "blocks")
        with text.open("w") as file:
            file.writelines(lines)
            file.write("# EOF\n")
        command = ["tsdb", "create-blocks-from", f"--max-block-duration={BLOCK}s", "openmetrics"]
        subprocess.run(
            [tool("promtool"), *command, text, blocks],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=600,
        )
        [block] = blocks.iterdir()
        return {
            "samples": json.loads((block / "meta.json").read_text())["stats"]["numSamples"],
            "chunks": sum(file.stat().st_size for file in (block / "chunks").iterdir()),
            "index": (block / "index").stat().st_size,
        }


if __name__ == "__main__":
    main()
