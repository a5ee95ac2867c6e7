package delivery_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// shopChart is a chart of one ConfigMap and a hook that is left out.
func shopChart(version string) map[string]string {
	return map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: " + version + "\n",
		"values.yaml": "greeting: hello\npassword: none\nsize: small\n",
		"templates/motd.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n" +
			"data: {text: {{ .Values.greeting | quote }}, password: {{ .Values.password | quote }}, size: {{ .Values.size }}, version: {{ .Chart.Version }}}\n" +
			"{{ if eq .Values.size \"wrong\" }}{{ fail (print \"no size for \" .Values.password) }}{{ end }}\n",
		"templates/test.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: try, annotations: {helm.sh/hook: test}}\nspec: {containers: []}\n",
	}
}

// configMap makes a ConfigMap what it is to hold.
func (h *hub) configMap(name string, data map[string]string) {
	h.t.Helper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}, Data: data}
	if err := h.Create(h.t.Context(), c); err != nil {
		h.must(h.Update(h.t.Context(), c))
	}
}

// charts starts a Helm repository, and makes the Secret that opens it.
func (h *hub) charts() (*sourcetest.Charts, *v1alpha1.LocalReference) {
	h.t.Helper()
	repository := sourcetest.NewCharts(h.t)
	right, _ := repository.Credentials()
	h.secret("charts", map[string]string{"username": right.Username, "password": right.Password, "ca.crt": string(right.CA)}, nil)
	return repository, &v1alpha1.LocalReference{Name: "charts"}
}

