package autoscale

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func holds(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourcePods: resource.MustParse("10")}
}

// node is one that has been ready for an hour, with 2 processors and 4 GiB.
func node(name string, changes ...func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
		Allocatable: holds("2", "4Gi"),
		Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}},
	}}
	for _, change := range changes {
		change(&n)
	}
	return n
}

func notReady(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }
func young(n *corev1.Node) {
	n.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-time.Second))
}
func labelled(key, value string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels = map[string]string{key: value} }
}
func tainted(key string) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: key, Value: "yes", Effect: corev1.TaintEffectNoSchedule}}
	}
}
func kept(n *corev1.Node) { n.Annotations = map[string]string{neverShrinks: "true"} }

// pool is one whose machines hold as much, and go after ten minutes of less than half in use.
func pool(name string, least, most, replicas int32, changes ...func(*Pool)) Pool {
	p := Pool{Name: name, Min: least, Max: most, Replicas: replicas, Like: node(""), After: 10 * time.Minute, Below: 0.5}
	for _, change := range changes {
		change(&p)
	}
	return p
}

func with(nodes ...string) func(*Pool) { return func(p *Pool) { p.Nodes = nodes } }
func like(changes ...func(*corev1.Node)) func(*Pool) {
	return func(p *Pool) { p.Like = node("", changes...) }
}
func small(n *corev1.Node) { n.Status.Allocatable = holds("1", "1Gi") }

// pod waits, and asks for one processor; its owner makes another one of it.
func pod(name string, changes ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", Controller: new(true)}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		}},
	}
	asking("1")(&p)
	for _, change := range changes {
		change(&p)
	}
	return p
}

func asking(cpu string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}
	}
}
func on(node string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeName, p.Status = node, corev1.PodStatus{Phase: corev1.PodRunning} }
}
func selecting(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}
func tolerating(key string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: key, Operator: corev1.TolerationOpExists}}
	}
}
func alone(p *corev1.Pod) {
	p.Labels = map[string]string{"app": "web"}
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}, TopologyKey: corev1.LabelHostname},
	}}}
}
func port(p *corev1.Pod) {
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, Protocol: corev1.ProtocolTCP}}
}
func daemon(p *corev1.Pod)      { p.OwnerReferences[0].Kind = "DaemonSet" }
func orphan(p *corev1.Pod)      { p.OwnerReferences = nil }
func ending(p *corev1.Pod)      { p.DeletionTimestamp = new(metav1.NewTime(now)) }
func unseen(p *corev1.Pod)      { p.Status.Conditions = nil }
func done(p *corev1.Pod)        { p.Status.Phase = corev1.PodSucceeded }
func ofTheSystem(p *corev1.Pod) { p.Namespace = "kube-system" }
func covered(p *corev1.Pod)     { p.Labels = map[string]string{"app": "web"} }
func withData(p *corev1.Pod) {
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
}
func withMemory(p *corev1.Pod) {
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}}
}
func safe(value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{safeToEvict: value} }
}

func budget(namespace string, allowed int32) policyv1.PodDisruptionBudget {
	return policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
	}
}

