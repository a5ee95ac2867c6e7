package health

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// making is how long a cluster may take to be made, or to go.
const making = 30 * time.Minute

// managed says which of the clusters that the hub makes are not as they should be.
func (f *Fleet) managed() (found []Finding) {
	for i := range f.Managed {
		c := &f.Managed[i]
		command := "umbel cluster describe " + c.Name + in(c.Namespace)
		finding := Finding{Kind: Managed, Namespace: c.Namespace, Name: c.Name, Command: command}
		switch {
		case c.DeletionTimestamp != nil:
			if f.Now.Sub(c.DeletionTimestamp.Time) < making {
				continue
			}
			finding.Level, finding.Reason, finding.Since = Failing, "DeletingLong", c.DeletionTimestamp.DeepCopy()
			finding.Message = "it is to go for longer than half an hour"
		case v1alpha1.Hibernated(c.Annotations):
			continue
		case c.Phase == "Failed":
			finding.Level, finding.Reason, finding.Message = Failing, "Failed", "it could not be made"
		case c.Available == nil || c.Available.Status == metav1.ConditionTrue:
			continue
		case c.Phase != "Provisioned" && f.Now.Sub(c.CreationTimestamp.Time) < making:
			continue // it is being made
		default:
			finding = condition(Failing, Managed, c, c.Available, command)
		}
		found = append(found, finding)
	}
	return found
}

// unserving says how bad it is that a Provider is not ready, by its reason.
var unserving = map[string]Level{
	v1alpha1.ReasonStarting: "", v1alpha1.ReasonWaitingForCore: "", v1alpha1.ReasonInUse: Waiting,
}

func (f *Fleet) providers() (found []Finding) {
	for i := range f.Providers {
		p := &f.Providers[i]
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status == metav1.ConditionTrue {
			continue
		}
		level, known := unserving[c.Reason]
		if !known {
			level = Failing
		}
		if level != "" {
			found = append(found, condition(level, Provider, p, c, "umbel provider list -o wide"))
		}
	}
	return found
}

func (f *Fleet) upgrades() (found []Finding) {
	for i := range f.Upgrades {
		u := &f.Upgrades[i]
		for _, kind := range []string{v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded} {
			c := meta.FindStatusCondition(u.Status.Conditions, kind)
			if c == nil || c.Status != metav1.ConditionFalse {
				continue
			}
			level := Failing
			switch c.Reason {
			case v1alpha1.ReasonPaused:
				level = Waiting
			case v1alpha1.ReasonAborted, v1alpha1.ReasonUpgrading, v1alpha1.ReasonBaking, v1alpha1.ReasonUpgradeDone:
				continue
			}
			found = append(found, condition(level, Upgrade, u, c, "umbel upgrade status"))
			break // the second says what follows from the first
		}
	}
	return found
}

func (f *Fleet) placements() (found []Finding) {
	for i := range f.Placements {
		p := &f.Placements[i]
		if p.Status.ObservedGeneration < p.Generation || f.Scopes != nil && ofScope(p) {
			continue
		}
		command := "umbel describe placement " + p.Name + in(p.Namespace)
		decided := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionDecided)
		satisfied := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSatisfied)
		switch {
		case decided != nil && decided.Status == metav1.ConditionFalse:
			found = append(found, condition(Failing, Placement, p, decided, command))
		case len(p.Status.Undecided) > 0:
			found = append(found, Finding{
				Level: Warning, Kind: Placement, Namespace: p.Namespace, Name: p.Name, Reason: "ClustersUndecided",
				Message: "it cannot be told whether it means " + v1alpha1.Few(p.Status.Undecided, 3) + ": they keep what they hold",
				Command: fmt.Sprintf("umbel explain placement %s --cluster %s%s", p.Name, p.Status.Undecided[0], in(p.Namespace)),
			})
		case satisfied != nil && satisfied.Status == metav1.ConditionFalse:
			found = append(found, condition(Warning, Placement, p, satisfied, "umbel explain placement "+p.Name+in(p.Namespace)))
		}
	}
	return found
}

func (f *Fleet) scopes() (found []Finding) {
	for i := range f.Scopes {
		s := &f.Scopes[i]
		if s.Status.ObservedGeneration < s.Generation || s.DeletionTimestamp != nil {
			continue
		}
		for j := range s.Status.Conditions {
			c := &s.Status.Conditions[j]
			if c.Type == v1alpha1.ConditionReady || c.Status != metav1.ConditionFalse {
				continue
			}
			level, known := undelivered[c.Reason]
			if !known {
				level = Failing
			}
			if level != "" {
				found = append(found, condition(level, Scope, s, c, "umbel describe scope "+s.Name))
				break
			}
		}
	}
	return found
}
