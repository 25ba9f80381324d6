{{/* What every object has. The rest of the labels is the same as with kustomize. */}}
{{- define "labels" -}}
app.kubernetes.io/name: bluegreen-watcher
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The account that every binding names. */}}
{{- define "subjects" -}}
- {kind: ServiceAccount, name: bluegreen-watcher, namespace: {{ .Release.Namespace }}}
{{- end }}

{{/* The rules of a role, from the manifests that kustomize reads. Takes a list: the files, a file, a name. */}}
{{- define "rules" -}}
{{- $files := index . 0 }}
{{- $file := index . 1 }}
{{- $name := index . 2 }}
{{- $found := list }}
{{- range regexSplit "(?m)^---$" ($files.Get $file) -1 }}
{{- $one := fromYaml . }}
{{- if and (hasSuffix "Role" $one.kind) (eq $one.metadata.name $name) }}
{{- $found = $one.rules }}
{{- end }}
{{- end }}
{{- if not $found }}{{ fail (printf "%s has no role %s" $file $name) }}{{ end }}
{{- toYaml $found }}
{{- end }}
