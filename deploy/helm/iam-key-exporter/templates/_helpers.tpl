{{- define "iam-key-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Pods of a StatefulSet add a dash and a number, and Kubernetes allows 63 characters with a hash. */}}
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

{{- /* Neither the version nor anything else that changes. */}}
{{- define "iam-key-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "iam-key-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* What an object is called, and its labels. Takes `root`, and if need be `name`, `namespace`, `labels` and
`annotations`. */}}
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

{{- /* Prometheus's name of the job is the value of this label. It is the same in every release. */}}
{{- define "iam-key-exporter.jobLabel" -}}
jobLabel: iam-key-exporter
{{- end }}

{{- /* The web configuration as JSON: `configuration` for the secret that the chart makes, `secret` that is mounted,
and what the rest of the chart has to know: `tls`, and `health` if probes have a separate port. */}}
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
{{- fail "webTLS.enabled is for webConfigurationExistingSecret: else webConfiguration and webTLS.existingSecret decide" }}
{{- end }}
{{- $enabled = $tls.enabled }}
{{- else if and $existing (not $enabled) }}
{{- fail "webConfigurationExistingSecret: set webTLS.enabled to true or false, since scrapes depend on it" }}
{{- end }}
{{- /* The kubelet has no client certificate. Whether clients need one cannot be read in a secret that is there already. */}}
{{- $health := or (ne $existing "") (hasPrefix "Require" ($server.client_auth_type | default "")) }}
{{- $secret := $existing }}
{{- if $configuration }}
{{- $secret = printf "%s-web" (include "iam-key-exporter.fullname" .) }}
{{- end }}
{{- dict "configuration" $configuration "secret" $secret "tls" $enabled "health" $health | toJson }}
{{- end }}

{{- /* A file of the folder files, which are links. Some tools leave links out, and then an empty file would look like
no alerts. Takes `root` and `path`. */}}
{{- define "iam-key-exporter.file" -}}
{{- $text := .root.Files.Get (printf "files/%s" .path) }}
{{- if not $text }}
{{- fail (printf "files/%s is missing: use a packed chart, or a checkout with its symbolic links" .path) }}
{{- end }}
{{- $text }}
{{- end }}

{{- /* Where people read the runbooks; empty if that is not known. */}}
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
{{- fail (printf "extraArgs: --%s is not possible, since the chart's ports, probes and monitors depend on it" $flag) }}
{{- end }}
{{- end }}
{{- $variable := printf "IAM_KEY_EXPORTER_%s" ($flag | replace "." "_" | replace "-" "_" | upper) }}
{{- range $.Values.extraEnv }}
{{- if eq .name $variable }}
{{- fail (printf "extraEnv: %s is not possible, since the chart's ports, probes and monitors depend on it" $variable) }}
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

{{- /* How Prometheus scrapes. Takes `root` and `monitor`, which are the values of a ServiceMonitor or PodMonitor. */}}
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

{{- /* What a ServiceMonitor and a PodMonitor have in common. Takes the same. */}}
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
