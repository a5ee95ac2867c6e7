package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// guard keeps others from changing what a package holds, by an admission policy of the member's own API server. It is never
// what keeps the objects as they are: when it cannot be evaluated, or is gone, a change goes through and is put back. Whoever may
// change admission policies can take it away; the agent puts it back as it does with objects (guards.go).
type guard struct {
	busy sync.Mutex // held while it is written or taken away

	mu     sync.Mutex    // guards what follows
	bodies [][]byte      // what it is to be; nil when there is to be none
	stands string        // the same, and for which release that was looked at
	notes  *[2]guardNote // what was written; nil when that has not been read from the disk yet
	bout   bout          // with whoever undoes it
	wrong  string        // why there is none
}

var guardKinds = []schema.GroupVersionKind{
	admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
	admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
}

// guardName is what both are called.
func guardName(key v1alpha1.PackageKey) string { return "umbel-drift." + key.LabelValue() }

// keepGuard makes the guard what the policy asks for, and has it watched: who deletes or changes it has it so until that is seen.
func (u *unit) keepGuard(ctx context.Context) error {
	prevention := u.takeUp().policy.GetPrevention()
	if prevention == nil {
		return u.dropGuard(ctx)
	}
	if _, _, err := u.engine.cast.own.Resolve(guardKinds[0]); meta.IsNoMatchError(err) {
		u.guard.set(nil, "", "spec.drift.prevention is Deny, and this cluster's API server has no ValidatingAdmissionPolicy (Kubernetes 1.30 has it): "+
			"changes are not refused; they are put back")
		return nil
	}
	self, err := u.engine.cast.own.WhoAmI(ctx)
	if err != nil {
		return u.unguarded(err)
	}
	writers := []string{self} // which may have to take an object over, whoever else writes it
	if account := u.account(); account != nil {
		writers = append(writers, account.User())
	}
	bodies, err := guardBodies(u.key, prevention, writers)
	if err != nil {
		return u.unguarded(err)
	}
	stands := string(bodies[0]) + string(bodies[1])
	if t := u.asked().Target(); t != nil {
		stands += t.Digest
	}
	if u.guard.is(stands) {
		return nil
	}
	u.guard.busy.Lock()
	defer u.guard.busy.Unlock()
	if err := u.engine.guards.ensure(); err != nil {
		return u.unguarded(err)
	}
	if err := u.restoreGuard(ctx, bodies); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx) // the pass was interrupted; the next one goes on
		}
		return u.unguarded(err)
	}
	u.guard.set(bodies, stands, "")
	return nil
}

// guardNote is what the API server made of one of the two, as noted on the disk.
type guardNote struct {
	Hash  uint64    `json:"h"` // of what was sent
	UID   types.UID `json:"u"`
	Owned uint64    `json:"o"` // of our entry in managedFields
	// Generation is of the object when it was written: what others add to it, such as a condition of their own, is no field of ours.
	Generation int64 `json:"g"`
}

// departed says whether an object is not what was written. A nil one is none at all.
func (n guardNote) departed(found metav1.Object) bool {
	if found == nil {
		return n != (guardNote{})
	}
	is := member.Observe(found)
	return is.UID != n.UID || is.Owned != n.Owned || found.GetGeneration() != n.Generation
}