// brief says what a plan does, such as "big 0>1, small 2>1 -b".
func brief(p Plan) string {
	var all []string
	for _, st := range p.Steps {
		text := fmt.Sprintf("%s %d>%d", st.Pool, st.From, st.To)
		if st.Node != "" {
			text += " -" + st.Node
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestMoreMachines(t *testing.T) {
	five := func(changes ...func(*corev1.Pod)) (all []corev1.Pod) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			all = append(all, pod(name, changes...))
		}
		return all
	}
	gpu := []func(*corev1.Node){labelled("size", "gpu"), tainted("gpu")}
	for _, test := range []struct {
		reason string
		seen   Seen
		memory Memory
		want   string
		unmet  string
	}{
		{"nobody waits", Seen{Pools: []Pool{pool("big", 0, 3, 0)}}, Memory{}, "", ""},
		{"from zero", Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Pods: []corev1.Pod{pod("a")}}, Memory{}, "big 0>1", ""},
		{"two on one machine", Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Pods: []corev1.Pod{pod("a"), pod("b")}}, Memory{}, "big 0>1", ""},
		{"as many as they fill", Seen{Pools: []Pool{pool("big", 0, 9, 0)}, Pods: five()}, Memory{}, "big 0>3", ""},
		{"at most as many as it may have", Seen{Pools: []Pool{pool("big", 0, 2, 0)}, Pods: five()}, Memory{}, "big 0>2", "pod shop/e: pool big: it has as many machines as it may have, 2"},
		{"never less than it is to have", Seen{Pools: []Pool{pool("big", 2, 3, 0)}}, Memory{}, "big 0>2", ""},
		{"nor more than at most", Seen{Pools: []Pool{pool("big", 0, 3, 5, with("x"))}, Nodes: []corev1.Node{node("x")}}, Memory{}, "big 5>3", ""},
		{"the pool with the label", Seen{Pools: []Pool{pool("plain", 0, 3, 0), pool("sized", 0, 3, 0, like(labelled("size", "big")))}, Pods: []corev1.Pod{pod("a", selecting("size", "big"))}}, Memory{}, "sized 0>1", ""},
		{"no pool with the label", Seen{Pools: []Pool{pool("plain", 0, 3, 0)}, Pods: []corev1.Pod{pod("a", selecting("size", "big"))}}, Memory{}, "", "pod shop/a: pool plain: its nodes have not the labels that the pod asks for"},
		{"a taint keeps it away", Seen{Pools: []Pool{pool("gpu", 0, 3, 0, like(gpu...))}, Pods: []corev1.Pod{pod("a", selecting("size", "gpu"))}}, Memory{}, "", "does not tolerate the taint gpu=yes:NoSchedule"},
		{"and one that tolerates it is let in", Seen{Pools: []Pool{pool("gpu", 0, 3, 0, like(gpu...))}, Pods: []corev1.Pod{pod("a", selecting("size", "gpu"), tolerating("gpu"))}}, Memory{}, "gpu 0>1", ""},
		{"larger than any machine", Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Pods: []corev1.Pod{pod("a", asking("3"))}}, Memory{}, "", "the pod asks for 3 of cpu, and one of its nodes has 2"},
		{"the one large pod does not keep the others waiting", Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Pods: []corev1.Pod{pod("a", asking("3")), pod("b")}}, Memory{}, "big 0>1", "pod shop/a"},
		{"what DaemonSets take of each machine is not free", Seen{Pools: []Pool{pool("big", 0, 9, 0)}, Nodes: []corev1.Node{node("x")}, Pods: []corev1.Pod{pod("log", daemon, on("x"), asking("500m")), pod("a"), pod("b")}}, Memory{}, "big 0>2", ""},
		{"pods that want to be apart", Seen{Pools: []Pool{pool("big", 0, 9, 0)}, Pods: []corev1.Pod{pod("a", alone), pod("b", alone)}}, Memory{}, "big 0>2", ""},
		{"pods with the same port of the node", Seen{Pools: []Pool{pool("big", 0, 9, 0)}, Pods: []corev1.Pod{pod("a", port), pod("b", port)}}, Memory{}, "big 0>2", ""},
		{"the smaller one of two that do", Seen{Pools: []Pool{pool("big", 0, 3, 0), pool("small", 0, 3, 0, like(small))}, Pods: []corev1.Pod{pod("a")}}, Memory{}, "small 0>1", ""},
		{"the one that takes more of them", Seen{Pools: []Pool{pool("big", 0, 3, 0), pool("small", 0, 3, 0, like(small))}, Pods: []corev1.Pod{pod("a"), pod("b")}}, Memory{}, "big 0>1", ""},
		{"both, when one is not enough", Seen{Pools: []Pool{pool("big", 0, 1, 0), pool("small", 0, 3, 0, like(small))}, Pods: []corev1.Pod{pod("a"), pod("b"), pod("c")}}, Memory{}, "big 0>1, small 0>1", ""},
		{"one is coming", Seen{Pools: []Pool{pool("big", 0, 3, 1)}, Pods: []corev1.Pod{pod("a"), pod("b")}}, Memory{Grown: map[string]time.Time{"big": now.Add(-time.Minute)}}, "", ""},
		{"one is coming, and is not enough", Seen{Pools: []Pool{pool("big", 0, 3, 1)}, Pods: five()}, Memory{Grown: map[string]time.Time{"big": now.Add(-time.Minute)}}, "big 1>3", ""},
		{"one is there, and not ready", Seen{Pools: []Pool{pool("big", 0, 3, 1, with("x"))}, Nodes: []corev1.Node{node("x", notReady)}, Pods: []corev1.Pod{pod("a")}}, Memory{Grown: map[string]time.Time{"big": now.Add(-time.Minute)}}, "", ""},
		{"one does not come: another pool takes its place", Seen{Pools: []Pool{pool("big", 0, 3, 1), pool("spare", 0, 3, 0)}, Pods: []corev1.Pod{pod("a")}}, Memory{Grown: map[string]time.Time{"big": now.Add(-time.Hour)}}, "spare 0>1", ""},
		{"one does not come, and there is no other", Seen{Pools: []Pool{pool("big", 0, 3, 1)}, Pods: []corev1.Pod{pod("a")}}, Memory{Grown: map[string]time.Time{"big": now.Add(-time.Hour)}}, "", "have not come within 5m"},
		{"one came just now: the scheduler is about to see it", Seen{Pools: []Pool{pool("big", 0, 3, 1, with("x"))}, Nodes: []corev1.Node{node("x", young)}, Pods: []corev1.Pod{pod("a")}}, Memory{}, "", ""},
		{"it did not help twice", Seen{Pools: []Pool{pool("big", 0, 9, 2, with("x", "y"))}, Nodes: []corev1.Node{node("x"), node("y")}, Pods: []corev1.Pod{pod("a")}}, Memory{Tried: map[types.UID]int{"a": 2}}, "", "machines were made for it 2 times"},
		{"pods that no machine would help", Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Pods: []corev1.Pod{pod("a", ending), pod("b", unseen), pod("c", daemon), pod("d", on("x"))}}, Memory{}, "", ""},
	} {
		got := Next(test.seen, test.memory, now)
		if brief(got) != test.want || !strings.Contains(strings.Join(got.Unmet, "\n"), test.unmet) || test.unmet == "" && len(got.Unmet) > 0 {
			t.Errorf("%s: got %q, %q, want %q, %q", test.reason, brief(got), got.Unmet, test.want, test.unmet)
		}
	}
}

