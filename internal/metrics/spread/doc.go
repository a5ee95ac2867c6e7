// Package spread answers: do the hub's other replicas have what agents sent to this one?
//
// Each replica keeps all that the fleet measures, so that each answers for all of it, and the loss of one loses nothing. An agent is in session
// with one of them: that one keeps what the agent sends, and passes it on as it came.
//
//  1. What was kept is put together, a second's worth, with the names of the clusters that it is of.
//  2. For each other replica there is a folder of that (package queue), which is sent in its order. While the other one is away it waits there,
//     and an outage is filled in afterwards, as far as the folder goes.
//  3. The other one keeps it as if the agent had sent it there, and passes it on to nobody.
//
// Laws, with their reasons:
//
//   - An agent waits for no other replica: what it sent is kept by one when that is answered.
//   - What was refused here is not passed on. There nothing is asked for how much a cluster sends: that was asked here.
//   - A replica is one of the others as long as it was alive within the last day. After that its folder goes: it was taken away.
//
// Who kills a replica has the others miss what it was sent in the last second; its own folder has that.
package spread
