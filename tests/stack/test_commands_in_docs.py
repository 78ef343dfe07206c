"""Each command block of README, CONTRIBUTING and docs is run, compared with AWS's API, or listed with a reason.

A block runs in a folder with the files that its page mentions, against moto. `aws` commands are compared with boto3's
models, which have the same operations and options as the command line.
"""

import base64
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta, timezone

import jmespath
import pytest
from alerting import Alertmanager, alertmanager_config
from botocore.session import Session
from certificates import Authority
from harness import (
    LISTENING,
    ROOT,
    Process,
    exporter_binary,
    exporter_environment,
    wait_for,
)

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]

# Commands that do not run as written, by their beginning, each with the reason and the tests that come close.
NOT_RUN = {
    "cargo install": "builds for minutes. Every test runs a binary of cargo",
    "cargo run": "builds for minutes. Other blocks run `iam-key-exporter demo`",
    "cargo bench": "takes minutes, and needs a machine at rest",
    "target/venv/bin/python benches/": "takes minutes, and needs a machine at rest. `make bench` runs it",
    "helm install": "needs a cluster. test_helm.py renders the chart with the values of the page",
    "kubectl ": "needs a cluster",
    "install -m": "changes the machine. test_systemd.py runs those of the units into another folder",
    "mkdir -p /etc": "changes the machine",
    "cp -r deploy/alertmanager": "changes the machine. test_install.py runs it into another folder",
    "cp -r deploy/prometheus": "changes the machine. test_install.py runs it into another folder",
    "systemctl ": "changes the machine. test_systemd.py and test_packages.py check the units",
    "journalctl ": "needs a service that runs",
    "apt install": "changes the machine. test_packages.py installs the package in a small Debian",
    "dnf install": "needs Fedora. test_packages.py reads the package",
    "docker build": "needs Docker. test_image.py builds the image with buildah",
    "docker tag": "needs Docker",
    "docker push": "needs a registry",
    "docker run": "needs Docker. test_image.py runs the image",
    "docker compose": "needs Docker and images of others. test_compose.py checks the files",
    "export EXPORTER_USER": "is for Docker Compose. test_compose.py sets it",
    "aws cloudformation deploy": "is a program of the command line. test_aws_roles.py makes the stacks in moto",
    "export AWS_ACCESS_KEY_ID": "is for the commands after it, with root's credentials",
    "htpasswd ": "asks for a password at a terminal. Tests make such hashes with bcrypt",
    "curl -s localhost:9090": "asks the Prometheus that was set up. test_install.py does",
    "curl --cacert": "asks for a password at a terminal. test_web_config.py asks over TLS with a password",
    "timedatectl": "is about the clock of the reader's machine",
    "chronyc ": "is about the clock of the reader's machine",
    "curl -sS -o /dev/null": "asks the real AWS",
}
# Programs that run. A stand-in prints the report of `aws iam get-credential-report`.
RUN = {"iam-key-exporter", "curl", "promtool", "amtool", "deploy/prometheus/render.py"}
RUN |= {"base64", "date", "grep", "ls", "mv", "openssl", "sed", "set"}
REPORT = ("get-credential-report", "generate-credential-report")
# Options of the AWS command line for every operation.
OF_THE_COMMAND_LINE = {"query", "output", "region", "maxitems"}


class Block:
    """A block of commands: its place, and its commands, each with the output on the page."""

    def __init__(self, page, line, kind, text):
        self.page, self.name = page, f"{page.name}:{line}"
        if kind == "console":
            parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
            self.commands = [tuple(part.split("\n", 1)) for part in parts]
        else:
            self.commands = [(command, None) for command in commands(text)]


def commands(text):
    """The commands of a script. A command can have several lines."""
    command = ""
    for line in text.replace("\\\n", "").splitlines():
        command += line
        is_whole = subprocess.run(["bash", "-n", "-c", command], stderr=subprocess.DEVNULL, timeout=60)
        if is_whole.returncode:
            command += "\n"
        else:
            yield command
            command = ""
    assert not command, f"no whole command: {command}"


def blocks():
    for page in PAGES:
        text = page.read_text()
        pattern = r"^ *```(sh|bash|console|shell)\n(.*?)^ *```"
        for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 1
            yield Block(page, line, match[1], textwrap.dedent(match[2]))


BLOCKS = list(blocks())


