"""The situations in which dashboards are drawn: organizations, with a Prometheus that has a week of their past."""

from contextlib import contextmanager

import made_up_past
from harness import Exporter, Prometheus, wait_for

JOB = "iam-key-exporter"
# Arguments of the demo, and a configuration that replaces the demo's.
ORGANIZATIONS = {
    "demo": ([], None),
    # A first installation: one account, and no tags.
    "one-account": (["--accounts=1"], "labels: { user_tags: [] }\n"),
    "sixty-accounts": (["--accounts=60"], None),
}


@contextmanager
def situation(folder, organization):
    """An exporter, and a Prometheus with a week of scrapes."""
    arguments, config = ORGANIZATIONS[organization]
    if config:
        file = folder / "config.yaml"
        file.write_text(config)
        arguments = [*arguments, f"--config.file={file}"]
    with Exporter(folder, "demo", *arguments) as exporter:
        page = exporter.wait_until_ready()
        address = exporter.url.removeprefix("http://")
        made_up_past.write(page, address, folder, JOB)
        with Prometheus(folder, {JOB: address}) as prometheus:
            wait_for("the exporter is scraped", lambda: is_up(prometheus) == 1)
            yield exporter, prometheus


def is_up(prometheus):
    return prometheus.value(f'up{{job="{JOB}"}}')


def stop(exporter, prometheus):
    """Stops the exporter, and waits until Prometheus notices."""
    exporter.stop()
    wait_for("the exporter is gone", lambda: is_up(prometheus) == 0)
