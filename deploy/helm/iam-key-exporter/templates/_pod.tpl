{{- /* The pod of the Deployment or StatefulSet. */}}
{{- define "iam-key-exporter.pod" -}}
{{- $web := include "iam-key-exporter.web" . | fromJson }}
{{- if and .Values.config .Values.configExistingSecretName }}
{{- fail "set config or configExistingSecretName, not both" }}
{{- end }}
{{- $config := or .Values.config .Values.configExistingSecretName }}
metadata:
  labels:
    {{- $selector := include "iam-key-exporter.selectorLabels" . | fromYaml }}
    {{- $job := include "iam-key-exporter.jobLabel" . | fromYaml }}
    {{- merge (dict) $selector $job .Values.podLabels .Values.commonLabels | toYaml | nindent 4 }}
  {{- $annotations := deepCopy .Values.podAnnotations }}
  {{- if .Values.config }}
  {{- $_ := set $annotations "checksum/config" (toYaml .Values.config | sha256sum) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "iam-key-exporter.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
  # Otherwise a Service of this name sets variables such as IAM_KEY_EXPORTER_PORT, which look like flags of the exporter.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end }}
    {{- end }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- range list "dnsConfig" "nodeSelector" "tolerations" "affinity" }}
  {{- $value := index $.Values . }}
  {{- if $value }}
  {{ . }}:
    {{- toYaml $value | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $own := dict "labelSelector" (dict "matchLabels" $selector) }}
    - {{- merge (dict) . $own | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: iam-key-exporter
      image: {{ include "iam-key-exporter.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- with include "iam-key-exporter.args" . | trim }}
      args:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 9718
        {{- if $web.health }}
        - name: health
          containerPort: 9719
        {{- end }}
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .Values.awsCredentialsSecret .Values.extraEnvFrom }}
      envFrom:
        {{- with .Values.awsCredentialsSecret }}
        - secretRef:
            name: {{ . }}
        {{- end }}
        {{- with .Values.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.livenessProbe }}
      livenessProbe:
        {{- include "iam-key-exporter.probe" (dict "root" $ "path" "/-/healthy" "probe" .) | nindent 8 }}
      {{- end }}
      {{- with .Values.readinessProbe }}
      readinessProbe:
        {{- include "iam-key-exporter.probe" (dict "root" $ "path" "/-/ready" "probe" .) | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $config $web.secret .Values.extraVolumeMounts }}
      volumeMounts:
        {{- if $config }}
        - name: config
          mountPath: /etc/iam-key-exporter
          readOnly: true
        {{- end }}
        {{- if $web.secret }}
        - name: web
          mountPath: /etc/iam-key-exporter-web
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or $config $web.secret .Values.extraVolumes }}
  # Whole folders, because Kubernetes never updates a single file (subPath).
  volumes:
    {{- if .Values.config }}
    - name: config
      configMap:
        name: {{ include "iam-key-exporter.fullname" . }}
    {{- end }}
    {{- with .Values.configExistingSecretName }}
    - name: config
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- if $web.secret }}
    - name: web
      projected:
        defaultMode: 0440
        sources:
          - secret:
              name: {{ $web.secret }}
          {{- with .Values.webTLS.existingSecret }}
          - secret:
              name: {{ . }}
          {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}
