"""The units of systemd, by systemd's own tools, and the exporter under what they forbid."""

import re
import subprocess

import pytest
from harness import ROOT, exporter_binary, tool

UNITS = ROOT / "deploy/systemd"
SERVICE = (UNITS / "iam-key-exporter.service").read_text()


def analyze(*arguments):
    return subprocess.run(
        [tool("systemd-analyze"), *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def units(tmp_path):
    """The units with the path of the built binary, since systemd asks whether it is there."""
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
