// Package wire holds the messages between hub and agent, generated from session.proto, and the version of their
// protocol. It holds no behaviour, but for reading what two versions write in two ways: package session says how the messages are used, package tunnel carries them.
package wire

//go:generate protoc --go_out=../.. --go_opt=module=umbel.dev/umbel session.proto

// Protocol versions that this build speaks: its own and the one before. The number goes up at most once per minor version, so
// hub and agent may be one minor version apart, either way. They agree on the highest that both know; when there is none, the
// hub refuses the session and says so on both sides.
//
// History:
//
//	1  2026-11-22  first version
//	   2026-11-26  Welcome.cluster_set and StatusReport.properties were added; who does not know them leaves them out
//	   2026-11-26  Hello.trust, TrustBundle and TrustHeld: an agent that does not know them keeps the bundle that comes with
//	               its next certificate
//	   2026-11-26  Hello.epoch and Welcome.epoch: who does not know them fences nobody
//	   2026-11-26  added without a new number, since whoever does not know a message or a field passes over it:
//	               Upgrade, UpgradeState; build, image and upgrade in Hello; upgrade and epoch in Refusal
//	   2026-11-27  Policy, and policy_id in Assignment and PackageStatus: an agent that does not know it treats packages by
//	               the defaults of its version, and is told once in each session; a hub that does not know it sends none.
//	               PackageStatus.deletes_held: a hub that does not know it takes the release for applied, which it is.
//	               StatusReport.deletions and DesiredState.undo: an agent that does not know them keeps no journal
//	               Policy.drift_mode to prevention, Policy.health, PackageStatus.drifting and drifts: an agent that does not know
//	               them repairs all drift and tells of the last; a hub that does not know them shows none
//	               Policy.acts_as, and Assignment.content: an agent that does not know them finds no content to apply where
//	               it looks, and fails, rather than act with its own rights. PackageStatus.contested: a hub that does not
//	               know it shows none
//	               Policy.planned, with which the content is in Assignment.content too: an agent that does not know it finds
//	               none, and fails, rather than apply what nobody has seen
//	               Hello.features: an agent that names none is told nothing that needs one; a hub that does not know them tells
//	               it all the same, and finds out that it fails
//	   2026-11-28  Drift.user: an agent that does not know it names nobody; a hub that does not know it shows none
//	               Metrics and Welcome.metrics: an agent that does not know them measures nothing; under a hub that does not
//	               know them it goes on, and what it sends is not taken
//	   2026-11-29  Level and Welcome.level: an agent that does not know them is attached, and says so by the feature that it lacks; under a
//	               hub that does not know them one stays as it is
const (
	Protocol    = 1 + ahead
	MinProtocol = max(1, Protocol-1)
)
