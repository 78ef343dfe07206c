"""Newer programs than the machine's, from newer releases of Debian.

apt-get fetches the packages with its own list of sources and state folder, and dpkg unpacks them below target/. The
system does not change. If apt-get cannot get a package, a test that needs it says that it was not run.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from harness import ROOT

FOLDER = ROOT / "target/newer"
# The package of each program, and the releases to search. The first one that has the program is used.
PROGRAMS = {
    "prometheus": ["sid", "trixie"],
    "promtool": ["sid", "trixie"],
    "prometheus-alertmanager": ["sid", "trixie"],
    "amtool": ["sid", "trixie"],
    "victoria-metrics": ["sid", "trixie"],
    "vmalert": ["sid", "trixie"],
    "vmagent": ["sid", "trixie"],
}


def debian_mirror():
    """The Debian mirror of this machine."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(file.read_text() for file in sources if file.is_file())
    found = re.search(r"^(?:deb(?: \[.*?\])? |URIs: *)(\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
    return found and found[1]


def apt_get(release, *arguments, folder=None):
    """Runs apt-get with only this release. Returns None if it failed. The log has the reason."""
    state = FOLDER / release
    for name in ["lists/partial", "cache/archives/partial"]:
        (state / name).mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text(f"deb {debian_mirror()} {release} main\n")
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    done = subprocess.run(
        ["apt-get", "-q", *settings, *arguments],
        cwd=folder or state,
        capture_output=True,
        text=True,
        timeout=280,
    )
    (state / "apt-get.log").write_text(done.stdout + done.stderr)
    return done.stdout if done.returncode == 0 else None


@cache
def updated(release):
    """Whether apt-get could get the release's list of packages."""
    lists = FOLDER / release / "lists"
    return bool(list(lists.glob("*_Packages*")) or apt_get(release, "update"))


@cache
def unpacked(package, release):
    """The folder of the unpacked package, or None."""
    folder = FOLDER / release / package
    if (folder / "unpacked").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if apt_get(release, "download", package, folder=folder) is None:
        return None
    [archive] = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", archive, folder], check=True, timeout=120)
    archive.unlink()
    (folder / "unpacked").touch()
    return folder


def runs(program):
    """Whether the program runs here. It may need a newer C library."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=30)
    except OSError:
        return False
    return done.returncode == 0


@cache
def find(name):
    """The newer program, or None."""
    if not (shutil.which("apt-get") and shutil.which("dpkg") and debian_mirror()):
        return None
    for release in PROGRAMS[name]:
        if not updated(release):
            continue
        # In some releases a larger package has the program.
        packages = [name, *{"amtool": ["prometheus-alertmanager"], "promtool": ["prometheus"]}.get(name, [])]
        packages += ["victoria-metrics"] if name.startswith("vm") else []
        for package in packages:
            folder = unpacked(package, release)
            program = folder and folder / "usr/bin" / name
            if program and program.is_file() and runs(program):
                return str(program)
    return None


def newer(name):
    """The newer program. If it is not available, the test is skipped and says so."""
    return find(name) or pytest.skip(f"not run: no newer {name} can be had from Debian")
