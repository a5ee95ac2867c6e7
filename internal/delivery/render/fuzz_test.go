package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/variable"
)

// canary is what the files and the environment outside of a source hold, and what no rendering may know.
const canary = "canary-6f1d"

// outside is all that a rendering could reach if it tried, and notes who did: a server on this machine, a resolver, the programs
// that kustomize would start, files, the environment.
type outside struct {
	server, file, ran string
	reached           atomic.Pointer[string]
	workers           *Workers
}

func newOutside(f *testing.F) *outside {
	f.Helper()
	dir := f.TempDir()
	o := &outside{file: filepath.Join(dir, "outside.yaml"), ran: filepath.Join(dir, "ran")}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	o.server = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			o.note("a connection to " + o.server)
			conn.Close()
		}
	}()
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		o.note(network + " " + address)
		return nil, errors.New("nobody dials here")
	}
	before, resolver := http.DefaultTransport, net.DefaultResolver
	http.DefaultTransport, net.DefaultResolver = &http.Transport{DialContext: dial}, &net.Resolver{PreferGo: true, Dial: dial}
	f.Cleanup(func() { http.DefaultTransport, net.DefaultResolver = before, resolver })
	if err := os.WriteFile(o.file, []byte(config(canary)), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, program := range []string{"git", "helm", "sh", "curl", "kustomize"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n: >"+o.ran+"\n"), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	f.Setenv("PATH", dir)
	f.Setenv("UMBEL_CANARY", canary)
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	o.workers = NewWorkers(ctx, func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = []string{"UMBEL_TEST_WORKER=1", "UMBEL_CANARY=" + canary + "-too", "TZ=Asia/Tokyo", "HOME=" + dir, "PATH=" + dir}
		return c
	}, Limits{Time: 2 * time.Second, Memory: 128 << 20, Output: 16 << 20}, 1) // who is slow is at a limit sooner, and that is all
	return o
}

func (o *outside) note(what string) { o.reached.Store(&what) }

// here puts addresses of this machine into a text that a fuzzer drew: a server that answers, a file that is there.
func (o *outside) here(text string) string {
	return strings.NewReplacer("SERVER", o.server, "FILE", o.file).Replace(text)
}

// drawn is what came of a rendering, in words.
type drawn struct{ objects, err string }

func drawnOf(rendered *Rendered, err error) drawn {
	if err != nil {
		return drawn{err: err.Error()}
	}
	values := make([]string, len(rendered.Variables))
	for i, name := range rendered.Variables {
		if values[i] = "x"; variable.IsSelector(name) {
			values[i] = "true"
		}
	}
	entries, err := rendered.For(values)
	if err != nil {
		return drawn{err: err.Error()}
	}
	var text strings.Builder
	for _, entry := range entries {
		fmt.Fprintf(&text, "%s %s\n", entry.File, entry.Object)
	}
	if rendered.Len() == 0 {
		return drawn{err: "no object and no error"}
	}
	return drawn{objects: text.String()}
}

// check renders a source twice: in a confined process with limits, in another environment, and, if that was within them, here. Both give
// the same, the same file or error; nobody outside hears of it, and nothing of the outside is in it.
func (o *outside) check(t *testing.T, files fs.FS, there, here func(fs.FS) Maker, names []string) {
	t.Helper()
	first := drawnOf(there(files)(Choice{}))
	for _, limit := range []string{"MiB of memory", "it took longer than", "MiB of objects"} {
		if strings.Contains(first.err, limit) {
			return // here it would take as much
		}
	}
	if strings.Contains(first.err, errGone.Error()) {
		t.Fatalf("it ended the process that renders: %s", first.err)
	}
	if diff := cmp.Diff(first, drawnOf(here(files)(Choice{})), cmp.AllowUnexported(drawn{})); diff != "" {
		t.Errorf("it gives something else (-in a worker +here):\n%s", diff)
	}
	if strings.Contains(first.objects+first.err, canary) {
		t.Errorf("it knows what is outside: %+v", first)
	}
	if reached := o.reached.Load(); reached != nil {
		t.Errorf("it reached %s", *reached)
	}
	if _, err := os.Stat(o.ran); err == nil {
		t.Error("it started a program")
	}
	named := first.err == ""
	for _, name := range names {
		named = named || strings.Contains(first.err, name)
	}
	if !named {
		t.Errorf("an error that names no file: %s", first.err)
	}
}

func (o *outside) chart(t *testing.T, files fs.FS, options ChartOptions) {
	t.Helper()
	o.check(t, files, func(files fs.FS) Maker { return chartBy(o.workers.readChart, files, ".", options) },
		func(files fs.FS) Maker { return Chart(files, ".", options) },
		[]string{"templates/", "spec.helm.values", "Chart.yaml", `the chart in "."`, "values.yaml"})
}

