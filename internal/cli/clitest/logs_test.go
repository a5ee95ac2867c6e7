package clitest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fakeKubelet stands for the kubelets of prod-ap and prod-eu, which a test API server has none of: what it answers for a container's log, and what
// else it is told to write while that is followed.
type fakeKubelet struct {
	mu    sync.Mutex
	lines map[string][]string    // by cluster/pod/container
	more  map[string]chan string // by the same
	asked []string
}

func (k *fakeKubelet) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/") // /clusters/C/api/v1/namespaces/N/pods/P/log
		if len(parts) != 10 || parts[9] != "log" {
			next.ServeHTTP(w, r)
			return
		}
		query := r.URL.Query()
		key := parts[2] + "/" + parts[8] + "/" + query.Get("container")
		k.mu.Lock()
		k.asked = append(k.asked, key+" tail="+query.Get("tailLines")+" since="+query.Get("sinceTime")+query.Get("sinceSeconds"))
		lines := k.lines[key]
		k.mu.Unlock()
		if query.Get("timestamps") != "true" {
			lines = []string{"without times"}
		}
		for _, line := range lines {
			fmt.Fprintln(w, line)
		}
		if query.Get("follow") != "true" {
			return
		}
		w.(http.Flusher).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case line := <-k.more[key]:
				if line == "" {
					return // the connection ends
				}
				fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			}
		}
	})
}

// writes makes a Deployment web in team-a, with a pod of two containers that run.
func (f *fleet) writes(t *testing.T) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"}}
	if err := f.api.Create(t.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "web"}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "i"}, {Name: "side", Image: "i"}}}
	f.create(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
	}})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web-1", Labels: labels}, Spec: spec}
	f.create(t, pod)
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
	if err := f.api.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// TestLogs of two clusters in the order of their times, of one that does not answer and of one that refuses.
