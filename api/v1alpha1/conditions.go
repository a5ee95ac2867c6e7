package v1alpha1

// ConditionReady says whether the object is as its spec asks. On every kind it is computed from the other
// conditions and never set by hand.
const ConditionReady = "Ready"

// Conditions of a MemberCluster. Writer: the gateway.
const (
	// ConditionJoined is True once the hub has issued a certificate to the member's agent and pinned its key.
	ConditionJoined = "Joined"
	// ConditionConnected is True while probes come back through the tunnel, Unknown when they stopped
	// (status.lastSeen says when), False when the hub refused the agent, or the agent answers and its API server does not.
	ConditionConnected = "Connected"
	// ConditionSynced is True when every Package that the member holds is applied in the release that is asked for.
	ConditionSynced = "Synced"
	// ConditionCertificatesValid is False when a certificate by which the cluster is reached ends within two weeks, as the agent says. It
	// is not there before the agent has said, and has no part in Ready.
	ConditionCertificatesValid = "CertificatesValid"
)

// Reasons of a MemberCluster's conditions.
const (
	ReasonAwaitingAgent      = "AwaitingAgent"      // Joined False, Connected False: no agent has presented the token yet
	ReasonKeyPinned          = "KeyPinned"          // Joined True
	ReasonTokenRefused       = "TokenRefused"       // Joined False: a join token was wrong, used or expired
	ReasonProbeAnswered      = "ProbeAnswered"      // Connected True
	ReasonAPIUnreachable     = "APIUnreachable"     // Connected False: the agent answers, its API server does not
	ReasonProbeTimeout       = "ProbeTimeout"       // Connected Unknown
	ReasonSessionClosed      = "SessionClosed"      // Connected Unknown: the connection ended and no other came
	ReasonHubRestarted       = "HubRestarted"       // Connected Unknown: this hub has not heard from the agent yet
	ReasonCertificateRefused = "CertificateRefused" // Connected False: expired, of another hub, or not the pinned key
	ReasonProtocolMismatch   = "ProtocolMismatch"   // Connected False: hub and agent share no protocol version
	ReasonHubSuperseded      = "HubSuperseded"      // Connected False: a restored hub has the fleet, and this one is its older copy
	ReasonPendingApproval    = "PendingApproval"    // Joined False, Connected False: somebody has to approve the cluster
	ReasonDenied             = "Denied"             // Joined False, Connected False: somebody denied it
	ReasonSuspended          = "Suspended"          // Connected False: it is kept out for a while
	ReasonCertificatesLast   = "CertificatesLast"   // CertificatesValid True
	ReasonCertificateEnds    = "CertificateEnds"    // CertificatesValid False: one ends within two weeks, or has ended
	ReasonHibernated         = "Hibernated"         // Connected False: the hub has ended it, with its data, until it is woken
	ReasonKeyRevoked         = "KeyRevoked"         // Joined False, Connected False: its key was revoked and no other is pinned
	ReasonAllApplied         = "AllApplied"         // Synced True
	ReasonApplying           = "Applying"           // Synced False: at work
	ReasonPackageFailed      = "PackageFailed"      // Synced False: at least one Package cannot be applied
	ReasonNoPackages         = "NoPackages"         // Synced True: nothing is asked for
	ReasonDeletesHeld        = "DeletesHeld"        // Synced False: a release is applied, and its deletes wait for a word; a Package's Delivered too
	ReasonLeaving            = "Leaving"            // Ready False: the member is being detached
)

// ConditionDecided of a Placement is True when status.clusters is what the spec asks for. While it is not, the
// last decision stands: what cannot be decided selects what it selected before. Writer: the placement controller.
const ConditionDecided = "Decided"

// ConditionSatisfied of a Placement is True when it has as many clusters as it asks for, and they lie as it asks for. One
// that asks for all that meet its spec has no such condition. Writer: the placement controller.
const ConditionSatisfied = "Satisfied"

// Reasons of a Placement's conditions.
const (
	ReasonDecided         = "Decided"
	ReasonInvalidSelector = "InvalidSelector"
	ReasonSatisfied       = "Satisfied"
	ReasonTooFewClusters  = "TooFewClusters"
	ReasonNotSpread       = "NotSpread"
)

