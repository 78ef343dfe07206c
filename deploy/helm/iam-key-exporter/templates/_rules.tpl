{{- /* The rules, as deploy/prometheus/render.py makes them of source/ and values.yaml. tests/stack/test_helm.py holds
that both make the same. */}}

{{- /* Puts `changes` into `values`, which `where` names. They may name only values that there are, but for labels and
what is said of an alert. */}}
{{- define "iam-key-exporter.rules.merge" -}}
{{- range $name, $change := .changes }}
{{- if not (or (hasKey $.values $name) (eq $.where "labels.") (hasPrefix "alerts.Iam" $.where)) }}
{{- fail (printf "prometheusRule.values: there is no value %s%s" $.where $name) }}
{{- end }}
{{- $old := get $.values $name }}
{{- if and (kindIs "map" $old) (kindIs "map" $change) }}
{{- include "iam-key-exporter.rules.merge" (dict "values" $old "changes" $change "where" (printf "%s%s." $.where $name)) }}
{{- else }}
{{- $_ := set $.values $name $change }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Puts every value as text into `texts`, by its name with dots. */}}
{{- define "iam-key-exporter.rules.flatten" -}}
{{- range $name, $value := .values }}
{{- $name = printf "%s%s" $.prefix $name }}
{{- if kindIs "map" $value }}
{{- include "iam-key-exporter.rules.flatten" (dict "values" $value "prefix" (printf "%s." $name) "texts" $.texts) }}
{{- else if kindIs "slice" $value }}
{{- $_ := set $.texts $name (join ", " $value) }}
{{- else }}
{{- /* Helm has every number as a float, and would write a million as 1e+06. */}}
{{- $_ := set $.texts $name (kindIs "string" $value | ternary $value (toJson $value)) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* `text` with each ${name} replaced, also in what replaces it. */}}
{{- define "iam-key-exporter.rules.fill" -}}
{{- $text := .text }}
{{- range until 5 }}
{{- if contains "${" $text }}
{{- range $name, $value := $.texts }}
{{- $text = replace (printf "${%s}" $name) $value $text }}
{{- end }}
{{- end }}
{{- end }}
{{- with regexFind "\\$\\{[\\w.]+\\}" $text }}
{{- fail (printf "there is no value %s" .) }}
{{- end }}
{{- $text | replace ",}" "}" | replace "{}" "" }}
{{- end }}

{{- /* An alert with all that the values say of it; nothing if it is not wanted. Takes `rule`, `texts`, `values` and
`annotations`. */}}
{{- define "iam-key-exporter.rules.alert" -}}
{{- $own := get .values.alerts .rule.alert }}
{{- if ne (toString $own.enabled) "false" }}
{{- $annotations := dict }}
{{- $kinds := merge (dict "runbook_url" (printf "${urls.runbook}#%s" (lower .rule.alert))) .rule.annotations }}
{{- range $kind, $text := $kinds }}
{{- $url := trimSuffix "_url" $kind }}
{{- if or (not (hasKey $.values.urls $url)) (get $.values.urls $url) }}
{{- $_ := set $annotations $kind (include "iam-key-exporter.rules.fill" (dict "text" $text "texts" $.texts)) }}
{{- end }}
{{- end }}
{{- $alert := dict
  "alert" .rule.alert
  "expr" (include "iam-key-exporter.rules.fill" (dict "text" .rule.expr "texts" .texts))
  "labels" (merge (dict) ($own.labels | default dict) .values.labels (dict "severity" $own.severity))
  "annotations" (merge $annotations .annotations) }}
{{- with get $own "for" }}
{{- $_ := set $alert "for" . }}
{{- end }}
{{- list $alert | toYaml }}
{{- end }}
{{- end }}

{{- /* What a rule of the source becomes: a rule, or with a finding two. Takes the same, and `source`. */}}
{{- define "iam-key-exporter.rules.rule" -}}
{{- if .rule.record }}
{{- list (dict "record" .rule.record "expr" (include "iam-key-exporter.rules.fill" (dict "text" .rule.expr "texts" .texts))) | toYaml }}
{{- else if .rule.finding }}
{{- $texts := merge (dict "finding" .rule.finding) .texts }}
{{- $lately := printf "(\n%s\n)\n%s" (indent 2 .rule.lately) .source.lost }}
{{- $expr := printf "time() + 0 * (\n%s\n)" (indent 2 $lately) }}
{{- $record := dict
  "record" .source.record
  "expr" (include "iam-key-exporter.rules.fill" (dict "text" $expr "texts" $texts))
  "labels" (dict "finding" .rule.finding) }}
{{- $alert := merge (dict "expr" (join "\nor\n" (list .rule.expr $lately .source.remembered))) .rule }}
{{- list $record | toYaml }}
{{ include "iam-key-exporter.rules.alert" (merge (dict "rule" $alert "texts" $texts) .) }}
{{- else }}
{{- include "iam-key-exporter.rules.alert" . }}
{{- end }}
{{- end }}

{{- /* The groups of one source. Takes `root`, `source` and `values`. */}}
{{- define "iam-key-exporter.rules.groups" -}}
{{- $texts := dict }}
{{- include "iam-key-exporter.rules.flatten" (dict "values" .values "prefix" "" "texts" $texts) }}
{{- $texts = merge (.source.texts | default dict) $texts }}
{{- range $group := .source.groups }}
{{- $rules := "" }}
{{- range .rules }}
{{- $rule := dict
  "rule" .
  "source" $.source
  "texts" $texts
  "values" $.values
  "annotations" $.root.Values.prometheusRule.alertExtraAnnotations }}
{{- $rules = printf "%s\n%s" $rules (include "iam-key-exporter.rules.rule" $rule | trim) }}
{{- end }}
{{- with trim $rules }}
- name: {{ $group.name }}
  interval: {{ $.values.interval }}
  rules:
    {{- . | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
