package rollout

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// world is a hub's API, its clusters, and the clocks: what stories and the simulation play in. The rollout controller is the
// real thing but for reading and writing objects; the gateway, delivery and the agents are as simple as can be.
type world struct {
	wall     time.Time     // what clocks show
	elapsed  time.Duration // what really went by
	pkg      *v1alpha1.Package
	rollouts []*v1alpha1.Rollout
	nodes    []*node // in the order of their names
	// outcome is how a cluster gets on with a release: Well, Unwell for ever, or Failing.
	outcome func(release string, cluster v1alpha1.ClusterName) State
	// takes is how long an agent takes to apply a release.
	takes time.Duration
	// same says that two releases have the same content for a cluster.
	same func(a, b string, cluster v1alpha1.ClusterName) bool
	// answers is what metrics say of a gate of a release.
	answers func(release string, q Question) Answer
	// undecided: the Placement is.
	undecided bool
	// lag is what the hub's cache has of the clusters; nil: it is up to date.
	lag func(release string) []Cluster
	// conflict says that the next write is lost; nil: none is.
	conflict func() bool
	news     func(rollout string, n News)
	wrote    func(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster)
}

// node is a member.
type node struct {
	Cluster
	online, selected, fit bool
	// blockedBy is what it waits for before it takes another release; empty: nothing.
	blockedBy string
	told      string
	began     time.Duration
}

func newWorld(strategy *v1alpha1.RolloutStrategy) *world {
	w := &world{
		wall:    time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), // a Monday
		pkg:     &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}},
		outcome: func(string, v1alpha1.ClusterName) State { return Well },
		same:    func(a, b string, _ v1alpha1.ClusterName) bool { return a == b },
		answers: func(string, Question) Answer { return Answer{Holds: true} },
		news:    func(string, News) {},
		wrote:   func(*v1alpha1.Rollout, *v1alpha1.RolloutStatus, *v1alpha1.RolloutStatus, []Cluster) {},
		takes:   20 * time.Second,
	}
	w.pkg.Spec.Rollout = strategy
	return w
}

func (w *world) add(name string, labels map[string]string) *node {
	n := &node{Cluster: Cluster{Name: v1alpha1.ClusterName(name), Labels: labels, State: Absent}, online: true, selected: true, fit: true}
	w.nodes = append(w.nodes, n)
	slices.SortFunc(w.nodes, func(a, b *node) int { return byName(a.Cluster, b.Cluster) })
	return n
}

func (w *world) node(name string) *node {
	at := slices.IndexFunc(w.nodes, func(n *node) bool { return string(n.Name) == name })
	if at < 0 {
		panic("there is no cluster " + name)
	}
	return w.nodes[at]
}

// passes lets time go by, for clocks and for real.
func (w *world) passes(d time.Duration) {
	w.wall, w.elapsed = w.wall.Add(d), w.elapsed+d
}

func (w *world) newest() *v1alpha1.Rollout {
	if len(w.rollouts) == 0 {
		return nil
	}
	return w.rollouts[len(w.rollouts)-1]
}

// clusters are what the hub sees of them, for a rollout to a release.
func (w *world) clusters(release string) []Cluster {
	if w.lag != nil {
		return w.lag(release)
	}
	return w.clustersNow(release)
}

func (w *world) clustersNow(release string) []Cluster {
	var all []Cluster
	for _, n := range w.nodes {
		if !n.selected {
			continue
		}
		c := n.Cluster
		c.Content = w.has(n, release)
		switch {
		case !n.online:
			c.State = Away
		case !n.fit:
			c.State = Unfit
		case n.blockedBy != "" && !c.Content:
			c.State, c.Message = Blocked, n.blockedBy
		}
		all = append(all, c)
	}
	return all
}

// has says whether a cluster has the content of a release.
func (w *world) has(n *node, release string) bool {
	return n.Holds != "" && w.same(n.Holds, release, n.Name)
}

