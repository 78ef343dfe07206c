"""docs/install.md, followed step by step. Other tests cover the parts that are about their subjects."""

import re
import shlex
import subprocess

from harness import ROOT, Prometheus, tool, wait_for

DOCUMENT = (ROOT / "docs/install.md").read_text()
ALERTING = (ROOT / "docs/alerting.md").read_text()


def run(folder, *commands):
    """Runs the commands with this folder in place of /etc/prometheus."""
    for command in commands:
        program, *words = shlex.split(command.replace("/etc/prometheus", str(folder)))
        subprocess.run([tool(program), *words], cwd=ROOT, check=True, timeout=60)


def test_the_documented_commands_make_a_prometheus_that_alerts(demo, tmp_path):
    [block] = re.findall(r"## Alerts\n.*?```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    install, copy, check, reload, ask = block.splitlines()
    assert install == "apt install prometheus"
    folder = tmp_path / "etc/prometheus"
    folder.mkdir(parents=True)
    run(folder, copy, check)
    assert reload == "systemctl reload prometheus"

    # The same with this test's ports and shorter times.
    config = (folder / "prometheus.yml").read_text()
    config = config.replace("localhost:9718", demo.url.removeprefix("http://")).replace("1m", "1s")
    config = config.replace("rules/*.yml", f"{folder}/rules/*.yml").replace("localhost:9093", "localhost:9")
    for file in folder.glob("rules/*.yml"):
        file.write_text(file.read_text().replace("interval: 4m", "interval: 1s"))
    path = re.match(r"curl -s localhost:9090(/\S+)", ask)[1]
    with Prometheus(tmp_path, config=config) as prometheus:

        def firing():
            alerts = prometheus.get(path).json()["data"]["alerts"]
            return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

        wait_for("the alert on keys", lambda: "IamOwnerKeysUnrotated" in firing(), seconds=60)


def test_prometheus_accepts_the_example_for_ecs(tmp_path):
    [example] = re.findall(r"```yaml\n(scrape_configs:.*?)```", DOCUMENT, re.DOTALL)
    config = tmp_path / "prometheus.yml"
    config.write_text(example)
    subprocess.run([tool("promtool"), "check", "config", config], check=True, timeout=60)


def test_the_documented_commands_give_alertmanager_the_example(tmp_path):
    [block] = re.findall(r"```sh\n(cp -r deploy/alertmanager.*?)```", ALERTING, re.DOTALL)
    copy, check, restart = block.splitlines()
    run(tmp_path, copy, check)
    assert [file.name for file in (tmp_path / "templates").iterdir()] == ["iam-key-exporter.tmpl"]
    assert restart == "systemctl restart prometheus-alertmanager"
