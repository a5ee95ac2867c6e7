package hosted

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// refusal is what cannot be made as it is asked for.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

const (
	// soon is when something is looked at again that somebody else is at work on, again when what failed is tried anew, and
	// later when what runs is looked at.
	soon, again, later = time.Second, 5 * time.Second, 10 * time.Second

	// kubeconfigLife is how long Cluster API's way into a cluster is valid. It is renewed when half of that is over.
	kubeconfigLife = 24 * time.Hour
)

// waits is what an object is told when something else has to be there first, empty when nothing has.
func (f family) waits(needs ...need) string {
	for _, n := range needs {
		if message := n(f); message != "" {
			return message
		}
	}
	return ""
}

// need is something that has to be there first: what it says is empty when it is.
type need func(family) string

func needCluster(f family) string {
	if f.cluster == nil {
		return "Cluster API has not said yet which Cluster it is of (metadata.ownerReferences)"
	}
	return ""
}

func needMachine(f family) string {
	if f.machine == nil {
		return "Cluster API has not said yet which Machine it is of (metadata.ownerReferences)"
	}
	return ""
}

func needPlace(f family) string {
	if !f.provisioned() {
		return fmt.Sprintf("Cluster %s has no place yet: its HostedCluster says why", f.name)
	}
	return ""
}

func needAPI(f family) string {
	if !f.initialized() {
		return fmt.Sprintf("the API of Cluster %s has not served yet: its HostedControlPlane says why", f.name)
	}
	return ""
}

func needData(f family) string {
	if field[string](f.machine, "spec", "bootstrap", "dataSecretName") == "" {
		return fmt.Sprintf("Machine %s has no bootstrap data yet (spec.bootstrap.dataSecretName)", f.machine.GetName())
	}
	return ""
}

// staying says that of an object, and after it what else there is to say.
func staying(why, also string) metav1.Condition {
	if also != "" {
		why += "; " + also
	}
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonRefused, Message: why}
}

// wanted is how many members a control plane is to have.
func wanted(object *infra.HostedControlPlane) int32 {
	if object.Spec.Replicas == nil {
		return 1
	}
	return *object.Spec.Replicas
}

// initialized says whether a control plane has ever served. Its status says so for good, also when its folder is lost.
func initialized(object *infra.HostedControlPlane) bool {
	i := object.Status.Initialization
	return i != nil && i.ControlPlaneInitialized != nil && *i.ControlPlaneInitialized
}

// count returns how many members serve.
func count(members []infra.ControlPlaneMember) int32 {
	n := int32(0)
	for _, m := range members {
		if *m.Ready {
			n++
		}
	}
	return n
}

// available says of a control plane that serves how many of its members do, and when to look again.
func available(at string, wanted int32, members []infra.ControlPlaneMember) (metav1.Condition, time.Duration) {
	message, after := "its API serves at https://"+at, later
	ready := count(members)
	if wanted > 1 || len(members) > 1 {
		message += fmt.Sprintf(" by %d of %d members", ready, wanted)
	}
	if ready != wanted || len(members) != int(wanted) {
		after = soon
	}
	return serving(message), after
}

// limping says of a control plane that serves, by some of its members, why it is not as it should be.
func limping(at string, members []infra.ControlPlaneMember, problem error) (metav1.Condition, time.Duration) {
	said, after := failure(problem)
	said.Status = metav1.ConditionTrue
	said.Message = fmt.Sprintf("its API serves at https://%s by %d of %d members, and not all is as it should be: %v", at, count(members), len(members), problem)
	return said, after
}

// also is err, after the problem that there was before it; either may be nil.
func also(problem, err error) error {
	if problem == nil {
		return err
	}
	if err == nil {
		return problem
	}
	return fmt.Errorf("%w; %w", problem, err)
}

// checkVersion refuses a version of Kubernetes that this computer does not have.
func checkVersion(wanted string, has []string) error {
	if wanted != "" && !slices.Contains(has, wanted) {
		return &refusal{fmt.Sprintf("Kubernetes %s cannot be had on this machine, which has %s: set the Cluster's version to one of these", wanted, strings.Join(has, ", "))}
	}
	return nil
}

// checkStep refuses what a control plane's data does not survive: a step back, or one over a minor. What ran is empty for nothing.
func checkStep(ran, wanted string) error {
	from, err := version.ParseGeneric(ran)
	if err != nil {
		return nil // nothing is kept that another version wrote
	}
	to, err := version.ParseGeneric(wanted)
	if err != nil {
		return &refusal{fmt.Sprintf("the version %q is none of Kubernetes: %v", wanted, err)}
	}
	switch {
	case to.Major() != from.Major() || to.Minor() < from.Minor():
		return &refusal{fmt.Sprintf("the control plane has run Kubernetes %s, and cannot go back to %s: its data may be of kinds that the older one does not know; set the Cluster's version to %s", ran, wanted, ran)}
	case to.Minor() > from.Minor()+1:
		return &refusal{fmt.Sprintf("from Kubernetes %s to %s is more than one minor: set the Cluster's version to one of 1.%d first", ran, wanted, from.Minor()+1)}
	}
	return nil
}

// failure says of an object why it is not as it should be, and when to try again.
func failure(err error) (metav1.Condition, time.Duration) {
	reason := infra.ReasonFailing
	if refused(err) {
		reason = infra.ReasonRefused
	}
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: reason, Message: err.Error()}, again
}

// provisioned says whether a machine has ever been brought up.
func provisioned(object *infra.LocalMachine) bool {
	i := object.Status.Initialization
	return i != nil && i.Provisioned != nil && *i.Provisioned
}

// health is what is said of a machine. False is for one that has been well: Cluster API's MachineHealthCheck counts by it (class.yaml),
// and is not to replace what is about to come up, sleeps, or cannot be made at all.
func health(object *infra.LocalMachine, said metav1.Condition) metav1.Condition {
	was := meta.FindStatusCondition(object.Status.Conditions, infra.ConditionReady)
	if said.Status == metav1.ConditionFalse && (was == nil || was.Status == metav1.ConditionUnknown || said.Reason == infra.ReasonHibernated) {
		said.Status = metav1.ConditionUnknown
	}
	return said
}

// fallen, silent and lost say of a machine that has been well why it is not.
func fallen() metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonFailing, Message: "its processes were gone: it is being started again, with what it has"}
}

func silent(err error) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonFailing, Message: err.Error()}
}

func lost() metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonLost, Message: "what it had on the hub's machine is gone, and is not made anew: its Node and the pods there were taken out of the cluster; " +
		"Cluster API is to replace it, as the pool's MachineHealthCheck allows"}
}

// expiry is when the first certificate ends, as a status says it; nil for what does not run, and has others when it starts.
func expiry(until time.Time) *metav1.Time {
	if until.IsZero() {
		return nil
	}
	return &metav1.Time{Time: until}
}

// refused says whether somebody has to change something before it can work.
func refused(err error) bool {
	var (
		own     *refusal
		owned   *local.OwnedError
		overlap *local.OverlapError
		root    *local.RootError
		missing *local.MissingError
	)
	return errors.As(err, &own) || errors.As(err, &owned) || errors.As(err, &overlap) || errors.As(err, &root) || errors.As(err, &missing)
}

func waiting(message string) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonWaiting, Message: message}
}

func serving(message string) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionTrue, Reason: infra.ReasonServing, Message: message}
}

func asleep(message string) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonHibernated, Message: message}
}

func ending(message string) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: infra.ReasonEnding, Message: message}
}
