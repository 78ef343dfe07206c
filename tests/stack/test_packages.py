"""The packages, in a folder with a small Debian.

systemd does not run there, so a stand-in records the calls of systemctl. Needs root, or sudo without a password.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import LISTENING, ROOT, Page, Process, exporter_binary, tool, wait_for
from image import as_root, run

NAME = "iam-key-exporter"
WANTED = f"etc/systemd/system/multi-user.target.wants/{NAME}.service"
SOCKET_WANTED = f"etc/systemd/system/sockets.target.wants/{NAME}.socket"
DEFAULTS = f"etc/default/{NAME}"
UNIT = f"usr/lib/systemd/system/{NAME}.service"

SYSTEMCTL = f"""#!/bin/sh
echo "$*" >> /told
case "$*" in
--version*) echo "systemd 252 (252)" ;;
*preset*) mkdir -p /etc/systemd/system/multi-user.target.wants && ln -s /{UNIT} /{WANTED} ;;
*is-enabled*) [ -L /{WANTED} ] && echo enabled || {{ echo disabled; exit 1; }} ;;
*is-active*) [ -e /active ] ;;
esac
"""


def version_codename():
    [name] = re.findall(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.M)
    return name


@pytest.fixture(scope="module")
def debian():
    """A small Debian of this machine's release. It is kept for later runs."""
    folder = ROOT / f"target/debian-{version_codename()}"
    if not (folder / "etc/debian_version").exists() or (folder / "debootstrap").exists():
        run(*as_root("rm", "-rf", folder))
        command = ["/usr/sbin/debootstrap", "--variant=minbase", version_codename(), folder]
        run(*as_root(*command), timeout=600)
        # Half of the system: no package needs it, and each test would copy it.
        large = ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"]
        run(*as_root("rm", "-rf", *(folder / path for path in large)))
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages of two versions, by version and kind."""
    folder = tmp_path_factory.mktemp("packages")
    binary = folder / NAME
    run(tool("strip"), "-o", binary, exporter_binary())
    manual = folder / "manual"
    run(ROOT / "deploy/packages/manual.sh", binary, manual)
    nfpm = Path(sys.executable).parent / "nfpm"
    for version in ["0.1.0", "0.2.0"]:
        run(ROOT / "deploy/packages/build.sh", nfpm, binary, manual, "amd64", version, folder)
    return {
        ("deb", version): folder / f"{NAME}_{version}_amd64.deb" for version in ["0.1.0", "0.2.0"]
    } | {
        ("rpm", version): folder / f"{NAME}-{version}-1.x86_64.rpm"
        for version in ["0.1.0", "0.2.0"]
    }


class Machine:
    """A copy of the small Debian."""

    def __init__(self, root):
        self.root = root

    def run(self, *command):
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        variables = [f"{name}={value}" for name, value in path.items()]
        return run(*as_root("env", "-i", *variables, "/usr/sbin/chroot", self.root, *command))

    def write(self, path, text):
        run(*as_root("tee", self.root / path), input=text)

    def has(self, path):
        return os.path.lexists(self.root / path)

    def start_systemd(self):
        """From now on the package's scripts see a running systemd."""
        self.write("usr/bin/systemctl", SYSTEMCTL)
        self.run("chmod", "755", "/usr/bin/systemctl")
        self.run("mkdir", "-p", "/run/systemd/system")

    def told(self):
        """The commands to systemd since the last call, without options and queries."""
        if not self.has("told"):
            return []
        lines = (self.root / "told").read_text().splitlines()
        run(*as_root("rm", self.root / "told"))
        words = ([word for word in line.split() if word[0] != "-"] for line in lines)
        verbs = ["start", "stop", "restart", "try-restart", "daemon-reload"]
        return [" ".join(line) for line in words if line and line[0] in verbs]

    def disable(self):
        """The effect of `systemctl disable`."""
        run(*as_root("rm", self.root / WANTED))

    def files(self):
        skipped = ["proc", "sys", "dev", "var/lib/dpkg", "var/log", "var/lib/rpm", "var/tmp", "tmp"]
        pruned = [word for path in skipped for word in ["-path", f"./{path}", "-prune", "-o"]]
        command = as_root("env", "-C", self.root, "find", ".", *pruned, "-print")
        return set(run(*command).splitlines())

    def install(self, package):
        copy = self.root / "tmp" / package.name
        run(*as_root("cp", package, copy))
        self.run("dpkg", "--force-confdef", "-i", f"/tmp/{package.name}")


