package v1alpha1

// What the Namespace of Packages, on the hub, says of whose they are. Who may change these is the business of the admission
// policy in deploy/policies: a team that has all rights inside of a namespace cannot.
const (
	// ActsAsAnnotation names the ServiceAccount of the members, as NAMESPACE/NAME, that the Packages of the Namespace act as:
	// they are a team's. Without it they are the platform's, and act as the agent.
	ActsAsAnnotation = "umbel.dev/acts-as"
	// MaxPackagesAnnotation is how many Packages of the Namespace are delivered; those that were made first.
	MaxPackagesAnnotation = "umbel.dev/max-packages"
	// MaxObjectsAnnotation is how many objects a Release of one of them may have.
	MaxObjectsAnnotation = "umbel.dev/max-objects"
	// MaxClustersAnnotation is on how many clusters one of them may be.
	MaxClustersAnnotation = "umbel.dev/max-clusters"
)

// TeamLabel on a Namespace of a member says whose it is, for who counts what is requested and used (`umbel capacity`).
const TeamLabel = "umbel.dev/team"

// Reasons of a Package's Delivered and Rendered that its Namespace is the cause of.
const (
	ReasonTeamInvalid   = "TeamInvalid"   // Delivered False: an annotation of the Namespace says nothing that can be understood
	ReasonQuotaExceeded = "QuotaExceeded" // Delivered or Rendered False: it is more than the Namespace allows
)

// MaxContests is how many contested objects of a Package one member names.
const MaxContests = 10

// Contest is an object that two Packages want on a member.
type Contest struct {
	// object is KIND[.GROUP] [NAMESPACE/]NAME.
	Object string `json:"object"`
	// package is the one that does not get it, as NAMESPACE/NAME.
	Package PackageKey `json:"package"`
}

// ConditionContested of a Package is True while others want objects that it holds, and do not get them. One that nobody ever
// contested has no such condition. It is no part of Ready: nothing is wrong with the Package. Writer: the delivery controller.
const ConditionContested = "Contested"

// Reasons of Contested.
const (
	ReasonWantedByOthers = "WantedByOthers" // True: the message says who wants what, and where
	ReasonUncontested    = "Uncontested"    // False: nobody does any more
)
