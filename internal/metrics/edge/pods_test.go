package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promlabels "github.com/prometheus/prometheus/model/labels"
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
	web := Pod{Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web"}, Ports: []Port{{Name: "http", Number: 8080}, {Name: "metrics", Number: 9090, Container: "web"}}}
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
	web := Pod{Namespace: "shop", Name: "web-1", Address: "10.0.0.1", Labels: map[string]string{"app": "web"}, Ports: []Port{{Name: "metrics", Number: 9090}}}
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
		{"a token that is asked for", "{port: metrics, oauth2: {clientId: {secret: {name: s, key: i}}, clientSecret: {name: s, key: k}, tokenUrl: 'https://idp.example.com/token'}}", 0, 5 * time.Second, true, nil},
		{"what does not count", "{port: metrics, proxyUrl: 'http://p', oauth2: {tokenUrl: 'http://idp/', noProxy: a, tlsConfig: {certFile: /b}}, tlsConfig: {caFile: /a}, relabelings: [{targetLabel: __scrape_interval__, replacement: 1s}]}", 0, 5 * time.Second, true, []string{
			"spec.podMetricsEndpoints[0].proxyUrl it does not count here", "spec.podMetricsEndpoints[0].tlsConfig.caFile it does not count here",
			"spec.podMetricsEndpoints[0].oauth2.noProxy it does not count here", "spec.podMetricsEndpoints[0].oauth2.tlsConfig.certFile it does not count here",
			"spec.podMetricsEndpoints[0].relabelings[0].targetLabel __scrape_interval__ does not count here; the endpoint's interval and scrapeTimeout do",
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
		"a limit that is not held for it": "spec: {selector: {}, bodySizeLimit: 5MB, endpoints: [{port: a}]}",
		"of what else than its node":      "spec: {selector: {}, attachMetadata: {node: true, pod: true}, endpoints: [{port: a}]}",
		"a proxy that is none":            "spec: {selector: {}, endpoints: [{port: a, oauth2: {tokenUrl: 'http://a', proxyUrl: 'http://a:b@c'}}]}",
		"a step that is none":             "spec: {selector: {}, endpoints: [{port: a, relabelings: [{action: Move}]}]}",
		"a regex that is none":            "spec: {selector: {}, endpoints: [{port: a, metricRelabelings: [{action: drop, regex: '('}]}]}",
		"a step that lacks its target":    "spec: {selector: {}, endpoints: [{port: a, metricRelabelings: [{replacement: x}]}]}",
		"two ways to be known":            "spec: {selector: {}, endpoints: [{port: a, basicAuth: {}, oauth2: {tokenUrl: 'http://a'}}]}",
		"a token from a file":             "spec: {selector: {}, endpoints: [{port: a, oauth2: {tokenUrl: 'file:///a'}}]}",
		"a token endpoint with a user":    "spec: {selector: {}, endpoints: [{port: a, oauth2: {tokenUrl: 'http://a:b@c'}}]}",
	} {
		watch := NewWatch(nil, []Monitor{monitor(t, "metadata: {namespace: shop, name: m}\n"+text)}, nil)
		if len(watch.Notes) != 1 || watch.Notes[0].Object != "ServiceMonitor shop/m" {
			t.Errorf("%s: noted %v", reason, watch.Notes)
		}
	}
}

// TestLimitsOfMonitors: more pods than an endpoint may have, and series with more labels, or longer ones, than they may.
func TestLimitsOfMonitors(t *testing.T) {
	for _, c := range []struct {
		limit  string
		beyond bool
	}{
		{"targetLimit: 2", false}, {"targetLimit: 1", true}, {"labelLimit: 3", false}, {"labelLimit: 2", true},
		{"labelNameLengthLimit: 8", false}, {"labelNameLengthLimit: 7", true}, {"labelValueLengthLimit: 12", false}, {"labelValueLengthLimit: 11", true},
	} {
		m := monitor(t, "metadata: {namespace: shop, name: m}\nspec: {"+c.limit+", selector: {}, podMetricsEndpoints: [{port: other}, {port: metrics}]}")
		watch := NewWatch([]Monitor{m}, nil, nil)
		var targets []Target
		for _, name := range []string{"a", "b"} {
			targets = append(targets, watch.Targets(&Pod{Namespace: "shop", Name: name, Ports: []Port{{Name: "metrics", Number: 1}}})...)
		}
		if len(targets) != 2 || len(watch.Notes) > 0 {
			t.Fatalf("%s: %d pods, %v", c.limit, len(targets), watch.Notes)
		}
		set := promlabels.FromStrings("__name__", "orders_total", "app", "shop", "team", "a")
		field, _, _ := strings.Cut(c.limit, ":")
		err := errors.Join(targets[0].Reading.TooMany(), targets[1].Reading.Within(set))
		if c.beyond != (err != nil) || err != nil && !strings.Contains(err.Error(), "PodMonitor shop/m: spec."+field+": ") {
			t.Errorf("%s: %v", c.limit, err)
		}
	}
}

// TestTargetsAreRelabelled: the labels of a target, and where it is asked, are what the steps of its endpoint make of them, with Prometheus' own names for what is known of a
// pod and a Service. They lead to no other pod, and to no job of the agent's own.
func TestTargetsAreRelabelled(t *testing.T) {
	web := Pod{
		Namespace: "shop", Name: "web-1", Address: "10.0.0.1", Labels: map[string]string{"app": "web", "example.com/tier": "front"}, Annotations: map[string]string{"example.com/port": "9091"},
		About: map[string]string{"node_name": "n1"}, Node: &Node{Name: "n1", Labels: map[string]string{"topology.kubernetes.io/zone": "a"}}, Ports: []Port{{Name: "metrics", Number: 9090, Container: "main"}},
	}
	service := Service{
		Namespace: "shop", Name: "web", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"owner": "ada"}, Selector: map[string]string{"app": "web"},
		Ports: map[string]intstr.IntOrString{"mon": intstr.FromString("metrics")},
	}
	of := `instance="shop/web-1:9090", job="servicemonitor/shop/m", namespace="shop", pod="web-1"`
	long := strings.Repeat("{targetLabel: a, sourceLabels: [a, a]},", 20)
	for _, c := range []struct{ reason, spec, endpoint, want, note string }{
		{"nothing", "", "", "9090/metrics {" + of + "}", ""},
		{"labels of the Service and of the pod", "jobLabel: team, targetLabels: [team, none], podTargetLabels: [example.com/tier], ", "", `9090/metrics {example_com_tier="front", instance="shop/web-1:9090", job="a", namespace="shop", pod="web-1", team="a"}`, ""},
		{"what is known of a pod", "", "relabelings: [{sourceLabels: [__meta_kubernetes_pod_node_name], targetLabel: node}, {sourceLabels: [__meta_kubernetes_pod_container_name, __meta_kubernetes_pod_container_port_name], separator: /, targetLabel: c}]", `9090/metrics {c="main/metrics", instance="shop/web-1:9090", job="servicemonitor/shop/m", namespace="shop", node="n1", pod="web-1"}`, ""},
		{"… of its node, where the monitor says so", "attachMetadata: {node: true}, ", "relabelings: [{sourceLabels: [__meta_kubernetes_node_name, __meta_kubernetes_node_label_topology_kubernetes_io_zone], separator: /, targetLabel: at}]", `9090/metrics {at="n1/a", instance="shop/web-1:9090", job="servicemonitor/shop/m", namespace="shop", pod="web-1"}`, ""},
		{"… and where it does not", "", "relabelings: [{sourceLabels: [__meta_kubernetes_node_label_topology_kubernetes_io_zone], targetLabel: at}]", "9090/metrics {" + of + "}", ""},
		{"… and of a Service", "", "relabelings: [{sourceLabels: [__meta_kubernetes_service_annotation_owner], targetLabel: owner, action: Uppercase}, {regex: __meta_kubernetes_service_label_(.+), action: labelmap}]", `9090/metrics {instance="shop/web-1:9090", job="servicemonitor/shop/m", namespace="shop", owner="ADA", pod="web-1", team="a"}`, ""},
		{"an own instance", "", "relabelings: [{sourceLabels: [pod], targetLabel: instance}, {regex: pod, action: labeldrop}]", `9090/metrics {instance="web-1", job="servicemonitor/shop/m", namespace="shop"}`, ""},
		{"it is dropped", "", "relabelings: [{sourceLabels: [__meta_kubernetes_pod_label_app], regex: web, action: drop}]", "", ""},
		{"it is kept", "", "relabelings: [{sourceLabels: [__meta_kubernetes_pod_labelpresent_app], regex: 'true', action: keep}]", "9090/metrics {" + of + "}", ""},
		{"another port, path, scheme and parameter", "", "params: {a: [b, c]}, relabelings: [{sourceLabels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_example_com_port], separator: ':', targetLabel: __address__}, {targetLabel: __metrics_path__, replacement: /x}, {targetLabel: __scheme__, replacement: https}, {targetLabel: __param_a, replacement: d}]", `https 9091/x a=d&a=c {instance="shop/web-1:9091", job="servicemonitor/shop/m", namespace="shop", pod="web-1"}`, ""},
		{"another pod", "", "relabelings: [{targetLabel: __address__, replacement: '10.0.0.12:9090'}]", "", "spec.endpoints[0].relabelings it leads to another address than the pod's, and another port is all that it may lead to, so that nothing is asked"},
		{"a path that leads out of the pod", "", "relabelings: [{targetLabel: __metrics_path__, replacement: /../x}]", "", "spec.endpoints[0].relabelings it leads to what is no plain path, so that nothing is asked"},
		{"a job of the agent's", "", "relabelings: [{targetLabel: job, replacement: state}]", "9090/metrics {" + of + "}", `spec.endpoints[0].relabelings job "state" is the agent's own, and stays "servicemonitor/shop/m"`},
		{"no job", "", "relabelings: [{regex: job, action: labeldrop}]", "9090/metrics {" + of + "}", ""},
		{"what doubles at each step", "", "relabelings: [{targetLabel: a, replacement: aaaaaaaa}, " + long + "]", "", "spec.endpoints[0].relabelings it makes labels of more than 16384 bytes, so that nothing is asked"},
	} {
		m := monitor(t, "metadata: {namespace: shop, name: m}\nspec: {"+c.spec+"selector: {matchLabels: {team: a}}, endpoints: [{port: mon, "+c.endpoint+"}]}")
		watch, got := NewWatch(nil, []Monitor{m}, []Service{service}), ""
		for range 2 {
			got = ""
			for _, target := range watch.Targets(&web) {
				if target.Secure {
					got += "https "
				}
				got += fmt.Sprint(target.Port) + target.Path + " "
				if len(target.Params) > 0 {
					got += target.Params.Encode() + " "
				}
				got += target.Labels.String()
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
		noted := ""
		for _, n := range watch.Notes {
			noted += n.Field + " " + n.Why
		}
		if noted != c.note {
			t.Errorf("%s: noted %s, want %s", c.reason, noted, c.note)
		}
	}
}

// TestWherePodsLead: to other paths of theirs, whether they are asked through the API server or through a forwarded port, and nowhere else.
func TestWherePodsLead(t *testing.T) {
	const of = "https://api:6443/api/v1/namespaces/proxy/pods/web:80/proxy"
	for _, c := range []struct {
		reason, from, to string
		want             bool
	}{
		{"a slash", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:80/proxy/metrics/", true},
		{"another path, and a query", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:80/proxy/a?b=c", true},
		{"beside it", of + "/a/metrics", "other", true},
		{"below the path of a server of many clusters", "https://all/k8s/one/api/v1/namespaces/n/pods/web:80/proxy/m", "/k8s/one/api/v1/namespaces/n/pods/web:80/proxy/x", true},
		{"in another cluster of it", "https://all/k8s/one/api/v1/namespaces/n/pods/web:80/proxy/m", "/k8s/two/api/v1/namespaces/n/pods/web:80/proxy/x", false},
		{"another host", of + "/metrics", "https://elsewhere/api/v1/namespaces/proxy/pods/web:80/proxy/metrics", false},
		{"without TLS", of + "/metrics", "http://api:6443/api/v1/namespaces/proxy/pods/web:80/proxy/x", false},
		{"as somebody", of + "/metrics", "https://a:b@api:6443/api/v1/namespaces/proxy/pods/web:80/proxy/x", false},
		{"another pod", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:8080/proxy/metrics", false},
		{"what the namespace has", of + "/metrics", "/api/v1/namespaces/proxy/secrets", false},
		{"upward", of + "/metrics", "../../../secrets", false},
		{"upward, in another writing", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:80/proxy/%2e%2e/%2e%2e/x", false},
		{"upward, from below", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:80/proxy/a%2f..%2f..", false},
		{"nothing below it", of + "/metrics", "/api/v1/namespaces/proxy/pods/web:80/proxy", false},
		{"at the pod itself", "https://10.0.0.1:80/metrics", "/metrics/", true},
		{"another port of it", "https://10.0.0.1:80/metrics", "https://10.0.0.1:81/metrics", false},
	} {
		from, err := url.Parse(c.from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := from.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if got := Leads(from, to); got != c.want {
			t.Errorf("%s: from %s to %s: %t", c.reason, from, to, got)
		}
	}
}
