"""Prowler, another tool that decides controls of the CIS benchmark, in its own virtual environment.

Its packages conflict with those of the other tests. pip fetches them once into target/prowler, as listed in
tests/stack/prowler.txt. If pip cannot get them, a test that needs them fails.
"""

import json
import subprocess
import sys
from functools import cache

from harness import ROOT, exporter_environment

FOLDER = ROOT / "target/prowler"
REQUIREMENTS = ROOT / "tests/stack/prowler.txt"
CHECKS = ROOT / "tests/stack/prowler_checks.py"


@cache
def interpreter():
    """A Python that has Prowler."""
    wanted = REQUIREMENTS.read_bytes()
    installed = FOLDER / "installed.txt"
    if not installed.is_file() or installed.read_bytes() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True, timeout=120)
        # All dependencies, with those for other clouds, are 2 GB and take ten minutes.
        pip = [FOLDER / "bin/pip", "install", "-q", "--no-input", "--no-deps", "-r", REQUIREMENTS]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"Prowler cannot be installed\n{done.stdout}{done.stderr}"
        installed.write_bytes(wanted)
    return FOLDER / "bin/python"


def failing(account, checks, folder):
    """The findings of each check: names of users, and the account for its settings."""
    environment = exporter_environment(folder, account.endpoint, account.credentials)
    environment["AWS_DEFAULT_REGION"] = "us-east-1"
    done = subprocess.run(
        [interpreter(), CHECKS, *checks],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    return json.loads(last)
