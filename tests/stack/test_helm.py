"""The Helm chart: Kubernetes, the Prometheus Operator and the exporter accept its objects."""

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib

import helm_python
import kubernetes_validate
import pytest
import requests
import yaml
from chart import CASES, CHART, CONFIGURATION, LINKS, USERS, lint, packed, parent, render
from harness import ROOT, Exporter, exporter_binary, tool, wait_for
from operator_fields import complaints as operator_complaints

PROMETHEUS = ROOT / "deploy/prometheus"
# The oldest version that Chart.yaml allows, and the newest with available schemas.
KUBERNETES = ["1.27", "1.37"]


@pytest.fixture(params=CASES)
def release(request):
    return render(CASES[request.param])


# --- Schemas and linters ---


@pytest.mark.parametrize("case", CASES)
def test_helm_has_no_objection(case):
    assert lint(CASES[case]) == []


def test_linked_files_are_packed_and_no_others(tmp_path):
    with tarfile.open(packed(tmp_path)) as archive:
        files = {name.partition("/files/")[2] for name in archive.getnames()} - {""}
    sources = {f"rules/{file.name}" for file in PROMETHEUS.glob("source/*.yaml")}
    boards = {f"dashboards/{file.name}" for file in ROOT.glob("dashboards/*.json")}
    assert files == sources | boards | {"rules-values.yaml", "rules-texts.yaml"}
    assert "rules/controls.yaml" in files and "dashboards/cis.json" in files


def test_the_packed_chart_renders_the_same(tmp_path):
    values = CASES["everything"]
    chart = helm_python.Chart.load(packed(tmp_path))
    assert render(values, chart=chart) == render(values)


@pytest.mark.parametrize("part", ["prometheusRule", "grafana"])
def test_a_chart_that_lost_its_links_does_not_go_without_alerts(part, tmp_path):
    ignored = shutil.ignore_patterns("files")
    chart = helm_python.Chart.load(shutil.copytree(CHART, tmp_path / "chart", ignore=ignored))
    assert render({}, chart=chart) == render({})
    with pytest.raises(helm_python.HelmRenderError, match="is missing: use a packed chart"):
        render({part: {"enabled": True}}, chart=chart)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(release, version):
    for thing in release.objects:
        if not is_of_operator(thing):
            kubernetes_validate.validate(thing, version, strict=True)


def test_the_operator_accepts_its_objects(release):
    for thing in filter(is_of_operator, release.objects):
        assert operator_complaints(thing) == []


def test_a_field_that_does_not_exist_is_found():
    release = render(CASES["everything"])
    service = release.one("Service")
    service["spec"]["prots"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES[0], strict=True)
    monitor = release.one("ServiceMonitor")
    monitor["spec"]["basicAuth"] = {}
    monitor["spec"]["endpoints"][0]["tlsConfig"]["sererName"] = "a"
    assert [re.findall(r"'(\w+)' was", text) for text in operator_complaints(monitor)] == [
        ["basicAuth"],
        ["sererName"],
    ]


def is_of_operator(thing):
    return thing["apiVersion"].startswith("monitoring.coreos.com/")


# --- The exporter ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The files of a secret of type kubernetes.io/tls, in cert-manager's format."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=exporter"
    names = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=60)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    return folder


def arguments(release, folder, certificate):
    """The container's arguments, with the files of its volumes in this folder."""
    shutil.copytree(certificate, folder, dirs_exist_ok=True)
    files = {"config.yaml": "{}", "web.yml": "{}"}  # From secrets that exist already.
    for thing in release.objects:
        files |= thing.get("stringData", {})
        files |= {n: text for n, text in thing.get("data", {}).items() if n in files}
    for name, text in files.items():
        (folder / name).write_text(text)
    args = [re.sub(r"=/etc/.*/", f"={folder}/", arg) for arg in release.container().get("args", [])]
    return [arg.replace("-address=:9719", "-address=127.0.0.1:0") for arg in args]


