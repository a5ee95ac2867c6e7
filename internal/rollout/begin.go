package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// Begin freezes what a rollout is about: the clusters of each stage, and what they are told until they are moved. told says
// what a cluster is told now; it is empty for one that is told nothing.
func Begin(r *v1alpha1.Rollout, clusters []Cluster, told func(v1alpha1.ClusterName) string, now time.Time) (v1alpha1.RolloutStatus, error) {
	p := newPass(r, Seen{Clusters: clusters}, now)
	sort, err := sorter(&p.spec.Strategy)
	if err != nil {
		return v1alpha1.RolloutStatus{}, fmt.Errorf("rollout %s: %w", r.Name, err)
	}
	p.status = v1alpha1.RolloutStatus{
		ObservedGeneration: r.Generation, Phase: v1alpha1.RolloutRunning, Began: p.stamp(), Watched: p.stamp(),
	}
	byStage := map[string]*v1alpha1.StageStatus{}
	for _, stage := range r.Spec.Strategy.Stages {
		byStage[stage.Name] = &v1alpha1.StageStatus{Name: stage.Name, Step: v1alpha1.StageWaiting}
	}
	from := map[string][]v1alpha1.ClusterName{}
	for _, c := range slices.SortedFunc(slices.Values(clusters), byName) {
		name := sort(&c)
		if byStage[name] == nil {
			byStage[name] = &v1alpha1.StageStatus{Name: name, Step: v1alpha1.StageWaiting}
		}
		stage := byStage[name]
		stage.Clusters++
		switch before := told(c.Name); {
		case before == r.Spec.Release:
			stage.Moved = append(stage.Moved, c.Name)
			p.ailing[c.Name] = c.sick()
		default:
			stage.Waiting = append(stage.Waiting, c.Name)
			if before != r.Spec.Previous {
				from[before] = append(from[before], c.Name)
			}
		}
	}
	for _, stage := range r.Spec.Strategy.Stages {
		p.status.Stages = append(p.status.Stages, *byStage[stage.Name])
	}
	if rest := byStage[v1alpha1.RestStage]; rest != nil {
		p.status.Stages = append(p.status.Stages, *rest)
	}
	p.status.From = grouped(from)
	maps.DeleteFunc(p.ailing, func(_ v1alpha1.ClusterName, sick bool) bool { return !sick })
	p.waits(v1alpha1.ReasonMoving, "it begins")
	p.count()
	p.conclude()
	return p.status, nil
}

func byName(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) }

func grouped(from map[string][]v1alpha1.ClusterName) []v1alpha1.HeldRelease {
	var all []v1alpha1.HeldRelease
	for _, release := range slices.Sorted(maps.Keys(from)) {
		all = append(all, v1alpha1.HeldRelease{Release: release, Clusters: slices.Sorted(slices.Values(from[release]))})
	}
	return all
}

// sorter returns what says of which stage a cluster is.
func sorter(strategy *v1alpha1.RolloutStrategy) (func(*Cluster) string, error) {
	selectors := make([]labels.Selector, len(strategy.Stages))
	for i := range strategy.Stages {
		selector, err := metav1.LabelSelectorAsSelector(&strategy.Stages[i].ClusterSelector)
		if err != nil {
			return nil, fmt.Errorf("spec.rollout.stages[%d].clusterSelector of stage %s: %w", i, strategy.Stages[i].Name, err)
		}
		selectors[i] = selector
	}
	return func(c *Cluster) string {
		for i, selector := range selectors {
			if selector.Matches(labels.Set(c.Labels)) {
				return strategy.Stages[i].Name
			}
		}
		return v1alpha1.RestStage
	}, nil
}

// late are the clusters that were not there when the rollout began, by the stage that selects them.
func (p *pass) late() map[string][]v1alpha1.ClusterName {
	listed := make(map[v1alpha1.ClusterName]bool, len(p.list))
	for i := range p.status.Stages {
		for _, names := range [][]v1alpha1.ClusterName{p.status.Stages[i].Waiting, p.status.Stages[i].Moved} {
			for _, name := range names {
				listed[name] = true
			}
		}
	}
	var joined map[string][]v1alpha1.ClusterName
	for i := range p.list {
		if c := &p.list[i]; !listed[c.Name] {
			if joined == nil {
				joined = map[string][]v1alpha1.ClusterName{}
			}
			joined[p.stageOf(c)] = append(joined[p.stageOf(c)], c.Name)
		}
	}
	return joined
}

// stageOf says of which stage a cluster is now.
func (p *pass) stageOf(c *Cluster) string {
	sort, err := sorter(&p.spec.Strategy)
	if err != nil {
		return v1alpha1.RestStage // with such a strategy no rollout begins
	}
	return sort(c)
}

// join takes clusters that were selected later into the stages, if the strategy says so. Until they move they are told the
// last good release.
func (p *pass) join() {
	if p.spec.Strategy.LateJoiners != v1alpha1.JoinInStage {
		return
	}
	p.admit(p.late())
}

func (p *pass) admit(joined map[string][]v1alpha1.ClusterName) {
	for _, name := range slices.Sorted(maps.Keys(joined)) {
		at := slices.IndexFunc(p.status.Stages, func(s v1alpha1.StageStatus) bool { return s.Name == name })
		if at < 0 {
			p.status.Stages = append(p.status.Stages, v1alpha1.StageStatus{Name: name, Step: v1alpha1.StageWaiting})
			at = len(p.status.Stages) - 1
		}
		s := &p.status.Stages[at]
		s.Waiting = append(s.Waiting, joined[name]...)
		slices.Sort(s.Waiting)
		s.Clusters += int32(len(joined[name]))
		p.tell("Joined", "Took %s into stage %s: %s", many(len(joined[name])), name, some(joined[name]))
	}
}

// complete ends the stages. From now on every cluster is told the release, but for those that it has not reached: they
// follow. So a rollout at rest says nothing of the clusters that it has moved, however many they are.
func (p *pass) complete() {
	p.count()
	orders := (&v1alpha1.Rollout{Spec: *p.spec, Status: p.status}).Orders()
	p.admit(p.late())
	from := map[string][]v1alpha1.ClusterName{}
	waiting := 0
	for i := range p.status.Stages {
		s := &p.status.Stages[i]
		s.Step, s.Moved, s.WellSince, s.ClosedSince = v1alpha1.StageDone, nil, nil, nil
		s.Clusters -= int32(len(s.Waiting))
		s.Waiting = slices.DeleteFunc(s.Waiting, func(name v1alpha1.ClusterName) bool { return p.seen[name] == nil })
		s.Clusters += int32(len(s.Waiting)) // who is gone is nobody to wait for
		for _, name := range s.Waiting {
			from[orders.For(name)] = append(from[orders.For(name)], name)
		}
		waiting += len(s.Waiting)
	}
	p.status.From = grouped(from)
	p.status.Completed, p.status.Phase = p.stamp(), v1alpha1.RolloutCompleted
	p.tell("Completed", "Rolled %s out to %s", p.spec.Release, many(int(p.status.Moved)))
	if waiting > 0 {
		p.waits(v1alpha1.ReasonFollowing, "it is complete; %s", following(waiting))
		p.within(time.Second)
		return
	}
	p.waits(v1alpha1.ReasonComplete, "%s", strings.TrimSpace("every cluster has "+p.spec.Release))
}
