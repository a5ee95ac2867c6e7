package autoscale

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	scheduling "k8s.io/component-helpers/scheduling/corev1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// provisioning is how long machines that were asked for may take to become nodes, before their pool counts as one that gets none.
	provisioning = 5 * time.Minute
	// fresh is how long a node that has just become ready counts as one that nobody has seen yet: the scheduler may be about to use it.
	fresh = 10 * time.Second
	// tries is how often machines are made for a pod that does not run on them.
	tries = 2
)

// Pool is some machines of a cluster that are alike, and whose number follows the pods.
type Pool struct {
	// Name of its MachineDeployment.
	Name string
	// Min and Max are how few and how many machines it may have, Replicas how many it is to have now.
	Min, Max, Replicas int32
	// Nodes are the names of those that it has.
	Nodes []string
	// Like is what a new node of it will be like: its labels, its taints, and what it can hold.
	Like corev1.Node
	// After is for how long a machine is not needed before it goes, and Below how much of it is asked for at most by then, of 1.
	After time.Duration
	Below float64
}

// Seen is what there is.
type Seen struct {
	Pools   []Pool
	Nodes   []corev1.Node
	Pods    []corev1.Pod
	Budgets []policyv1.PodDisruptionBudget
}

// Memory is what is known from before. The zero value is of somebody who knows nothing.
type Memory struct {
	// Idle is since when a node is not needed.
	Idle map[string]time.Time
	// Grown is when a pool was given machines last.
	Grown map[string]time.Time
	// Tried is how often machines were made for a pod.
	Tried map[types.UID]int
}

// Step changes how many machines a pool is to have.
type Step struct {
	Pool     string
	From, To int32
	// Node is the one that goes; empty when there are to be more.
	Node string
	Why  string
}

// Plan is what to do now, and what to remember.
type Plan struct {
	Steps []Step
	// Unmet are the pods that no pool can take, and why, for people.
	Unmet  []string
	Memory Memory
}

// Next decides. It changes nothing of what it is given.
func Next(s Seen, m Memory, now time.Time) Plan {
	p := Plan{Memory: Memory{Idle: map[string]time.Time{}, Grown: map[string]time.Time{}, Tried: map[types.UID]int{}}}
	for _, pool := range s.Pools { // of others nothing is remembered
		if at, ok := m.Grown[pool.Name]; ok {
			p.Memory.Grown[pool.Name] = at
		}
	}
	waiting := pending(s.Pods)
	for _, pod := range waiting {
		if n := m.Tried[pod.UID]; n > 0 {
			p.Memory.Tried[pod.UID] = n
		}
	}
	p.bound(s.Pools)
	p.grow(s, waiting, now)
	if len(waiting) == 0 && len(p.Steps) == 0 {
		p.shrink(s, m.Idle, now)
	}
	return p
}

// bound brings pools between how few and how many machines they may have.
func (p *Plan) bound(pools []Pool) {
	for _, pool := range pools {
		to := max(pool.Min, min(pool.Max, pool.Replicas))
		if to != pool.Replicas {
			p.Steps = append(p.Steps, Step{Pool: pool.Name, From: pool.Replicas, To: to, Why: fmt.Sprintf("it is to have %d to %d machines", pool.Min, pool.Max)})
		}
	}
}

// pending are the pods for which the scheduler has found no node, the more important ones first.
func pending(pods []corev1.Pod) []*corev1.Pod {
	var waiting []*corev1.Pod
	for i := range pods {
		pod := &pods[i]
		if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || ofDaemonSet(pod) {
			continue
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				waiting = append(waiting, pod)
			}
		}
	}
	slices.SortFunc(waiting, func(a, b *corev1.Pod) int {
		return cmp.Or(
			cmp.Compare(scheduling.PodPriority(b), scheduling.PodPriority(a)),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(nameOf(a), nameOf(b)),
		)
	})
	return waiting
}

