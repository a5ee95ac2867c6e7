//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/lifecycle/local"
)

// losesMembers gives a cluster a control plane of three members, and takes two of them away, one after the other: the machine of the
// first with all that it held, and then the power of another. Meanwhile somebody writes, by the cluster's address; all that was
// acknowledged is there in the end.
func (s *story) losesMembers(cluster string, page []string) {
	s.Helper()
	begun := time.Now()
	s.shell(line(page, "--control-plane 3"))
	s.Logf("from one member to three in %s", time.Since(begun).Round(100*time.Millisecond))
	if out := s.shell(line(page, "cluster describe dev")); strings.Count(out, "member dev-") != 3 {
		s.Errorf("the tree does not show three members:\n%s", out)
	}
	ended := s.writes(cluster)

	first := s.cluster(cluster)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	// Keys and certificates as well, and at once: what ends may write still, and whoever heals it begins meanwhile.
	if err := os.Rename(filepath.Join(first.Dir, "kube"), filepath.Join(s.TempDir(), "kube")); err != nil {
		s.Fatal(err)
	}
	begun = time.Now()
	s.threeServe(cluster, first.PID)
	s.Logf("a member that lost all was replaced in %s", time.Since(begun).Round(100*time.Millisecond))
	second := s.cluster(cluster)
	if len(second.Planes) != 2 {
		s.Fatalf("beside the first member are %+v", second.Planes)
	}
	if err := syscall.Kill(second.Planes[0].PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	s.threeServe(cluster, second.Planes[0].PID)
	ended()
}

// cluster returns a cluster as this computer knows it.
func (s *story) cluster(name string) local.Cluster {
	s.Helper()
	c, err := s.known(s.ctx, name)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *story) known(ctx context.Context, name string) (local.Cluster, error) {
	out, err := s.Umbel(ctx, "local", "list", "-o", "json")
	if err != nil {
		return local.Cluster{}, err
	}
	var all []local.Cluster
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return local.Cluster{}, err
	}
	i := slices.IndexFunc(all, func(c local.Cluster) bool { return c.Name == name })
	if i < 0 {
		return local.Cluster{}, fmt.Errorf("there is no cluster %s", name)
	}
	return all[i], nil
}

// threeServe waits until three members do, and none of them is the process that was killed. What the hub says may be its word of before that:
// each is asked itself, with its etcd.
func (s *story) threeServe(cluster string, killed int) {
	s.Helper()
	s.eventually("three members serve", func(ctx context.Context) error {
		c, err := s.known(ctx, cluster)
		if err != nil {
			return err
		}
		pids := []int{c.PID}
		for _, m := range c.Planes {
			pids = append(pids, m.PID)
		}
		for _, pid := range pids {
			if pid == 0 || pid == killed {
				return fmt.Errorf("their processes are %v, and %d was killed", pids, killed)
			}
		}
		out, err := s.Umbel(ctx, "cluster", "describe", cluster)
		if err == nil && !strings.Contains(out, "by 3 of 3 members") {
			err = fmt.Errorf("it is\n%s", out)
		}
		if err != nil {
			return err
		}
		said, err := s.Shell(ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" get hostedcontrolplanes -l cluster.x-k8s.io/cluster-name=`+cluster+
			` -o 'jsonpath={.items[*].status.members[*].address}'`)
		if err != nil {
			return err
		}
		members := strings.Fields(said)
		if len(members) != 3 {
			return fmt.Errorf("its members are at %v", members)
		}
		for _, url := range members {
			if _, err := s.Shell(ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/local/`+cluster+`/kubeconfig" --request-timeout=10s --server `+url+` get --raw /readyz`); err != nil {
				return err
			}
		}
		return nil
	})
}

// writes has somebody write to a cluster, from a first time that was acknowledged until end is called, which says how that went. All that was
// acknowledged is to be there then.
func (s *story) writes(cluster string) (end func()) {
	s.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.Home, "local", cluster, "kubeconfig"))
	if err != nil {
		s.Fatal(err)
	}
	config.Timeout = 2 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	w := &diary{client: client, begun: make(chan struct{})}
	writing, stop := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	running.Go(func() { w.write(writing) })
	s.eventually("something is acknowledged", func(context.Context) error {
		select {
		case <-w.begun:
			return nil
		default:
			return errors.New("nothing is yet")
		}
	})
	return func() {
		s.Helper()
		stop()
		running.Wait()
		s.Logf("%d writes were acknowledged meanwhile, %d were not; the longest pause was %s", len(w.acked), w.failed, w.pause.Round(100*time.Millisecond))
		w.check(s)
	}
}

// diary writes, one after another, and keeps what was acknowledged.
type diary struct {
	client kubernetes.Interface
	begun  chan struct{} // closed when the first page was acknowledged
	acked  []string
	failed int
	pause  time.Duration
}

func (d *diary) write(ctx context.Context) {
	last := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("page-%d", i)
		page := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		if _, err := d.client.CoreV1().ConfigMaps("default").Create(ctx, page, metav1.CreateOptions{}); err != nil {
			d.failed++
			continue
		}
		if d.acked = append(d.acked, name); len(d.acked) == 1 {
			close(d.begun)
		}
		d.pause, last = max(d.pause, time.Since(last)), time.Now()
	}
}

// check reads all that was acknowledged.
func (d *diary) check(s *story) {
	s.Helper()
	there := map[string]bool{}
	s.eventually("all pages can be read", func(ctx context.Context) error {
		all, err := d.client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, page := range all.Items {
			there[page.Name] = true
		}
		return nil
	})
	if len(d.acked) == 0 {
		s.Error("nothing was acknowledged")
	}
	for _, name := range d.acked {
		if !there[name] {
			s.Errorf("%s was acknowledged, and is lost", name)
		}
	}
}