@pytest.fixture
def machine(debian, tmp_path):
    root = tmp_path / "machine"
    run(*as_root("cp", "-a", "--reflink=auto", debian, root))
    yield Machine(root)
    run(*as_root("rm", "-rf", root))


def test_a_purge_leaves_nothing_of_what_was_installed(machine, packages):
    before = machine.files()
    machine.install(packages["deb", "0.1.0"])
    assert machine.has(WANTED) and machine.has(DEFAULTS)
    installed = machine.files()
    machine.run("dpkg", "--remove", NAME)
    assert not machine.has("usr/bin/" + NAME) and not machine.has(UNIT)
    assert machine.has(DEFAULTS), "what the administrator may have changed stays"
    machine.run("dpkg", "--purge", NAME)
    left = machine.files() - before
    assert left <= {"./var/lib/systemd", "./var/lib/systemd/deb-systemd-helper-enabled"}, left
    assert len(installed - before) > 10


def test_a_purge_removes_the_link_of_a_socket_that_the_administrator_enabled(machine, packages):
    machine.install(packages["deb", "0.1.0"])
    assert not machine.has(SOCKET_WANTED), "the socket is the administrator's choice"
    machine.run("mkdir", "-p", f"/{Path(SOCKET_WANTED).parent}")
    machine.run("ln", "-s", f"/usr/lib/systemd/system/{NAME}.socket", f"/{SOCKET_WANTED}")
    machine.install(packages["deb", "0.2.0"])
    assert machine.has(SOCKET_WANTED)
    machine.run("dpkg", "--purge", NAME)
    assert not machine.has(SOCKET_WANTED)


def test_an_upgrade_keeps_what_the_administrator_changed(machine, packages):
    machine.install(packages["deb", "0.1.0"])
    machine.write(DEFAULTS, 'ARGS="--rotation.max-age=60d"\n')
    machine.disable()
    machine.install(packages["deb", "0.2.0"])
    assert "0.2.0" in machine.run("dpkg-query", "-W", NAME)
    assert (machine.root / DEFAULTS).read_text() == 'ARGS="--rotation.max-age=60d"\n'
    assert not machine.has(WANTED)


def test_the_service_starts_when_installed_and_again_when_upgraded(machine, packages):
    machine.start_systemd()
    machine.install(packages["deb", "0.1.0"])
    assert machine.told() == ["daemon-reload", f"start {NAME}.service"]
    machine.install(packages["deb", "0.2.0"])
    assert machine.told() == ["daemon-reload", f"restart {NAME}.service"]
    machine.run("dpkg", "--remove", NAME)
    assert machine.told() == [f"stop {NAME}.socket {NAME}.service", "daemon-reload"]


def test_a_disabled_service_is_not_started_by_an_upgrade(machine, packages):
    machine.start_systemd()
    machine.install(packages["deb", "0.1.0"])
    machine.disable()
    machine.told()
    machine.install(packages["deb", "0.2.0"])
    assert machine.told() == ["daemon-reload"]


def test_the_command_line_of_the_installed_unit_serves(machine, packages, tmp_path):
    machine.install(packages["deb", "0.1.0"])
    unit = (machine.root / UNIT).read_text()
    [defaults] = re.findall(r"^EnvironmentFile=-/(\S+)$", unit, re.M)
    [command] = re.findall(r"^ExecStart=(.+)$", unit, re.M)
    text = (machine.root / defaults).read_text()
    assert text.startswith("# Flags") and '\nARGS=""\n' in text
    arguments = "demo --web.listen-address=127.0.0.1:0"
    chroot = as_root("/usr/sbin/chroot", "--userspec=65534:65534", machine.root)
    command = [*chroot, *shlex.split(command.replace("$ARGS", arguments))]
    with Process(command, tmp_path / "log", LISTENING) as exporter:
        page = wait_for(
            "the demo", lambda: (p := Page(exporter.get("/metrics").text)).is_refreshed() and p
        )
    assert page.family("iam_unrotated_keys_total")


def test_the_example_of_a_configuration_is_valid(tmp_path):
    example = (ROOT / "deploy/packages/config.yaml").read_text()
    for text in [example, re.sub(r"^#(?! )", "", example, flags=re.M)]:
        (tmp_path / "config.yaml").write_text(text)
        command = [exporter_binary(), "check-config", "--config.file", tmp_path / "config.yaml"]
        assert "svc-*" in run(*command)


