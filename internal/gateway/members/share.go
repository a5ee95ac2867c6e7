package members

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// Where the hub runs as several replicas each of them runs this controller, and of each member exactly one writes:
//
//  1. An agent that is in session somewhere, and has answered there, is claimed: status.session names the replica and the
//     session. Before its claim is written, under optimistic locking, a session tells the agent nothing.
//  2. While a claim stands and its replica is alive, nobody else writes.
//  3. A session that finds itself replaced by another one's claim ends. What its replica knew of the member is forgotten.
//  4. A member that is in session nowhere, or with a replica that is gone, is the leader's.
//
// The claim is what makes the listing (listing.go) hold across replicas: a replica tells the agent of what its own write
// listed, and that write fails when another replica has written since.

// Replicas says which replicas the hub has. Its methods do not block.
type Replicas interface {
	// Self is the name of this replica; empty on a hub that is one process, which writes every member.
	Self() string
	// Leads says whether this replica looks after what no other does.
	Leads() bool
	// Lapsed says since when a replica has not been heard of, and whether it counts as gone.
	Lapsed(replica string) (since time.Time, gone bool)
}

// Share says whose a member's status is to write.
type Share int

const (
	// Theirs: another replica's.
	Theirs Share = iota
	// Waiting: this replica's, as soon as the agent has answered in its session.
	Waiting
	// Ours: this replica's.
	Ours
)

// ShareOf decides it, from what the status claims and what is known here.
func ShareOf(claim *v1alpha1.MemberSession, facts Facts, replicas Replicas) Share {
	self := replicas.Self()
	switch {
	case self == "":
		return Ours
	case facts.InSession && claim != nil && claim.ID == facts.Session:
		return Ours
	case facts.InSession && facts.Claimed:
		return Theirs // a later session took it
	case facts.InSession && !facts.Answered:
		return Waiting // an agent that has gone elsewhere by now takes nothing back
	case facts.InSession:
		return Ours
	case claim != nil && claim.Replica == self:
		return Ours // its last session was here
	case claim != nil && !isGone(replicas, claim.Replica):
		return Theirs
	case replicas.Leads(), facts.Refused != nil, !facts.Paper.NotAfter.IsZero():
		return Ours // the latter two know what the leader does not
	}
	return Theirs
}

func isGone(replicas Replicas, name string) bool {
	_, gone := replicas.Lapsed(name)
	return gone
}

// claimOf returns what the status is to say of where the agent is in session.
func claimOf(before *v1alpha1.MemberSession, facts Facts, replica string) *v1alpha1.MemberSession {
	switch {
	case replica == "":
		return nil
	case facts.InSession:
		return &v1alpha1.MemberSession{Replica: replica, ID: facts.Session}
	}
	return before
}

// share finds out whose the member is. behind says that the cache does not have yet what this replica wrote last.
func (c *Controller) share(member *v1alpha1.MemberCluster) (share Share, behind bool) {
	cluster := v1alpha1.ClusterName(member.Name)
	facts, written := c.registry.known(cluster)
	if written != "" {
		order, err := resourceversion.CompareResourceVersion(member.ResourceVersion, written)
		if err == nil && order < 0 {
			return Theirs, true
		}
	}
	share = ShareOf(member.Status.Session, facts, c.registry.config.Replicas)
	if share == Theirs {
		c.registry.yield(cluster, member.UID)
	}
	return share, false
}

// hubFor returns what Plan has to know of the hub: of a member whose replica is gone, the time when that was.
func (c *Controller) hubFor(member *v1alpha1.MemberCluster) Hub {
	config := &c.registry.config
	hub := Hub{
		Now: config.Now(), Started: c.registry.started, ProbeInterval: config.ProbeInterval, Before: config.Before,
		Replica: config.Replicas.Self(),
	}
	claim := member.Status.Session
	if hub.Replica == "" || claim == nil || claim.Replica == hub.Replica {
		return hub
	}
	since, _ := config.Replicas.Lapsed(claim.Replica)
	if since.After(hub.Started) {
		hub.Started, hub.Before = since, since
	}
	return hub
}

// Adopt has the controller look at the members whose replica is gone or back, or, without a name, at all that are claimed
// by nobody who is alive: this replica leads now.
func (c *Controller) Adopt(ctx context.Context, replica string) error {
	var list v1alpha1.MemberClusterList
	if err := c.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range list.Items {
		claim := list.Items[i].Status.Session
		if replica != "" && (claim == nil || claim.Replica != replica) {
			continue
		}
		if replica == "" && claim != nil && !isGone(c.registry.config.Replicas, claim.Replica) {
			continue
		}
		c.registry.Poke(v1alpha1.ClusterName(list.Items[i].Name))
	}
	return nil
}

// leading is a runnable of the leader alone: it takes up what nobody looks after.
type leading struct{ controller *Controller }

// Start implements manager.Runnable.
func (l leading) Start(ctx context.Context) error { return l.controller.Adopt(ctx, "") }
