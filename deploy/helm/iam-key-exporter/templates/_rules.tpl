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

{{- /* `text` with each ${name} replaced, also in what replaces it. Further lines get the indentation of the first. */}}
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

{{- /* What a rule of the source becomes: a rule, or if it says what was so lately two. Takes the same, and `source`. */}}
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

{{- /* The groups of one source. Takes `root`, `source` and `values`. */}}
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