// restoreGuard makes both what bodies say, where they are not: two reads, where to write them would be two writes for nothing. What
// others had done to them is told. The caller holds the guard's busy.
func (u *unit) restoreGuard(ctx context.Context, bodies [][]byte) error {
	api, err := u.api()
	if err != nil {
		return err
	}
	notes := u.guard.recall(u.folder)
	for i, gvk := range guardKinds { // the policy first: a binding without one is an error to the API server
		gvr, _, err := u.engine.cast.own.Resolve(gvk)
		if err != nil {
			return err
		}
		key, note := guardKey(gvk, u.key), notes[i]
		found, err := u.engine.cast.own.Metadata(ctx, gvr, key)
		if err != nil {
			return err
		}
		departed := note.departed(found)
		if found != nil && !departed && note.Hash == xxhash.Sum64(bodies[i]) {
			continue
		}
		notes[i] = guardNote{} // until it is known what came of it, only that it may be there
		if err := u.noteGuard(notes); err != nil {
			return err
		}
		if found != nil && departed { // to apply it would leave what others added
			if err := api.Overwrite(ctx, gvr, key, bodies[i], found); err != nil {
				return err
			}
		}
		got, err := api.Apply(ctx, gvr, key, bodies[i], member.TakeOver)
		if err != nil {
			return err
		}
		notes[i] = guardNote{xxhash.Sum64(bodies[i]), got.UID, got.Owned, got.Generation}
		if err := u.noteGuard(notes); err != nil {
			return err
		}
		if departed && note != (guardNote{}) {
			u.putGuardBack(guardDrift(key, found))
		}
	}
	return nil
}

// noteGuard keeps what is known of both, in memory and on the disk.
func (u *unit) noteGuard(notes [2]guardNote) error {
	raw, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	u.guard.know(notes)
	return u.folder.Guard(raw)
}

// guardDrift is what became of one of the two, as the status tells it.
func guardDrift(key bundle.Key, found metav1.Object) *wire.Drift {
	drift := &wire.Drift{Object: key.String(), Deleted: found == nil}
	if found != nil {
		drift.By = member.Observe(found).By
	}
	return drift
}

func guardKey(gvk schema.GroupVersionKind, of v1alpha1.PackageKey) bundle.Key {
	return bundle.Key{Group: gvk.Group, Kind: gvk.Kind, Name: guardName(of)}
}

// dropGuard takes the guard away when there may be one.
func (u *unit) dropGuard(ctx context.Context) error {
	u.guard.busy.Lock()
	defer u.guard.busy.Unlock()
	u.guard.set(nil, "", "")
	if _, may := u.folder.Guarded(); !may {
		return nil
	}
	for i := len(guardKinds) - 1; i >= 0; i-- { // the binding first
		gvr, served, err := u.engine.cast.own.Locate(guardKinds[i].GroupKind())
		if err == nil && served {
			err = u.engine.cast.own.Erase(ctx, gvr, guardName(u.key))
		}
		if err != nil {
			return fmt.Errorf("taking away %s %s, which keeps others from changing the package: %w", guardKinds[i].Kind, guardName(u.key), err)
		}
	}
	u.guard.know([2]guardNote{})
	return u.folder.Unguard()
}

func (u *unit) unguarded(err error) error {
	err = fmt.Errorf("spec.drift.prevention: %s", u.explain(err, member.Explain))
	u.guard.set(nil, "", err.Error()+"; changes are not refused, and put back")
	u.engine.changed(u)
	return err
}

func (g *guard) set(bodies [][]byte, stands, wrong string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bodies, g.stands, g.wrong = bodies, stands, wrong
}

func (g *guard) is(stands string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stands == stands
}

// wanted is what it is to be; nil when there is to be none.
func (g *guard) wanted() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bodies
}

// know keeps what was written.
func (g *guard) know(notes [2]guardNote) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = &notes
}

// recall returns what was written, as far as that is known.
func (g *guard) recall(from *disk.Folder) (notes [2]guardNote) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.notes != nil {
		return *g.notes
	}
	raw, _ := from.Guarded()
	if err := json.Unmarshal(raw, &notes); err != nil {
		notes = [2]guardNote{} // what cannot be read is written anew
	}
	g.notes = &notes
	return notes
}

// expects says whether one of the two is as it was written, as far as that is known: an event that tells of our own write is none.
func (g *guard) expects(which int, found metav1.Object) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bodies == nil || g.notes != nil && !g.notes[which].departed(found)
}

// repaired counts a repair at now, and says whether somebody undoes them.
func (g *guard) repaired(now time.Time) (fighting bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bout = g.bout.repaired(now)
	return g.bout.fighting(now)
}

