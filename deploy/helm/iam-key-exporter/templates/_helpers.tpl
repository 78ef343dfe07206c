{{- define "iam-key-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The pods of a StatefulSet add a dash and a number, and its revisions a hash. Kubernetes allows 63 characters. */}}
{{- define "iam-key-exporter.fullname" -}}
{{- $name := include "iam-key-exporter.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "iam-key-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "iam-key-exporter.serviceAccountName" -}}
{{- default (ternary (include "iam-key-exporter.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "iam-key-exporter.image" -}}
{{- with .Values.global.imageRegistry | default .Values.image.registry }}{{ . }}/{{ end }}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* Kubernetes allows no change of selectors, so the version is not among them. */}}
{{- define "iam-key-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "iam-key-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* Name, namespace, labels and annotations of an object. Takes `root`, and optionally `name`, `namespace`, `labels`
and `annotations`. */}}
{{- define "iam-key-exporter.metadata" -}}
{{- $chart := .root.Chart }}
{{- $standard := dict
  "helm.sh/chart" (printf "%s-%s" $chart.Name $chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" $chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $selector := include "iam-key-exporter.selectorLabels" .root | fromYaml -}}
name: {{ .name | default (include "iam-key-exporter.fullname" .root) }}
namespace: {{ .namespace | default (include "iam-key-exporter.namespace" .root) }}
labels:
  {{- merge (dict) $selector (.labels | default dict) .root.Values.commonLabels $standard | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The value of this label becomes Prometheus's `job`. It is the same in every release. */}}
{{- define "iam-key-exporter.jobLabel" -}}
jobLabel: iam-key-exporter
{{- end }}

{{- /* The web configuration as JSON: `configuration` for the Secret that the chart creates, `secret` with the name of
the Secret to mount, `tls` if the exporter serves TLS, and `health` if the probes use a separate port. */}}
{{- define "iam-key-exporter.web" -}}
{{- $existing := .Values.webConfigurationExistingSecret }}
{{- $tls := .Values.webTLS }}
{{- $configuration := deepCopy .Values.webConfiguration }}
{{- if and $existing $configuration }}
{{- fail "set webConfiguration or webConfigurationExistingSecret, not both" }}
{{- end }}
{{- if and $tls.existingSecret (not $existing) }}
{{- $server := $configuration.tls_server_config | default dict }}
{{- if not (or $server.cert $server.cert_file) }}
{{- $files := dict "cert_file" "tls.crt" "key_file" "tls.key" }}
{{- $_ := set $configuration "tls_server_config" (merge $server $files) }}
{{- end }}
{{- end }}
{{- $server := $configuration.tls_server_config | default dict }}
{{- $enabled := ternary (ne $tls.existingSecret "") (ne (len $server) 0) (ne $existing "") }}
{{- if ne (toString $tls.enabled) "auto" }}
{{- if not (or $existing (eq $tls.enabled $enabled)) }}
{{- fail "webTLS.enabled contradicts the web configuration: set it only with webConfigurationExistingSecret" }}
{{- end }}
{{- $enabled = $tls.enabled }}
{{- else if and $existing (not $enabled) }}
{{- fail "webConfigurationExistingSecret: set webTLS.enabled to true or false, because the chart cannot read the secret" }}
{{- end }}
{{- /* The kubelet has no client certificate. The chart cannot read in an existing secret whether clients need one. */}}
{{- $health := or (ne $existing "") (hasPrefix "Require" ($server.client_auth_type | default "")) }}
{{- $secret := $existing }}
{{- if $configuration }}
{{- $secret = printf "%s-web" (include "iam-key-exporter.fullname" .) }}
{{- end }}
{{- dict "configuration" $configuration "secret" $secret "tls" $enabled "health" $health | toJson }}
{{- end }}

{{- /* The text of a file below `files`. They are symbolic links, which some tools leave out. A missing file fails,
because otherwise there would be no alerts. Takes `root` and `path`. */}}
{{- define "iam-key-exporter.file" -}}
{{- $text := .root.Files.Get (printf "files/%s" .path) }}
{{- if not $text }}
{{- fail (printf "files/%s is missing: use a packed chart, or a checkout with its symbolic links" .path) }}
{{- end }}
{{- $text }}
{{- end }}

{{- /* The URL of the runbooks. Empty if it is unknown. */}}
{{- define "iam-key-exporter.runbooks" -}}
{{- if .Values.links.runbooks }}
{{- .Values.links.runbooks }}
{{- else if .Values.links.statusPage }}
{{- printf "%s/runbooks" (trimSuffix "/" .Values.links.statusPage) }}
{{- end }}
{{- end }}

{{- /* Ports, probes and monitors depend on these flags, so other values may not set them. */}}
{{- define "iam-key-exporter.own" -}}
{{- $flags := list "web.listen-address" "web.health-address" "web.telemetry-path" "web.systemd-socket" }}
{{- range $flag := $flags }}
{{- range $.Values.extraArgs }}
{{- if eq (splitList "=" . | first) (printf "--%s" $flag) }}
{{- fail (printf "extraArgs: --%s cannot be set, because the chart's ports, probes and monitors depend on it" $flag) }}
{{- end }}
{{- end }}
{{- $variable := printf "IAM_KEY_EXPORTER_%s" ($flag | replace "." "_" | replace "-" "_" | upper) }}
{{- range $.Values.extraEnv }}
{{- if eq .name $variable }}
{{- fail (printf "extraEnv: %s cannot be set, because the chart's ports, probes and monitors depend on it" $variable) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "iam-key-exporter.args" -}}
{{- $web := include "iam-key-exporter.web" . | fromJson }}
{{- include "iam-key-exporter.own" . }}
{{- if or .Values.config .Values.configExistingSecretName }}
- --config.file=/etc/iam-key-exporter/config.yaml
{{- end }}
{{- if $web.secret }}
- --web.config.file=/etc/iam-key-exporter-web/web.yml
{{- end }}
{{- if $web.health }}
- --web.health-address=:9719
{{- end }}
{{- if gt (int .Values.shards) 1 }}
- --shard=auto
- --total-shards={{ int .Values.shards }}
{{- end }}
{{- with .Values.links.grafana }}
- --web.dashboard-url={{ trimSuffix "/" . }}/d/iam-key-fleet
{{- end }}
{{- with .Values.links.runbooks }}
- --web.runbook-url={{ . }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A probe. Takes `root`, `path` and `probe`. */}}
{{- define "iam-key-exporter.probe" -}}
{{- $web := include "iam-key-exporter.web" .root | fromJson }}
{{- $probe := deepCopy .probe }}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) }}
{{- $scheme := ternary "HTTPS" "HTTP" (and $web.tls (not $web.health)) }}
{{- $_ := set $probe "httpGet" (dict "path" .path "port" (ternary "health" "http" $web.health) "scheme" $scheme) }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{- /* The endpoint that Prometheus scrapes. Takes `root` and `monitor`, the values of a ServiceMonitor or PodMonitor. */}}
{{- define "iam-key-exporter.endpoint" -}}
{{- $web := include "iam-key-exporter.web" .root | fromJson }}
{{- $scheme := .monitor.scheme | default (ternary "https" "http" $web.tls) }}
{{- $endpoint := dict "port" "http" "path" "/metrics" "scheme" $scheme }}
{{- $fields := list "interval" "scrapeTimeout" "tlsConfig" "basicAuth" "authorization" "proxyUrl" "honorLabels"
  "relabelings" "metricRelabelings" }}
{{- range $fields }}
{{- $value := index $.monitor . }}
{{- if $value }}
{{- $_ := set $endpoint . $value }}
{{- end }}
{{- end }}
{{- toYaml $endpoint }}
{{- end }}

{{- /* The fields that ServiceMonitor and PodMonitor share. Takes `root` and `monitor`. */}}
{{- define "iam-key-exporter.monitor" -}}
jobLabel: {{ .monitor.jobLabel }}
namespaceSelector:
  matchNames:
    - {{ include "iam-key-exporter.namespace" .root }}
selector:
  matchLabels:
    {{- include "iam-key-exporter.selectorLabels" .root | nindent 4 }}
{{- with .monitor.podTargetLabels }}
podTargetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $name := list "sampleLimit" "targetLimit" "labelLimit" "labelNameLengthLimit" "labelValueLengthLimit" }}
{{- with index $.monitor $name | int64 }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}