// ofHelm are the functions that Helm and templates themselves have beside those of the library.
var ofHelm = []string{
	"toToml", "mustToToml", "fromToml", "toYaml", "mustToYaml", "toYamlPretty", "fromYaml", "fromYamlArray", "toJson", "mustToJson",
	"fromJson", "fromJsonArray", "include", "tpl", "required", "lookup",
	"and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js", "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge",
}

// functions are all that a template can call, sorted.
func functions() []string {
	all := map[string]any{}
	for name := range sprig.TxtFuncMap() {
		all[name] = nil
	}
	for _, name := range ofHelm {
		all[name] = nil
	}
	return sortedKeys(all)
}

// arguments are what functions are called with.
var arguments = []string{
	".", ".Values", ".Values.map", ".Values.list", ".Values.text", ".Values.none", ".Chart", ".Release", ".Capabilities", ".Capabilities.APIVersions", ".Files",
	".Template.Name", "$", "nil", "true", "0", "1", "-1", "3", "1.5", "64", "100001", "9223372036854775807", "-9223372036854775808", "1e300",
	`""`, `"a"`, `"web.greeting"`, `"no.such"`, `"map"`, `"a,b,c"`, `"2006-01-02"`, `"2024-02-30"`, `"Europe/Paris"`, `"1h"`, `"-0b1"`, `"(a+)+$"`, `"[["`, `"%s%d%v"`, `"%p"`, `"%99999d"`,
	`"{{ . }}"`, `"{{ include \"web.greeting\" . }}"`, `"{{ tpl . . }}"`, `"a: &a [*a]"`, `"[1,2"`, `"1.2.3"`, `">=1 <2"`, `"v1"`, `"Secret"`, `"default"`, `"FILE"`, `"../outside.yaml"`, `"/etc/passwd"`,
	`"templates/a.yaml"`, `"*"`, `"http://SERVER/x?ref=main"`, `"SERVER"`, `"localhost"`, `"example.com"`, `"UMBEL_CANARY"`, `"$UMBEL_CANARY"`, `"sha256"`, `"long"`, `"AAAA"`, `(list)`, `(list 1 2 3)`,
	`(list "b" "a")`, `(dict)`, `(dict "a" 1 "b" (list))`, `(.Files.Get "values.yaml")`, `(.Files.Glob "*")`, `(printf "%d" 7)`, `(lookup "v1" "Secret" "" "")`, `(toDate "2006-01-02" "2024-02-29")`, `(now)`,
}

// drawTemplate draws a template: each function is called with some arguments, and what comes of it is given to others.
func drawTemplate(drawn []byte) string {
	names := functions()
	var text strings.Builder
	text.WriteString(chartConfigMap + "  drawn: {{ ")
	next := func() int {
		if len(drawn) == 0 {
			return 0
		}
		b := drawn[0]
		drawn = drawn[1:]
		return int(b)
	}
	for first := true; first || len(drawn) > 0; first = false {
		if !first {
			text.WriteString([]string{" | ", " | ", " | toJson | quote }}\n  more: {{ "}[next()%3])
		}
		text.WriteString(names[(next()<<8|next())%len(names)])
		for range next() % 5 {
			text.WriteString(" " + arguments[next()%len(arguments)])
		}
	}
	return text.String() + " | toJson | quote }}\n"
}

// FuzzFunctions: whatever functions of Helm's engine a chart calls, with whatever, it gives objects or says why it does not, within its
// limits, the same everywhere, and of what is in the chart alone.
func FuzzFunctions(f *testing.F) {
	o := newOutside(f)
	for i := range functions() {
		f.Add([]byte{byte(i >> 8), byte(i), 3, 32, 60, 61})
	}
	const values = "map: {b: 1, a: {c: [x]}}\nlist: [3, x, {a: 1}]\ntext: http://SERVER/\n"
	f.Fuzz(func(t *testing.T, drawn []byte) {
		if len(drawn) > 60 {
			return
		}
		files := chartFiles(map[string]string{
			"templates/_helpers.tpl": `{{ define "web.greeting" }}hello {{ .Release.Name }}{{ end }}{{ define "self" }}{{ include "self" . }}{{ end }}`,
			"templates/a.yaml":       o.here(drawTemplate(drawn)),
		})
		o.chart(t, files, options(o.here(values)))
	})
}