// looks is a pass of the hub, which may die after so many steps.
func (w *world) looks(steps int) (again time.Duration) {
	for range steps {
		chain := &Chain{Package: w.pkg, Newest: w.newest(), Good: func() string { return mostHeld(w.clusters(w.pkg.Status.Release), w.pkg.Status.Release) }}
		chain.Settled = chain.Newest != nil && chain.Newest.Spec.Newest == w.pkg.Status.Release
		switch step := chain.Due(); step {
		case Close:
			w.write(chain.Newest, chain.Closed(metav1.NewTime(w.wall.Truncate(time.Second))), nil, nil)
		case Make:
			r := &v1alpha1.Rollout{Spec: chain.Spec()}
			r.Name, r.Generation = v1alpha1.RolloutName(w.pkg.Name, r.Spec.Number), 1
			w.rollouts = append(w.rollouts, r)
		case Start:
			if w.undecided {
				return 0
			}
			r := chain.Newest
			seen := w.clusters(r.Spec.Release)
			status, err := Begin(r, seen, w.toldBefore(r), w.wall)
			if err != nil {
				panic(err)
			}
			w.write(r, status, []News{{"Began", fmt.Sprintf("Began to roll %s out to %s", r.Spec.Release, many(int(status.Clusters)))}}, seen)
		case Drive:
			r := chain.Newest
			seen := w.clusters(r.Spec.Release)
			decision := Next(r, Seen{Clusters: seen, Decided: !w.undecided, Answers: w.ask(r)}, w.wall)
			w.write(r, decision.Status, decision.News, seen)
			if step := (&Chain{Package: w.pkg, Newest: r, Settled: true}).Due(); step == Drive || step == Rest {
				return decision.Again
			}
		case Rest:
			return 0
		}
	}
	return time.Second
}

// ask asks the gates of a rollout.
func (w *world) ask(r *v1alpha1.Rollout) Answers {
	answers := Answers{}
	for _, q := range Asks(r) {
		if answers[q.Stage] == nil {
			answers[q.Stage] = map[string]Answer{}
		}
		answers[q.Stage][q.Gate.Name] = w.answers(r.Spec.Release, q)
	}
	return answers
}

// write stores a status, unless somebody else wrote in between.
func (w *world) write(r *v1alpha1.Rollout, status v1alpha1.RolloutStatus, news []News, seen []Cluster) {
	if w.conflict != nil && w.conflict() {
		return
	}
	before := r.Status
	r.Status = status
	w.wrote(r, &before, &status, seen)
	for _, n := range news {
		w.news(r.Name, n)
	}
}

func (w *world) toldBefore(r *v1alpha1.Rollout) func(v1alpha1.ClusterName) string {
	for _, before := range w.rollouts {
		if before.Status.Successor == r.Name {
			return before.Orders().For
		}
	}
	return func(name v1alpha1.ClusterName) string { return w.node(string(name)).Holds }
}

// deliver tells the clusters what the newest rollout that began says, as package delivery does.
func (w *world) deliver() {
	var orders *v1alpha1.Orders
	for _, r := range w.rollouts {
		if r.Status.Phase != "" && !withdrawn(r) {
			o := r.Orders()
			orders = &o
		}
	}
	for _, n := range w.nodes {
		told := ""
		switch {
		case w.pkg.Spec.Rollout == nil:
			told = w.pkg.Status.Release
		case orders != nil:
			told = orders.For(n.Name)
		}
		if n.blockedBy != "" && !w.has(n, told) {
			continue // it keeps what it holds
		}
		if n.online && n.selected && n.fit && told != "" && told != n.told {
			n.told = told
			if !w.same(n.Holds, told, n.Name) {
				n.State, n.began, n.Message = Unwell, w.elapsed, ""
			}
			n.Holds = told
		}
	}
}

// work lets the agents do what they were told.
func (w *world) work() {
	for _, n := range w.nodes {
		if n.online && n.told != "" && w.elapsed-n.began >= w.takes {
			n.State, n.Message = w.outcome(n.told, n.Name), ""
			if n.State == Failing {
				n.Message = "Deployment shop/web: image cannot be pulled"
			}
		}
	}
}
