package edge

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

func monitor(t *testing.T, text string) (m Monitor) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTargets(t *testing.T) {
	web := Pod{Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web"}, Ports: []Port{{"http", 8080}, {"metrics", 9090}}}
	annotated := func(pairs ...string) Pod {
		p := web
		p.Annotations = map[string]string{"prometheus.io/scrape": "true"}
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations["prometheus.io/"+pairs[i]] = pairs[i+1]
		}
		return p
	}
	service := Service{Namespace: "shop", Name: "web", Labels: map[string]string{"team": "a"}, Selector: map[string]string{"app": "web"}, Ports: map[string]intstr.IntOrString{"http": intstr.FromInt32(8080), "mon": intstr.FromString("metrics")}}
	const own = "metadata: {namespace: shop, name: m}\n"
	cases := []struct {
		reason         string
		pod            Pod
		pods, services string
		want           []string
	}{
		{"nobody asks", web, "", "", nil},
		{"an annotation alone: the first port", annotated(), "", "", []string{"pods /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"}},
		{"with port, path and scheme", annotated("port", "9443", "path", "/a/b_c.d", "scheme", "https"), "", "", []string{"pods /api/v1/namespaces/shop/pods/https:web-1:9443/proxy/a/b_c.d"}},
		{"a port by its name", annotated("port", "metrics"), "", "", []string{"pods /api/v1/namespaces/shop/pods/web-1:9090/proxy/metrics"}},
		{"a port that is none", annotated("port", "70000"), "", "", nil},
		{"a name that no port has", annotated("port", "nope"), "", "", nil},
		{"false", Pod{Namespace: "shop", Name: "web-1", Annotations: map[string]string{"prometheus.io/scrape": "false"}, Ports: web.Ports}, "", "", nil},
		{"a path that leads out of the pod", annotated("path", "/../../../secrets"), "", "", nil},
		{"… in other writings", annotated("path", "/%2e%2e/secrets"), "", "", nil},
		{"… with a query", annotated("path", "/metrics?a=b"), "", "", nil},
		{"a PodMonitor of its namespace, by name of a port", web, own + "spec: {selector: {matchLabels: {app: web}}, podMetricsEndpoints: [{port: metrics, path: /m}]}", "", []string{"podmonitor/shop/m /api/v1/namespaces/shop/pods/web-1:9090/proxy/m"}},
		{"a PodMonitor of another namespace", web, "metadata: {namespace: mon, name: m}\nspec: {selector: {}, podMetricsEndpoints: [{port: metrics}]}", "", nil},
		{"… that looks into all", web, "metadata: {namespace: mon, name: m}\nspec: {selector: {}, namespaceSelector: {any: true}, podMetricsEndpoints: [{portNumber: 1234}]}", "", []string{"podmonitor/mon/m /api/v1/namespaces/shop/pods/web-1:1234/proxy/metrics"}},
		{"… into some", web, "metadata: {namespace: mon, name: m}\nspec: {selector: {}, namespaceSelector: {matchNames: [shop]}, podMetricsEndpoints: [{targetPort: metrics}, {port: nope}]}", "", []string{"podmonitor/mon/m /api/v1/namespaces/shop/pods/web-1:9090/proxy/metrics"}},
		{"a ServiceMonitor: ports of the Service, by name and by number", web, "", own + "spec: {selector: {matchLabels: {team: a}}, endpoints: [{port: mon}, {port: http, path: /x}]}", []string{
			"servicemonitor/shop/m /api/v1/namespaces/shop/pods/web-1:9090/proxy/metrics", "servicemonitor/shop/m /api/v1/namespaces/shop/pods/web-1:8080/proxy/x",
		}},
		{"a ServiceMonitor for other Services", web, "", own + "spec: {selector: {matchLabels: {team: b}}, endpoints: [{port: mon}]}", nil},
		{"the same place is asked once", annotated("port", "9090"), own + "spec: {selector: {}, podMetricsEndpoints: [{port: metrics}]}", own + "spec: {selector: {}, endpoints: [{port: mon}]}", []string{"pods /api/v1/namespaces/shop/pods/web-1:9090/proxy/metrics"}},
		{"a selector that cannot be read", web, own + "spec: {selector: {matchExpressions: [{key: a, operator: Near}]}, podMetricsEndpoints: [{port: metrics}]}", "", nil},
	}
	for _, c := range cases {
		var pods, services []Monitor
		if c.pods != "" {
			pods = append(pods, monitor(t, c.pods))
		}
		if c.services != "" {
			services = append(services, monitor(t, c.services))
		}
		var got []string
		for _, target := range NewWatch(pods, services, []Service{service}).Targets(&c.pod) {
			got = append(got, string(target.Job)+" "+target.URL())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}