def simple_commands(command):
    """The words of each program that a shell command starts."""
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    programs, is_file = [[]], False
    for word in lexer:
        if set(word) <= set("<>"):
            is_file = True
        elif is_file:
            is_file = False
        elif set(word) <= set("|&;()"):
            programs.append([])
        else:
            programs[-1].append(word)
    for program in programs:
        while program and (program[0] in ("do", "done") or re.match(r"\w+=", program[0])):
            program.pop(0)
        if program and program[0] != "for":
            yield program


def reason(command):
    """The reason why the command does not run, or None."""
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def is_run(programs):
    def may_run(program):
        return program[0] in RUN or (program[:2] == ["aws", "iam"] and program[2] in REPORT)

    return all(map(may_run, programs)) and any(program[0] != "aws" for program in programs)


def test_each_command_block_is_run_or_compared_or_has_a_reason():
    assert len(BLOCKS) > 80
    unknown = []
    for block in BLOCKS:
        for command, _ in block.commands:
            programs = list(simple_commands(command))
            is_aws = any(program[0] == "aws" for program in programs)
            if not (reason(command) or is_run(programs) or is_aws or all(map(dry_run, programs))):
                unknown.append(f"{block.name}: {command}")
    assert unknown == []


def test_each_reason_is_of_a_command_that_is_there():
    commands = [command for block in BLOCKS for command, _ in block.commands]
    unused = [start for start in NOT_RUN if not any(one.startswith(start) for one in commands)]
    assert unused == []


# --- Commands of developers ---


def dry_run(program):
    """A command that only lists the work of a program of developers. None for another program."""
    if program[:2] == ["cargo", "test"]:
        return [*program, "--", "--list"]
    if program[0] == "make":
        return [*program, "--dry-run"]
    if program[0] == "target/venv/bin/pytest":
        return [sys.executable, "-m", "pytest", *program[1:], "--collect-only"]
    return None


DRY_RUNS = [
    pytest.param(program, id=f"{block.name}-{'-'.join(program)}")
    for block in BLOCKS
    for command, _ in block.commands
    for program in simple_commands(command)
    if dry_run(program)
]


