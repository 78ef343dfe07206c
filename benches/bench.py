"""Shared by the benchmarks: the release build of the exporter, CPU time and memory of processes, and result files.

Each benchmark is a module that runs alone and writes target/bench/NAME.json. report.py writes the tables of
docs/benchmarks.md from these files. All processes listen on 127.0.0.1, and every wait has a limit.
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "target/bench"

# The tests' harness runs the exporter and reads its pages. Import this module before it, because the harness uses a
# debug build by default.
sys.path.insert(0, str(ROOT / "tests/stack"))
BINARY = os.environ.setdefault("IAM_KEY_EXPORTER_BIN", str(ROOT / "target/release/iam-key-exporter"))
# On some machines nginx is not on the PATH of users.
os.environ["PATH"] += os.pathsep + "/usr/sbin"

# The calls that the exporter can make, by the list in its source.
OPERATIONS = re.findall(
    r'\("(?:IAM|STS|Organizations)", "(\w+)"\)', (ROOT / "src/source/aws/sdk.rs").read_text()
)
# The random seed of the made-up organization.
KEYS_PER_USER = 0.9 * 1.15
MIB = 1 << 20


def save(name, figures):
    """Stores figures with the machine and the versions, and prints them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine(), **figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def machine():
    """The machine, and the versions of its programs."""
    return {
        "CPU": re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1],
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / MIB / 1024:.0f} GiB",
        "kernel": platform.release(),
        "rustc": said("rustc", "--version"),
        "exporter": said(BINARY, "--version"),
        "nginx": said("nginx", "-v"),
        "wrk": said("wrk", "--version"),
        "prometheus": said("promtool", "--version"),
        "boto3": version("boto3"),
        "python": platform.python_version(),
    }


def said(*command):
    """The number in a program's version text."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return re.search(r"\d+(\.\d+)+", run.stdout + run.stderr)[0]


def memory(pid, field):
    """A process's memory in bytes: VmRSS is resident now, VmHWM is the maximum so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s*(\d+) kB", status)[1]) * 1024


def cpu_seconds(pid):
    """The CPU time of a process and all its threads so far, in hundredths of a second."""
    # The name, in brackets, may contain spaces. utime and stime are the 14th and 15th fields.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def value(page, series):
    """The value of a series, or of a metric's first series. Fast, for pages that are too long for the harness."""
    return float(re.search(rf"^{re.escape(series)}(?:{{.*}})? (\S+)$", page, re.MULTILINE)[1])


def free_port():
    """A free port, for programs that cannot report the port that the system chose."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def medians(rounds):
    """The median of each number in a list of equal dicts."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}
