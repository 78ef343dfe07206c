"""The Helm chart, rendered by Helm's own engine, and the values that the tests use."""

from dataclasses import dataclass
from pathlib import Path

import helm_python
import yaml
from harness import ROOT

CHART = ROOT / "deploy/helm/iam-key-exporter"
ORGANIZATION = {"organization": {"role_name": "iam-key-exporter", "exclude": ["111111111111"]}}
CONFIGURATION = {
    **ORGANIZATION,
    "rotation": {
        "max_age": "60d",
        "rules": [
            {
                "match": {"user": "vendor-*", "account": "123456789012"},
                "exempt": {"until": "2099-03-01", "reason": "awaits release 3.2"},
            }
        ],
    },
    "labels": {"user_tags": ["team", "cost-center"]},
    "service_credentials": {"enabled": False},
    "controls": {"root_unused_for": "60d", "users": False},
}
BASIC_AUTH = {
    "username": {"name": "scrape", "key": "username"},
    "password": {"name": "scrape", "key": "password"},
}
# The hash of the password `secret`, with few rounds.
USERS = {"prometheus": "$2y$04$4Tah/iZPcjGrgWO.XOi.7OGaEwiJzHHQgXbPDar38Ls1xxs4AgW2m"}
LINKS = {
    "statusPage": "https://keys.example.org",
    "runbooks": "https://wiki.example.org/keys",
    "grafana": "https://grafana.example.org/",
}