@pytest.mark.parametrize("program", DRY_RUNS)
def test_the_commands_of_developers_find_their_targets_and_tests(program):
    done = subprocess.run(dry_run(program), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert program[0] != "cargo" or ": test" in done.stdout, f"no test has this name: {program}"


def test_contributing_has_each_target_of_make_and_no_other():
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (`make .*?) \|", CONTRIBUTING.read_text(), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`make ([\w-]+)`", row)}
    # Parts of `make test`.
    assert documented == set(phony.split()) - {"test-cargo", "test-stack", "tools"}


# --- Commands of AWS ---

AWS = [
    pytest.param(program, id=f"{block.name}-{program[2]}")
    for block in BLOCKS
    for command, _ in block.commands
    if reason(command) is None
    for program in simple_commands(command)
    if program[0] == "aws"
]
MODELS = Session()


def sample(shape, depth=0):
    """A response of this shape, filled so that every query finds a value."""
    if depth > 6:
        return "deep"
    if shape.type_name == "structure":
        return {name: sample(member, depth + 1) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [sample(shape.member, depth + 1)]
    if shape.type_name == "map":
        # IAM's summary. Its keys are an enumeration.
        return {key: sample(shape.value, depth + 1) for key in shape.key.enum or ["key"]}
    return "AssumeRole"


@pytest.mark.parametrize("words", AWS)
def test_the_commands_of_aws_have_its_operations_and_options(words):
    _, service, operation, *options = words
    model = MODELS.get_service_model(service)
    name = "".join(part.capitalize() for part in operation.split("-"))
    operation = model.operation_model({one.lower(): one for one in model.operation_names}[name.lower()])
    inputs = operation.input_shape
    known = {member.lower() for member in inputs.members} if inputs else set()
    required = {member.lower() for member in inputs.required_members} if inputs else set()
    given = {one[2:].replace("-", "").lower() for one in options if one.startswith("--")}
    assert given - OF_THE_COMMAND_LINE <= known
    assert required <= given
    if "--query" in options:
        query = options[options.index("--query") + 1]
        found = jmespath.search(query, sample(operation.output_shape))
        assert found and "None" not in str(found), query


def test_no_command_changes_credentials_of_the_reader():
    """Without a name of a user, many operations are about the caller."""
    of_the_caller, careful = [], []
    for block in BLOCKS:
        for command, _ in block.commands:
            programs = list(simple_commands(command))
            for program in programs:
                if program[:2] != ["aws", "iam"] or re.match("list-|get-|generate-", program[2]):
                    continue
                name = program[2].replace("-", "").lower()
                model = MODELS.get_service_model("iam")
                [operation] = [one for one in model.operation_names if one.lower() == name]
                shape = model.operation_model(operation).input_shape
                if shape and "UserName" in shape.members and "--user-name" not in program:
                    asks = "get-caller-identity" in command and ":root$" in command.partition("aws iam")[0]
                    (careful if asks else of_the_caller).append(f"{block.name}: {command}")
    assert of_the_caller == []
    assert len(careful) == 2, careful


# --- Commands that are run ---

HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,mfa_active,access_key_1_active,"
    "access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated,"
    "access_key_2_last_used_date\n"
)
ACCOUNTS = {"production": "123456789012", "staging": "210987654321"}


def report(account, users):
    """A credential report with the keys' ages in days, and of a root user with MFA."""

    def key(age):
        at = datetime.now(timezone.utc) - timedelta(days=age or 0)
        return f"true,{at:%Y-%m-%dT%H:%M:%S+00:00},N/A" if age else "false,N/A,N/A"

    rows = [
        f"{name},arn:aws:iam::{account}:user/{name},2020-01-01T00:00:00+00:00,false,N/A,false,"
        f"{key(first)},{key(second)}\n"
        for name, first, second in users
    ]
    root = (
        f"<root_account>,arn:aws:iam::{account}:root,2020-01-01T00:00:00+00:00,not_supported,no_information,true,"
        "false,N/A,N/A,false,N/A,N/A\n"
    )
    return HEADER + "".join(rows) + root


def report_of_used(account, user, age):
    """The report of a user with an old key that was last used four days ago."""
    used = f"{datetime.now(timezone.utc) - timedelta(days=4):%Y-%m-%dT%H:%M:%S+00:00}"
    whole = report(account, [(user, age, None)])
    return whole.replace(",N/A,false,N/A,N/A\n", f",{used},false,N/A,N/A\n", 1)


def yaml_of(page, word):
    """The block of YAML with this word. Its dates move far ahead, so that they do not pass."""
    found = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    return next(text for text in found if word in text).replace(": 2027-", ": 2099-")


def configuration(page):
    """The configuration file that a page refers to: its own, or that of README.md."""
    if page.name == "usage.md":
        exempt = "{ until: 2099-03-01, reason: awaits release 3.2 }"
        return f"rotation: {{ rules: [{{ match: {{ user: vendor-sync }}, exempt: {exempt} }}] }}\n"
    return yaml_of(page if page.name == "configuration.md" else ROOT / "README.md", "rotation:")


def prepare(folder, page):
    """Writes the files that the pages mention."""
    production = report(ACCOUNTS["production"], [("backup", 412.32, None), ("vendor-sync", 202.58, None)])
    staging = report(ACCOUNTS["staging"], [("mailer", 91.52, 84.43)])
    (folder / "reports").mkdir()
    then = datetime.now().timestamp() - 60
    for path, text in [
        ("report.csv", production),
        ("production.csv", report_of_used(ACCOUNTS["production"], "backup", 412.32)),
        ("reports/production.csv", production),
        ("reports/staging.csv", staging),
    ]:
        (folder / path).write_text(text)
        os.utime(folder / path, (then, then))
    (folder / "config.yaml").write_text(configuration(page))
    (folder / "mistake.yaml").write_text("rotation:\n  max_agee: 60d\n")
    ended = "{ user: vendor-sync }, exempt: { until: 2025-03-01, reason: done }"
    (folder / "last-year.yaml").write_text(f"rotation: {{ rules: [{{ match: {ended} }}] }}\n")
    (folder / "mine.yaml").write_text(yaml_of(ROOT / "docs/alerting.md", "selector:"))
    (folder / "web.yml").write_text(yaml_of(ROOT / "docs/web-config.md", "basic_auth_users:"))
    Authority(folder, "authority").issue("server")
    (folder / "deploy").symlink_to(ROOT / "deploy")
    shutil.copytree(ROOT / "deploy/prometheus/rules", folder / "rules")
    shutil.copy(ROOT / "deploy/prometheus/prometheus.yml", folder)
    shutil.copytree(ROOT / "deploy/alertmanager", folder, dirs_exist_ok=True)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "iam-key-exporter").symlink_to(exporter_binary())
    encoded = base64.b64encode(production.encode()).decode()
    for name, command in [("aws", f"echo {encoded}"), ("python3", f'exec {sys.executable} "$@"')]:
        (programs / name).write_text(f"#!/bin/sh\n{command}\n")
        (programs / name).chmod(0o755)
    (folder / ".curlrc").write_text("silent\n")


def is_server(command):
    """Whether the command runs until it is stopped."""
    words = command.split()
    return words[0] == "iam-key-exporter" and (len(words) == 1 or words[1] == "demo" or words[1].startswith("--"))


class Shell:
    """Runs the commands of a block. Servers run until the end."""

    def __init__(self, folder, environment, alertmanager):
        self.folder, self.environment, self.alertmanager = folder, environment, alertmanager
        self.servers = []

    def run(self, command):
        """Runs a command. Returns its exit code and its output."""
        if "localhost:9718" in command and not self.servers:
            self.serve("iam-key-exporter demo --web.enable-lifecycle")
        for name, value in [
            ("/etc/prometheus", str(self.folder)),
            ("127.0.0.1:9718", "127.0.0.1:0"),
            ("localhost:9718", self.servers[-1].url if self.servers else ""),
            ("ALERTMANAGER", self.alertmanager),
            ("http://localhost:9093", self.alertmanager),
            ("REPORTS", "reports"),
            ("=2027-", "=2099-"),
        ]:
            command = command.replace(name, value)
        if is_server(command):
            self.serve(command)
            return 0, ""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    def serve(self, command):
        log = self.folder / f"server-{len(self.servers)}.log"
        words = ["env", "-C", self.folder, *shlex.split(command, comments=True)]
        environment = {"IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0"} | self.environment
        server = Process(words, log, LISTENING, environment)
        self.servers.append(server)
        if "--web.config.file" not in command:
            wait_for("every account was tried", lambda: server.get("/-/ready").ok)

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    with Alertmanager(tmp_path_factory.mktemp("alertmanager"), alertmanager_config()) as server:
        yield server


@pytest.fixture
def shell(block, company, alertmanager, tmp_path):
    prepare(tmp_path, block.page)
    environment = exporter_environment(tmp_path, company.endpoint)
    environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    shell = Shell(tmp_path, environment, alertmanager.url)
    yield shell
    shell.stop()


def masked(output):
    """The output without times, ages and repeated spaces, which differ between runs."""
    output = re.sub(r"20\d\d-\d\d-\d\dT[\d:]+Z", "TIME", output.replace("2099-", "2027-"))
    # Columns of times, which can be empty here.
    output = re.sub(r"(TIME|-) +(TIME|-) +(TIME|-|never)(?= +- )", "TIMES", output)
    output = re.sub(r"\b\d+\.\d\d\b", "AGE", output)
    return "\n".join(" ".join(line.split()) for line in output.strip().splitlines())


def is_as_shown(output, shown):
    """Whether the output is that of the page. `…` stands for any number of lines."""
    pattern = re.escape(masked(shown)).replace("\n…\\\n", "\n(?:.*\n)*")
    return re.fullmatch(pattern, masked(output))


RUNS = [
    pytest.param(block, id=block.name)
    for block in BLOCKS
    if any(not reason(command) and is_run(list(simple_commands(command))) for command, _ in block.commands)
]


@pytest.mark.parametrize("block", RUNS)
def test_the_commands_do_what_the_page_says(block, shell):
    for command, shown in block.commands:
        if reason(command) or not is_run(list(simple_commands(command))):
            continue
        code, output = shell.run(command)
        if shown is not None:
            assert is_as_shown(output, shown), f"{masked(output)}\n--- and not:\n{masked(shown)}"
        else:
            assert code in codes(command), f"{command}: {code}\n{output}"


def codes(command):
    """The exit codes that the command may have."""
    if "check --controls" in command:
        # Some controls cannot be decided, because moto does not have all of the data.
        return [2]
    # `check` finds unrotated keys.
    return [0, 1] if "iam-key-exporter check " in f"{command} " else [0]
