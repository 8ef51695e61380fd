{{/* A StatefulSet's name is part of labels of its pods, so that 52 characters are left for it. */}}
{{- define "fjord.name" -}}
{{- if contains "fjord" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-fjord" (.Release.Name | trunc 46 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "fjord.selector" -}}
app.kubernetes.io/name: fjord
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fjord.labels" -}}
{{ include "fjord.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "fjord.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fjord.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fjord.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "fjord.scheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.tls.secret "") -}}
{{- end -}}

{{- define "fjord.opsPort" -}}
{{- ternary "ops" "api" .Values.ops.enabled -}}
{{- end -}}

{{/* ConfigMap of the registry; empty: the image's own file. */}}
{{- define "fjord.registry" -}}
{{- if and .Values.registry.content .Values.registry.existingConfigMap -}}
{{- fail "registry.content and registry.existingConfigMap: right would be one of the two" -}}
{{- end -}}
{{- if .Values.registry.content -}}
{{- include "fjord.name" . -}}-registry
{{- else -}}
{{- .Values.registry.existingConfigMap -}}
{{- end -}}
{{- end -}}

{{/* As the environment has it: helm reads 8388608 as 8.388608e+06. */}}
{{- define "fjord.value" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . | toString | quote -}}
{{- else -}}
{{- toString . | quote -}}
{{- end -}}
{{- end -}}

{{/* Of the server, and of what fetches for it. */}}
{{- define "fjord.env" -}}
- name: FJORD_NODE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.profile }}
- name: FJORD_PROFILE
  value: {{ . | quote }}
{{- end }}
{{- if include "fjord.registry" . }}
- name: FJORD_REGISTRY
  value: /etc/fjord/model_registry.yaml
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: FJORD_{{ upper $name }}
  value: {{ include "fjord.value" $value }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fjord.mounts" -}}
- {name: data, mountPath: /data}
- {name: models, mountPath: /models}
- {name: tmp, mountPath: /tmp}
- {name: shm, mountPath: /dev/shm}
{{- if include "fjord.registry" . }}
- {name: registry, mountPath: /etc/fjord, readOnly: true}
{{- end }}
{{- if .Values.tls.secret }}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
{{- if .Values.memory.secret }}
- {name: memory, mountPath: /memory, readOnly: true}
{{- end }}
{{- end -}}

{{- define "fjord.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "fjord.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources: {requests: {storage: {{ .size }}}}
{{- end -}}

{{- define "fjord.ledgerEnv" -}}
{{- with .Values.ledger.secret -}}
- name: FJORD_LEDGER_URL
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.ledger.key }}}}
{{- end -}}
{{- end -}}