func TestLogs(t *testing.T) {
	f := newFleet(t)
	kubelet := &fakeKubelet{lines: map[string][]string{
		"prod-ap/web-1/web":  {"2026-11-22T12:00:01Z one", "2026-11-22T12:00:03.5Z three"},
		"prod-eu/web-1/web":  {"2026-11-22T12:00:02Z two", "2026-11-22T12:00:04Z four \x1b]0;title\x07"},
		"prod-eu/web-1/side": {"2026-11-22T12:00:00Z beside"},
	}}
	f.membersOf(t, kubelet.around)
	f.writes(t)
	const lost = "cluster \"prod-us\": cluster \"prod-us\" is not connected: the agent has not answered a probe since 11:56 (ProbeTimeout); it was last seen 4m ago; `umbel describe cluster prod-us` says what to do\n"
	cases := []struct {
		reason, args string
		want         said
	}{
		{
			"by time, and what is not connected is said", "logs deploy/web -n team-a --clusters env=prod",
			said{
				Out:  "prod-ap team-a/web-1 one\nprod-eu team-a/web-1 two\nprod-ap team-a/web-1 three\nprod-eu team-a/web-1 four \x1b]0;title\x07\n",
				Err:  lost + "error: 1 of 3 clusters could not be read whole: this is not all that was written\n",
				Code: 1,
			},
		},
		{
			"all containers of a pod, with times", "logs web-1 -n team-a --clusters env=prod,region=eu --all-containers --timestamps",
			said{Out: "prod-eu team-a/web-1 side 2026-11-22T12:00:00Z beside\nprod-eu team-a/web-1 web 2026-11-22T12:00:02Z two\nprod-eu team-a/web-1 web 2026-11-22T12:00:04Z four \x1b]0;title\x07\n"},
		},
		{"one that does not answer, and one that refuses", "logs web-1 -n team-a --clusters env!=prod,env --timeout 4s", said{
			Err: "cluster \"dev\": it did not answer within 4s: --timeout gives it longer\ncluster \"lab\": user \"ada\" may not reach cluster \"lab\"\n" +
				"error: 2 of 2 clusters could not be read whole: this is not all that was written\n", Code: 1,
		}},
		{"what is not there", "logs sts/web -n team-a --clusters region=eu,env=prod", said{
			Err: "cluster \"prod-eu\": statefulsets.apps \"web\" not found\nerror: 1 of 1 cluster could not be read whole: this is not all that was written\n", Code: 1,
		}},
		{"a pod that is not there", "logs nope -n team-a --clusters region=eu,env=prod", said{
			Err: "cluster \"prod-eu\": there is no pod \"nope\" in namespace \"team-a\"\nerror: 1 of 1 cluster could not be read whole: this is not all that was written\n", Code: 1,
		}},
		{"labels that no pod has", "logs -l app=nope -n team-a --clusters region=eu,env=prod", said{Err: "Nothing was written.\n"}},
		{"labels that no cluster has", "logs web-1 --clusters env=moon", said{Err: "No clusters match env=moon (of 6 clusters)\n"}},
		{"of which clusters?", "logs web-1", said{Err: "error: say of which clusters: --clusters LABELS or --all-clusters; of one alone `umbel kubectl CLUSTER -- logs` shows them too\n", Code: 2}},
		{"a kind that has no pods", "logs configmap/words --all-clusters", said{Err: "error: \"configmap/words\" is not what pods are of: give POD, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME or svc/NAME\n", Code: 2}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
	kubelet.asked = nil
	got := f.run(t.Context(), "logs", "-l", "app=web", "-n", "team-a", "--clusters", "region=eu,env=prod", "--since", "10m", "-o", "json")
	var first struct{ Cluster, Namespace, Pod, Container, Time, Line string }
	if err := json.Unmarshal([]byte(strings.Split(got.Out, "\n")[0]), &first); err != nil || first.Cluster != "prod-eu" || first.Pod != "web-1" || first.Container != "web" || first.Time != "2026-11-22T12:00:02Z" || first.Line != "two" {
		t.Errorf("got %+v, %v of %+v", first, err, got)
	}
	if diff := cmp.Diff([]string{"prod-eu/web-1/web tail= since=600"}, kubelet.asked); diff != "" {
		t.Errorf("who bounds the time means all of it: %s", diff)
	}
}

// TestFollowLogs: what is written comes, of a pod that comes later too; after a connection that ended it goes on where it was, and says nothing twice.
func TestFollowLogs(t *testing.T) {
	f := newFleet(t)
	const ap, eu = "prod-ap/web-1/web", "prod-eu/web-1/web"
	kubelet := &fakeKubelet{more: map[string]chan string{ap: make(chan string), eu: make(chan string)}, lines: map[string][]string{eu: {"2026-11-22T12:00:01Z one"}}}
	f.membersOf(t, kubelet.around)
	f.writes(t)
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := f.follow(ctx, "logs", "deploy/web", "-n", "team-a", "--clusters", "region=eu,env=prod", "-f")
	expect := func(want string) {
		t.Helper()
		if got := <-lines; got != want {
			t.Fatalf("got line %q, want %q", got, want)
		}
	}
	expect("prod-eu team-a/web-1 one")
	kubelet.more[eu] <- "2026-11-22T12:00:02Z two"
	expect("prod-eu team-a/web-1 two")
	kubelet.mu.Lock() // what it answers when it is asked since the second of the last line
	kubelet.lines[eu] = []string{"2026-11-22T12:00:02Z two", "2026-11-22T12:00:02.5Z while it was away"}
	kubelet.mu.Unlock()
	kubelet.more[eu] <- ""
	expect("prod-eu team-a/web-1 while it was away")
	later := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web-2", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "i"}}},
	}
	kubelet.mu.Lock()
	kubelet.lines["prod-eu/web-2/web"] = []string{"2026-11-22T12:00:03Z new"}
	kubelet.mu.Unlock()
	f.create(t, later)
	later.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	if err := f.api.Status().Update(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	expect("prod-eu team-a/web-2 new")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("an interrupt ended it with %v, want no error", err)
	}
	kubelet.mu.Lock()
	defer kubelet.mu.Unlock()
	if len(kubelet.asked) < 3 || kubelet.asked[0] != "prod-eu/web-1/web tail=20 since=" || kubelet.asked[1] != "prod-eu/web-1/web tail= since=2026-11-22T12:00:02Z" {
		t.Errorf("it was asked %q", kubelet.asked)
	}
}

// TestFollowLogsOfTwo: lines of two clusters come as they are written, whichever writes; one whose connection ends does not hold up the other.
func TestFollowLogsOfTwo(t *testing.T) {
	f := newFleet(t)
	const ap, eu = "prod-ap/web-1/web", "prod-eu/web-1/web"
	kubelet := &fakeKubelet{
		more:  map[string]chan string{ap: make(chan string), eu: make(chan string)},
		lines: map[string][]string{ap: {"2026-11-22T12:00:01Z one"}, eu: {"2026-11-22T12:00:02Z two"}},
	}
	f.membersOf(t, kubelet.around)
	f.writes(t)
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := f.follow(ctx, "logs", "deploy/web", "-n", "team-a", "--clusters", "env=prod,region!=us", "-f")
	first := []string{<-lines, <-lines}
	if slices.Sort(first); !slices.Equal(first, []string{"prod-ap team-a/web-1 one", "prod-eu team-a/web-1 two"}) {
		t.Fatalf("got %q first", first)
	}
	said := func(of, line, want string) {
		t.Helper()
		kubelet.more[of] <- line
		if got := <-lines; got != want {
			t.Fatalf("got line %q, want %q", got, want)
		}
	}
	said(eu, "2026-11-22T12:00:03Z three", "prod-eu team-a/web-1 three")
	said(ap, "2026-11-22T12:00:04Z four", "prod-ap team-a/web-1 four")
	said(eu, "2026-11-22T12:00:05Z five", "prod-eu team-a/web-1 five")
	kubelet.mu.Lock()
	kubelet.lines[eu] = []string{"2026-11-22T12:00:05Z five"} // said twice, and written once
	kubelet.mu.Unlock()
	kubelet.more[eu] <- "" // its connection ends
	said(ap, "2026-11-22T12:00:06Z six", "prod-ap team-a/web-1 six")
	said(eu, "2026-11-22T12:00:07Z seven", "prod-eu team-a/web-1 seven")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("an interrupt ended it with %v, want no error", err)
	}
}