def check_config(*args):
    return subprocess.run(
        [exporter_binary(), "check-config", *args], capture_output=True, text=True, timeout=60
    )


def test_the_exporter_accepts_the_arguments(release, tmp_path, certificate):
    done = check_config(*arguments(release, tmp_path, certificate))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_configuration_arrives_as_it_was_written(tmp_path, certificate):
    release = render({"config": CONFIGURATION})
    done = check_config(*arguments(release, tmp_path, certificate))
    assert "organization: every active account, role iam-key-exporter, without 111111111111" in done.stdout
    assert "account 123456789012: exempt until 2099-03-02T00:00:00Z" in done.stdout
    assert "root unused for 60d, users: false" in done.stdout


def test_the_chart_can_run_the_demo(tmp_path, certificate):
    release = render({"config": {"rotation": {"max_age": "60d"}}, "extraArgs": ["demo"]})
    args = arguments(release, tmp_path, certificate)
    with Exporter(tmp_path, *args) as exporter:
        assert exporter.wait_until_ready().value("iam_rotation_max_age_seconds") == 60 * 86400


def test_a_shard_knows_its_number_and_how_many_there_are():
    release = render(CASES["three-shards"])
    workload = release.one("StatefulSet")
    assert workload["spec"]["replicas"] == 3
    assert release.container()["args"][-2:] == ["--shard=auto", "--total-shards=3"]
    assert workload["spec"]["serviceName"] == release.one("Service")["metadata"]["name"]


# --- Objects find each other ---


def selects(selector, labels):
    return selector.items() <= labels.items()


