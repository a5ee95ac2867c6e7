// Package asks answers: what does an object ask, by its annotations, of the agent that applies it?
//
//   - umbel.dev/drift: repair, report or ignore; and client.lifecycle.config.k8s.io/mutation: ignore, as Config Sync has it.
//   - umbel.dev/depends-on: objects that have to be healthy before this one is applied, and that outlive it; and
//     config.kubernetes.io/depends-on, as Config Sync has it.
//   - umbel.dev/depends-on-timeout: how long this one waits for them.
//
// The hub reads them when it renders, so that a mistake is refused where it was made and no cluster hears of it; the agent
// reads them when it applies. Order is decided here, purely, for both.
//
// What cannot be read is an error that names the annotation. Of who depends on whom, a cycle and a target that is not in the
// same package are errors: an order that nobody can keep is none.
package asks
