"""The files of a release. `make release` makes them in target/dist and then runs these tests."""

import hashlib
import io
import json
import re
import tarfile

import helm_python
import pytest
from chart import CASES, render
from harness import ROOT, Process, tool
from image import run

DIST = ROOT / "target/dist"
NAME = "iam-key-exporter"
[VERSION] = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
RELEASE = f"{NAME}-{VERSION}"
# For each name in the files: the name of RPM, and the emulator that runs the programs here.
MACHINES = {"amd64": ("x86_64", []), "arm64": ("aarch64", ["qemu-aarch64-static"])}
RULES = f"{RELEASE}.rules-and-dashboards"


@pytest.fixture(scope="module")
def commit():
    return run("git", "-C", ROOT, "rev-parse", "HEAD").strip()


@pytest.fixture(params=MACHINES)
def arch(request):
    return request.param


@pytest.fixture
def unpacked(arch, tmp_path):
    """The folder in the archive of a binary."""
    folder = f"{RELEASE}.linux-{arch}"
    archive = DIST / f"{folder}.tar.gz"
    with tarfile.open(archive) as members:
        assert {(one.uid, one.gid, one.mode & 0o022) for one in members} == {(0, 0, 0)}
    run("tar", "-xzf", archive, "-C", tmp_path)
    return tmp_path / folder


def test_the_checksums_are_those_of_all_files():
    expected = {
        *(f"{RELEASE}.linux-{arch}.tar.gz" for arch in MACHINES),
        *(f"{RELEASE}.image-{arch}.tar.gz" for arch in MACHINES),
        *(f"{NAME}_{VERSION}_{arch}.deb" for arch in MACHINES),
        *(f"{RELEASE}-1.{machine}.rpm" for machine, _ in MACHINES.values()),
        f"{RELEASE}.tgz",
        f"{RULES}.tar.gz",
        f"{RELEASE}.cdx.json",
    }
    assert {file.name for file in DIST.iterdir()} == expected | {"SHA256SUMS"}
    said = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=DIST)
    assert set(said.splitlines()) == {f"{name}: OK" for name in expected}


def test_a_binary_says_its_version_and_the_commit(arch, unpacked, commit):
    _, emulator = MACHINES[arch]
    said = run(*map(tool, emulator), unpacked / NAME, "--version")
    assert said.startswith(f"{NAME} {VERSION}\n")
    assert re.search(r"revision: +(\S+)", said)[1] == commit
    assert f"platform:   linux/{MACHINES[arch][0]}\n" in said


def test_beside_a_binary_there_is_what_its_users_need(unpacked):
    files = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    pages = {file for file in files if re.fullmatch(rf"man/{NAME}[a-z-]*\.1\.gz", file)}
    assert f"man/{NAME}.1.gz" in pages and f"man/{NAME}-check.1.gz" in pages
    assert files - pages == {
        *(NAME, "LICENSE", "README.md", "CHANGELOG.md"),
        *(f"completions/{name}" for name in [NAME, f"_{NAME}", f"{NAME}.fish"]),
    }


def test_the_packages_are_of_this_version(arch):
    fields = run(tool("dpkg-deb"), "-f", DIST / f"{NAME}_{VERSION}_{arch}.deb", "Version", "Architecture")
    assert fields == f"Version: {VERSION}\nArchitecture: {arch}\n"
    machine, _ = MACHINES[arch]
    package = DIST / f"{RELEASE}-1.{machine}.rpm"
    assert run(tool("rpm"), "-qp", package) == f"{RELEASE}-1.{machine}\n"


def test_an_image_has_the_binary_of_its_processor(arch, unpacked, commit):
    with tarfile.open(DIST / f"{RELEASE}.image-{arch}.tar.gz") as archive:
        read = lambda name: archive.extractfile(name).read()
        [image] = json.loads(read("manifest.json"))
        config = json.loads(read(image["Config"]))
        layers = [tarfile.open(fileobj=io.BytesIO(read(layer))) for layer in image["Layers"]]
    assert image["RepoTags"] == [f"docker.io/library/{NAME}:{VERSION}"]
    assert len(layers) == 1
    assert (config["architecture"], config["os"]) == (arch, "linux")
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == commit
    [binary] = [
        layer.extractfile(member).read()
        for layer in layers
        for member in layer.getmembers()
        if member.name.endswith(f"usr/bin/{NAME}")
    ]
    assert hashlib.sha256(binary).digest() == hashlib.sha256((unpacked / NAME).read_bytes()).digest()


LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def test_the_images_are_pushed_as_one_for_both_processors(tmp_path):
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    (tmp_path / "config.yml").write_text(json.dumps(config))
    command = [tool("docker-registry"), "serve", tmp_path / "config.yml"]
    listening = r"listening on 127\.0\.0\.1:(\d+)"
    with Process(command, tmp_path / "registry.log", listening) as registry:

        def read(kind, reference, media_type):
            answer = registry.get(f"/v2/keys/{kind}/{reference}", headers={"Accept": media_type})
            assert answer.ok, answer.text
            return answer

        image = f"{registry.url.removeprefix('http://')}/keys"
        push = ROOT / "deploy/docker/push.sh"
        digest = run(push, DIST, VERSION, image, "--tls-verify=false").strip()
        pushed = read("manifests", VERSION, LIST)
        assert pushed.headers["Docker-Content-Digest"] == digest
        for one in pushed.json()["manifests"]:
            manifest = read("manifests", one["digest"], MANIFEST).json()
            config = read("blobs", manifest["config"]["digest"], "*/*").json()
            assert config["architecture"] == one["platform"]["architecture"]
            assert config["config"]["Healthcheck"]["Test"][-1] == "health"
    assert {one["platform"]["architecture"] for one in pushed.json()["manifests"]} == set(MACHINES)


def test_files_have_the_time_of_the_commit_so_that_another_checkout_packs_the_same():
    commit_time = int(run("git", "-C", ROOT, "log", "-1", "--format=%ct"))
    archives = [file for file in DIST.glob("*gz") if ".image-" not in file.name]
    assert len(archives) == 4
    for archive in archives:
        with tarfile.open(archive) as members:
            assert {member.mtime for member in members} == {commit_time}, archive


def test_the_chart_renders_rules_and_dashboards():
    chart = helm_python.Chart.load(DIST / f"{RELEASE}.tgz")
    values = CASES["everything"]
    assert render(values, chart=chart) == render(values)


def test_the_rules_and_dashboards_are_those_of_the_commit(tmp_path):
    run("tar", "-xzf", DIST / f"{RULES}.tar.gz", "-C", tmp_path)
    folder = tmp_path / RULES
    rules = sorted(folder.glob("deploy/prometheus/*/*.yml"))
    run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *rules)
    run(tool("amtool"), "check-config", folder / "deploy/alertmanager/alertmanager.yml")
    for file in folder.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (ROOT / file.relative_to(folder)).read_bytes(), file
    for pattern in ["deploy/prometheus/*/*.yml", "dashboards/*.json"]:
        packed, ours = ({file.name for file in of.glob(pattern)} for of in (folder, ROOT))
        assert packed == ours and ours


def test_the_list_of_dependencies_is_of_this_version():
    text = (DIST / f"{RELEASE}.cdx.json").read_text()
    assert str(ROOT) not in text, "a build in another folder differs"
    listed = json.loads(text)
    assert listed["bomFormat"] == "CycloneDX"
    component = listed["metadata"]["component"]
    assert (component["name"], component["version"]) == (NAME, VERSION)
    assert {"rustls", "hyper"} <= {each["name"] for each in listed["components"]}