def test_selectors_match_the_pods_and_the_service(release):
    pod = release.pod()["metadata"]["labels"]
    for kind in ["Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"]:
        for thing in release.of(kind):
            assert selects(thing["spec"]["selector"]["matchLabels"], pod)
    for thing in release.of("NetworkPolicy"):
        assert selects(thing["spec"]["podSelector"]["matchLabels"], pod)
    service = release.one("Service")
    assert selects(service["spec"]["selector"], pod)
    for thing in release.of("ServiceMonitor"):
        assert selects(thing["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        namespaces = thing["spec"]["namespaceSelector"]["matchNames"]
        assert namespaces == [service["metadata"]["namespace"]]
    for constraint in release.pod()["spec"].get("topologySpreadConstraints", []):
        assert selects(constraint["labelSelector"]["matchLabels"], pod)


def test_no_selector_has_a_label_that_changes(release):
    chosen = release.workload()["spec"]["selector"]["matchLabels"]
    assert sorted(chosen) == ["app.kubernetes.io/instance", "app.kubernetes.io/name"]


def test_every_volume_is_mounted_and_every_file_of_the_arguments_is_there(release):
    spec = release.pod()["spec"]
    mounts = {m["name"]: m["mountPath"] for m in release.container().get("volumeMounts", [])}
    assert sorted(mounts) == sorted(v["name"] for v in spec.get("volumes", []))
    for path in re.findall(r"=(/etc/\S+)/\S+", " ".join(release.container().get("args", []))):
        assert path in mounts.values()
    assert "subPath" not in json.dumps(spec)


def test_every_object_is_in_the_namespace_and_no_two_have_one_name(release):
    named = [(t["kind"], t["metadata"]["name"]) for t in release.objects]
    assert len(set(named)) == len(named)
    own = [t for t in release.objects if "labels" in t["metadata"]]
    namespace = release.workload()["metadata"]["namespace"]
    others = {t["metadata"]["namespace"] for t in own} - {namespace}
    assert others <= {"monitoring", "grafana"}


def test_the_job_has_one_name_in_every_release():
    for name in ["iam-key-exporter", "keys", "a-much-longer-name-of-a-release-than-most-people-take"]:
        release = render(CASES["three-shards"], name)
        label = release.one("ServiceMonitor")["spec"]["jobLabel"]
        assert release.one("Service")["metadata"]["labels"][label] == "iam-key-exporter"
        assert release.pod()["metadata"]["labels"][label] == "iam-key-exporter"
        pod = release.workload()["metadata"]["name"]
        assert len(f"{pod}-0123456789") <= 63


# --- Safe by default ---


def test_by_default_nothing_needs_more_than_kubernetes():
    kinds = sorted(thing["kind"] for thing in render({}).objects)
    assert kinds == ["Deployment", "Service", "ServiceAccount"]


def test_pods_have_no_rights(release):
    spec, container = release.pod()["spec"], release.container()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] | {"fsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_memory_is_enough_for_as_many_keys_as_the_values_say():
    text = (CHART / "values.yaml").read_text()
    [thousands] = re.findall(r"memory is enough for (\d+),000 keys", text)
    figures = (ROOT / "docs/benchmarks.md").read_text()
    [each] = re.findall(r"\| memory at its peak, if a client reads without gzip \| ([\d.]+) MiB", figures)
    [idle] = re.findall(r"resident when idle \|\n.*\n.* ([\d.]+) MiB \|", figures)
    limit = VALUES["resources"]["limits"]["memory"]
    assert int(thousands) * float(each) + float(idle) < int(limit.removesuffix("Mi"))


def test_no_variable_of_a_service_looks_like_one_of_the_exporter(release):
    assert release.pod()["spec"]["enableServiceLinks"] is False


def test_passwords_are_in_a_secret_alone():
    release = render(CASES["everything"])
    [hashed] = CASES["everything"]["webConfiguration"]["basic_auth_users"].values()
    holders = [thing["kind"] for thing in release.objects if hashed in json.dumps(thing)]
    assert holders == ["Secret"]


# --- TLS, probes, scrapes ---


def probes(values):
    container = render(values).container()
    return [container["livenessProbe"], container["readinessProbe"]]


def test_probes_ask_the_health_endpoints():
    for probe, path in zip(probes({}), ["/-/healthy", "/-/ready"], strict=True):
        assert probe["httpGet"] == {"path": path, "port": "http", "scheme": "HTTP"}


def test_the_exporter_answers_probes_and_scrapes(demo):
    [endpoint] = render(CASES["three-shards"]).one("ServiceMonitor")["spec"]["endpoints"]
    for path in [*(probe["httpGet"]["path"] for probe in probes({})), endpoint["path"]]:
        assert demo.get(path).status_code == 200


def test_with_tls_probes_and_scrapes_use_it():
    assert {p["httpGet"]["scheme"] for p in probes(CASES["tls-and-passwords"])} == {"HTTPS"}
    [endpoint] = render(CASES["tls-and-passwords"]).one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert sorted(endpoint["basicAuth"]) == ["password", "username"]
    assert endpoint["tlsConfig"]["serverName"] == "iam-key-exporter"


@pytest.fixture
def served(tmp_path, certificate):
    """Runs the demo with the arguments of a case."""
    with contextlib.ExitStack() as stack:

        def start(case):
            values = CASES[case]
            values = values | {"extraArgs": [*values.get("extraArgs", []), "demo"]}
            args = arguments(render(values), tmp_path, certificate)
            return stack.enter_context(Exporter(tmp_path, *args))

        yield start


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_with_passwords_the_kubelet_gets_in_and_a_scrape_needs_one(served):
    url = served("tls-and-passwords").url.replace("http:", "https:")
    # The kubelet checks no certificate.
    ask = functools.partial(requests.get, verify=False, timeout=10)
    for probe in probes(CASES["tls-and-passwords"]):
        wait_for("the probe succeeds", lambda: ask(url + probe["httpGet"]["path"]).ok)
    assert ask(f"{url}/metrics").status_code == 401
    assert ask(f"{url}/metrics", auth=("prometheus", "secret")).status_code == 200


def test_with_client_certificates_the_kubelet_needs_none(served):
    exporter = served("client-certificates")
    line = wait_for("the address", lambda: re.search(r"health checks.* address=(\S+)", exporter.log))
    for probe in probes(CASES["client-certificates"]):
        wait_for(
            "the probe succeeds",
            lambda: requests.get(f"http://{line[1]}{probe['httpGet']['path']}", timeout=10).ok,
        )
    assert requests.get(f"http://{line[1]}/metrics", timeout=10).status_code == 404


@pytest.mark.parametrize(
    "kind", ["RequireAnyClientCert", "RequireClientCert", "RequireAndVerifyClientCert"]
)
def test_every_kind_of_client_certificate_that_is_needed_has_the_probes_at_their_own_port(kind):
    server = {"client_ca_file": "ca.crt", "client_auth_type": kind}
    values = {"webTLS": {"existingSecret": "certificate"}}
    values["webConfiguration"] = {"tls_server_config": server}
    assert {p["httpGet"]["port"] for p in probes(values)} == {"health"}
    server["client_auth_type"] = "VerifyClientCertIfGiven"
    assert {p["httpGet"]["port"] for p in probes(values)} == {"http"}


def test_the_port_of_probes_is_that_of_the_flag_and_the_service_has_it_not(release):
    container = release.container()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    flags = [arg for arg in container.get("args", []) if arg.startswith("--web.health-address")]
    assert flags == [f"--web.health-address=:{port}" for name, port in ports.items() if name == "health"]
    for kind in ["livenessProbe", "readinessProbe"]:
        assert container[kind]["httpGet"]["port"] in ports
    assert [port["targetPort"] for port in release.one("Service")["spec"]["ports"]] == ["http"]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_with_client_certificates_only_who_has_one_gets_an_answer(served, certificate):
    url = served("client-certificates").url.replace("http:", "https:")
    ask = functools.partial(requests.get, f"{url}/metrics", verify=False, timeout=10)
    with pytest.raises(requests.RequestException):
        ask()
    pair = (str(certificate / "tls.crt"), str(certificate / "tls.key"))
    assert ask(cert=pair).status_code == 200


def test_a_certificate_alone_switches_tls_on():
    release = render({"webTLS": {"existingSecret": "certificate"}})
    web = yaml.safe_load(release.one("Secret")["stringData"]["web.yml"])
    assert web == {"tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"}}
    [volume] = release.pod()["spec"]["volumes"]
    names = [source["secret"]["name"] for source in volume["projected"]["sources"]]
    assert names == [release.one("Secret")["metadata"]["name"], "certificate"]


def test_what_an_existing_secret_says_of_tls_must_be_said_and_probes_need_not_know_it():
    web = {"webConfigurationExistingSecret": "web", "serviceMonitor": {"enabled": True}}
    with pytest.raises(helm_python.HelmError, match="set webTLS.enabled"):
        render(web)
    for tls, scheme in [
        ({"enabled": False}, "http"),
        ({"enabled": True}, "https"),
        ({"existingSecret": "certificate"}, "https"),
        ({"existingSecret": "certificate", "enabled": False}, "http"),
    ]:
        values = web | {"webTLS": tls}
        [endpoint] = render(values).one("ServiceMonitor")["spec"]["endpoints"]
        assert endpoint["scheme"] == scheme
        for probe in probes(values):
            assert (probe["httpGet"]["port"], probe["httpGet"]["scheme"]) == ("health", "HTTP")


@pytest.mark.parametrize(
    "values",
    [
        {"webTLS": {"enabled": True}},
        {"webTLS": {"enabled": True}, "webConfiguration": {"basic_auth_users": USERS}},
        {"webTLS": {"enabled": False, "existingSecret": "certificate"}},
    ],
    ids=json.dumps,
)
def test_the_word_on_tls_cannot_differ_from_a_configuration_that_the_chart_knows(values):
    with pytest.raises(helm_python.HelmError, match="webTLS.enabled contradicts"):
        render(values)


@pytest.mark.parametrize(
    "values",
    [
        {"extraArgs": ["--web.listen-address=:9000"]},
        {"extraArgs": ["demo", "--web.telemetry-path", "/m"]},
        {"extraArgs": ["--web.health-address=:1"]},
        {"extraArgs": ["--web.systemd-socket"]},
        {"extraEnv": [{"name": "IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS", "value": ":9000"}]},
    ],
    ids=json.dumps,
)
def test_flags_that_ports_and_probes_depend_on_are_refused(values):
    with pytest.raises(helm_python.HelmError, match="cannot be set, because the chart's ports"):
        render(values)


def test_a_probe_of_ones_own_replaces_the_handler_and_null_removes_it():
    own = {"livenessProbe": {"exec": {"command": ["a"]}}, "readinessProbe": None}
    container = render(own).container()
    assert "httpGet" not in container["livenessProbe"]
    assert "readinessProbe" not in container


# --- Notes ---


def test_the_notes_name_what_was_installed(release):
    workload = release.workload()
    name = f"{workload['kind'].lower()}/{workload['metadata']['name']}"
    assert f"--namespace {workload['metadata']['namespace']} rollout status {name}" in release.notes
    assert "<no value>" not in release.notes


def test_the_notes_name_a_user_who_has_a_password():
    asked = lambda values: re.findall(r"curl -sk?( -u \S+)? https?:", render(values).notes)
    assert asked({}) == asked({"webConfigurationExistingSecret": None}) == [""]
    users = {"webConfiguration": {"basic_auth_users": {"scraper": "$2y$", "admin": "$2y$"}}}
    assert asked(users) == [" -u admin"]
    existing = {"webConfigurationExistingSecret": "web", "webTLS": {"enabled": True}}
    assert asked(existing) == [" -u NAME"]
    assert "NAME is a user in `basic_auth_users` of the secret web." in render(existing).notes
    assert "NAME is" not in render(users).notes


def test_the_notes_warn_of_scrapes_that_will_be_refused():
    warnings = ["tlsConfig", "basicAuth"]
    values = CASES["tls-and-passwords"]
    assert not [word for word in warnings if f"Set serviceMonitor.{word}" in render(values).notes]
    notes = render(values | {"serviceMonitor": {"enabled": True}}).notes
    assert [word for word in warnings if f"Set serviceMonitor.{word}" in notes] == warnings


def test_the_notes_warn_of_links_to_a_pod_without_the_account():
    warned = lambda values: "may lead to a pod that does not have the account" in render(values).notes
    page = {"statusPage": "https://keys.example.org"}
    assert warned({"shards": 2, "links": page})
    assert not warned({"shards": 2, "links": {"runbooks": "https://wiki.example.org/keys"}})
    assert not warned({"links": page})


# --- Changes ---


def checksum(values):
    return render(values).pod()["metadata"].get("annotations", {}).get("checksum/config")


def test_only_a_change_of_the_configuration_restarts_pods():
    values = CASES["everything"]
    before = checksum(values)
    assert before
    assert checksum(values | {"config": {"rotation": {"max_age": "61d"}}}) != before
    # The exporter reloads a changed web configuration by itself.
    others = {"webConfiguration": {"basic_auth_users": {}}, "commonLabels": {"team": "b"}}
    assert checksum(values | others) == before
    assert checksum({}) is None


# --- Rules ---


def rules_of(values):
    release = render({"prometheusRule": {"enabled": True, **values.pop("prometheusRule", {})}, **values})
    return release.one("PrometheusRule")["spec"]


def shipped(*files):
    return [g for f in files for g in yaml.safe_load((PROMETHEUS / f).read_text())["groups"]]


def unindented(groups):
    """The groups without the indentation of expressions, which has no effect."""
    for group in groups:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(?m)^ +", "", rule["expr"])
    return groups


SHIPPED_URLS = yaml.safe_load((PROMETHEUS / "values.yaml").read_text())["urls"]


def test_the_rules_are_those_that_are_shipped():
    values = {"urls": SHIPPED_URLS}
    default = shipped("rules/access-keys.yml", "rules/controls.yml", "rules/exporter.yml")
    optional = shipped("optional/each-key.yml", "optional/prometheus.yml")
    spec = rules_of({"prometheusRule": {"values": values}})
    assert unindented(spec["groups"]) == unindented(default)
    spec = rules_of({"prometheusRule": {"values": values, "eachKey": True, "aboutPrometheus": True}})
    assert unindented(spec["groups"]) == unindented(default + optional)


def test_values_have_the_effect_that_they_have_on_the_files(tmp_path):
    values = {
        "selector": 'cluster="production"',
        "target_labels": ["instance", "pod"],
        "wait": "15m",
        "urls": {"runbook": "https://wiki.example.org/keys", "status": "https://k.example/", "dashboard": ""},
        "labels": {"namespace": "security"},
        "thresholds": {"report_hours": 12, "refresh_seconds": 1_200_000},
        "alerts": {
            "IamOwnerKeysDueSoon": {"severity": "info", "for": "1h", "labels": {"team": "iam"}},
            "IamAccountLeft": {"enabled": False},
        },
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(values))
    command = [PROMETHEUS / "render.py", "--values", tmp_path / "mine.yaml", "--output", tmp_path]
    subprocess.run([sys.executable, *command], check=True, timeout=60)
    rendered = [tmp_path / f"rules/{name}.yml" for name in ["access-keys", "controls", "exporter"]]
    groups = [g for file in rendered for g in yaml.safe_load(file.read_text())["groups"]]
    found = rules_of({"prometheusRule": {"values": values}})["groups"]
    assert unindented(found) == unindented(groups)


def test_promtool_accepts_the_rules(tmp_path):
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps(render(CASES["everything"]).one("PrometheusRule")["spec"]))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", file],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules(spec):
    return [rule for group in spec["groups"] for rule in group["rules"]]


