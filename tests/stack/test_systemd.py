"""The systemd units, checked by systemd's own tools, and their flags, checked by the exporter."""

import re
import shlex
import subprocess

import pytest
from harness import LISTENING, ROOT, Process, exporter_binary, exporter_environment, tool
from tls_relay import certificate

UNITS = ROOT / "deploy/systemd"
SERVICE = (UNITS / "iam-key-exporter.service").read_text()


def analyze(*arguments):
    return subprocess.run(
        [tool("systemd-analyze"), *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def units(tmp_path):
    """The units with the path of the built binary, because systemd checks that it exists."""
    installed = SERVICE.replace("/usr/bin/iam-key-exporter", str(exporter_binary()))
    assert installed != SERVICE
    (tmp_path / "iam-key-exporter.service").write_text(installed)
    (tmp_path / "iam-key-exporter.socket").write_text((UNITS / "iam-key-exporter.socket").read_text())
    return tmp_path


def verify(units):
    done = analyze("verify", "--man=no", *sorted(units.glob("iam-key-exporter.*[te]")))
    return done.returncode, done.stdout + done.stderr


def test_systemd_understands_the_units(units):
    assert verify(units) == (0, "")


def test_systemd_understands_the_example_of_credentials(units):
    folder = units / "iam-key-exporter.service.d"
    folder.mkdir()
    (folder / "credentials.conf").write_text((UNITS / "credentials.conf").read_text())
    assert verify(units) == (0, "")


def test_a_mistake_in_a_unit_is_found(units):
    unit = units / "iam-key-exporter.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in verify(units)[1]


def test_the_service_is_hardly_exposed():
    unit = UNITS / "iam-key-exporter.service"
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", unit)
    assert done.returncode == 0, done.stdout + done.stderr
    [exposure] = re.findall(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert float(exposure) < 1.5


def test_the_exporter_accepts_the_flags_of_the_examples(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    texts = [(UNITS / f"iam-key-exporter.{kind}").read_text() for kind in ["default", "socket"]]
    examples = re.findall(r'^#? *ARGS="(.*)"$', "\n".join(texts), re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        args = shlex.split(example.replace("/etc/iam-key-exporter", str(tmp_path)))
        command = [exporter_binary(), "check-config", *args]
        environment = exporter_environment(tmp_path)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_at_first_only_this_machine_can_reach_the_exporter(tmp_path):
    """Administrators often replace all flags. So the address is a separate variable."""
    text = (UNITS / "iam-key-exporter.default").read_text()
    [(name, address)] = re.findall(r"^(IAM_\w+)=(.*)$", text, re.MULTILINE)
    assert address == "127.0.0.1:9718"
    assert re.findall(r"^ListenStream=(.*)$", (UNITS / "iam-key-exporter.socket").read_text(), re.MULTILINE) == [address]
    environment = exporter_environment(tmp_path) | {name: address.replace("9718", "0")}
    with Process([exporter_binary(), "demo"], tmp_path / "log", LISTENING, environment) as exporter:
        assert exporter.get("/-/healthy").ok


def test_an_exporter_that_cannot_start_is_not_started_for_ever():
    patterns = [r"StartLimitBurst=(\d+)", r"RestartSec=(\d+)s", r"StartLimitIntervalSec=(\d+)min"]
    found = [re.search(rf"^{pattern}$", SERVICE, re.MULTILINE)[1] for pattern in patterns]
    starts, pause, minutes = map(int, found)
    # Each start may take a few seconds more.
    assert starts * (pause + 4) < minutes * 60


def test_the_files_of_the_example_of_credentials_are_beside_each_other(tmp_path):
    """As in the folder that systemd makes from them."""
    text = (UNITS / "credentials.conf").read_text()
    names = re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE)
    assert names == ["aws", "web.yml", "tls.crt", "tls.key"]
    for made, name in zip(certificate(tmp_path, "exporter"), names[2:], strict=True):
        made.rename(tmp_path / name)
    [cert_file, key_file] = re.findall(r"\w+_file: (\S+)", text)
    (tmp_path / "web.yml").write_text(
        f"tls_server_config: {{ cert_file: {cert_file}, key_file: {key_file} }}\n"
    )
    variables = dict(re.findall(r"^Environment=(\w+)=%d/(\S+)$", text, re.MULTILINE))
    environment = exporter_environment(tmp_path)
    environment |= {name: str(tmp_path / file) for name, file in variables.items()}
    command = [exporter_binary(), "check-config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "TLS" in done.stdout


def test_the_documented_commands_install_what_the_service_names(tmp_path):
    document = (ROOT / "docs/install.md").read_text()
    [block] = re.findall(r"```sh\n(install -m 755.*?)```", document, re.DOTALL)
    # The systemctl commands need a running systemd.
    lines = [line for line in block.splitlines() if line.startswith("install ")]
    for folder in ["usr/bin", "etc/systemd/system", "etc/default"]:
        (tmp_path / folder).mkdir(parents=True)
    for line in lines:
        words = shlex.split(line.replace("target/release/iam-key-exporter", str(exporter_binary())))
        words[-1] = f"{tmp_path}{words[-1]}"
        subprocess.run(words, cwd=ROOT, check=True, timeout=60)
    for key in ["EnvironmentFile=-", "ExecStart="]:
        [path] = re.findall(rf"^{key}(\S+)", SERVICE, re.MULTILINE)
        assert (tmp_path / path.lstrip("/")).is_file()
    installed = sorted(file.name for file in (tmp_path / "etc/systemd/system").iterdir())
    assert installed == ["iam-key-exporter.service", "iam-key-exporter.socket"]