func TestFewerMachines(t *testing.T) {
	long := Memory{Idle: map[string]time.Time{"x": now.Add(-time.Hour), "y": now.Add(-time.Hour)}}
	one := []Pool{pool("big", 0, 3, 1, with("x"))}
	two := []corev1.Node{node("x"), node("y")}
	for _, test := range []struct {
		reason string
		seen   Seen
		memory Memory
		want   string
		idle   string
	}{
		{"empty since just now", Seen{Pools: one, Nodes: two}, Memory{}, "", "x"},
		{"empty for long: to zero", Seen{Pools: one, Nodes: two}, long, "big 1>0 -x", ""},
		{"empty, not yet for long enough", Seen{Pools: one, Nodes: two}, Memory{Idle: map[string]time.Time{"x": now.Add(-9 * time.Minute)}}, "", "x"},
		{"never less than it is to have", Seen{Pools: []Pool{pool("big", 1, 3, 1, with("x"))}, Nodes: two}, long, "", "x"},
		{"one at a time", Seen{Pools: []Pool{pool("big", 0, 3, 2, with("x", "y"))}, Nodes: append(two, node("z"))}, long, "big 2>1 -x", "y"},
		{"one of them is going already", Seen{Pools: []Pool{pool("big", 0, 3, 1, with("x", "y"))}, Nodes: append(two, node("z"))}, long, "", "x,y"},
		{"while a machine is coming none goes", Seen{Pools: []Pool{pool("big", 0, 3, 2, with("x"))}, Nodes: two}, long, "", "x"},
		{"while a pod waits none goes", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", asking("9"))}}, long, "", ""},
		{"only pods of DaemonSets, and such as are over", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", daemon, on("x")), pod("b", orphan, on("x"), done), pod("c", orphan, on("x"), ending)}}, long, "big 1>0 -x", ""},
		{"its pods fit elsewhere", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"))}}, long, "big 1>0 -x", ""},
		{"they ask for more than half of it", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), asking("1100m"))}}, long, "", ""},
		{"there is no room elsewhere", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x")), pod("b", on("y"), asking("1500m"))}}, long, "", ""},
		{"there is no other node", Seen{Pools: one, Nodes: two[:1], Pods: []corev1.Pod{pod("a", on("x"))}}, long, "", ""},
		{"the other node is not ready", Seen{Pools: one, Nodes: []corev1.Node{node("x"), node("y", notReady)}, Pods: []corev1.Pod{pod("a", on("x"))}}, long, "", ""},
		{"the other node has not the label", Seen{Pools: one, Nodes: []corev1.Node{node("x", labelled("size", "big")), node("y")}, Pods: []corev1.Pod{pod("a", selecting("size", "big"), on("x"))}}, long, "", ""},
		{"nobody would make another one of it", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", orphan, on("x"))}}, long, "", ""},
		{"somebody says that it may go all the same", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", orphan, on("x"), safe("true"))}}, long, "big 1>0 -x", ""},
		{"somebody says that it may not", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), safe("false"))}}, long, "", ""},
		{"it has data there", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), withData)}}, long, "", ""},
		{"what is in memory only is no data", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), withMemory)}}, long, "big 1>0 -x", ""},
		{"one of the system's", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("dns", on("x"), ofTheSystem)}}, long, "", ""},
		{"one of the system's whose budget allows it", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("dns", on("x"), ofTheSystem, covered)}, Budgets: []policyv1.PodDisruptionBudget{budget("kube-system", 1)}}, long, "big 1>0 -x", ""},
		{"a budget does not allow it", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), covered)}, Budgets: []policyv1.PodDisruptionBudget{budget("shop", 0)}}, long, "", ""},
		{"a budget allows one of two", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), covered, asking("100m")), pod("b", on("x"), covered, asking("100m"))}, Budgets: []policyv1.PodDisruptionBudget{budget("shop", 1)}}, long, "", ""},
		{"another namespace's budget", Seen{Pools: one, Nodes: two, Pods: []corev1.Pod{pod("a", on("x"), covered)}, Budgets: []policyv1.PodDisruptionBudget{budget("other", 0)}}, long, "big 1>0 -x", ""},
		{"its annotation keeps the node", Seen{Pools: one, Nodes: []corev1.Node{node("x", kept), node("y")}}, long, "", ""},
		{"what is not ready is mended, and not scaled", Seen{Pools: one, Nodes: []corev1.Node{node("x", notReady), node("y")}}, long, "", ""},
		{"a node of another pool", Seen{Pools: one, Nodes: []corev1.Node{node("y")}}, long, "", ""},
		{"nothing could be read", Seen{Pools: one}, long, "", ""},
	} {
		got := Next(test.seen, test.memory, now)
		if idle := strings.Join(slices.Sorted(maps.Keys(got.Memory.Idle)), ","); brief(got) != test.want || idle != test.idle {
			t.Errorf("%s: got %q, idle %q, want %q, %q", test.reason, brief(got), idle, test.want, test.idle)
		}
	}
}