// pause is how long the next repair has to wait at now.
func (g *guard) pause(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bout.next(now)
}

// failure is what the status says when there is no guard where one is asked for, or nobody sees what becomes of it, for the reason unseen.
func (g *guard) failure(unseen error) []*wire.Failure {
	g.mu.Lock()
	defer g.mu.Unlock()
	wrong := g.wrong
	if wrong == "" && g.bodies != nil && unseen != nil {
		wrong = fmt.Sprintf("it cannot be watched, so that nobody notices when it is taken away: %s", unseen)
	}
	if wrong == "" {
		return nil
	}
	return []*wire.Failure{{Object: "ValidatingAdmissionPolicy.admissionregistration.k8s.io", Message: wrong}}
}

// guardBodies makes the policy and its binding.
//
// A dry run changes nothing: `umbel plan` asks what would be. Another request is looked at when none of these made it: the agent, whoever the API server knows it by; the control plane's own
// controllers, such as the garbage collector and the namespace controller; kubelets; who is named; and the group for
// emergencies. Of the others a service account, which is a controller, may change metadata, such as a finalizer, and nothing
// beside it. Subresources, the status among them, are no part of it.
func guardBodies(key v1alpha1.PackageKey, p *wire.Prevention, writers []string) (bodies [][]byte, err error) {
	name, label := guardName(key), key.LabelValue()
	labels := map[string]string{v1alpha1.PreventionLabel: label}
	ignore, equivalent, forbidden := admissionv1.Ignore, admissionv1.Equivalent, metav1.StatusReasonForbidden
	scope := admissionv1.AllScopes
	policy := admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: guardKinds[0].GroupVersion().String(), Kind: guardKinds[0].Kind},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &ignore,
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy:    &equivalent,
				ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.PackageLabel: label}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update, admissionv1.Delete},
					Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}, Scope: &scope},
				}}},
			},
			MatchConditions: []admissionv1.MatchCondition{
				{Name: "is-no-dry-run", Expression: "!(has(request.dryRun) && request.dryRun)"},
				{Name: "is-not-the-agent", Expression: fmt.Sprintf("!(request.userInfo.username in %s)", listOf(writers))},
				{Name: "is-not-the-control-plane", Expression: "!request.userInfo.username.startsWith('system:serviceaccount:kube-system:')" +
					" && !(request.userInfo.username in ['system:apiserver', 'system:kube-controller-manager', 'system:kube-scheduler'])" +
					" && !('system:nodes' in request.userInfo.groups)"},
				{Name: "is-not-named", Expression: fmt.Sprintf("!(request.userInfo.username in %s) && !request.userInfo.groups.exists(g, g in %s)",
					listOf(p.GetUsers()), listOf(append([]string{v1alpha1.BreakGlassGroup}, p.GetGroups()...)))},
			},
			Validations: []admissionv1.Validation{{
				Expression: "request.operation == 'UPDATE' && 'system:serviceaccounts' in request.userInfo.groups" +
					" && object.all(k, k in ['metadata', 'status'] || (k in oldObject && object[k] == oldObject[k]))" +
					" && oldObject.all(k, k == 'status' || k in object)",
				Message: guardMessage(key, p.GetSource()),
				Reason:  &forbidden,
			}},
		},
	}
	binding := admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: guardKinds[1].GroupVersion().String(), Kind: guardKinds[1].Kind},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	for _, each := range []any{policy, binding} {
		body, err := json.Marshal(each)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

// guardMessage is what somebody reads who is refused.
func guardMessage(key v1alpha1.PackageKey, source string) string {
	return fmt.Sprintf("Package %s of Umbel holds this object, and the same on other clusters, so it is not changed here: change it in %s. "+
		"In an emergency an administrator does it as a member of the group %s, and takes spec.drift off Repair first", key, source, v1alpha1.BreakGlassGroup)
}

// listOf writes a list of strings in CEL.
func listOf(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = strconv.Quote(value)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
