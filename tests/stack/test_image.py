"""The container image with the binary under test. `make image` runs these tests with the static binary."""

import copy
import os
import re
import shutil
import subprocess
import time

import pytest
from harness import ROOT, TEST_CREDENTIALS, Page, wait_for
from image import DOCKERFILE, USER, Container, Image, NameServer, as_root, run
from tls_relay import TlsRelay, certificate


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    with Image(tmp_path_factory.mktemp("image")) as image:
        yield image


@pytest.fixture
def container(image, tmp_path):
    with Container(image, tmp_path, "demo", "--users", "20") as container:
        yield container


def page(container):
    return Page(container.get("/metrics").text)


def test_the_image_says_what_it_is_and_how_it_runs(image):
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["Entrypoint"] == ["/usr/bin/iam-key-exporter"]
    assert list(image.config["ExposedPorts"]) == ["9718/tcp"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_build_in_the_image_knows_the_commit(tmp_path):
    """Like a build from an archive of git, without a repository. The whole build needs the compiler's image."""
    shutil.copy(ROOT / "build.rs", tmp_path)
    [command] = re.findall(r"^RUN (sed .*build\.rs)$", DOCKERFILE.read_text(), re.MULTILINE)
    run("/bin/sh", "-c", command, cwd=tmp_path, env={"PATH": os.environ["PATH"], "REVISION": "0123abcd"})
    assert 'const ARCHIVED: &str = "0123abcd";\n' in (tmp_path / "build.rs").read_text()


def test_the_context_of_the_build_has_its_sources_and_no_other_file():
    lines = (ROOT / "deploy/docker/Dockerfile.dockerignore").read_text().splitlines()
    allowed = [line for line in lines if not line.startswith("#")]
    assert allowed.pop(0) == "*"
    assert all(line.startswith("!") for line in allowed)
    [sources] = re.findall(r"const SOURCES: .* = \[(.*?)\];", (ROOT / "build.rs").read_text(), re.DOTALL)
    others = {"benches", "deploy/docker/rootfs.sh", "rootfs"}  # Cargo.toml names the first.
    assert {line[1:] for line in allowed} == {*re.findall(r'"(.*?)"', sources), *others}


def test_there_is_nothing_in_it_that_its_user_could_change(image):
    allowed = ["-user", USER, "-o", "-group", USER, "-o", "-perm", "/022", "!", "-type", "l"]
    found = subprocess.run(
        as_root("find", image.root, *allowed), capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_there_is_no_shell_in_it(image):
    programs = os.listdir(f"{image.root}/usr/bin")
    assert programs == ["iam-key-exporter"]
    assert not os.path.exists(f"{image.root}/bin")


def test_the_demo_is_served_and_scraped(container):
    demo = wait_for("the demo", lambda: (p := page(container)).is_refreshed() and p)
    assert len(demo.family("iam_unrotated_keys_total")) == 3
    assert demo.value("process_resident_memory_bytes") > 0


def test_the_exporter_runs_as_its_user_and_as_the_first_process(container):
    status = dict(
        line.split(":\t", 1) for line in open(f"/proc/{container.pid}/status").read().splitlines()
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert status["NSpid"].split()[-1] == "1"


def health(image, address):
    [kind, *command] = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    variables = {"IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS": address}
    return subprocess.run(
        image.command(*command, environment=variables), capture_output=True, text=True, timeout=60
    )


def test_the_health_check_of_the_image_tells_whether_the_exporter_lives(image, tmp_path):
    with Container(image, tmp_path, "demo") as container:
        address = container.url.removeprefix("http://")
        done = health(image, address)
        assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr
    assert health(image, address).returncode == 1


def test_the_documented_image_with_a_configuration_lets_its_user_read_it(image, tmp_path):
    """ECS has no files but those of the image. A file that only its owner may read is readable there, too."""
    [text] = re.findall(r"```dockerfile\n(.*?)```", (ROOT / "docs/install.md").read_text(), re.DOTALL)
    text, named = re.subn(r"^FROM \S+$", f"FROM {image.name}", text, flags=re.MULTILINE)
    assert named == 1
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "config.yaml").write_text("rotation: { max_age: 61d }\n")
    (tmp_path / "config.yaml").chmod(0o600)
    image.buildah("bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "-t", "own", tmp_path)

    own = copy.copy(image)
    container = image.buildah("from", "--pull-never", "own").strip()
    own.root = image.buildah("mount", container).strip()
    command = [*own.config["Entrypoint"], "check-config"]
    variables = {"IAM_KEY_EXPORTER_CONFIG_FILE": "/config.yaml"}
    assert "61d" in run(*own.command(*command, environment=variables))
    image.buildah("umount", container)


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_signal_ends_the_first_process(container, signal):
    start = time.monotonic()
    container.signal(signal)
    assert container.child.wait(timeout=20) == 0
    assert time.monotonic() - start < 10


def test_a_hangup_has_the_first_process_read_its_configuration_again(container):
    container.signal("HUP")
    wait_for("a reload", lambda: "configuration reloaded" in container.log)
    assert container.is_alive()


@pytest.fixture
def names(image, tmp_path):
    with NameServer(tmp_path) as names:
        image.write("etc/resolv.conf", names.resolv_conf)
        yield names


def check(image, endpoint):
    variables = TEST_CREDENTIALS | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": "/",
    }
    entrypoint = image.config["Entrypoint"]
    return subprocess.run(
        image.command(*entrypoint, "check", environment=variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_name_is_found_after_five_domains_were_searched(image, company, names):
    done = check(image, company.endpoint.replace("127.0.0.1", names.known))
    assert done.returncode == 1, done.stderr
    assert "ancient" in done.stdout
    assert names.asked() == names.expected()


def test_the_certificates_of_the_image_decide_whom_the_exporter_trusts(
    image, company, names, tmp_path
):
    files = certificate(tmp_path, names.known)
    trusted = "etc/ssl/certs/ca-certificates.crt"
    public = open(f"{image.root}/{trusted}").read()
    assert public.count("BEGIN CERTIFICATE") > 100
    with TlsRelay(company.endpoint, *files) as relay:
        endpoint = f"https://{names.known}:{relay.port}"
        refused = check(image, endpoint)
        assert refused.returncode == 2
        assert "certificate" in refused.stderr
        try:
            image.write(trusted, public + files[0].read_text())
            accepted = check(image, endpoint)
        finally:
            image.write(trusted, public)
    assert accepted.returncode == 1, accepted.stderr
    assert "ancient" in accepted.stdout
