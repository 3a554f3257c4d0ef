{{/* Which program listens where, and which secrets may it see? The ports are those of shared/service/settings.py. */}}
{{- define "hitl.programs" -}}
inference: { port: 9101, key: HITL_INFERENCE_PORT, secrets: [broker] }
router: { port: 9102, key: HITL_ROUTER_PORT, secrets: [broker, panelSalt] }
review_ui: { port: 7860, key: HITL_REVIEW_PORT, secrets: [broker, database, session] }
logger: { port: 9104, key: HITL_LOGGER_PORT, secrets: [broker, database] }
feedback: { port: 9105, key: HITL_FEEDBACK_PORT, secrets: [broker, database] }
{{- end }}

{{- define "hitl.variables" -}}
broker: AMQP_URL
brokerApi: HITL_RABBITMQ_API_URL
database: DATABASE_URL
session: HITL_SESSION_SECRET
panelSalt: HITL_PANEL_SALT
{{- end }}

{{/* (list $ component) → the name of its objects */}}
{{- define "hitl.name" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%s" ($root.Release.Name | trunc 40 | trimSuffix "-") (index . 1 | replace "_" "-") | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* (list $ prefix workflow): no two workflows have the same. A digest where the name is not used as
     it is, because Kubernetes takes no underscore or because it is long. */}}
{{- define "hitl.ofWorkflow" -}}
{{- $plain := printf "%s-%s" (index . 1) (index . 2) -}}
{{- $name := include "hitl.name" (list (index . 0) $plain) -}}
{{- if hasSuffix (printf "-%s" $plain) $name -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" ($name | trunc 43 | trimSuffix "-") (index . 2 | sha256sum | trunc 8) -}}
{{- end -}}
{{- end }}

{{/* (list $ component) */}}
{{- define "hitl.selector" -}}
app.kubernetes.io/name: hitl-pipeline
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (list $ program): a service's own tag, else that of all */}}
{{- define "hitl.tag" -}}
{{- $root := index . 0 -}}
{{- dig (index . 1) "tag" "" $root.Values.services | default $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- end }}

{{/* (list $ component) */}}
{{- define "hitl.labels" -}}
{{- $root := index . 0 -}}
{{ include "hitl.selector" . }}
app.kubernetes.io/version: {{ include "hitl.tag" . | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* (list $ program) */}}
{{- define "hitl.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $path := printf "%s/%s:%s" $image.prefix (index . 1) (include "hitl.tag" .) -}}
{{- if $image.registry }}{{ printf "%s/%s" $image.registry $path }}{{ else }}{{ $path }}{{ end -}}
{{- end }}

{{/* What every pod may: nothing. Service links would put HITL_ROUTER_PORT=tcp://… and other keys into
the environment wherever a Service is called hitl-…, and the programs refuse keys they do not know. */}}
{{- define "hitl.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "hitl.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* (list $ secrets settings own-secrets): the environment that services and jobs share */}}
{{- define "hitl.environment" -}}
{{- $root := index . 0 -}}
{{- $references := mergeOverwrite (deepCopy $root.Values.secrets) (index . 3) -}}
{{- $variables := include "hitl.variables" $root | fromYaml -}}
{{- range index . 1 }}
- name: {{ index $variables . }}
  valueFrom:
    secretKeyRef: {{ index $references . | merge (ternary (dict "optional" true) dict (eq . "brokerApi")) | toJson }}
{{- end }}
- { name: HITL_HOME, value: /tmp/hitl }
{{- if $root.Values.workflows }}
- { name: HITL_WORKFLOWS_DIR, value: /etc/hitl/workflows }
{{- end }}
{{- if $root.Values.models.enabled }}
- { name: HITL_MODELS_DIR, value: /var/lib/hitl/models }
{{- end }}
{{- range $key, $value := mergeOverwrite (deepCopy $root.Values.settings) (index . 2) }}
- name: {{ $key }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "hitl.mounts" -}}
- { name: tmp, mountPath: /tmp }
{{- if .Values.authority.secret }}
- { name: authority, mountPath: /etc/hitl/ca, readOnly: true }
{{- end }}
{{- if .Values.workflows }}
- { name: workflows, mountPath: /etc/hitl/workflows, readOnly: true }
{{- end }}
{{- end }}

{{/* (list $ configmap) */}}
{{- define "hitl.volumes" -}}
- { name: tmp, emptyDir: {} }
{{- with (index . 0).Values.authority }}
{{- if .secret }}
- name: authority
  secret: { secretName: {{ .secret }}, items: [{ key: {{ .key | quote }}, path: ca.pem }] }
{{- end }}
{{- end }}
{{- if (index . 0).Values.workflows }}
- { name: workflows, configMap: { name: {{ index . 1 }} } }
{{- end }}
{{- end }}

{{- define "hitl.models-volume" -}}
name: models
persistentVolumeClaim: { claimName: {{ .Values.models.existingClaim | default (include "hitl.name" (list . "models")) }} }
{{- end }}