def test_the_documentation_installs_the_packages_by_their_names(packages):
    document = (ROOT / "docs/install.md").read_text()
    [version] = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)
    for kind in ["deb", "rpm"]:
        assert f" install ./{packages[kind, '0.1.0'].name.replace('0.1.0', version)} " in document


@pytest.fixture(scope="module", params=["deb", "rpm"])
def unpacked(request, packages, tmp_path_factory):
    """The files of a package."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    package = packages[kind, "0.1.0"]
    if kind == "deb":
        run(tool("dpkg-deb"), "-x", package, folder)
    else:
        archive = folder / "package.cpio"
        archive.write_bytes(subprocess.check_output([tool("rpm2cpio"), package], timeout=60))
        run(tool("cpio"), "-id", "--quiet", "-F", archive, cwd=folder)
    return folder


def test_a_package_holds_the_files_of_the_repository(unpacked):
    assert (unpacked / UNIT).read_text() == (ROOT / f"deploy/systemd/{NAME}.service").read_text()
    assert (unpacked / DEFAULTS).read_text() == (
        ROOT / f"deploy/systemd/{NAME}.default"
    ).read_text()
    assert os.access(unpacked / "usr/bin" / NAME, os.X_OK)
    said = run(unpacked / "usr/bin" / NAME, "--version")
    assert said.startswith(NAME)


COMMANDS = ["check", "check-config", "demo", "health", "metrics-doc"]


def test_a_package_has_the_manual_of_each_command(unpacked):
    folder = unpacked / "usr/share/man/man1"
    pages = [f"{NAME}.1.gz", *(f"{NAME}-{command}.1.gz" for command in COMMANDS)]
    assert sorted(page.name for page in folder.iterdir()) == sorted(pages)
    for page in folder.iterdir():
        command = [tool("man"), "--warnings", "--encoding=UTF-8", "--local-file", page]
        variables = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""}
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "--web.listen-address" in done.stdout
        # `man -k` finds a page by this line.
        title = page.name.removesuffix(".1.gz")
        assert re.search(rf"^NAME\n +{title} +- +\w", done.stdout, re.MULTILINE), done.stdout


def completed(script, *words):
    """The completions of the last word in bash."""
    program = """
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        function=$(complete -p "$1" | grep -o '_iam[^ ]*')
        "$function" "$1" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return run(tool("bash"), "-c", program, "bash", script, NAME, *words).split()


def test_bash_completes_commands_and_flags(unpacked):
    script = unpacked / f"usr/share/bash-completion/completions/{NAME}"
    assert completed(script, "--rot") == ["--rotation.max-age", "--rotation.warn-before"]
    assert completed(script, "check") == ["check", "check-config"]
    assert completed(script, "check", "--format", "j") == ["json"]
    assert set(COMMANDS) == {word for word in completed(script, "") if word[0] != "-"}


def test_a_package_has_the_completions_of_other_shells_at_their_places(unpacked):
    zsh = [*unpacked.glob(f"usr/share/zsh/*/_{NAME}")]
    assert [file.parent.name for file in zsh] in (["vendor-completions"], ["site-functions"])
    assert zsh[0].read_text().startswith(f"#compdef {NAME}\n")
    fish = unpacked / f"usr/share/fish/vendor_completions.d/{NAME}.fish"
    assert f"complete -c {NAME} -l rotation.max-age" in fish.read_text().replace(
        ' -n "__fish_iam_key_exporter_needs_command"', ""
    )


def rpm(machine, *arguments):
    return run(*as_root(tool("rpm"), "--root", machine.root, *arguments))


def test_rpm_installs_upgrades_and_erases(machine, packages):
    before = machine.files()
    rpm(machine, "--nodeps", "-i", packages["rpm", "0.1.0"])
    machine.write(DEFAULTS, 'ARGS="--rotation.max-age=60d"\n')
    machine.start_systemd()
    rpm(machine, "--nodeps", "-U", packages["rpm", "0.2.0"])
    assert rpm(machine, "-q", NAME).strip() == f"{NAME}-0.2.0-1.x86_64"
    assert (machine.root / DEFAULTS).read_text() == 'ARGS="--rotation.max-age=60d"\n'
    assert machine.told() == [
        "daemon-reload",
        "daemon-reload",
        f"try-restart {NAME}.service",
    ]
    rpm(machine, "-e", NAME)
    left = {path for path in machine.files() - before if NAME in path}
    assert left == {f"./{DEFAULTS}.rpmsave"}