def test_every_alert_can_be_switched_off_and_its_recording_rules_stay():
    everything = {"eachKey": True, "aboutPrometheus": True}
    before = rules(rules_of({"prometheusRule": everything}))
    alerts = {rule["alert"]: {"enabled": False} for rule in before if "alert" in rule}
    assert len(alerts) > 20
    after = rules(rules_of({"prometheusRule": everything | {"values": {"alerts": alerts}}}))
    assert after == [rule for rule in before if "record" in rule]


def test_labels_and_annotations_are_added_to_every_alert():
    spec = render(CASES["everything"]).one("PrometheusRule")["spec"]
    for rule in rules({"groups": spec["groups"][:-1]}):
        if "alert" in rule:
            assert rule["labels"]["queue"] == "iam"
            assert rule["annotations"]["contact"] == "iam@example.org"


def test_links_are_those_of_the_values_and_none_leads_nowhere():
    links = {
        alert["alert"]: alert["annotations"]
        for alert in rules(rules_of({"links": LINKS}))
        if "alert" in alert
    }
    found = links["IamOwnerKeysUnrotated"]
    assert found["status_url"].startswith("https://keys.example.org/?account=")
    assert found["dashboard_url"].startswith("https://grafana.example.org/d/iam-key-account?var-")
    assert found["runbook_url"] == "https://wiki.example.org/keys#iamownerkeysunrotated"
    assert "example.com" not in json.dumps(rules_of({}))
    own = rules_of({"links": {"statusPage": "https://keys.example.org"}})
    assert "https://keys.example.org/runbooks#iamownerkeysunrotated" in json.dumps(own)