// FuzzChart: whatever templates and values say, a chart gives objects or says why it does not, and so on as above.
func FuzzChart(f *testing.F) {
	o := newOutside(f)
	f.Add(chartConfigMap, "greeting: hi")
	f.Add(`{{ define "a" }}{{ end }}{{ .Values.a.b.c }}{{ index .Values "a" "b" }}`, "")
	f.Add("{{ toYaml .Values | nindent 0 }}", "apiVersion: v1\nkind: List\nitems: [{}]")
	f.Add(`{{ .Files.Get "../values.yaml" }}{{ lookup "v1" "Secret" "" "" }}{{ env "HOME" }}`, "a: &a [*a]")
	f.Add(chartConfigMap+`  a: {{ getHostByName "SERVER" | quote }}`+"\n"+`  b: {{ expandenv "$UMBEL_CANARY" }}`, "")
	f.Add(chartConfigMap+`  a: {{ .Files.Get "FILE" | quote }}`+"\n", "$ref: http://SERVER/")
	f.Add(chartConfigMap+`  a: {{ keys .Values | join "," | quote }}{{ values .Values | toJson | quote }}`+"\n", "{a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7}")
	f.Add(chartConfigMap+`  a: {{ date "15:04" 0 }}{{ toDate "2006" "2024" | unixEpoch }}{{ . }}`+"\n", "")
	f.Add(`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`, "")
	f.Add(`{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, "")
	f.Add(`{{ tpl .Values.t . }}`, "t: '{{ tpl .Values.t . }}'")
	f.Add(`{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}`, "")
	f.Add(`{{ $x := "y" }}{{ range until 40 }}{{ $x = cat $x $x }}{{ end }}`, "")
	f.Add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {helm.sh/hook: {{ .Values.hook }}}}", "hook: pre-install,test")
	f.Fuzz(func(t *testing.T, template, values string) {
		o.chart(t, chartFiles(map[string]string{"templates/a.yaml": o.here(template)}), options(o.here(values)))
	})
}

// FuzzKustomization: whatever a kustomization and a file beside it say, it gives objects or says why it does not, and so on as above.
func FuzzKustomization(f *testing.F) {
	o := newOutside(f)
	for _, entry := range []string{
		"a.yaml", "http://SERVER/a.yaml", "http://SERVER/a.git?ref=main", "git@SERVER:a/b.git", "ssh://git@SERVER/a", "git::http://SERVER/a.git", "SERVER/a.git", "github.com/a/b",
		"file://FILE", "FILE", "../../../../../../..FILE", "/etc/passwd", "SERVER/a/b//c?ref=x&timeout=1s", "oci://SERVER/x", "s3://SERVER/x", "hg::http://SERVER/x", "_git@SERVER:x", "x@SERVER/y",
	} {
		f.Add("resources: ['"+entry+"']\n", "")
	}
	for _, entry := range []string{"http://SERVER/a.yaml", "FILE"} { // fuzzing puts the others there: each seed is rendered in every run of the tests
		f.Add("resources: [a.yaml]\ncomponents: ['"+entry+"']\n", "")
		f.Add("bases: ['"+entry+"']\npatches: [{path: '"+entry+"'}]\n", "")
		f.Add("resources: [a.yaml]\nconfigMapGenerator: [{name: x, files: ['k="+entry+"'], envs: ['"+entry+"']}]\n", "")
		f.Add("resources: [a.yaml]\nopenapi: {path: '"+entry+"'}\ncrds: ['"+entry+"']\nconfigurations: ['"+entry+"']\n", "")
		f.Add("resources: [a.yaml]\nreplacements: [{path: '"+entry+"'}]\ngenerators: ['"+entry+"']\n", "")
		f.Add("resources: [a.yaml]\ngenerators: [b.yaml]\n", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nfiles: ['"+entry+"']\n")
		f.Add("resources: [a.yaml]\nhelmCharts: [{name: x, repo: '"+entry+"'}]\n", "")
		f.Add("resources: [a.yaml]\ntransformers: [b.yaml]\n", "apiVersion: x\nkind: Y\nmetadata: {name: x, annotations: {config.kubernetes.io/function: \"container: {image: '"+entry+"'}\"}}\n")
	}
	f.Add("resources: [a.yaml]\ntransformers: [b.yaml]\n", "apiVersion: x\nkind: Y\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: sh}'}}\n")
	f.Add("resources: [a.yaml]\nconfigMapGenerator: [{name: x, literals: [UMBEL_CANARY], envs: [b.yaml]}]\n", "UMBEL_CANARY\n$UMBEL_CANARY\n")
	f.Add("resources: [a.yaml]\nnamePrefix: x-\nbuildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]\n", "")
	f.Add("vars: [{name: x, objref: {kind: ConfigMap, name: a}}]\nresources: [a.yaml]\n", "")
	f.Fuzz(func(t *testing.T, text, beside string) {
		files := tree(map[string]string{
			"kustomization.yaml": o.here(text), "a.yaml": config("a"), "b.yaml": o.here(beside),
			"c/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n",
		})
		o.check(t, files, func(files fs.FS) Maker { return folderBy(o.workers.read, files, ".") },
			func(files fs.FS) Maker { return Folder(files, ".") }, []string{"kustomization.yaml", "a.yaml", "b.yaml", `kustomization in "."`, `path "."`, "c/"})
	})
}
