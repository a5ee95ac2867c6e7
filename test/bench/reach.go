package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// What Umbel promises about the way to a cluster through its hub.
const (
	goalOverhead   = 1   // ms that a small GET takes longer, p50
	goalThroughput = 0.7 // of direct
	goalStreams    = 5000
)

// reach is one cluster and the two ways to it: direct, and through the hub.
type reach struct {
	fleet       *rig.Fleet
	direct, hub way
	relays      way // what could be reached at best
	namespace   string
	hubPID      int
	agentPID    int
}

// way is how to get to the cluster's API.
type way struct {
	name                string
	kubeconfig, context string
	client              *kubernetes.Clientset
}

// measureReach measures what it costs to reach a cluster through its hub: the two ways in turn, in the same run.
func measureReach(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	s, err := newReach(ctx, fleet)
	if err != nil {
		return err
	}
	relays, stop, err := relayed(ctx, s.direct.kubeconfig)
	if err != nil {
		return err
	}
	defer stop()
	s.relays = relays
	for _, part := range []func(context.Context, *report.Report) error{s.small, s.bulk, s.streams} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func newReach(ctx context.Context, fleet *rig.Fleet) (*reach, error) {
	const cluster = "reach"
	if _, err := fleet.Umbel(ctx, "up", "--cluster", cluster+",env=bench", "--example=none", "--nodes=1"); err != nil {
		return nil, err
	}
	through := filepath.Join(fleet.Home, "reach.kubeconfig")
	if _, err := fleet.Umbel(ctx, "kubeconfig", "--output", through); err != nil {
		return nil, err
	}
	s := &reach{fleet: fleet, namespace: "reach"}
	var err error
	if s.direct, err = newWay("direct", filepath.Join(fleet.Home, "local", cluster, "kubeconfig"), ""); err != nil {
		return nil, err
	}
	if s.hub, err = newWay("through the hub", through, cluster); err != nil {
		return nil, err
	}
	if s.hubPID, err = one(fleet.Processes("umbel hub", fleet.Home)); err != nil {
		return nil, fmt.Errorf("looking for the hub's process: %w", err)
	}
	if s.agentPID, err = one(agentsOf(fleet, cluster)); err != nil {
		return nil, fmt.Errorf("looking for the agent's process: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	_, err = s.direct.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	return s, err
}

// agentsOf returns the processes of a cluster's agent, whatever other clusters there are on the machine.
func agentsOf(fleet *rig.Fleet, cluster string) ([]int, error) {
	all, err := fleet.Processes("umbel-agent", "--dir=/var/lib/umbel-agent")
	return slices.DeleteFunc(all, func(pid int) bool {
		group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		return err != nil || !strings.Contains(string(group), "-"+cluster+"-0/")
	}), err
}

func one(pids []int, err error) (int, error) {
	if err == nil && len(pids) != 1 {
		err = fmt.Errorf("%d processes, not one: %v", len(pids), pids)
	}
	if err != nil {
		return 0, err
	}
	return pids[0], nil
}

func newWay(name, kubeconfig, context string) (way, error) {
	w := way{name: name, kubeconfig: kubeconfig, context: context}
	loaded, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return w, err
	}
	if w.context == "" {
		w.context = loaded.CurrentContext
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, w.context, nil, nil).ClientConfig()
	if err != nil {
		return w, err
	}
	config.QPS = -1
	config.ContentType = "application/json" // as kubectl asks
	w.client, err = kubernetes.NewForConfig(config)
	return w, err
}

// small measures a GET of an object of 1 kB, one after another, in turn.
func (s *reach) small(ctx context.Context, r *report.Report) error {
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "small"}, Data: map[string]string{"text": strings.Repeat("x", 700)},
	}
	if _, err := s.direct.client.CoreV1().ConfigMaps(s.namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}
	direct, through, relayed, err := s.inTurn(ctx, 3000)
	if err != nil {
		return err
	}
	s.reportSmall(r, "small GET", direct, through, goalOverhead)
	r.Lower("small GET, what two relays add, p50", report.Percentile(relayed, 0.5)-report.Percentile(direct, 0.5), "ms", 0)
	return nil
}

func (s *reach) reportSmall(r *report.Report, what string, direct, through []time.Duration, goal float64) {
	for _, c := range []struct {
		name string
		q    float64
		goal float64
	}{{"p50", 0.5, goal}, {"p99", 0.99, 0}} {
		d, t := report.Percentile(direct, c.q), report.Percentile(through, c.q)
		r.Lower(what+" direct, "+c.name, d, "ms", 0)
		r.Lower(what+" through the hub, "+c.name, t, "ms", 0)
		r.Lower(what+", what the hub adds, "+c.name, t-d, "ms", c.goal)
	}
}

// inTurn gets the small object n times over each way and says how long each took.
func (s *reach) inTurn(ctx context.Context, n int) (direct, through, relayed []time.Duration, err error) {
	ways := []struct {
		way
		took *[]time.Duration
	}{{s.direct, &direct}, {s.hub, &through}, {s.relays, &relayed}}
	const warm = 50
	for i := range n + warm {
		for _, w := range ways {
			start := time.Now()
			if _, err := w.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, "small", metav1.GetOptions{}); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", w.name, err)
			}
			if i >= warm {
				*w.took = append(*w.took, time.Since(start))
			}
		}
	}
	return direct, through, relayed, nil
}