@pytest.mark.parametrize(
    "values",
    [{"tresholds": {}}, {"thresholds": {"a": 1}}, {"alerts": {"IamKeyUnrotated": {}}}],
    ids=json.dumps,
)
def test_a_value_of_the_rules_that_there_is_not_is_refused(values):
    with pytest.raises(helm_python.HelmError, match="there is no value"):
        rules_of({"prometheusRule": {"values": values}})


# --- Dashboards ---


def dashboards(values):
    release = render({"grafana": {"enabled": True}, **values})
    return {
        name: (thing, json.loads(text))
        for thing in release.of("ConfigMap")
        for name, text in thing["data"].items()
        if name.endswith(".json")
    }


NO_STATUS_PAGE = "https://links.statuspage-is-not-set.invalid"


def test_the_dashboards_are_those_of_the_repository_and_lead_nowhere_until_the_status_page_has_an_address():
    found = {name: board for name, (_, board) in dashboards({}).items()}
    files = {f.name: f.read_text() for f in (ROOT / "dashboards").glob("*.json")}
    # Links name users and accounts. A name that ends with .invalid never exists.
    place, nowhere = (f'"{url}/"' for url in ("https://example.com/iam-key-exporter", NO_STATUS_PAGE))
    assert all(text.count(place) == 1 for text in files.values())
    expected = {name: json.loads(text.replace(place, nowhere)) for name, text in files.items()}
    assert found == {f"iam-key-exporter-{name}": board for name, board in expected.items()}
    assert len(files) == 3


