{{- define "umbel.labels" -}}
app.kubernetes.io/name: umbel-hub
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: umbel
{{- end }}

{{- define "umbel.selector" -}}
app.kubernetes.io/name: umbel-hub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