// Conditions of a Package. Writer: the delivery controller.
const (
	// ConditionFetched is True when the source was read; False keeps the last good Release in place.
	ConditionFetched = "Fetched"
	// ConditionVerified is True when the revision is signed as spec.source asks; False keeps the last good Release in place.
	// Without verify there is none.
	ConditionVerified = "Verified"
	// ConditionRendered is True when the revision rendered for every selected cluster.
	ConditionRendered = "Rendered"
	// ConditionPlaced is True when the Placement exists and is decided.
	ConditionPlaced = "Placed"
	// ConditionDelivered is True when every selected cluster has applied the current Release and its objects are
	// healthy there; Unknown when all that are connected have, and others are not connected.
	ConditionDelivered = "Delivered"
	// ConditionDependencies is False while clusters wait for Packages in spec.dependsOn. Without spec.dependsOn there is none.
	ConditionDependencies = "DependenciesReady"
	// ConditionPlanned is False while what was rendered last, or a cluster, waits for a Plan. Without spec.plan there is none.
	ConditionPlanned = "Planned"
	// ConditionAgents is False while clusters wait for an agent of a later version, since theirs cannot carry the Package out. There is none
	// otherwise.
	ConditionAgents = "AgentsReady"
)

// Reasons of a Package's conditions.
const (
	ReasonFetched           = "Fetched"           // Fetched True
	ReasonFetchFailed       = "FetchFailed"       // the source cannot be reached or read
	ReasonUnauthorized      = "Unauthorized"      // the server wants credentials, or refuses those that it got
	ReasonSecretInvalid     = "SecretInvalid"     // the Secret with the credentials is not there, or lacks what it takes
	ReasonSourceNotAllowed  = "SourceNotAllowed"  // the source is on the hub's own disk, where it may not read
	ReasonFolderTaken       = "FolderTaken"       // the source has a folder where remote bases would be
	ReasonRefNotFound       = "RefNotFound"       // the branch, tag or commit does not exist in the source
	ReasonPathNotFound      = "PathNotFound"      // the path does not exist in the revision
	ReasonVerified          = "Verified"          // Verified True
	ReasonNotVerified       = "NotVerified"       // Verified False: it is not signed, or by nobody who may; a Package's Delivered too
	ReasonWentBack          = "WentBack"          // Verified False: it is older than what was verified before
	ReasonKeysInvalid       = "KeysInvalid"       // Verified False: a Secret or ConfigMap with keys is not there, or cannot be read
	ReasonRendered          = "Rendered"          // Rendered True
	ReasonRenderFailed      = "RenderFailed"      // a file is invalid; the message names file, object and field
	ReasonValuesInvalid     = "ValuesInvalid"     // a ConfigMap or Secret with Helm values is not there, or lacks the key
	ReasonEmptyRender       = "EmptyRender"       // nothing was rendered: refused, since unknown is never empty
	ReasonNotSealed         = "NotSealed"         // Rendered False, Delivered False: somebody made or changed a Release that is not this hub's
	ReasonStoreFailed       = "StoreFailed"       // the rendered content could not be stored
	ReasonVariableMissing   = "VariableMissing"   // a selected cluster lacks a value that a manifest refers to
	ReasonNothingSelected   = "NothingSelected"   // the selectors of the objects leave none for a selected cluster
	ReasonPlaced            = "Placed"            // Placed True
	ReasonPlacementNotFound = "PlacementNotFound" // Placed False: there is no such Placement in the namespace
	ReasonUndecided         = "Undecided"         // the Placement itself is not decided
	ReasonNoClusters        = "NoClusters"        // Placed True: the selector names no cluster
	ReasonDelivered         = "Delivered"         // Delivered True
	ReasonDelivering        = "Delivering"        // clusters are at work
	ReasonClustersFailing   = "ClustersFailing"   // at least one cluster reports a failure
	ReasonClustersUnknown   = "ClustersUnknown"   // at least one selected cluster is not connected
	ReasonNoRelease         = "NoRelease"         // nothing has ever been rendered
	ReasonDeleting          = "Deleting"          // members are pruning what the Package put there
	ReasonRollingOut        = "RollingOut"        // Delivered False: a rollout is under way; the message says where it is
	ReasonRolloutHalted     = "RolloutHalted"     // Delivered False: a rollout stopped and waits for somebody
	ReasonRolledBack        = "RolledBack"        // Delivered False: the clusters were brought back to an earlier release

	ReasonPlanned      = "Planned"      // Planned True
	ReasonPlanRequired = "PlanRequired" // Planned False: nobody has saved a Plan of this

	ReasonAgentTooOld = "AgentTooOld" // AgentsReady False: the agents do not know what the Package asks for

	ReasonDependenciesHealthy = "DependenciesHealthy" // DependenciesReady True
	ReasonWaiting             = "Waiting"             // DependenciesReady False: clusters wait for another Package
	ReasonDependencyTimeout   = "DependencyTimeout"   // DependenciesReady False: they wait for longer than spec.dependsOn allows, and go on
)