def test_dashboards_have_the_sidecars_label_and_the_links_of_the_values():
    for thing, board in dashboards({"links": LINKS}).values():
        assert thing["metadata"]["labels"]["grafana_dashboard"] == "1"
        constants = {v["name"]: v["query"] for v in board["templating"]["list"]}
        assert constants["status_page"] == "https://keys.example.org/"
        assert constants["runbooks"] == "https://wiki.example.org/keys"


# --- Values ---

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_schema_has_exactly_the_values():
    def compare(values, schema, where):
        if schema.get("additionalProperties") is False:
            # A chart that includes this one adds `enabled`.
            own = set(schema["properties"]) - (set() if where else {"enabled"})
            assert own == set(values), where
        for name, inner in schema.get("properties", {}).items():
            if isinstance(values.get(name), dict):
                compare(values[name], inner, f"{where}.{name}")

    compare(VALUES, SCHEMA, "")


def test_the_examples_in_comments_are_values_once_they_are_uncommented():
    text = (CHART / "values.yaml").read_text()
    empty = re.compile(r"(?<=:) (\{\}|\[\])(?=\n *# (?!--|@))")
    uncommented = re.sub(r"(?m)^( *)# (?!--|@)(?=( |- |\w+:( |$)))", r"\1", empty.sub("", text))
    values = yaml.safe_load(uncommented)
    changed = {name for name, value in values.items() if value != VALUES[name]}
    assert changed == {"config", "webConfiguration", "topologySpreadConstraints", "prometheusRule"}
    values["prometheusRule"]["enabled"] = True
    groups = render(values).one("PrometheusRule")["spec"]["groups"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    assert "IamAccountLeft" not in alerts and alerts["IamOwnerKeysDueSoon"]["labels"]["severity"] == "info"


@pytest.mark.parametrize(
    "values",
    [
        {"a": 1},
        {"image": {"a": 1}},
        {"serviceMonitor": {"basicauth": {}}},
        {"podDisruptionBudget": {"minAvailable": 1}},
        {"podDisruptionBudget": {"enabled": True, "maxUnavailable": 0}},
        {"config": {"accounts": [{"id": 123456789012}]}},
        {"config": {"organization": {"exclude": [123456789012]}}},
        {"extraArgs": {"web.enable-lifecycle": True}},
        {"shards": 0},
        {"commonLabels": {"a": True}},
        {"webTLS": {"enabled": "yes"}},
    ],
    ids=json.dumps,
)
def test_a_value_that_there_is_not_is_refused(values):
    with pytest.raises(helm_python.HelmError, match="schema"):
        render(values)


def test_a_chart_that_has_this_one_as_a_part_can_say_so(tmp_path):
    chart = parent(tmp_path)
    part = {"enabled": True, "shards": 3}
    release = render({"iam-key-exporter": part, "global": {"imageRegistry": "a", "b": {}}}, chart=chart)
    assert release.one("StatefulSet")["spec"]["replicas"] == 3
    assert release.container()["image"].startswith("a/iam-key-exporter:")
    assert render({"iam-key-exporter": part | {"enabled": False}}, chart=chart).objects == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"config": {"a": 1}, "configExistingSecretName": "a"}, "not both"),
        ({"webConfiguration": {"a": 1}, "webConfigurationExistingSecret": "a"}, "not both"),
        ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "twice"),
    ],
)
def test_values_that_exclude_each_other_are_refused(values, message):
    with pytest.raises(helm_python.HelmError, match=message):
        render(values)