// TestALife goes round after round: pods come, machines come after them, one pod is hopeless, all pods go, and so do the machines.
func TestALife(t *testing.T) {
	s := Seen{Pools: []Pool{pool("big", 0, 3, 0)}, Nodes: []corev1.Node{node("main")}}
	var m Memory
	at, log := now, []string{}
	round := func(after time.Duration) {
		at = at.Add(after)
		p := Next(s, m, at)
		m = p.Memory
		if text := brief(p); text != "" {
			log = append(log, fmt.Sprintf("%s %s", at.Sub(now), text))
		}
		for _, st := range p.Steps {
			s.Pools[0].Replicas = st.To
			if st.Node != "" {
				s.Pools[0].Nodes = slices.DeleteFunc(slices.Clone(s.Pools[0].Nodes), func(n string) bool { return n == st.Node })
				s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n corev1.Node) bool { return n.Name == st.Node })
			}
		}
	}
	come := func() {
		for i := len(s.Pools[0].Nodes); i < int(s.Pools[0].Replicas); i++ {
			name := fmt.Sprintf("big-%d", i)
			s.Pools[0].Nodes = append(s.Pools[0].Nodes, name)
			s.Nodes = append(s.Nodes, node(name))
		}
	}
	round(0)
	s.Pods = []corev1.Pod{pod("a", asking("2")), pod("b", asking("2")), pod("hopeless", asking("100m"))}
	round(time.Second)
	round(time.Second) // they are coming
	come()
	s.Pods[0], s.Pods[1] = pod("a", asking("2"), on("big-0")), pod("b", asking("2"), on("big-1"))
	for range 5 {
		round(time.Minute)
		come()
	}
	s.Pods = nil
	for range 30 {
		round(time.Minute)
	}
	want := []string{"1s big 0>3", "16m2s big 3>2 -big-0", "17m2s big 2>1 -big-1", "18m2s big 1>0 -big-2"}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("(-want +got):\n%s\n%+v", diff, m)
	}
}
