"""The static binaries. The one for another processor runs in an emulator. `make static` builds and tests them."""

import shutil
import subprocess

import pytest
from harness import LISTEN, LISTENING, ROOT, Page, Process, exporter_environment, tool, wait_for
from image import NameServer, as_root, run

RUN = {"x86_64": [], "aarch64": ["qemu-aarch64-static"]}


@pytest.fixture(params=RUN)
def machine(request):
    return request.param


@pytest.fixture
def binary(machine):
    return ROOT / f"target/static/iam-key-exporter-{machine}"


def headers(binary):
    command = [tool("readelf"), "--wide", "--file-header", "--segments", "--sections", binary]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_binary_needs_no_library_and_has_no_symbols(machine, binary):
    said = headers(binary)
    assert {"x86_64": "X86-64", "aarch64": "AArch64"}[machine] in said
    assert " INTERP " not in said
    assert " .symtab " not in said and " .debug_info " not in said


def test_a_binary_serves_the_demo(machine, binary, tmp_path):
    command = [*map(tool, RUN[machine]), binary, "demo", "--users", "20", *LISTEN]
    with Process(command, tmp_path / "log", LISTENING, exporter_environment(tmp_path)) as exporter:
        page = wait_for(
            "the demo", lambda: (p := Page(exporter.get("/metrics").text)).is_refreshed() and p
        )
        assert len(page.family("iam_unrotated_keys_total")) == 3
        address = exporter.url.removeprefix("http://")
        health = [*command[: command.index("demo")], "health", "--web.listen-address", address]
        assert subprocess.run(health, timeout=60).returncode == 0


def test_a_binary_finds_a_name_after_five_domains_were_searched(machine, binary, company, tmp_path):
    root = tmp_path / "root"
    run(ROOT / "deploy/docker/rootfs.sh", binary, root)
    for emulator in RUN[machine]:
        shutil.copy(tool(emulator), root / "usr/bin")
    (root / "etc/resolv.conf").write_text(NameServer.resolv_conf)
    endpoint = company.endpoint.replace("127.0.0.1", NameServer.known)
    variables = [f"{k}={v}" for k, v in exporter_environment("/", endpoint).items()]
    inside = [f"/usr/bin/{name}" for name in [*RUN[machine], "iam-key-exporter"]]
    with NameServer(tmp_path) as names:
        command = as_root("env", "-i", *variables, "/usr/sbin/chroot", root, *inside, "check")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stderr
        assert "ancient" in done.stdout
        assert names.asked() == names.expected()