def test_every_value_has_a_comment_and_the_readme_has_it():
    sys.path.insert(0, str(CHART.parent))
    import values_table

    readme = (CHART / "README.md").read_text()
    assert values_table.with_table(readme) == readme, "run `make chart`"
    described = {name for name, *_ in values_table.documented((CHART / "values.yaml").read_text())}

    def undescribed(values, where=""):
        for name, value in values.items():
            if f"{where}{name}" not in described:
                if isinstance(value, dict) and value:
                    yield from undescribed(value, f"{where}{name}.")
                else:
                    yield f"{where}{name}"

    assert list(undescribed(VALUES)) == []


@pytest.mark.parametrize("file", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda file: file.stem)
def test_the_values_of_chart_testing_become_ready_without_aws(file, tmp_path, certificate):
    values = yaml.safe_load(file.read_text())
    assert lint(values) == []
    release = render(values)
    for thing in release.objects:
        kubernetes_validate.validate(thing, KUBERNETES[0], strict=True)
    # The shard's number comes from the name of its pod.
    args = [arg.replace("--shard=auto", "--shard=0") for arg in arguments(release, tmp_path, certificate)]
    with Exporter(tmp_path, *args) as exporter:
        ready = release.container()["readinessProbe"]["httpGet"]["path"]
        wait_for("the probe succeeds", lambda: exporter.get(ready).ok)


