"""deploy/compose: the program of each service checks its configuration, if it has a command for that."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from harness import ROOT, exporter_binary, tool

COMPOSE = ROOT / "deploy/compose"
DASHBOARDS = ["fleet.json", "account.json", "cis.json"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def validate(*files, **variables):
    """Compose reads the files, with only these environment variables."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/reader", **variables}
    options = [option for file in files for option in ("-f", COMPOSE / file)]
    return run(tool("docker-compose"), *options, "config", env=environment)


def mounts(service):
    """The files that a service sees: path in the container → path here. All are read-only."""
    paths = {}
    for mount in service.get("volumes", []):
        source, target, mode = mount.split(":")
        assert mode == "ro", mount
        paths[target] = (COMPOSE / source).resolve()
    return paths


@pytest.fixture(scope="module")
def services():
    validate("compose.yaml")
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert all(source.exists() for source in mounts(service).values())
    return services


def read(services, service, path):
    return yaml.safe_load(mounts(services[service])[path].read_text())


def test_every_port_is_open_to_this_machine_only(services):
    for name, service in services.items():
        assert service["ports"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_the_exporter_has_no_rights_and_accepts_its_flags(services):
    exporter = services["exporter"]
    assert exporter["read_only"] and exporter["cap_drop"] == ["ALL"]
    assert exporter["command"] == ["demo"]
    run(exporter_binary(), "check-config", env=exporter["environment"])


def test_the_image_has_the_version_of_the_exporter(services):
    [version] = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert services["exporter"]["image"] == f"iam-key-exporter:{version}"
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    assert f"ARG VERSION={version}\n" in dockerfile
    named = re.findall(
        r"iam-key-exporter:(\d\S+)", (ROOT / "docs/install.md").read_text() + dockerfile
    )
    # The second is the user's own image, with a configuration file.
    assert set(named) == {version, f"{version}-config"}


def test_the_health_check_is_that_of_the_image(services):
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    test = services["exporter"]["healthcheck"]["test"]
    assert f"    CMD {json.dumps(test[1:])}\n" in dockerfile


def test_with_aws_the_exporter_reads_your_credentials_as_you():
    with pytest.raises(AssertionError, match="set it to the number that id -u prints"):
        validate("compose.yaml", "aws.yaml")
    said = validate("compose.yaml", "aws.yaml", EXPORTER_USER="1234", AWS_PROFILE="audit")
    exporter = yaml.safe_load(said)["services"]["exporter"]
    assert exporter["user"] == "1234" and not exporter["command"]
    assert exporter["environment"]["AWS_PROFILE"] == "audit"
    assert exporter["environment"]["HOME"] == "/home"
    assert "/home/reader/.aws" in str(exporter["volumes"])


def test_compose_understands_the_documented_commands():
    texts = (ROOT / "docs/install.md").read_text() + (COMPOSE / "compose.yaml").read_text()
    commands = re.findall(r"docker compose ((?:-f \S+ )+)up --build$", texts, re.MULTILINE)
    assert len(commands) == 4
    for options in commands:
        files = [ROOT / name for name in options.split()[1::2]]
        validate(*files, EXPORTER_USER="1000")


def start(service, **replacements):
    """Runs the container's command, up to its program, with other paths."""
    shell, flags, script = service["entrypoint"]
    script = re.sub(r"exec .*", "exec true", script.replace("$$", "$"))
    for path, other in replacements.items():
        folder = f"/{path}"
        assert folder in script
        script = re.sub(rf"(?<=[ =]){folder}\b", shlex.quote(str(other)), script)
    run(shell, flags, script)


def test_prometheus_has_the_rules_with_links_that_work(services, tmp_path):
    prometheus = services["prometheus"]
    paths = mounts(prometheus)
    start(prometheus, prometheus=tmp_path, rules=paths["/rules"])
    rules = {file.name: file.read_text() for file in (tmp_path / "rules").iterdir()}

    mine = tmp_path / "mine.yaml"
    addresses = {
        "runbook": "http://localhost:9718/runbooks",
        "status": "http://localhost:9718",
        "dashboard": "http://localhost:3000/d/iam-key-account",
    }
    mine.write_text(json.dumps({"urls": addresses}))
    render = ROOT / "deploy/prometheus/render.py"
    run(sys.executable, render, "--values", mine, "--output", tmp_path / "rendered")
    rendered = {file.name: file.read_text() for file in (tmp_path / "rendered/rules").iterdir()}
    expected = {name: yaml.safe_load(text) for name, text in rendered.items()}
    assert {name: yaml.safe_load(text) for name, text in rules.items()} == expected

    command = shlex.split(prometheus["entrypoint"][2].splitlines()[-1])
    assert f"--config.file={next(path for path in paths if path.endswith('.yml'))}" in command
    config = paths["/etc/prometheus/prometheus.yml"].read_text()
    (tmp_path / "prometheus.yml").write_text(config.replace("/prometheus/", f"{tmp_path}/"))
    said = run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert said.count("rules found") == len(rules) > 0


def test_prometheus_scrapes_the_exporter_and_alerts_as_in_the_example(services):
    ours = (COMPOSE / "prometheus.yml").read_text().split("\n\n", 1)[1].replace(" /prometheus/", " ")
    for service, port in [("exporter", 9718), ("alertmanager", 9093)]:
        assert f"127.0.0.1:{port}:{port}" in services[service]["ports"]
        ours = ours.replace(f"{service}:{port}", f"localhost:{port}")
    example = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert yaml.safe_load(ours.replace("15s", "1m")) == example


def test_amtool_accepts_the_configuration(services):
    command = services["alertmanager"]["command"]
    paths = mounts(services["alertmanager"])
    [file] = [flag.split("=")[1] for flag in command if flag.startswith("--config.file=")]
    run(tool("amtool"), "check-config", paths[file])


def test_grafanas_data_source_is_the_prometheus_of_the_same_file(services):
    path = "/etc/grafana/provisioning/datasources/prometheus.yml"
    ours = read(services, "grafana", path)
    example = ROOT / "dashboards/provisioning/datasources/prometheus.yml"
    expected = yaml.safe_load(example.read_text())
    expected["datasources"][0]["url"] = "http://prometheus:9090"
    expected["datasources"][0]["jsonData"]["timeInterval"] = "15s"
    assert ours == expected


def test_grafana_finds_the_dashboards_with_links_that_work(services, tmp_path):
    grafana = services["grafana"]
    paths = mounts(grafana)
    provider = "/etc/grafana/provisioning/dashboards"
    [provider] = yaml.safe_load((paths[provider] / "iam-key-exporter.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert (
        grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        == f"{folder}/fleet.json"
    )

    # Grafana has no command that checks them.
    start(grafana, **{folder.removeprefix("/"): tmp_path, "dashboards": paths["/dashboards"]})
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(DASHBOARDS)
    for name in DASHBOARDS:
        dashboard = json.loads((tmp_path / name).read_text())
        variables = {v["name"]: v["query"] for v in dashboard["templating"]["list"]}
        assert variables["status_page"] == "http://localhost:9718/"
        assert variables["runbooks"] == "http://localhost:9718/runbooks"
        assert "example.com" not in json.dumps(dashboard)