// TestAChart: from a repository over HTTP, with values from everywhere, on two clusters that differ.
func TestAChart(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	repository, secret := h.charts()
	repository.Add("shop", shopChart("1.0.0"), []string{"1.0.0"})
	repository.Add("shop", shopChart("2.0.0"), []string{"2.0.0"})
	h.secret("secret-values", map[string]string{"values.yaml": "password: " + sourcetest.Canary + "\n"}, nil)
	p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "app"}}
	p.Spec.PlacementRef.Name = "prod"
	p.Spec.Source.Helm = &v1alpha1.HelmSource{URL: repository.URL, Chart: "shop", Version: ">=1 <2", SecretRef: secret, PollInterval: &metav1.Duration{Duration: 3600e9}}
	p.Spec.Helm = &v1alpha1.HelmOptions{
		ReleaseName: "web", Namespace: "shops",
		ValuesFrom: []v1alpha1.HelmValuesReference{{Kind: "ConfigMap", Name: "sizes", Key: "size.yaml"}, {Kind: "Secret", Name: "secret-values"}},
		Values:     &runtime.RawExtension{Raw: []byte(`{"greeting": "hi ${cluster.labels.region}"}`)},
	}
	h.must(h.Create(t.Context(), p))
	key := v1alpha1.KeyOf(h.namespace, "app")
	h.waitFor("app", v1alpha1.ConditionRendered, "False ValuesInvalid", `spec.helm.valuesFrom[0]: there is no ConfigMap "sizes" in namespace "`+h.namespace+`"`)
	h.configMap("sizes", map[string]string{"other": ""})
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionRendered, "False ValuesInvalid", `ConfigMap "sizes" has no key "size.yaml"`)
	h.configMap("sizes", map[string]string{"size.yaml": "size: large"})
	h.refresh("app")
	h.waitTold(eu, key, `templates/motd.yaml {"apiVersion":"v1","data":{"password":"`+sourcetest.Canary+`","size":"large","text":"hi eu","version":"1.0.0"},"kind":"ConfigMap","metadata":{"name":"web","namespace":"shops"}}`)
	h.waitTold(us, key, `"text":"hi us"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", `1.0.0, the newest version that ">=1 <2" allows`)
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", "chart shop 1.0.0 gives 1 object, different by cluster.labels.region; left out: Pod try (hook test)")

	// A new version, and new values: each is a Release. A hub that starts again makes none.
	repository.Add("shop", shopChart("1.1.0"), []string{"1.1.0"})
	h.refresh("app")
	h.waitTold(eu, key, `"version":"1.1.0"`)
	h.configMap("sizes", map[string]string{"size.yaml": "size: huge"})
	h.refresh("app")
	h.waitTold(eu, key, `"size":"huge"`)
	h.waitTold(us, key, `"size":"huge"`)
	told := h.told(eu, key)
	h.eventually("the status", func() string {
		if release := h.pkg("app").Status.Release; !strings.HasPrefix(told, release+" ") {
			return "it names " + release
		}
		return ""
	})
	rendered := h.logs.count("msg=rendering")
	h.stop()
	h.start()
	h.eventually("a rendering after a start", func() string {
		if h.logs.count("msg=rendering") == rendered {
			return "none yet"
		}
		return ""
	})
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", "left out: Pod try (hook test)")
	if got := h.told(eu, key); got != told {
		t.Errorf("a hub that starts again tells %s instead of %s", got, told)
	}

	// What goes wrong keeps what is there, and tells no secret.
	held := h.told(eu, key)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Helm.Values.Raw = []byte(`{"size": "wrong"}`) })
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", "no size for …", "stays")
	h.must(h.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "secret-values"}}))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionRendered, "False ValuesInvalid", `there is no Secret "secret-values"`, "stays")
	if got := h.told(eu, key); got != held {
		t.Errorf("the cluster is told %s", got)
	}
	h.tellsNoSecret()
}

// TestAChartInGit: a folder with a Chart.yaml is a chart, without a word; options are for charts.
func TestAChartInGit(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	files := map[string]string{"plain/a.yaml": configMap("a", "a")}
	for name, text := range shopChart("0.1.0") {
		files["charts/shop/"+name] = text
	}
	files["charts/shop/prod.yaml"] = "size: large\n"
	repo.Commit(files)
	key := h.create("app", repo.Serve(nil), "charts/shop", "prod")
	h.waitTold(eu, key, `charts/shop/templates/motd.yaml {"apiVersion":"v1","data":{"password":"none","size":"small","text":"hello","version":"0.1.0"},"kind":"ConfigMap","metadata":{"name":"app","namespace":"default"}}`)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Helm = &v1alpha1.HelmOptions{ValuesFiles: []string{"prod.yaml"}} })
	h.waitTold(eu, key, `"size":"large"`)
	us := h.cluster("us", map[string]string{"tier": "edge"})
	h.place("prod", eu, us)
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Variants = []v1alpha1.PackageVariant{{
			ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "edge"}},
			Helm:            &v1alpha1.HelmVariant{Values: runtime.RawExtension{Raw: []byte(`{"size": "tiny"}`)}},
		}}
	})
	h.waitTold(us, key, `"size":"tiny"`)
	h.waitTold(eu, key, `"size":"large"`)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Path = "plain" })
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", `spec.helm is given, and "plain" is no chart`, "stays")
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Helm = nil })
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", `spec.variants[0].helm.values has nothing to be given to: path "plain" is no chart`, "stays")
	inline := h.inline("inline", "prod", item("a", "a"))
	inline.Object["spec"].(map[string]any)["helm"] = map[string]any{"namespace": "x"}
	if err := h.Create(t.Context(), inline); err == nil || !strings.Contains(err.Error(), "spec.helm") {
		t.Errorf("options of a chart for manifests that stand in the Package: got %v", err)
	}
	h.must(client.IgnoreNotFound(h.Delete(t.Context(), h.pkg("app"))))
}

// TestAChartWhoseRepositoryIsAway: a hub that starts while nobody answers there renders for a new cluster with the values that the
// Package has, and changes nothing for those that have theirs.
func TestAChartWhoseRepositoryIsAway(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu)
	repository, secret := h.charts()
	repository.Add("shop", shopChart("1.0.0"), []string{"1.0.0"})
	p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "app"}}
	p.Spec.PlacementRef.Name = "prod"
	p.Spec.Source.Helm = &v1alpha1.HelmSource{URL: repository.URL, Chart: "shop", SecretRef: secret, PollInterval: &metav1.Duration{Duration: 3600e9}}
	p.Spec.Helm = &v1alpha1.HelmOptions{Values: &runtime.RawExtension{Raw: []byte(`{"greeting": "hi ${cluster.labels.region}", "size": "large"}`)}}
	h.must(h.Create(t.Context(), p))
	key := v1alpha1.KeyOf(h.namespace, "app")
	h.waitTold(eu, key, `"size":"large","text":"hi eu"`)
	h.eventually("the status", func() string {
		if release := h.pkg("app").Status.Release; release == "" {
			return "it names no release"
		}
		return ""
	})
	_, held, _ := strings.Cut(h.told(eu, key), " ")
	h.stop()
	repository.Stop()
	h.place("prod", eu, us)
	h.start()
	h.waitFor("app", v1alpha1.ConditionFetched, "False FetchFailed")
	h.waitTold(us, key, `"size":"large","text":"hi us"`)
	if _, got, _ := strings.Cut(h.told(eu, key), " "); got != held {
		t.Errorf("the cluster that had it is told %s, instead of %s", got, held)
	}
}
