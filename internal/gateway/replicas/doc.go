// Package replicas answers: which replicas does the hub have, which of them are alive, and which one leads?
//
// A hub may run as several replicas over one API. Agents are in session with any of them; the MemberCluster says with
// which (status.session). What one replica has to know of the others is in Leases of theirs, one each:
//
//  1. A replica renews its Lease every few seconds and says in it where the others reach its gateway.
//  2. It watches the Leases of the others. One is alive as long as its Lease was seen to change lately, by this replica's
//     own clock: clocks of other machines are not compared.
//  3. A Lease that was deleted, as on an orderly end, or that has not changed for its duration, has lapsed: whoever leads
//     looks after the members of that replica until they are in session elsewhere (package members).
//
// So what an idle fleet costs is a write a few seconds for each replica, whatever the number of members. Who leads is
// decided by the manager's leader election, which is another Lease.
//
// A hub that is one process has no replicas: it needs none of this, and a nil *Replicas says so.
package replicas
