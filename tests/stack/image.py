"""The container image: buildah builds it, and a process runs in its file system.

Needs root, or sudo without a password, for buildah's isolation by chroot.
"""

import json
import os
import re
import shutil
import subprocess
import sys

from harness import LISTENING, ROOT, Process, exporter_binary, tool, wait_for

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
USER = 65532


def as_root(*command):
    """The command as root, with sudo if needed."""
    return [*([] if os.geteuid() == 0 else ["sudo", "-n"]), *map(str, command)]


def run(*command, timeout=120, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_rootfs(context):
    """Makes the image's file system. Adds shared libraries if the binary is not static, for example that of `cargo
    test`.
    """
    rootfs = context / "rootfs"
    run(ROOT / "deploy/docker/rootfs.sh", exporter_binary(), rootfs)
    linked = subprocess.run(
        [tool("ldd"), exporter_binary()], capture_output=True, text=True, timeout=60
    )
    for library in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", linked.stdout, re.MULTILINE):
        copy = rootfs / library.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(library), copy)
    return rootfs


class Image:
    """The image, built in its own folder. Use it in a `with`."""

    name = "iam-key-exporter:test"

    def __init__(self, folder):
        context = folder / "context"
        context.mkdir()
        make_rootfs(context)
        self.folder = folder / "storage"
        self.buildah(
            *("bud", "--isolation", "chroot", "--format", "docker", "--target", "prebuilt"),
            *("--build-arg", "VERSION=1.2.3", "-f", DOCKERFILE, "-t", self.name, context),
        )
        said = json.loads(self.buildah("inspect", "--type", "image", self.name))
        self.config = said["Docker"]["config"]
        self.container = self.buildah("from", self.name).strip()
        self.root = self.buildah("mount", self.container).strip()

    def buildah(self, *arguments):
        storage = ["--root", self.folder / "root", "--runroot", self.folder / "run"]
        command = [tool("buildah"), "--storage-driver", "vfs", *storage, *arguments]
        return run(*as_root(*command), timeout=300)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.buildah("umount", self.container)
        run(*as_root("rm", "-rf", self.folder))

    def write(self, path, text):
        """Writes a file into the file system, as a container runtime does with /etc/resolv.conf."""
        run(*as_root("tee", f"{self.root}/{path}"), input=text)

    def command(self, *command, environment=()):
        """A command that runs another in the image, with its user and environment.

        The file system is read-only, and the process has the id 1 in a new PID namespace.
        """
        user = self.config["User"]
        variables = [*self.config["Env"], *(f"{k}={v}" for k, v in dict(environment).items())]
        # The container runtime also mounts /proc.
        inside = (
            'mount --bind "$0" "$0" && mkdir -p "$0/proc" && mount -t proc proc "$0/proc" &&'
            ' mount -o remount,bind,ro "$0" && exec chroot --userspec="$1" "$0" "${@:2}"'
        )
        return as_root(
            *("env", "-i", *variables),
            *("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("/bin/bash", "-c", "PATH=/usr/sbin:/usr/bin:/sbin:/bin; " + inside, self.root, user),
            *command,
        )


class Container(Process):
    """The exporter in the image."""

    def __init__(self, image, folder, *arguments):
        entrypoint = image.config["Entrypoint"]
        variables = {"IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0"}
        super().__init__(
            image.command(*entrypoint, *arguments, environment=variables),
            folder / "exporter.log",
            LISTENING,
        )

    @property
    def pid(self):
        """The process id of the exporter outside of the container: follow the only child to the last."""
        pid = self.child.pid
        while children := open(f"/proc/{pid}/task/{pid}/children").read().split():
            [pid] = children
        return int(pid)

    def signal(self, name):
        run(*as_root("kill", f"-{name}", self.pid))

    def stop(self):
        if self.is_alive():
            self.signal("TERM")
        super().stop()


class NameServer:
    """A name server on port 53 that knows one name of AWS. Use it in a `with`."""

    address = "127.0.0.53"
    known = "iam.aws.test"
    # As in a pod of EKS. The name has fewer than five dots, so the resolver tries each domain before the name itself.
    domains = [
        "monitoring.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "eu-central-1.compute.internal",
        "corp.example",
    ]
    resolv_conf = f"nameserver {address}\nsearch {' '.join(domains)}\noptions ndots:5\n"

    def __init__(self, folder):
        self.log = folder / "names"
        program = ROOT / "tests/stack/name_server.py"
        command = as_root(sys.executable, program, self.address, 53, self.known)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log)

    def __enter__(self):
        wait_for("the name server listens", lambda: "listening\n" in self.log.read_text())
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(timeout=20)

    def asked(self):
        """The names that programs asked for, once each, in order."""
        return list(dict.fromkeys(self.log.read_text().splitlines()[1:]))

    def expected(self):
        """The names that a program asks for if it tries every domain."""
        return [*(f"{self.known}.{domain}" for domain in self.domains), self.known]
