{{- /* Renders the rules from source/ and values.yaml, as deploy/prometheus/render.py does. tests/stack/test_helm.py
compares the results. */}}

{{- /* Merges `changes` into `values`. `where` is the path of `values`, for errors. New names are allowed only below
`labels` and an alert. */}}
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

{{- /* Sets each value in `texts`, as text and under its dotted name. */}}
{{- define "iam-key-exporter.rules.flatten" -}}
{{- range $name, $value := .values }}
{{- $name = printf "%s%s" $.prefix $name }}
{{- if kindIs "map" $value }}
{{- include "iam-key-exporter.rules.flatten" (dict "values" $value "prefix" (printf "%s." $name) "texts" $.texts) }}
{{- else if kindIs "slice" $value }}
{{- $_ := set $.texts $name (join ", " $value) }}
{{- else }}
{{- /* Helm keeps numbers as floats, and would print a million as 1e+06. */}}
{{- $_ := set $.texts $name (kindIs "string" $value | ternary $value (toJson $value)) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Replaces each ${name} in `text`, also in the replacements. All lines of a replacement get the indentation of its
first. */}}
{{- define "iam-key-exporter.rules.fill" -}}
{{- $lines := list }}
{{- range $line := splitList "\n" .text }}
{{- $indent := regexFind "^ *" $line }}
{{- range $place := regexFindAll "\\$\\{[\\w.]+\\}" $line -1 | uniq }}
{{- $name := $place | trimPrefix "${" | trimSuffix "}" }}
{{- if not (hasKey $.texts $name) }}
{{- fail (printf "prometheusRule.values: there is no value %s" $name) }}
{{- end }}
{{- $text := include "iam-key-exporter.rules.fill" (dict "text" (get $.texts $name) "texts" $.texts) }}
{{- $line = replace $place (replace "\n" (printf "\n%s" $indent) $text) $line }}
{{- end }}
{{- $lines = append $lines $line }}
{{- end }}
{{- join "\n" $lines | replace ",}" "}" | replace "{}" "" }}
{{- end }}

{{- /* An alert with its settings from the values. Empty if it is turned off. Takes `rule`, `texts`, `values` and
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

{{- /* The rules that a rule of the source becomes: two if it has `lately`, and otherwise one. Takes `source`, too. */}}
{{- define "iam-key-exporter.rules.rule" -}}
{{- $texts := .texts }}
{{- with .rule.finding }}
{{- $texts = merge (dict "finding" .) $texts }}
{{- end }}
{{- if .rule.record }}
{{- $expr := include "iam-key-exporter.rules.fill" (dict "text" .rule.expr "texts" $texts) }}
{{- list (merge (dict "expr" $expr) .rule) | toYaml }}
{{- else if .rule.lately }}
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
{{- include "iam-key-exporter.rules.alert" (merge (dict "texts" $texts) .) }}
{{- end }}
{{- end }}

{{- /* The groups of one source file. Takes `root`, `source` and `values`. */}}
{{- define "iam-key-exporter.rules.groups" -}}
{{- $texts := dict }}
{{- include "iam-key-exporter.rules.flatten" (dict "values" .values "prefix" "" "texts" $texts) }}
{{- $shared := include "iam-key-exporter.file" (dict "root" .root "path" "rules-texts.yaml") | fromYaml }}
{{- $texts = merge (.source.texts | default dict) $shared $texts }}
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
