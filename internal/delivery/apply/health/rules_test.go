package health_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/apply/health"
)

var certificate = schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"}

const ready = "self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"

func object(status map[string]any) map[string]any {
	return map[string]any{"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": map[string]any{"name": "web"}, "status": status}
}

func conditionOf(value string) map[string]any {
	return map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": value, "message": "the issuer is away"}}, "revision": int64(3)}
}

func TestRules(t *testing.T) {
	for _, tc := range []struct {
		reason  string
		rule    health.Rule
		object  map[string]any
		want    status.Status
		message string
	}{
		{reason: "it says so itself", rule: health.Rule{Healthy: ready}, object: object(conditionOf("True")), want: status.CurrentStatus},
		{reason: "not yet", rule: health.Rule{Healthy: ready}, object: object(conditionOf("False")), want: status.InProgressStatus, message: "not healthy yet"},
		{
			reason: "in its own words", rule: health.Rule{Healthy: ready, Message: "self.status.conditions.filter(c, c.type == 'Ready')[0].message"},
			object: object(conditionOf("False")), want: status.InProgressStatus, message: "the issuer is away",
		},
		{reason: "failed goes before healthy", rule: health.Rule{Healthy: "true", Failed: "self.status.revision == 3"}, object: object(conditionOf("True")), want: status.FailedStatus},
		{reason: "on its way, whatever healthy says", rule: health.Rule{Healthy: "true", Progressing: "self.status.revision < 5"}, object: object(conditionOf("True")), want: status.InProgressStatus},
		{reason: "a field that is not there says nothing, and is never healthy", rule: health.Rule{Healthy: ready}, object: object(nil), want: status.UnknownStatus, message: "no such key: conditions"},
		{reason: "nor failed", rule: health.Rule{Healthy: "true", Failed: "self.status.nothing"}, object: object(conditionOf("True")), want: status.UnknownStatus, message: "failed"},
		{reason: "what is no truth is not healthy", rule: health.Rule{Healthy: "self.metadata.name"}, object: object(nil), want: status.UnknownStatus, message: "has to give true or false"},
		{
			reason: "what costs too much is not healthy", object: object(map[string]any{"list": make([]any, 3000)}), want: status.UnknownStatus, message: "cost limit exceeded",
			rule: health.Rule{Healthy: "self.status.list.all(a, self.status.list.all(b, self.status.list.all(c, true)))"},
		},
		{reason: "what does not compile makes nothing healthy", rule: health.Rule{Healthy: "self.status.("}, object: object(nil), want: status.UnknownStatus, message: "spec.health of Certificate.cert-manager.io: healthy"},
		{reason: "a number is no answer", rule: health.Rule{Healthy: "1"}, object: object(nil), want: status.UnknownStatus, message: `"1" gives int, has to give bool`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			tc.rule.Group, tc.rule.Kind = certificate.Group, certificate.Kind
			rules, _ := health.Compile([]health.Rule{tc.rule})
			state, message := rules[certificate].Of(tc.object)
			if state != tc.want || !strings.Contains(message, tc.message) {
				t.Errorf("got %s %q, want %s %q", state, message, tc.want, tc.message)
			}
		})
	}
}

func TestCompileNamesWhatIsWrong(t *testing.T) {
	rules, err := health.Compile([]health.Rule{
		{Kind: "A", Healthy: "true"}, {Kind: "B", Healthy: "nobody.knows"}, {Kind: "A", Healthy: "false"},
	})
	for _, want := range []string{"spec.health of B: healthy", "undeclared reference to 'nobody'", "spec.health of A: there are two rules for this kind"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if state, _ := rules[schema.GroupKind{Kind: "A"}].Of(nil); state != status.UnknownStatus {
		t.Errorf("of two rules that contradict each other none counts; got %s", state)
	}
	if none, err := health.Compile(nil); none != nil || err != nil {
		t.Errorf("no rules are none: got %v, %v", none, err)
	}
}

// FuzzRule: whatever an expression says, it is refused or it gives a state, and no object becomes healthy by an error.
func FuzzRule(f *testing.F) {
	f.Add(ready, "self.metadata.name")
	f.Add("self.status.list.map(x, x*x).sum() > 3", "")
	f.Add("has(self.a) ? self.a : self", "self")
	f.Fuzz(func(t *testing.T, healthy, message string) {
		rules, err := health.Compile([]health.Rule{{Kind: "A", Healthy: healthy, Message: message}})
		state, text := rules[schema.GroupKind{Kind: "A"}].Of(object(conditionOf("True")))
		if err != nil && state != status.UnknownStatus {
			t.Errorf("%q does not compile (%v), and gives %s", healthy, err, state)
		}
		if len(text) > 4096+len(healthy)*4 {
			t.Errorf("a message of %d bytes", len(text))
		}
	})
}
