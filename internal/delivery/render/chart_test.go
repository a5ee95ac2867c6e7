package render

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// chartFiles are a chart of templates, beside a Chart.yaml and values.
func chartFiles(templates map[string]string) fstest.MapFS {
	files := fstest.MapFS{
		"Chart.yaml":  {Data: []byte("apiVersion: v2\nname: shop\nversion: 1.2.3\n")},
		"values.yaml": {Data: []byte("greeting: hello\nreplicas: 1\n")},
	}
	for name, text := range templates {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

const chartConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-motd}\ndata: {text: {{ .Values.greeting | quote }}}\n"

func options(values ...string) ChartOptions {
	o := ChartOptions{ReleaseName: "web", Namespace: "shop"}
	for _, text := range values {
		o.Values = append(o.Values, Values{From: "spec.helm.values", Document: []byte(text)})
	}
	return o
}

// objectsOf renders a chart for a cluster and returns its objects as lines.
func objectsOf(t *testing.T, files fs.FS, o ChartOptions, values ...string) string {
	t.Helper()
	rendered, err := Chart(files, ".", o)(Choice{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := rendered.For(values)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, entry := range entries {
		text.WriteString(entry.File + " " + string(entry.Object) + "\n")
	}
	return text.String()
}

// TestChart renders what charts are made of.
func TestChart(t *testing.T) {
	files := chartFiles(map[string]string{
		"templates/a.yaml":               chartConfigMap,
		"templates/_helpers.tpl":         `{{ define "name" }}{{ .Chart.Name }}-{{ .Chart.Version }}{{ end }}`,
		"templates/role.yaml":            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: {{ include \"name\" . }}}\n",
		"templates/none.yaml":            "{{ if false }}\nkind: Nothing\n{{ end }}\n# nothing\n",
		"templates/NOTES.txt":            "Thank you for {{ .Chart.Name }}.",
		"templates/other.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: elsewhere}\ndata: {found: {{ lookup \"v1\" \"Secret\" \"a\" \"b\" | toJson | quote }}, api: {{ .Capabilities.APIVersions.Has \"x.example.com/v1\" | quote }}, kube: {{ .Capabilities.KubeVersion.Version }}}\n",
		"templates/gadget.yaml":          "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\n---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n",
		"crds/gadget.yaml":               "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.com}\nspec: {group: example.com, scope: Cluster, names: {kind: Gadget, plural: gadgets}, versions: []}\n",
		"charts/inner/Chart.yaml":        "apiVersion: v2\nname: inner\nversion: 0.1.0\n",
		"charts/inner/values.yaml":       "mode: fast\n",
		"charts/inner/templates/in.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inner}\ndata: {mode: {{ .Values.mode | quote }}, all: {{ .Values.global.all | quote }}}\n",
		"ci/prod.yaml":                   "replicas: 3\ngreeting: from a file\nglobal: {all: everywhere}\n",
		".helmignore":                    "*.bak\n",
		"templates/broken.yaml.bak":      "{{ nothing that can be parsed",
	})
	o := options("greeting: hi ${cluster.labels.region}")
	o.ValuesFiles, o.APIVersions, o.KubeVersion = []string{"ci/prod.yaml"}, []string{"x.example.com/v1"}, "v1.33.1"
	got := objectsOf(t, files, o, "eu")
	for _, want := range []string{
		`templates/a.yaml {"apiVersion":"v1","data":{"text":"hi eu"},"kind":"ConfigMap","metadata":{"name":"web-motd","namespace":"shop"}}`,
		`"kind":"ClusterRole","metadata":{"name":"shop-1.2.3"}}`,
		`templates/other.yaml {"apiVersion":"v1","data":{"api":"true","found":"{}","kube":"v1.33.1"},"kind":"ConfigMap","metadata":{"name":"other","namespace":"elsewhere"}}`,
		`"kind":"Gadget","metadata":{"name":"g"}}`, `"kind":"Widget","metadata":{"name":"w","namespace":"shop"}}`,
		`crds/gadget.yaml {"apiVersion":"apiextensions.k8s.io/v1"`,
		`charts/inner/templates/in.yaml {"apiVersion":"v1","data":{"all":"everywhere","mode":"fast"}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nis not in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 7 {
		t.Errorf("%d objects, want 7:\n%s", n, got)
	}
	for range 5 {
		if again := objectsOf(t, files, o, "eu"); again != got {
			t.Fatalf("the same chart gives\n%s\nand then\n%s", got, again)
		}
	}
}

// TestHooks: those of an installation are delivered, the others left out and named; a Job that changes is another one.
func TestHooks(t *testing.T) {
	job := func(name, hook, command string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata:\n  " + name + "\n  annotations: {helm.sh/hook: '" + hook + "', helm.sh/hook-delete-policy: hook-succeeded}\n" +
			"spec: {ttlSecondsAfterFinished: 60, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a, command: [" + command + "]}]}}}\n"
	}
	chart := func(command string) fstest.MapFS {
		return chartFiles(map[string]string{
			"templates/a.yaml":         chartConfigMap,
			"templates/migrate.yaml":   job("name: migrate", "pre-install,pre-upgrade", command),
			"templates/generated.yaml": job("generateName: seed-", "post-install", "seed"),
			"templates/sa.yaml":        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}\n",
			"templates/clean.yaml":     job("name: clean", "pre-delete", "clean"),
			"templates/test.yaml":      "apiVersion: v1\nkind: Pod\nmetadata: {name: try, annotations: {helm.sh/hook: test}}\nspec: {containers: []}\n",
		})
	}
	rendered, err := Chart(chart("one"), ".", options())(Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Job.batch clean (hook pre-delete)", "Pod try (hook test)"}; !slices.Equal(rendered.LeftOut, want) {
		t.Errorf("left out %q, want %q", rendered.LeftOut, want)
	}
	one, two := objectsOf(t, chart("one"), options()), objectsOf(t, chart("two"), options())
	nameOf := func(text, prefix string) string {
		_, rest, _ := strings.Cut(text, `"name":"`+prefix)
		name, _, _ := strings.Cut(rest, `"`)
		return name
	}
	if a, b := nameOf(one, "migrate-"), nameOf(two, "migrate-"); len(a) != 8 || len(b) != 8 || a == b {
		t.Errorf("a Job that changes is called migrate-%s, then migrate-%s", a, b)
	}
	if a, b := nameOf(one, "seed-"), nameOf(two, "seed-"); len(a) != 8 || a != b {
		t.Errorf("a Job that does not change is called seed-%s, then seed-%s", a, b)
	}
	if strings.Contains(one, "ttlSecondsAfterFinished") || !strings.Contains(one, `"kind":"ServiceAccount","metadata":{"annotations":{"helm.sh/hook":"pre-install"},"name":"migrate","namespace":"shop"}`) {
		t.Errorf("the hooks are\n%s", one)
	}
}

// TestChartsThatAreRefused: with the file, the field and what to do, and without what is secret.
func TestChartsThatAreRefused(t *testing.T) {
	const canary = "c4n4ry-s3cr3t"
	secret := options("password: " + canary)
	secret.Secrets = []string{canary}
	lines := options("key: \"first  \\\"line\\\"\\nof " + canary + " " + canary + "\"")
	lines.Secrets = []string{"first  \"line\"\nof " + canary + " " + canary}
	template := func(text string) map[string]string { return map[string]string{"templates/a.yaml": text} }
	for _, tc := range []struct {
		reason string
		files  map[string]string
		o      ChartOptions
		want   []string
	}{
		{"a password that is made up", template(`{{ randAlphaNum 8 }}`), options(), []string{"templates/a.yaml", "randAlphaNum gives something else each time", "spec.helm.valuesFrom"}},
		{"the time", template(`{{ now }}`), options(), []string{"now gives something else"}},
		{"a certificate", template(`{{ $ca := genCA "a" 1 }}`), options(), []string{"genCA gives something else"}},
		{"the environment", template(`{{ env "HOME" }}`), options(), []string{`function "env" not defined`}},
		{"a list without end", template(`{{ range until 1000000000 }}a{{ end }}`), options(), []string{"more than is made of one chart"}},
		{"a text without end", template(`{{ repeat 1000000000 "a" }}`), options(), []string{"more than is made of one chart"}},
		{"a template of itself", template(`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`), options(), []string{"templates/a.yaml"}},
		{"a syntax error", template("a: b\n{{ if }}"), options(), []string{"templates/a.yaml:2"}},
		{"a value that is missing", template(`{{ required "set the region" .Values.region }}`), options(), []string{"set the region"}},
		{"no YAML", template("a: [b\n"), options(), []string{"templates/a.yaml"}},
		{"no object", template("# nothing"), options(), []string{"no object was found"}},
		{"only hooks that are left out", template("apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {helm.sh/hook: test}}\n"), options(), []string{"no object was found"}},
		{"a dependency that is not there", map[string]string{"templates/a.yaml": chartConfigMap, "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.x, repository: https://charts.example.com}]\n"}, options(), []string{"Chart.yaml: dependencies[0]", "redis", "helm dependency build"}},
		{"a library", map[string]string{"Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\ntype: library\n"}, options(), []string{"a library holds nothing"}},
		{"another Kubernetes", map[string]string{"Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\nkubeVersion: '<1.20'\n"}, options(), []string{"kubeVersion", "spec.helm.kubeVersion"}},
		{"a schema that the values break", map[string]string{"templates/a.yaml": chartConfigMap, "values.schema.json": `{"properties": {"replicas": {"type": "integer"}}}`}, options("replicas: many"), []string{"values.schema.json", "replicas"}},
		{"a schema from the network", map[string]string{"templates/a.yaml": chartConfigMap, "values.schema.json": `{"$ref": "http://127.0.0.1:1/schema.json"}`}, options(), []string{"values.schema.json", "is not fetched"}},
		{"a schema from the disk", map[string]string{"templates/a.yaml": chartConfigMap, "values.schema.json": `{"$ref": "file:///etc/passwd"}`}, options(), []string{"values.schema.json", "is not fetched"}},
		{"values that are no map", template(chartConfigMap), options("- a"), []string{"spec.helm.values: is no map of values"}},
		{"a file of values that is not there", template(chartConfigMap), ChartOptions{ValuesFiles: []string{"prod.yaml"}}, []string{"spec.helm.valuesFiles[0]: prod.yaml"}},
		{"a secret in an error of a template", template(`{{ fail .Values.password }}`), secret, []string{"…"}},
		{"a secret of several lines", template(`{{ fail .Values.key }}`), lines, []string{"…"}},
		{"a secret of several lines, quoted", template(`{{ fail (printf "%q" .Values.key) }}`), lines, []string{"…"}},
		{"a line of a secret", template(`{{ fail (.Values.key | splitList "\n" | last) }}`), lines, []string{"…"}},
		{"a secret in YAML that cannot be read", template("a: [{{ .Values.password }}\nb: {{ .Values.password }}: c"), secret, []string{"templates/a.yaml"}},
		{"a secret that a schema refuses", map[string]string{"templates/a.yaml": chartConfigMap, "values.schema.json": `{"properties": {"password": {"enum": ["a"]}}}`}, secret, []string{"password"}},
		{"a secret in values that cannot be read", template(chartConfigMap), options("password: [" + canary), []string{"is no map of values"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := Chart(chartFiles(tc.files), ".", tc.o)(Choice{})
			if err == nil {
				t.Fatal("it is rendered")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error tells a secret, or has several lines: %v", err)
			}
		})
	}
}

// TestAChartInAWorker: a process of its own makes the same of a chart, and a chart without end ends it and nothing else. What was
// made is kept by all that it was made of, the values too.
func TestAChartInAWorker(t *testing.T) {
	cache := newCache(t, workers(t, testLimits))
	hook := map[string]string{"templates/a.yaml": chartConfigMap, "templates/test.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: try, annotations: {helm.sh/hook: test}}\n"}
	want := objectsOf(t, chartFiles(hook), options("greeting: hi"))
	for _, o := range []ChartOptions{options("greeting: hi"), options("greeting: hi"), options("greeting: other")} {
		rendered, err := cache.Chart(chartFiles(hook), ".", o)(Choice{})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := rendered.For(nil)
		if err != nil || len(entries) != 1 || !slices.Equal(rendered.LeftOut, []string{"Pod try (hook test)"}) {
			t.Fatalf("got %v, %v, left out %q", entries, err, rendered.LeftOut)
		}
		if same := entries[0].File+" "+string(entries[0].Object)+"\n" == want; same != (string(o.Values[0].Document) == "greeting: hi") {
			t.Errorf("with %s it is %s", o.Values[0].Document, entries[0].Object)
		}
	}
	if got := cache.Counts(); got.Sources != 2 || got.SourcesSaved != 1 {
		t.Errorf("counts %+v, want two renderings and one that was kept", got)
	}
	short := testLimits
	short.Time = 3 * time.Second
	w := workers(t, short)
	cache = newCache(t, w)
	endless := map[string]string{"templates/a.yaml": `{{ range until 100000 }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}`}
	if _, err := cache.Chart(chartFiles(endless), ".", options())(Choice{}); err == nil {
		t.Error("a chart without end came to its end")
	}
	w.limits = testLimits // a busy machine takes its time to start a process
	if _, err := cache.Chart(chartFiles(hook), ".", options("greeting: hi"))(Choice{}); err != nil {
		t.Errorf("after it another chart: %v", err)
	}
	if _, err := cache.Chart(chartFiles(map[string]string{"templates/a.yaml": "# nothing"}), ".", options())(Choice{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("nothing at all: got %v", err)
	}
	if _, err := cache.Chart(chartFiles(hook), ".", options())(Choice{Components: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "spec.variants") {
		t.Errorf("components for a chart: got %v", err)
	}
}

// TestTemplatesSayTheSameEverywhere: nothing of a chart depends on when, where and in which process it is rendered.
func TestTemplatesSayTheSameEverywhere(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	for _, tc := range []struct{ text, want string }{ // want begins with "error: " where it is one
		{`{{ date "15:04" 0 }}`, "00:00"},
		{`{{ htmlDate 0 }}`, "1970-01-01"},
		{`{{ dateInZone "15:04" 0 "Asia/Tokyo" }}`, "09:00"},
		{`{{ dateInZone "15:04" 0 "Local" }}`, "00:00"},
		{`{{ dateInZone "15:04" 0 "Nowhere/Land" }}`, "00:00"},
		{`{{ toDate "2006-01-02" "1970-01-02" | unixEpoch }}`, "86400"},
		{`{{ toDate "2006-01-02" "1970-01-02" | date "Mon" }}`, "Fri"},
		{`{{ date "15:04" "noon" }}`, "error: a string is no time"},
		{`{{ htmlDate nil }}`, "error: nothing is no time"},
		{`{{ keys .Values.many | join "" }}`, "abcdefgh"},
		{`{{ values .Values.many | join "" }}`, "12345678"},
		{`{{ indent 9223372036854775807 "x" }}`, "error: more than is made of one chart"},
		{`{{ nindent 10000000 (repeat 1000 "\n") }}`, "error: more than is made of one chart"},
		{`{{ indent 2 "x" }}`, "  x"},
		{`{{ .Capabilities.KubeVersion }}`, "v1.36.0"},
		{`{{ . | toString }}`, "error: templates/a.yaml: it prints where something is in memory"},
		{`{{ "0x123456789a" }}`, "0x123456789a"},
	} {
		files := chartFiles(map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |2\n    [" + tc.text + "]\n"})
		rendered, err := Chart(files, ".", options("many: {h: 8, g: 7, f: 6, e: 5, d: 4, c: 3, b: 2, a: 1}"))(Choice{})
		if want, fails := strings.CutPrefix(tc.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", tc.text, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if got := string(entriesOf(t, rendered)[0].Object); !strings.Contains(got, "["+tc.want+"]") {
			t.Errorf("%s: got %s, want %q", tc.text, got, tc.want)
		}
	}
}
