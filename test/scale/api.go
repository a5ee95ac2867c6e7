package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/test/rig"
)

// register makes n clusters members as `umbel join` does, and gives install the bootstrap of each, of several at the same time.
func register(ctx context.Context, api kube.Client, n int, install func(i int, boot v1alpha1.Bootstrap) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			boot, err := rig.Register(ctx, api, clusterName(i), map[string]string{"env": "scale"})
			if err != nil {
				return err
			}
			return install(i, boot)
		})
	}
	return group.Wait()
}

// writes are the requests to the hub's API that write, by resource.
type writes map[string]float64

// writesOf reads how many there were since the API server started.
func writesOf(ctx context.Context, home string) (writes, error) {
	config, err := clientcmd.BuildConfigFromFlags("", hub.AdminKubeconfig(home))
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	raw, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of the hub's API: %w", err)
	}
	return parseWrites(raw)
}

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parseWrites(metrics []byte) (writes, error) {
	found := writes{}
	lines := bufio.NewScanner(bytes.NewReader(metrics))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, ours := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !ours {
			continue
		}
		labels := map[string]string{}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			labels[m[1]] = m[2]
		}
		switch labels["verb"] {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
		default:
			continue
		}
		count, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the metrics of the hub's API: %q: %w", line, err)
		}
		found[labels["resource"]] += count
	}
	return found, lines.Err()
}

// since returns the writes between before and w: those for the sake of members, and those of the API and the hub for their
// own, which are Leases and do not depend on the number of members. Reviews are no writes.
func (w writes) since(before writes) (members, leases float64) {
	for resource, count := range w {
		n := count - before[resource]
		switch resource {
		case "leases":
			leases += n
		case "tokenreviews", "subjectaccessreviews", "selfsubjectreviews":
		default:
			members += n
		}
	}
	return members, leases
}

// sampler asks the hub's API, as others would, while something happens.
type sampler struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	times  []time.Duration
	failed int
}

// sample reads a MemberCluster forty times a second, and ten times a second writes a ConfigMap.
func sample(ctx context.Context, api kube.Client) *sampler {
	ctx, stop := context.WithCancel(ctx)
	s := &sampler{stop: stop}
	s.running.Go(func() {
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			s.running.Go(func() { s.time(ctx, func(ctx context.Context) error { return read(ctx, api) }) })
			if i%4 == 0 {
				s.running.Go(func() { s.time(ctx, func(ctx context.Context) error { return write(ctx, api) }) })
			}
		}
	})
	return s
}

func read(ctx context.Context, api kube.Client) error {
	return api.Get(ctx, kube.ObjectKey{Name: string(clusterName(0))}, &v1alpha1.MemberCluster{})
}

func write(ctx context.Context, api kube.Client) error {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "sample-"}}
	if err := api.Create(ctx, o); err != nil {
		return err
	}
	return nil
}

func (s *sampler) time(ctx context.Context, ask func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	err := ask(ctx)
	if ctx.Err() == context.Canceled {
		return // the sampling is over
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed++
	}
	s.times = append(s.times, time.Since(began))
}

// end stops and returns how long each request took, and how many failed. It leaves nothing in the API.
func (s *sampler) end(ctx context.Context, api kube.Client) ([]time.Duration, int, error) {
	s.stop()
	s.running.Wait()
	return s.times, s.failed, api.DeleteAllOf(ctx, &corev1.ConfigMap{}, kube.InNamespace("default"))
}

// delivered says whether a Package is applied on so many clusters, at the revision unless that is empty, and nowhere else.
func delivered(ctx context.Context, api kube.Client, name, revision string, clusters int) error {
	var p v1alpha1.Package
	if err := api.Get(ctx, kube.ObjectKey{Namespace: "default", Name: name}, &p); err != nil {
		return err
	}
	c := p.Status.Clusters
	if revision != "" && p.Status.Revision != revision || int(c.Selected) != clusters || int(c.Ready) != clusters || c.Removing != 0 {
		return fmt.Errorf("package %s at %.12s: %+v, not all of %d", name, p.Status.Revision, c, clusters)
	}
	return nil
}

// connected says whether the hub holds every member for connected.
func connected(ctx context.Context, api kube.Client) error {
	var all v1alpha1.MemberClusterList
	if err := api.List(ctx, &all); err != nil {
		return err
	}
	missing := 0
	for i := range all.Items {
		if !meta.IsStatusConditionTrue(all.Items[i].Status.Conditions, v1alpha1.ConditionConnected) {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d members are not Connected", missing, len(all.Items))
	}
	return nil
}
