"""The fields of the Prometheus Operator's objects (monitoring.coreos.com/v1) that the chart can set, and no others.

The Operator's own definitions silently accept unknown fields, and then such a field has no effect.
"""

import jsonschema

TEXT = {"type": "string", "minLength": 1}
BOOLEAN = {"type": "boolean"}
NUMBER = {"type": "integer", "minimum": 0}
TEXTS = {"type": "array", "items": TEXT}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^(\d+[smhd])+$"}


def fields(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(item):
    return {"type": "array", "items": item, "minItems": 1}


KEY = fields(["key", "name"], key=TEXT, name=TEXT, optional=BOOLEAN)
SECRET_OR_CONFIG_MAP = fields(secret=KEY, configMap=KEY)
TLS = fields(
    ca=SECRET_OR_CONFIG_MAP,
    cert=SECRET_OR_CONFIG_MAP,
    keySecret=KEY,
    insecureSkipVerify=BOOLEAN,
    serverName=TEXT,
    minVersion={"enum": ["TLS12", "TLS13"]},
    maxVersion={"enum": ["TLS12", "TLS13"]},
)
RELABELING = fields(
    action={"enum": ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep", "hashmod"]},
    modulus=NUMBER,
    regex={"type": "string"},
    replacement={"type": "string"},
    separator={"type": "string"},
    sourceLabels=TEXTS,
    targetLabel=TEXT,
)
ENDPOINT = fields(
    ["port"],
    port=TEXT,
    path={"type": "string", "pattern": "^/"},
    scheme={"enum": ["http", "https"]},
    interval=DURATION,
    scrapeTimeout=DURATION,
    tlsConfig=TLS,
    basicAuth=fields(["username", "password"], username=KEY, password=KEY),
    authorization=fields(["credentials"], type=TEXT, credentials=KEY),
    proxyUrl={"type": "string", "pattern": "^(http|https|socks5)://"},
    honorLabels=BOOLEAN,
    relabelings=several(RELABELING),
    metricRelabelings=several(RELABELING),
)
MONITOR = {
    "jobLabel": TEXT,
    "namespaceSelector": fields(["matchNames"], matchNames=several(TEXT)),
    "selector": fields(["matchLabels"], matchLabels=LABELS),
    "podTargetLabels": TEXTS,
    "sampleLimit": NUMBER,
    "targetLimit": NUMBER,
    "labelLimit": NUMBER,
    "labelNameLengthLimit": NUMBER,
    "labelValueLengthLimit": NUMBER,
}
RULE = fields(
    ["expr"], record=TEXT, alert=TEXT, expr=TEXT, labels=LABELS, annotations=LABELS, **{"for": DURATION}
)
GROUP = fields(["name", "rules"], name=TEXT, interval=DURATION, rules=several(RULE))
SPECS = {
    "ServiceMonitor": fields(
        ["endpoints", "selector"], endpoints=several(ENDPOINT), targetLabels=TEXTS, **MONITOR
    ),
    "PodMonitor": fields(
        ["podMetricsEndpoints", "selector"], podMetricsEndpoints=several(ENDPOINT), **MONITOR
    ),
    "PrometheusRule": fields(["groups"], groups=several(GROUP)),
}
METADATA = fields(["name"], name=TEXT, namespace=TEXT, labels=LABELS, annotations=LABELS)


def complaints(thing):
    """The fields that the Operator would reject or ignore."""
    schema = fields(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind=TEXT,
        metadata=METADATA,
        spec=SPECS[thing["kind"]],
    )
    errors = jsonschema.Draft202012Validator(schema).iter_errors(thing)
    return [error.message for error in sorted(errors, key=lambda error: list(map(str, error.path)))]
