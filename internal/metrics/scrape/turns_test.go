package scrape

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/edge"
)

// TestWhoHangsHoldsUpNobody: a node never answers, which the round waits for, and of the pods that are asked at one interval more hang than are asked at a time. Through a real API
// server a pod that answers is asked again and again at another interval meanwhile, and so is one that shares theirs. No more are waited for than there are places.
func TestWhoHangsHoldsUpNobody(t *testing.T) {
	config := kubetest.Start(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := forPods(t, config, client)
	var hanging, most atomic.Int64
	address, _ := serves(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/hang/") {
			fmt.Fprint(w, "answered 1\n")
			return
		}
		for n := hanging.Add(1); ; {
			if before := most.Load(); n <= before || most.CompareAndSwap(before, n) {
				break
			}
		}
		<-r.Context().Done()
		hanging.Add(-1)
	}))
	running(t, client, namespace, "answers", nil, address)
	dead := listen(t)
	t.Cleanup(func() { dead.Close() })
	asked := make(chan net.Conn, 1)
	go func() {
		if c, err := dead.Accept(); err == nil {
			asked <- c
		}
	}()
	node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.CoreV1().Nodes().Delete(context.WithoutCancel(t.Context()), node.Name, metav1.DeleteOptions{})
	})
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: dead.Addr().(*net.TCPAddr).IP.String()}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(dead.Addr().(*net.TCPAddr).Port)
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	target := func(path string, every, within time.Duration) edge.Target {
		return edge.Target{
			Job: edge.Job("podmonitor/" + namespace + path), Namespace: namespace, Pod: "answers", Path: path, Address: address.IP.String(), Port: int32(address.Port),
			Every: every, Within: within, Reading: &edge.Reading{},
		}
	}

	var mu sync.Mutex
	said := map[string]int{}
	s, err := New(Needs{
		Config: config, Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Every: time.Hour,
		Put: func(body []byte) error {
			mu.Lock()
			defer mu.Unlock()
			for series, value := range sent(t, [][]byte{body}) {
				said[fmt.Sprintf("%s %v", series, value)]++
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.patience = 10 * time.Minute
	ctx, end := context.WithCancel(t.Context())
	defer end()
	s.due(ctx, v1alpha1.MetricsStandard) // the round begins
	defer (<-asked).Close()
	var targets []edge.Target
	for i := range atOnce + 2 {
		targets = append(targets, target(fmt.Sprintf("/hang/%d", i), 3*time.Second, 3*time.Second))
	}
	targets = append(targets, target("/a", time.Second, time.Second), target("/b", 3*time.Second, 3*time.Second))
	s.turns.take(targets, time.Hour)
	began := time.Now()
	up := func(path string) string {
		return fmt.Sprintf("up{instance=%s/answers:%d,job=podmonitor/%s%s,namespace=%s,pod=answers} 1", namespace, address.Port, namespace, path, namespace)
	}
	answered := func() (a, b int) {
		mu.Lock()
		defer mu.Unlock()
		return said[up("/a")], said[up("/b")]
	}
	for {
		wait := time.NewTimer(s.due(ctx, v1alpha1.MetricsStandard))
		select {
		case <-s.turns.news:
		case <-wait.C:
		}
		wait.Stop()
		a, b := answered()
		if a >= 3 && b >= 2 {
			break
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("in %s one that answers was asked %d times, and one that shares its interval with others that hang %d times", time.Since(began), a, b)
		}
	}
	s.turns.mu.Lock()
	if !s.turns.round.running {
		t.Error("the round did not wait for the node, so that nothing is shown")
	}
	s.turns.mu.Unlock()
	if n := most.Load(); n <= atOnce || n > atOnce+patient {
		t.Errorf("%d pods that hang were waited for at a time", n)
	}
	end()
	s.turns.running.Wait()
}
