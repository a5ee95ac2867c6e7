package edge

import (
	"encoding/json"
	"testing"
	"time"

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

// TestWhatMonitorsSay: what counts of an endpoint, and that all else is noted.
func TestWhatMonitorsSay(t *testing.T) {
	web := Pod{Namespace: "shop", Name: "web-1", Address: "10.0.0.1", Labels: map[string]string{"app": "web"}, Ports: []Port{{"metrics", 9090}}}
	for _, c := range []struct {
		reason, spec  string
		every, within time.Duration
		shown         bool // it is asked through a forwarded port
		notes         []string
	}{
		{"nothing", "{port: metrics}", 0, 5 * time.Second, false, nil},
		{"an interval, and a timeout", "{port: metrics, interval: 1m30s, scrapeTimeout: 10s}", 90 * time.Second, 10 * time.Second, false, nil},
		{"too often, and for longer than that", "{port: metrics, interval: 1s, scrapeTimeout: 20s}", 5 * time.Second, 5 * time.Second, false, []string{
			"spec.podMetricsEndpoints[0].interval 5s is taken for 1s", "spec.podMetricsEndpoints[0].scrapeTimeout 5s is taken for 20s",
		}},
		{"a timeout of which others would wait", "{port: metrics, interval: 5m, scrapeTimeout: 1m}", 5 * time.Minute, 15 * time.Second, false, []string{"spec.podMetricsEndpoints[0].scrapeTimeout 15s is taken for 1m"}},
		{"a password", "{port: metrics, basicAuth: {username: {name: s, key: u}, password: {name: s, key: p}}}", 0, 5 * time.Second, true, nil},
		{"a token", "{port: metrics, authorization: {credentials: {name: s, key: t}}}", 0, 5 * time.Second, true, nil},
		{"a token of old", "{port: metrics, bearerTokenSecret: {name: s, key: t}}", 0, 5 * time.Second, true, nil},
		{"one that is none", "{port: metrics, bearerTokenSecret: {key: ''}}", 0, 5 * time.Second, false, nil},
		{"a pod that has to prove who it is", "{port: metrics, scheme: https, tlsConfig: {ca: {secret: {name: s, key: ca}}}}", 0, 5 * time.Second, true, nil},
		{"one that has not", "{port: metrics, scheme: HTTPS, tlsConfig: {insecureSkipVerify: true}}", 0, 5 * time.Second, false, nil},
		{"TLS without TLS", "{port: metrics, tlsConfig: {serverName: a}}", 0, 5 * time.Second, false, nil},
		{"what does not count", "{port: metrics, params: {a: [b]}, relabelings: [{action: drop}], honorLabels: true, oauth2: {clientId: {}}, tlsConfig: {caFile: /a}}", 0, 5 * time.Second, false, []string{
			"spec.podMetricsEndpoints[0].honorLabels it does not count here", "spec.podMetricsEndpoints[0].oauth2 it does not count here", "spec.podMetricsEndpoints[0].params it does not count here",
			"spec.podMetricsEndpoints[0].relabelings it does not count here", "spec.podMetricsEndpoints[0].tlsConfig.caFile it does not count here",
		}},
		{"what is so here as well", "{port: metrics, honorLabels: false, honorTimestamps: false, filterRunning: true, metricRelabelings: [], params: {}}", 0, 5 * time.Second, false, nil},
		{"what is no duration", "{port: metrics, interval: soon}", 0, 5 * time.Second, false, []string{`spec.podMetricsEndpoints[0].interval it is no duration, and does not count: not a valid duration string: "soon"`}},
	} {
		m := monitor(t, "metadata: {namespace: shop, name: m}\nspec: {selector: {}, podMetricsEndpoints: ["+c.spec+"]}")
		watch := NewWatch([]Monitor{m}, nil, nil)
		targets := watch.Targets(&web)
		if len(targets) != 1 || targets[0].Every != c.every || targets[0].Within != c.within || (targets[0].Access != nil) != c.shown || targets[0].Address != "10.0.0.1" {
			t.Errorf("%s: asked %+v", c.reason, targets)
		}
		if c.shown && (targets[0].Access.Namespace != "shop" || targets[0].Access.Of != "PodMonitor shop/m") {
			t.Errorf("%s: it is %+v", c.reason, targets[0].Access)
		}
		var notes []string
		for _, n := range watch.Notes {
			if n.Object != "PodMonitor shop/m" {
				t.Errorf("%s: noted of %s", c.reason, n.Object)
			}
			notes = append(notes, n.Field+" "+n.Why)
		}
		if diff := cmp.Diff(c.notes, notes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	for reason, text := range map[string]string{
		"a selector that cannot be read":  "spec: {selector: {matchExpressions: [{key: a, operator: Near}]}, endpoints: [{port: a}]}",
		"a field that is something else":  "spec: {selector: {}, endpoints: [{port: 7}]}",
		"a path that leads out of a pod":  "spec: {selector: {}, endpoints: [{port: a, path: /../x}]}",
		"a limit that is not held for it": "spec: {selector: {}, sampleLimit: 5, endpoints: [{port: a}]}",
	} {
		watch := NewWatch(nil, []Monitor{monitor(t, "metadata: {namespace: shop, name: m}\n"+text)}, nil)
		if len(watch.Notes) != 1 || watch.Notes[0].Object != "ServiceMonitor shop/m" {
			t.Errorf("%s: noted %v", reason, watch.Notes)
		}
	}
}
