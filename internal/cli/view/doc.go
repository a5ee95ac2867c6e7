// Package view answers: what may a person be told of an object, now?
//
// It turns objects of the API, the time and the hub's last sign of life into cells and states. It reads nothing and
// writes nothing: everything is a function of its arguments, so that tables can be tested with a fixed clock. Commands
// read, view decides, package output writes.
//
// Laws, with their reasons:
//
//   - Every status has an age; past it, it reads Unknown and not Ready. A status is as old as the hub's last sign of
//     life (Pulse), and that of a member as its last answer: what nobody has confirmed since is not repeated as news.
//   - A status that speaks of an older spec reads Unknown: it answers a question that was asked before.
//   - JSON and YAML show objects as they are in the API: programs compare, people believe.
package view
