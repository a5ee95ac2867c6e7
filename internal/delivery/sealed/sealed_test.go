package sealed_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/sops"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
)

// keys are those of the tests' files.
type keys struct{ t testing.TB }

// Open implements sealed.Keys.
func (k keys) Open(file *sops.File) (*sops.Plain, error) {
	key, err := file.Key([]age.Identity{sopstest.Identity(k.t)})
	if err != nil {
		return nil, err
	}
	return file.Open(key)
}

// files makes a source of texts.
func files(texts map[string]string) fstest.MapFS {
	all := fstest.MapFS{}
	for name, text := range texts {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}

// deliver renders a folder as the hub does, and opens what came of it as a member does.
func deliver(t *testing.T, texts map[string]string) (map[string]map[string]any, error) {
	t.Helper()
	rendered, err := render.Objects(files(texts), ".")
	if err != nil {
		return nil, err
	}
	entries, err := rendered.For(make([]string, len(rendered.Variables)))
	if err != nil {
		return nil, err
	}
	opened := map[string]map[string]any{}
	for _, entry := range entries {
		if strings.Contains(string(entry.Object), sopstest.Marker) {
			t.Errorf("%s is not encrypted on the hub", entry.File)
		}
		id, err := bundle.Identify(entry.Object)
		if err != nil {
			return nil, err
		}
		object, err := open(t, entry.Object)
		if err != nil {
			return nil, err
		}
		metadata := object["metadata"].(map[string]any)
		if annotations, has := metadata["annotations"].(map[string]any); has {
			delete(annotations, sealed.EncryptedAnnotation)
			if len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
		opened[id.String()] = object
	}
	return opened, nil
}

func open(t *testing.T, raw []byte) (map[string]any, error) {
	t.Helper()
	rest, texts, isSealed, err := sealed.Split(raw)
	if err != nil {
		return nil, err
	}
	if isSealed {
		if rest, err = sealed.Open(rest, texts, keys{t}); err != nil {
			return nil, err
		}
	}
	var object map[string]any
	if err := json.Unmarshal(rest, &object); err != nil {
		t.Fatal(err)
	}
	return object, nil
}

func file(t *testing.T, name string) string { return string(sopstest.File(t, name)) }

func in64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestPlainFiles(t *testing.T) {
	got, err := deliver(t, map[string]string{"app.yaml": file(t, "app.yaml"), "several.yaml": file(t, "several.yaml"), "settings.yaml": file(t, "settings.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"Secret app": {
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{"name": "app", "annotations": map[string]any{"owner": "somebody"}},
			"data":     map[string]any{"password": in64(sopstest.Marker), "token": in64(sopstest.Marker)},
		},
		"Secret one":         {"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "one"}, "data": map[string]any{"a": in64("1")}},
		"ConfigMap two":      {"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "two"}, "data": map[string]any{"open": "to all"}},
		"Secret three":       {"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "three"}, "data": map[string]any{"b": in64("two")}},
		"ConfigMap settings": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings"}, "data": map[string]any{"key": sopstest.Marker, "open": "to all"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestThroughKustomize(t *testing.T) {
	got, err := deliver(t, map[string]string{
		"kustomization.yaml": `
namespace: team
namePrefix: eu-
commonAnnotations: {seen: "yes"}
labels: [{pairs: {tier: back}}]
resources: [app.yaml]
patches: [{path: patch.yaml}]
`,
		"app.yaml": file(t, "app.yaml"), "patch.yaml": file(t, "patch.yaml"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{"Secret team/eu-app": {
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{
			"name": "eu-app", "namespace": "team", "labels": map[string]any{"tier": "back"},
			"annotations": map[string]any{"owner": "somebody", "seen": "yes"},
		},
		"data": map[string]any{"password": in64(sopstest.Marker), "token": in64(sopstest.Marker), "more": in64(sopstest.Marker + "-more")},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGenerators(t *testing.T) {
	texts := map[string]string{"kustomization.yaml": `
generatorOptions: {disableNameSuffixHash: true}
secretGenerator:
- name: env
  envs: [file.env]
- name: files
  files: [types.yaml, types.json, file.ini, file.env, blob=file.bin, file.txt]
`}
	for _, name := range []string{"types.yaml", "types.json", "file.ini", "file.env", "file.bin", "file.txt"} {
		texts[name] = file(t, name)
	}
	got, err := deliver(t, texts)
	if err != nil {
		t.Fatal(err)
	}
	data := func(object string) map[string]string {
		plain := map[string]string{}
		entries, _ := got[object]["data"].(map[string]any)
		for key, value := range entries {
			raw, err := base64.StdEncoding.DecodeString(value.(string))
			if err != nil {
				t.Fatal(err)
			}
			plain[key] = string(raw)
		}
		return plain
	}
	env := map[string]string{"DB_PASSWORD": sopstest.Marker, "URL": "https://u:p@host/?a=b&c=d", "LINES": "one\ntwo"}
	if diff := cmp.Diff(env, data("Secret env")); diff != "" {
		t.Error(diff)
	}
	all := data("Secret files")
	for key, want := range map[string]string{
		"blob": "binary\x00\x01bytes \n\"quoted\"", "file.txt": "plain text\nof a certificate\n",
		"file.env": "# a comment\nDB_PASSWORD=" + sopstest.Marker + "\nURL=https://u:p@host/?a=b&c=d\nLINES=one\\ntwo\n",
	} {
		if all[key] != want {
			t.Errorf("%s: %q", key, all[key])
		}
	}
	for _, key := range []string{"types.yaml", "types.json", "file.ini"} {
		if all[key] == "" || strings.Contains(all[key], "ENC[") || strings.Contains(all[key], "sops") {
			t.Errorf("%s: %q", key, all[key])
		}
	}
	if len(all) != 6 {
		t.Errorf("%d values", len(all))
	}
}

// What somebody without a key does to a source puts no value where it was not meant to be.
func TestRefused(t *testing.T) {
	app, secret := file(t, "app.yaml"), file(t, "secret.yaml")
	ciphertext := strings.TrimSpace(strings.SplitN(strings.SplitN(app, "token: ", 2)[1], "\n", 2)[0])
	cases := []struct {
		reason string
		texts  map[string]string
		want   string
	}{
		{"a value is copied into an annotation", map[string]string{"app.yaml": app, "kustomization.yaml": `
resources: [app.yaml]
replacements:
- source: {kind: Secret, name: app, fieldPath: stringData.token}
  targets: [{select: {kind: Secret}, fieldPaths: [metadata.annotations.leak], options: {create: true}}]`}, "metadata.annotations.leak: is encrypted"},
		{"a value is copied to another key", map[string]string{"app.yaml": app, "kustomization.yaml": `
resources: [app.yaml]
replacements:
- source: {kind: Secret, name: app, fieldPath: stringData.token}
  targets: [{select: {kind: Secret}, fieldPaths: [stringData.other], options: {create: true}}]`}, "data.other: was encrypted at stringData.token"},
		{"a value is copied into a ConfigMap", map[string]string{
			"app.yaml": app, "map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\nstringData: {token: x}", "kustomization.yaml": `
resources: [app.yaml, map.yaml]
replacements:
- source: {kind: Secret, name: app, fieldPath: stringData.token}
  targets: [{select: {kind: ConfigMap}, fieldPaths: [stringData.token]}]`}, "was encrypted in a Secret of v1"},
		{"a Secret becomes a ConfigMap", map[string]string{"app.yaml": app, "kustomization.yaml": `
resources: [app.yaml]
patches:
- target: {kind: Secret}
  options: {allowKindChange: true}
  patch: |-
    - {op: replace, path: /kind, value: ConfigMap}
`}, "was encrypted in a Secret of v1"},
		{"a Secret gets to another namespace", map[string]string{"secret.yaml": secret, "kustomization.yaml": "namespace: mine\nresources: [secret.yaml]"},
			`the encrypted document says "shop"`},
		{"the block is taken off", map[string]string{"app.yaml": app[:strings.Index(app, "sops:")]}, "its file is not here"},
		{"a value is written into another document", map[string]string{
			"secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {token: '" + ciphertext + "'}"}, "its file is not here"},
		{"the MAC is not over the kind", map[string]string{"settings.yaml": file(t, "settings-maconly.yaml")}, "mac_only_encrypted"},
		{"who it is is encrypted", map[string]string{"app.yaml": file(t, "app-whole.yaml")}, "is encrypted, and the hub has to know it"},
		{"an encrypted env file in a ConfigMap", map[string]string{"file.env": file(t, "file.env"), "kustomization.yaml": "configMapGenerator: [{name: m, envs: [file.env]}]"},
			"use a secretGenerator"},
		{"a manifest as a file, to get it into another namespace", map[string]string{"secret.yaml": secret, "kustomization.yaml": "namespace: mine\nsecretGenerator: [{name: g, files: [secret.yaml]}]"},
			"it is a manifest, and a manifest is delivered as one"},
		{"a forged list of files, to be kept", map[string]string{"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: mine, annotations: {umbel.dev/sops: Keep}}\nsops: [1]"}, "has to be what sops wrote"},
		{"a forged list of files", map[string]string{"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nsops: [x]"}, "has to be what sops wrote"},
		{"a block of nothing", map[string]string{"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nsops: {}"}, "its file is not here"},
		{"a chart", map[string]string{"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0", "templates/app.yaml": app}, "a chart is rendered on the hub"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var err error
			if c.texts["Chart.yaml"] != "" {
				_, err = render.Chart(files(c.texts), ".", render.ChartOptions{ReleaseName: "c", Namespace: "c"})(render.Choice{})
			} else {
				_, err = deliver(t, c.texts)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "ENC[") {
				t.Errorf("the error has a ciphertext in it: %v", err)
			}
		})
	}
}

// A hub that does not check, or is not what it was, gets no further: the member checks the same.
func TestTheMemberChecks(t *testing.T) {
	app := file(t, "app.yaml")
	rendered, err := render.Objects(files(map[string]string{"app.yaml": app}), ".")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := rendered.For(nil)
	if err != nil {
		t.Fatal(err)
	}
	object := string(entries[0].Object)
	token := strings.SplitN(strings.SplitN(object, `"token":"`, 2)[1], `"`, 2)[0]
	password := strings.SplitN(strings.SplitN(object, `"password":"`, 2)[1], `"`, 2)[0]
	cases := []struct{ reason, object, want string }{
		{"as it is", object, ""},
		{"values change places", swap(t, object, token, password), "was encrypted at"},
		{"another kind", edit(t, object, func(o map[string]any) { o["kind"] = "ConfigMap" }), "was encrypted in a Secret"},
		{"into an annotation", edit(t, object, func(o map[string]any) {
			raw, err := base64.StdEncoding.DecodeString(token)
			if err != nil {
				t.Fatal(err)
			}
			o["metadata"].(map[string]any)["annotations"] = map[string]any{"a": string(raw)}
		}), "is encrypted, and the hub has to know it"},
		{"the file is not there", edit(t, object, func(o map[string]any) { o["sops"] = []any{} }), "its file is not here"},
		{"the file was changed", edit(t, object, func(o map[string]any) {
			o["sops"] = []any{strings.Replace(app, "owner: somebody", "owner: me", 1)}
		}), "its MAC is not that of its values"},
		{"something is added that is no ciphertext", edit(t, object, func(o map[string]any) { o["immutable"] = true }), ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			_, err := open(t, []byte(c.object))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func edit(t *testing.T, raw string, change func(map[string]any)) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(raw), &object); err != nil {
		t.Fatal(err)
	}
	change(object)
	out, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func swap(t *testing.T, raw, token, password string) string {
	return edit(t, raw, func(o map[string]any) {
		data := o["data"].(map[string]any)
		data["token"], data["password"] = password, token
	})
}

// Variables are put into what is not encrypted, and nothing that is verified is touched.
func TestVariables(t *testing.T) {
	rendered, err := render.Objects(files(map[string]string{
		"app.yaml": file(t, "app.yaml"), "kustomization.yaml": "namespace: ${cluster.labels.team}\nresources: [app.yaml]",
	}), ".")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cluster.labels.team"}, rendered.Variables); diff != "" {
		t.Fatal(diff)
	}
	entries, err := rendered.For([]string{"blue"})
	if err != nil {
		t.Fatal(err)
	}
	object, err := open(t, entries[0].Object)
	if err != nil {
		t.Fatal(err)
	}
	if got := object["metadata"].(map[string]any)["namespace"]; got != "blue" {
		t.Errorf("namespace %v", got)
	}
}

func TestKept(t *testing.T) {
	got, err := deliver(t, map[string]string{"kustomization.yaml": "resources: [app.yaml]\ncommonAnnotations: {umbel.dev/sops: Keep}", "app.yaml": file(t, "app.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	object := got["Secret app"]
	if _, is := object["sops"].(map[string]any); !is || !sops.IsCiphertext(object["stringData"].(map[string]any)["token"].(string)) {
		t.Errorf("it was not kept: %v", object)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"a":"RU5DWw=="},"sops":[]}`, "")
	f.Add(`{"apiVersion":"v1","kind":"Secret","data":{"a":1},"stringData":{"b":["c"]},"sops":[1]}`, string(sopstest.File(f, "app.yaml")))
	f.Fuzz(func(t *testing.T, object, text string) {
		rest, texts, isSealed, err := sealed.Split([]byte(object))
		if err != nil || !isSealed {
			return
		}
		_, _ = sealed.Open(rest, append(texts, text), keys{t})
		var fields map[string]any
		if json.Unmarshal([]byte(object), &fields) == nil {
			var sources sealed.Sources
			if sources.Look("file", []byte(text)) == nil {
				_ = sources.Seal(fields)
			}
		}
	})
}

// What nobody could verify any more is refused, with what to do instead.
func TestWhereNothingCanBeVerified(t *testing.T) {
	chart := files(map[string]string{"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0", "secrets.yaml": file(t, "types.yaml"),
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"})
	_, err := render.Chart(chart, ".", render.ChartOptions{ReleaseName: "c", Namespace: "c", ValuesFiles: []string{"secrets.yaml"}})(render.Choice{})
	if err == nil || !strings.Contains(err.Error(), "secrets.yaml: is encrypted by SOPS, and a chart is rendered on the hub") {
		t.Errorf("encrypted values: %v", err)
	}
	written := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"sops":{"mac":"x"}}`
	if _, err := render.Inline([][]byte{[]byte(written)})(render.Choice{}); err == nil || !strings.Contains(err.Error(), "put it into a source") {
		t.Errorf("in a Package itself: %v", err)
	}
	others := strings.NewReplacer("    age:\n", "    pgp:\n", "recipient:", "fp:").Replace(file(t, "app.yaml"))
	if _, err := deliver(t, map[string]string{"app.yaml": others}); err == nil || !strings.Contains(err.Error(), "encrypted with pgp, and agents have keys of age") {
		t.Errorf("without a key of age: %v", err)
	}
	if _, err := deliver(t, map[string]string{"app.yaml": strings.Replace(file(t, "app.yaml"), "lastmodified: ", "lastmodified: x", 1)}); err == nil || !strings.Contains(err.Error(), "app.yaml: reading what SOPS encrypted") {
		t.Errorf("a damaged file: %v", err)
	}
}
