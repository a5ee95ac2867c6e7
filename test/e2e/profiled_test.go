//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/test/rig"
)

// ordersPod asks to be measured, by an annotation, and by a ServiceMonitor with a token. What it says has a cluster, which is another's, and whether who asks shows the token.
func ordersPod() string {
	mounts, volumes := ownPrograms()
	return `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: v1
kind: Namespace
metadata: {name: orders}
---
apiVersion: v1
kind: Secret
metadata: {name: scraper, namespace: orders}
stringData: {token: t0ken}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: server, namespace: orders}
data:
  serve.pl: |
    use IO::Socket::INET;
    my $door = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die;
    while (my $one = $door->accept) {
      my ($path, $shown) = ('', 0);
      while (<$one>) {
        $path = $1 if /^GET (\S+)/;
        $shown = 1 if /^Authorization: Bearer t0ken\r?$/i;
        last if /^\r?$/;
      }
      print $one "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n# TYPE orders_total counter\norders_total{cluster=\"other\",path=\"$path\",shown=\"$shown\"} 7\n";
      close $one;
    }
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: orders, labels: {app: orders}}
spec:
  selector: {app: orders}
  ports: [{name: web, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata:
  name: orders
  namespace: orders
  labels: {app: orders}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: perl
    image: registry.umbel.dev/coredns:v1
    imagePullPolicy: Never
    command: [/usr/bin/perl, /server/serve.pl]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    volumeMounts:
    - {name: server, mountPath: /server}
` + mounts + `  volumes:
  - {name: server, configMap: {name: server}}
` + volumes + `---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: orders, namespace: orders}
spec:
  selector: {matchLabels: {app: orders}}
  endpoints: [{port: web, path: /shown, authorization: {credentials: {name: scraper, key: token}}}]
`
}

// profiled: each cluster is measured by another profile, and the hub has of each what its profile names, of its API server, its kubelet, cAdvisor, its objects and its pods, and all of
// it as that cluster's. Pods are asked through the API server, and where they are shown a token through a port that their kubelet forwards.
func profiled(s *story) {
	web, at, err := s.Door()
	if err != nil {
		s.Fatal(err)
	}
	hub := measured.At(web, at)
	profiles := map[string]string{"dev": "Minimal", "prod-eu": "Standard", "prod-us": "Full"}
	kubectl := func(cluster string) string {
		return rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + s.cluster(cluster).Kubeconfig + " "
	}
	for _, cluster := range everyCluster {
		s.eventually(cluster+" has a pod that asks to be measured", func(ctx context.Context) error { // the monitor once its kind is known
			_, err := s.Shell(ctx, kubectl(cluster)+"apply -f - <<'END'\n"+ordersPod()+"END")
			return err
		})
	}
	for _, cluster := range everyCluster {
		s.shell(kubectl(cluster) + "-n orders wait --for=condition=Ready pod/orders --timeout=180s")
		s.onHub("patch membercluster " + cluster + ` --type=merge -p '{"spec":{"metrics":{"profile":"` + profiles[cluster] + `"}}}'`)
	}
	const dns = `{namespace="kube-system",pod=~"coredns-.+"`
	for _, c := range []struct {
		source, promql string
		want           []string // clusters that have it
	}{
		{"an API server", `apiserver_request_total > 0`, []string{"dev", "prod-eu", "prod-us"}},
		{"… by verb", `apiserver_request_total{verb="LIST"} > 0`, []string{"prod-eu", "prod-us"}},
		{"… all of it", `apiserver_request_duration_seconds_bucket`, []string{"prod-us"}},
		{"a kubelet, of its node", `node_memory_working_set_bytes > 0`, []string{"dev", "prod-eu", "prod-us"}},
		{"… of a pod", `pod_memory_working_set_bytes` + dns + `} > 0`, []string{"prod-eu", "prod-us"}},
		{"… of itself", `kubelet_running_pods > 0`, []string{"prod-eu", "prod-us"}},
		{"… all of it", `kubelet_runtime_operations_total > 0`, []string{"prod-us"}},
		{"cAdvisor, of a pod's network", `container_network_receive_bytes_total` + dns + `} > 0`, []string{"prod-eu", "prod-us"}},
		{"… of its containers, all of it", `container_cpu_usage_seconds_total` + dns + `,container="coredns"} > 0`, []string{"prod-us"}},
		{"nodes", `kube_node_status_condition{condition="Ready",status="true"} == 1`, []string{"dev", "prod-eu", "prod-us"}},
		{"deployments", `kube_deployment_status_replicas_available{namespace="kube-system",deployment="coredns"} == 1`, []string{"prod-eu", "prod-us"}},
		{"a pod with an annotation", `orders_total{job="pods",namespace="orders",pod="orders",exported_cluster="other",path="/metrics",shown="0"} == 7`, []string{"prod-eu", "prod-us"}},
		{"a ServiceMonitor, with its token", `orders_total{job="servicemonitor/orders/orders",pod="orders",exported_cluster="other",path="/shown",shown="1"} == 7`, []string{"prod-eu", "prod-us"}},
		{"nobody, of another cluster", `{cluster="other"}`, nil},
		{"nobody who does not answer", `up == 0`, nil},
	} {
		s.eventually("measured of "+c.source, func(ctx context.Context) error {
			samples, err := hub.Query(ctx, c.promql, nil)
			if err != nil {
				return err
			}
			found := map[string]bool{}
			for _, sample := range samples {
				found[sample.Labels["cluster"]] = true
			}
			if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(found))); diff != "" {
				return fmt.Errorf("%s is of (-want +got):\n%s", c.promql, diff)
			}
			return nil
		})
	}
	s.eventually("by profile there are more and more series", func(ctx context.Context) error { // of whoever was slow to answer once there are none
		samples, err := hub.Query(ctx, `count by (cluster) ({job=~".+"})`, nil)
		if err != nil {
			return err
		}
		series := map[string]float64{}
		for _, sample := range samples {
			series[sample.Labels["cluster"]] = sample.Value
		}
		if series["dev"] == 0 || series["prod-eu"] < 2*series["dev"] || series["prod-us"] < 2*series["prod-eu"] {
			return fmt.Errorf("there are %v", series)
		}
		s.Logf("series by profile: %v", series)
		return nil
	})
	for _, cluster := range everyCluster {
		s.onHub("patch membercluster " + cluster + ` --type=merge -p '{"spec":{"metrics":null}}'`)
		s.shell(kubectl(cluster) + "delete --wait=false namespace/orders crd/servicemonitors.monitoring.coreos.com")
	}
	s.eventually("nothing is measured any more", func(ctx context.Context) error {
		samples, err := hub.Query(ctx, `count by (cluster) ({job=~".+"})`, nil)
		if err == nil && len(samples) > 0 {
			err = fmt.Errorf("of %v there is something", samples)
		}
		return err
	})
	if out := s.umbel("top", "clusters"); strings.Count(out, "Off") != len(everyCluster) {
		s.Errorf("umbel top says of clusters that are not measured:\n%s", out)
	}
}