// grow gives pools the machines that pods wait for.
func (p *Plan) grow(s Seen, waiting []*corev1.Pod, now time.Time) {
	if len(waiting) == 0 {
		return
	}
	daemons := overhead(s)
	left := waiting
	var pools []*growing
	for _, pool := range s.Pools {
		if len(p.Steps) > 0 && slices.ContainsFunc(p.Steps, func(st Step) bool { return st.Pool == pool.Name }) {
			continue // it is brought into its bounds first
		}
		g := &growing{Pool: pool, daemons: daemons[pool.Name]}
		coming := int(pool.Replicas) - ready(s.Nodes, pool.Nodes)
		if at, ok := p.Memory.Grown[pool.Name]; coming > 0 && (!ok || now.Sub(at) >= provisioning) {
			if !ok {
				p.Memory.Grown[pool.Name] = now // somebody else asked for them, or we forgot
			} else {
				g.stuck = true
				coming = 0
			}
		}
		for range max(0, coming) {
			left = newSpace(&g.Like, g.daemons).take(left)
		}
		pools = append(pools, g)
	}
	for _, node := range s.Nodes {
		if since := readySince(&node); !node.Spec.Unschedulable && !since.IsZero() && now.Sub(since) < fresh {
			left = spaceOf(&node, s.Pods).take(left)
		}
	}
	left = slices.DeleteFunc(slices.Clone(left), func(pod *corev1.Pod) bool { return p.givenUp(pod) })
	for len(left) > 0 {
		best, rest := choose(pools, left)
		if best == nil {
			break
		}
		for _, pod := range left {
			if !slices.Contains(rest, pod) {
				best.pods = append(best.pods, pod)
			}
		}
		best.more++
		left = rest
	}
	for _, g := range pools {
		if g.more == 0 {
			continue
		}
		for _, pod := range g.pods {
			p.Memory.Tried[pod.UID]++
		}
		p.Memory.Grown[g.Name] = now
		p.Steps = append(p.Steps, Step{Pool: g.Name, From: g.Replicas, To: g.Replicas + g.more, Why: "no node has room for " + list(g.pods)})
	}
	for _, pod := range left {
		p.Unmet = append(p.Unmet, fmt.Sprintf("pod %s: %s", nameOf(pod), why(pools, pod)))
	}
}

// givenUp says whether machines were made for a pod often enough.
func (p *Plan) givenUp(pod *corev1.Pod) bool {
	if p.Memory.Tried[pod.UID] < tries {
		return false
	}
	p.Unmet = append(p.Unmet, fmt.Sprintf("pod %s: machines were made for it %d times, and it does not run on them: see what its events say", nameOf(pod), tries))
	return true
}

// growing is a pool, and what is added to it.
type growing struct {
	Pool
	daemons corev1.ResourceList
	stuck   bool
	more    int32
	pods    []*corev1.Pod
}

// choose returns the pool of which one more machine takes most of the pods, and those that it does not take.
func choose(pools []*growing, pods []*corev1.Pod) (*growing, []*corev1.Pod) {
	var best *growing
	rest, spare := pods, int64(0)
	for _, g := range pools {
		if g.stuck || g.Replicas+g.more >= g.Max {
			continue
		}
		room := newSpace(&g.Like, g.daemons)
		left := room.take(pods)
		if len(left) == len(pods) {
			continue
		}
		// Of two that take as many, the smaller one: it leaves less without use.
		if best == nil || len(left) < len(rest) || len(left) == len(rest) && room.free.Cpu().MilliValue() < spare {
			best, rest, spare = g, left, room.free.Cpu().MilliValue()
		}
	}
	return best, rest
}

// why says for each pool why it takes a pod not.
func why(pools []*growing, pod *corev1.Pod) string {
	var reasons []string
	for _, g := range pools {
		reason := newSpace(&g.Like, g.daemons).refuses(pod)
		switch {
		case reason != "":
		case g.stuck:
			reason = fmt.Sprintf("machines that were asked for have not come within %s", provisioning)
		default:
			reason = fmt.Sprintf("it has as many machines as it may have, %d", g.Max)
		}
		reasons = append(reasons, fmt.Sprintf("pool %s: %s", g.Name, reason))
	}
	if len(reasons) == 0 {
		return "no pool may have more machines now"
	}
	return strings.Join(reasons, "; ")
}

func nameOf(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// list names some pods.
func list(pods []*corev1.Pod) string {
	var names []string
	for _, pod := range pods {
		names = append(names, nameOf(pod))
	}
	return v1alpha1.Few(names, 3)
}