// ConditionReachable of a Scope is True when the hub lets its people through to the clusters that are selected, and to no
// other for its sake. A Scope has Placed and Delivered as well, from the Placement and the Package that it makes. Writer:
// the scope controller.
const ConditionReachable = "Reachable"

// Reasons of a Scope's conditions, beside those of a Placement and a Package.
const (
	ReasonReachable = "Reachable" // Reachable True
	ReasonNameTaken = "NameTaken" // Placed False: an object that the Scope needs is there and is somebody else's
)

// Conditions of an AgentUpgrade. Writer: the upgrade controller.
const (
	// ConditionAdvancing is False while no further cluster is told: it is paused, aborted, or was stopped by a failure.
	ConditionAdvancing = "Advancing"
	// ConditionUpgraded is True when every selected cluster that is connected and can be upgraded runs the build.
	ConditionUpgraded = "Upgraded"
)

// Reasons of an AgentUpgrade's conditions.
const (
	ReasonRunning       = "Running"       // Advancing True
	ReasonPaused        = "Paused"        // Advancing False: somebody paused it
	ReasonAborted       = "Aborted"       // Advancing False: somebody aborted it
	ReasonStopped       = "Stopped"       // Advancing False: a cluster failed
	ReasonTooFarApart   = "TooFarApart"   // Advancing False: the build is more than one minor version from the hub
	ReasonHubNotReady   = "HubNotReady"   // Advancing False: the hub has not said yet where its images are
	ReasonUpgradeDone   = "Done"          // Upgraded True
	ReasonUpgrading     = "Upgrading"     // Upgraded False: agents are changing
	ReasonBaking        = "Baking"        // Upgraded False: a wave is done and has to be well for a while
	ReasonUpgradeFailed = "UpgradeFailed" // Upgraded False: at least one cluster failed
)

// Conditions of a Rollout. Writer: the rollout controller.
const (
	// ConditionProgressing is True while clusters move, and False while nobody does: the reason says what it waits for.
	ConditionProgressing = "Progressing"
	// ConditionRolledOut is True once every stage is done.
	ConditionRolledOut = "RolledOut"
)

// Reasons of a Rollout's conditions, beside those of an AgentUpgrade that mean the same: Paused, Aborted and Baking.
const (
	ReasonMoving             = "Moving"             // Progressing True: clusters move
	ReasonAwaitingApproval   = "AwaitingApproval"   // Progressing False: somebody has to approve
	ReasonOutsideWindow      = "OutsideWindow"      // Progressing False: no maintenance window is open
	ReasonInvalidWindow      = "InvalidWindow"      // Progressing False: a maintenance window cannot be read
	ReasonAwaitingClusters   = "AwaitingClusters"   // Progressing False: no cluster of a stage is connected, or none came right
	ReasonAwaitingGate       = "AwaitingGate"       // Progressing False: what a stage's clusters measure is not as it has to be, or is not known
	ReasonEmptyStage         = "EmptyStage"         // Progressing False: the first stage selects no cluster
	ReasonPlacementUnsettled = "PlacementUnsettled" // Progressing False: the Placement is not decided
	ReasonHalted             = "Halted"             // Progressing False: too many clusters failed, or a gate does not hold
	ReasonComplete           = "Complete"           // Progressing False, RolledOut True
	ReasonFollowing          = "Following"          // Progressing True: it is complete, and clusters that were away follow
	ReasonSuperseded         = "Superseded"         // Progressing False: another rollout took over
	ReasonIncomplete         = "Incomplete"         // RolledOut False
)