CASES = {
    "default": {},
    "irsa": {
        "serviceAccount": {
            "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/exporter"}
        }
    },
    "pod-identity": {
        "serviceAccount": {"name": "exporter"},
        "extraEnv": [{"name": "NO_PROXY", "value": "169.254.170.23"}],
        "networkPolicy": {"enabled": True},
    },
    "three-shards": {
        "shards": 3,
        "config": ORGANIZATION,
        "podDisruptionBudget": {"enabled": True},
        "serviceMonitor": {"enabled": True},
    },
    "tls-and-passwords": {
        "webConfiguration": {"basic_auth_users": USERS},
        "webTLS": {"existingSecret": "certificate"},
        "serviceMonitor": {
            "enabled": True,
            "basicAuth": BASIC_AUTH,
            "tlsConfig": {
                "ca": {"secret": {"name": "certificate", "key": "ca.crt"}},
                "serverName": "iam-key-exporter",
            },
        },
    },
    "client-certificates": {
        "webConfiguration": {
            "tls_server_config": {
                "client_ca_file": "ca.crt",
                "client_auth_type": "RequireAndVerifyClientCert",
            }
        },
        "webTLS": {"existingSecret": "certificate"},
        "podMonitor": {
            "enabled": True,
            "tlsConfig": {
                "cert": {"secret": {"name": "prometheus", "key": "tls.crt"}},
                "keySecret": {"name": "prometheus", "key": "tls.key"},
                "insecureSkipVerify": True,
            },
        },
    },
    "existing-secrets": {
        "configExistingSecretName": "configuration",
        "webConfigurationExistingSecret": "web",
        "webTLS": {"existingSecret": "certificate"},
        "awsCredentialsSecret": "aws",
        "imagePullSecrets": ["registry", {"name": "other"}],
        "serviceAccount": {"create": False},
    },
    "everything": {
        "replicas": 2,
        "global": {"imageRegistry": "registry.example.org", "imagePullSecrets": ["registry"]},
        "image": {"repository": "platform/exporter", "tag": "1", "digest": "sha256:" + "0" * 64},
        "namespaceOverride": "keys",
        "commonLabels": {"team": "security"},
        "config": CONFIGURATION,
        "webConfiguration": {"basic_auth_users": USERS},
        "webTLS": {"existingSecret": "certificate"},
        "serviceAccount": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
        "links": LINKS,
        "extraArgs": ["--rotation.max-age=60d", "--web.enable-lifecycle", "--log.format=json"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "extraEnvFrom": [{"configMapRef": {"name": "proxy"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
        "extraContainers": [{"name": "beside", "image": "beside:1"}],
        "extraInitContainers": [{"name": "before", "image": "before:1"}],
        "extraManifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-b'}\n",
        ],
        "strategy": {"type": "Recreate"},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "priorityClassName": "high",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "service": {"type": "NodePort", "port": 80, "annotations": {"a": "b"}, "labels": {"a": "b"}},
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
        "networkPolicy": {
            "enabled": True,
            "labels": {"a": "b"},
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
            "extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
        },
        "serviceMonitor": {
            "enabled": True,
            "namespace": "monitoring",
            "additionalLabels": {"release": "prometheus"},
            "annotations": {"a": "b"},
            "targetLabels": ["team"],
            "podTargetLabels": ["a"],
            "scrapeTimeout": "30s",
            "scheme": "https",
            "tlsConfig": {"insecureSkipVerify": True},
            "authorization": {"credentials": {"name": "token", "key": "token"}},
            "proxyUrl": "http://proxy.example.org:3128",
            "honorLabels": True,
            "relabelings": [{"sourceLabels": ["a"], "targetLabel": "b", "action": "replace"}],
            "metricRelabelings": [{"regex": "a", "action": "labeldrop"}],
            "sampleLimit": 5_000_000,
            "targetLimit": 10,
            "labelLimit": 60,
            "labelNameLengthLimit": 200,
            "labelValueLengthLimit": 2000,
        },
        "prometheusRule": {
            "enabled": True,
            "namespace": "monitoring",
            "additionalLabels": {"release": "prometheus"},
            "annotations": {"a": "b"},
            "eachKey": True,
            "aboutPrometheus": True,
            "alertExtraLabels": {"queue": "iam"},
            "alertExtraAnnotations": {"contact": "iam@example.org"},
            "values": {"thresholds": {"report_hours": 12}, "selector": 'cluster="a"'},
            "extraAlertGroups": [
                {"name": "own", "rules": [{"alert": "A", "expr": "iam_users > 4000"}]}
            ],
        },
        "grafana": {
            "enabled": True,
            "namespace": "grafana",
            "annotations": {"grafana_folder": "IAM"},
            "extraLabels": {"a": "b"},
        },
    },
}


@dataclass
class Release:
    """The objects of a rendered chart, and Helm's notes."""

    objects: list
    notes: str

    def of(self, kind):
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind):
        [thing] = self.of(kind)
        return thing

    def workload(self):
        [thing] = self.of("Deployment") + self.of("StatefulSet")
        return thing

    def pod(self):
        return self.workload()["spec"]["template"]

    def container(self):
        return self.pod()["spec"]["containers"][0]


own_chart = helm_python.Chart.load(CHART)


class UniqueKeys(yaml.SafeLoader):
    """Rejects duplicate keys. Without it, YAML silently uses the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key comes twice: {keys} {node.start_mark}"
        return super().construct_mapping(node, deep)


def render(values, name="iam-key-exporter", namespace="monitoring", chart=own_chart):
    """Renders the chart with these values."""
    files = chart.render(values, name=name, namespace=namespace)
    notes = [text for file, text in files.items() if file.endswith("NOTES.txt")]
    objects = [
        thing
        for file, text in files.items()
        if file.endswith(".yaml")
        for thing in yaml.load_all(text, UniqueKeys)
        if thing
    ]
    return Release(objects, "".join(notes))


def lint(values):
    """Helm's warnings and errors. The missing icon does not count."""
    report = helm_python.lint(CHART, values)
    return [m for m in report["messages"] if m["severity"] > 1] + report["errors"]


def packed(folder):
    """The chart as an archive that Helm made."""
    return Path(helm_python.package(CHART, destination=folder))


def parent(folder):
    """A chart that includes this one, with a condition and with values for both."""
    (folder / "charts").mkdir()
    helm_python.package(CHART, destination=folder / "charts")
    part = {"name": "iam-key-exporter", "version": own_chart.version}
    part["condition"] = "iam-key-exporter.enabled"
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [part]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    return helm_python.Chart.load(folder)
