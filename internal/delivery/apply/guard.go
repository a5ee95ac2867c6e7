package apply

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// A guard keeps others from changing what packages hold, by an admission policy of the member's own API server. It is never
// what keeps the objects as they are: when it cannot be evaluated, or is gone, a change goes through and is put back. Here is
// what a guard says; guards.go has it written, and put back.

// guardPrefix begins the names of guards.
const guardPrefix = "umbel-drift-"

// guard is a policy for some packages, with its binding.
type guard struct {
	name     string
	packages []v1alpha1.PackageKey
	bodies   [2][]byte // by guardKinds
}

var guardKinds = [2]schema.GroupVersionKind{
	admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
	admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
}

// guardLabel marks both.
var guardLabel = map[string]string{v1alpha1.PreventionLabel: "packages"}

// protection is what a package asks of its guard.
type protection struct {
	writers []string // beside the agent, who may have to take an object over, whoever else writes it
	users   []string
	groups  []string
	source  string // where to change the objects instead
}

// protection is what the package's policy asks for; nil when it is nothing.
func (u *unit) protection() *protection {
	return protectionBy(u.takeUp().policy, u.account())
}

func protectionBy(policy *wire.Policy, account *member.Account) *protection {
	prevention := policy.GetPrevention()
	if prevention == nil {
		return nil
	}
	asked := &protection{users: prevention.GetUsers(), groups: prevention.GetGroups(), source: prevention.GetSource()}
	if account != nil {
		asked.writers = []string{account.User()}
	}
	return asked
}

func (p *protection) equal(q *protection) bool {
	if p == nil || q == nil {
		return p == q
	}
	return slices.Equal(p.writers, q.writers) && slices.Equal(p.users, q.users) && slices.Equal(p.groups, q.groups) && p.source == q.source
}

// perGuard is how many packages one policy is for. An API server evaluates every policy for every write of anything, so that there
// are to be few; and it takes expressions up to some size.
const perGuard = 100

// guardsFor returns the guards of packages, of which self is the agent's name to the API server.
func guardsFor(asked map[v1alpha1.PackageKey]*protection, self string) ([]guard, error) {
	keys := make([]v1alpha1.PackageKey, 0, len(asked))
	for key := range asked {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var all []guard
	for some := range slices.Chunk(keys, perGuard) {
		g := guard{name: fmt.Sprint(guardPrefix, len(all)), packages: some}
		for i, object := range []any{g.policy(asked, self), g.binding()} {
			body, err := json.Marshal(object)
			if err != nil {
				return nil, err
			}
			g.bodies[i] = body
		}
		all = append(all, g)
	}
	return all, nil
}

// policy makes the policy.
//
// A dry run changes nothing: `umbel plan` asks what would be. Another request is looked at when none of these made it: the agent,
// whoever the API server knows it by; the control plane's own controllers, such as the garbage collector and the namespace
// controller; and kubelets. The selector names no package: an API server reads it anew for every write of anything, and its values
// one by one. A request that is looked at is refused unless it is by whom the package names, or the group for emergencies; and a service
// account, which is a controller, may change metadata, such as a finalizer, and nothing beside it. Subresources, the status among
// them, are no part of it.
func (g guard) policy(asked map[v1alpha1.PackageKey]*protection, self string) admissionv1.ValidatingAdmissionPolicy {
	ignore, equivalent, forbidden, scope := admissionv1.Ignore, admissionv1.Equivalent, metav1.StatusReasonForbidden, admissionv1.AllScopes
	labels := make([]string, len(g.packages))
	rules := make([]string, len(g.packages))
	for i, key := range g.packages {
		p := asked[key]
		labels[i] = key.LabelValue()
		rules[i] = fmt.Sprintf("%s: {'users': %s, 'groups': %s, 'is': %s}", strconv.Quote(labels[i]), listOf(append([]string{self}, append(p.writers, p.users...)...)),
			listOf(append([]string{v1alpha1.BreakGlassGroup}, p.groups...)), listOf([]string{string(key), p.where()}))
	}
	return admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: guardKinds[0].GroupVersion().String(), Kind: guardKinds[0].Kind},
		ObjectMeta: metav1.ObjectMeta{Name: g.name, Labels: guardLabel},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &ignore,
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy: &equivalent,
				ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: v1alpha1.PackageLabel, Operator: metav1.LabelSelectorOpExists},
				}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update, admissionv1.Delete},
					Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}, Scope: &scope},
				}}},
			},
			MatchConditions: []admissionv1.MatchCondition{
				{Name: "is-no-dry-run", Expression: "!(has(request.dryRun) && request.dryRun)"},
				{Name: "is-not-the-agent", Expression: fmt.Sprintf("request.userInfo.username != %s", strconv.Quote(self))},
				{Name: "is-not-the-control-plane", Expression: "!request.userInfo.username.startsWith('system:serviceaccount:kube-system:')" +
					" && !(request.userInfo.username in ['system:apiserver', 'system:kube-controller-manager', 'system:kube-scheduler'])" +
					" && !('system:nodes' in request.userInfo.groups)"},
				{Name: "is-of-these-packages", Expression: fmt.Sprintf("[%s, %s].exists(label, label in %s)", labelIn("oldObject"), labelIn("object"), listOf(labels))},
			},
			Variables: []admissionv1.Variable{
				{Name: "rules", Expression: "{" + strings.Join(rules, ", ") + "}"},
				{Name: "old", Expression: labelIn("oldObject")},
				// Who puts the label on an object of his own would have it guarded by what the package says.
				{Name: "rule", Expression: "variables.rules[variables.old in variables.rules ? variables.old : " + labelIn("object") + "]"},
			},
			Validations: []admissionv1.Validation{{
				Expression: "request.userInfo.username in variables.rule.users || request.userInfo.groups.exists(g, g in variables.rule.groups)" +
					" || request.operation == 'UPDATE' && 'system:serviceaccounts' in request.userInfo.groups" +
					" && object.all(k, k in ['metadata', 'status'] || (k in oldObject && object[k] == oldObject[k]))" +
					" && oldObject.all(k, k == 'status' || k in object)",
				MessageExpression: "'Package ' + variables.rule.is[0] + ' of Umbel holds this object, and the same on other clusters, so it is not changed here: " +
					"change it in ' + variables.rule.is[1] + '. In an emergency an administrator does it as a member of the group " + v1alpha1.BreakGlassGroup +
					", and takes spec.drift off Repair first'",
				Reason: &forbidden,
			}},
		},
	}
}

// labelIn is the name of the package on one of the two objects of a request, in CEL; empty when there is none.
func labelIn(object string) string {
	return fmt.Sprintf("%[1]s != null && has(%[1]s.metadata.labels) && %[2]q in %[1]s.metadata.labels ? %[1]s.metadata.labels[%[2]q] : ''", object, v1alpha1.PackageLabel)
}

// longestWhere bounds what of a source is said to who is refused: expressions may not grow without end.
const longestWhere = 300

// where says where to change an object of the package.
func (p *protection) where() string {
	if len(p.source) > longestWhere {
		return strings.ToValidUTF8(p.source[:longestWhere], "") + "…"
	}
	return p.source
}

func (g guard) binding() admissionv1.ValidatingAdmissionPolicyBinding {
	return admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: guardKinds[1].GroupVersion().String(), Kind: guardKinds[1].Kind},
		ObjectMeta: metav1.ObjectMeta{Name: g.name, Labels: guardLabel},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: g.name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
}

// listOf writes a list of strings in CEL.
func listOf(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = strconv.Quote(value)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