def test_the_chart_says_what_is_new_as_artifact_hub_reads_it():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    changes = yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert changes and all(set(change) == {"kind", "description"} for change in changes)
    assert {change["kind"] for change in changes} <= kinds


def test_the_chart_has_the_exporters_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    assert (chart["version"], chart["appVersion"]) == (package["version"], package["version"])


# --- docs/install.md ---

INSTALL = (ROOT / "docs/install.md").read_text()
# Without the one for Prometheus, which test_install.py checks.
EXAMPLES = [
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(.*?)```", INSTALL, re.DOTALL)
    if not text.startswith("scrape_configs:")
]


def together(values, others):
    """Both values files together."""
    for name, other in others.items():
        inner = isinstance(values.get(name), dict) and isinstance(other, dict)
        values[name] = together(values[name], other) if inner else other
    return values


@pytest.mark.parametrize("example", [*range(len(EXAMPLES)), "all"])
def test_the_examples_of_the_documentation_work(example, tmp_path, certificate):
    values = {}
    for each in EXAMPLES if example == "all" else [EXAMPLES[example]]:
        together(values, json.loads(json.dumps(each)))
    assert lint(values) == []
    release = render(values)
    for thing in release.objects:
        if is_of_operator(thing):
            assert operator_complaints(thing) == []
        elif thing["kind"] != "Certificate":  # Its schema is cert-manager's.
            kubernetes_validate.validate(thing, KUBERNETES[0], strict=True)
    assert check_config(*arguments(release, tmp_path, certificate)).returncode == 0
    assert len(EXAMPLES) >= 5


def test_prometheus_can_check_the_certificate_of_the_documentation():
    [values] = [each for each in EXAMPLES if "webTLS" in each]
    certificate = render(values).one("Certificate")
    monitor = render(values).one("ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    tls = endpoint["tlsConfig"]
    assert tls["serverName"] in certificate["spec"]["dnsNames"]
    name = certificate["spec"]["secretName"]
    assert tls["ca"] == {"secret": {"name": name, "key": "ca.crt"}}
    assert values["webTLS"]["existingSecret"] == name
    # Prometheus reads secrets in the namespace of the monitor, and pods mount those in theirs.
    namespaces = {each["metadata"]["namespace"] for each in [certificate, monitor, render(values).workload()]}
    assert len(namespaces) == 1
