package ascent

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"

	"umbel.dev/umbel/api/v1alpha1"
)

// Observe says how far a cluster is with the version that it is to have, and which it can have next.
func Observe(g Ground) v1alpha1.MemberLifecycle {
	state := v1alpha1.MemberLifecycle{Version: text(g.Cluster, "spec", "topology", "version"), Phase: v1alpha1.LifecycleWorking}
	if state.Version == "" {
		state.Message = "it is of no class (spec.topology), and is upgraded where what it is made of is written"
		return state
	}
	if g.Class != nil {
		state.Next = nextOf(state.Version, offered(g.Class))
	}
	if state.Message = lacking(g); state.Message == "" {
		state.Phase = v1alpha1.LifecycleReady
	}
	return state
}

// nextOf returns those of the versions that a cluster can be brought to: later ones, at most one minor away. Where nobody says which
// there are, it returns the minors.
func nextOf(from string, offered []string) []string {
	now, err := version.ParseGeneric(from)
	if err != nil {
		return nil
	}
	if len(offered) == 0 {
		return []string{fmt.Sprintf("v%d.%d", now.Major(), now.Minor()), fmt.Sprintf("v%d.%d", now.Major(), now.Minor()+1)}
	}
	var next []string
	for _, one := range offered {
		v, err := version.ParseGeneric(one)
		if err == nil && now.LessThan(v) && checkStep(now, from, one) == nil {
			next = append(next, one)
		}
	}
	return next
}

// lacking says what of a cluster is not at its version, or not at work; empty when all of it is. Cluster API counts what is served and
// what machines are; that it has acted on what is wanted now is what its condition says.
func lacking(g Ground) string {
	c := g.Cluster
	wanted := text(c, "spec", "topology", "version")
	if paused, _, _ := unstructured.NestedBool(c.Object, "spec", "paused"); paused {
		return "it is paused (spec.paused)"
	}
	if served := Serves(c); !slices.Equal(served, []string{wanted}) {
		return fmt.Sprintf("its control plane is to serve %s, and serves %s", wanted, orNothing(served))
	}
	for _, p := range g.Pools {
		if p.Version != wanted {
			return fmt.Sprintf("pool %s is at %s still", p.Name, p.Version)
		}
	}
	if of := versionsIn(c, "workers"); len(of) > 0 && !slices.Equal(of, []string{wanted}) {
		return fmt.Sprintf("its machines are to be of %s, and are of %s", wanted, strings.Join(of, " and "))
	}
	for _, part := range []struct{ field, name string }{{"controlPlane", "members of its control plane"}, {"workers", "machines"}} {
		all, there, available := number(c, "status", part.field, "desiredReplicas"), number(c, "status", part.field, "replicas"), number(c, "status", part.field, "availableReplicas")
		if all != there || all != available {
			return fmt.Sprintf("%d of %d %s are at work, and %d are there", available, all, part.name, there)
		}
	}
	status, message := reconciled(c)
	if status != "True" {
		return strings.TrimSuffix("Cluster API is at work on it: "+message, ": ")
	}
	return ""
}

func orNothing(served []string) string {
	if len(served) == 0 {
		return "nothing yet"
	}
	return strings.Join(served, " and ")
}

// reconciled is what Cluster API says of whether a cluster is as its topology wants it: of this very generation of it.
func reconciled(c *unstructured.Unstructured) (status, message string) {
	all, _, _ := unstructured.NestedSlice(c.Object, "status", "conditions")
	for _, one := range all {
		condition, _ := one.(map[string]any)
		if condition["type"] != "TopologyReconciled" {
			continue
		}
		if seen, _ := condition["observedGeneration"].(int64); seen != c.GetGeneration() {
			return "Unknown", ""
		}
		status, _ := condition["status"].(string)
		message, _ := condition["message"].(string)
		return status, strings.Join(strings.Fields(strings.ReplaceAll(message, "* ", "")), " ")
	}
	return "Unknown", ""
}
