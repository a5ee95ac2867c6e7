package cluster

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// says gives an object conditions, each as TYPE=STATUS MESSAGE.
func says(o unstructured.Unstructured, conditions ...string) unstructured.Unstructured {
	var all []any
	for _, text := range conditions {
		kindName, rest, _ := strings.Cut(text, "=")
		status, message, _ := strings.Cut(rest, " ")
		all = append(all, map[string]any{"type": kindName, "status": status, "message": message})
	}
	_ = unstructured.SetNestedSlice(o.Object, all, "status", "conditions") // what it is given can be set
	return o
}

// TestWhatIsBeingMended: the tree says which machine is replaced, why, and of too many that are ill that none is.
func TestWhatIsBeingMended(t *testing.T) {
	pool := object("MachineDeployment", "default", "dev-w", map[string]any{"spec": map[string]any{"replicas": int64(3)}, "status": map[string]any{"availableReplicas": int64(0)}})
	machine := func(name string, conditions ...string) unstructured.Unstructured {
		o := object("Machine", "default", name, map[string]any{"status": map[string]any{"phase": "Running"}})
		o.SetLabels(map[string]string{"cluster.x-k8s.io/deployment-name": "dev-w"})
		return says(o, conditions...)
	}
	check := func(well, all int64, conditions ...string) unstructured.Unstructured {
		return says(object("MachineHealthCheck", "default", "dev-w", map[string]any{"status": map[string]any{"currentHealthy": well, "expectedMachines": all}}), conditions...)
	}
	lost := []string{"Ready=False * InfrastructureReady: lost", "InfrastructureReady=False what it had is gone", "HealthCheckSucceeded=False Health check failed: * Node a has been deleted"}
	going := machine("a", append(lost, "OwnerRemediated=False Machine is deleting")...)
	going.SetDeletionTimestamp(new(metav1.Now()))
	for _, test := range []struct {
		reason   string
		machines []unstructured.Unstructured
		check    unstructured.Unstructured
		parts    map[string]*node
		want     string
	}{
		{"all is well", []unstructured.Unstructured{machine("a", "Ready=True", "HealthCheckSucceeded=True")}, check(1, 1, "RemediationAllowed=True"), nil, `
MachineDeployment dev-w      0/3
├─ Machine a                 Running
└─ MachineHealthCheck dev-w  1/1
`},
		{"one is replaced, and one waits", []unstructured.Unstructured{going, machine("b", append(lost, "OwnerRemediated=False Waiting for remediation")...)}, check(1, 3, "RemediationAllowed=True"), nil, `
MachineDeployment dev-w      0/3
├─ Machine a                 Replaced      it is taken away, and another one takes its place: Health check failed: Node a has been deleted (what it had is gone)
├─ Machine b                 Ill           it is to be replaced (Waiting for remediation): Health check failed: Node a has been deleted (what it had is gone)
└─ MachineHealthCheck dev-w  1/3
`},
		{"more are ill than the budget", []unstructured.Unstructured{machine("a", lost...)}, check(0, 3, "RemediationAllowed=False Remediation is not allowed (unhealthy: 3, unhealthyRange: [1-2])"), nil, `
MachineDeployment dev-w      0/3
├─ Machine a                 Ill           it is not being replaced: Health check failed: Node a has been deleted (what it had is gone)
└─ MachineHealthCheck dev-w  0/3           nothing is replaced: Remediation is not allowed (unhealthy: 3, unhealthyRange: [1-2]); mend what ails them all, or delete their Machines one by one, and each is made anew
`},
		{"what it is made of says more", []unstructured.Unstructured{machine("a", lost[:2]...)}, check(0, 1, "RemediationAllowed=True"), map[string]*node{"a": {name: "VSphereMachine a", state: "NotReady", message: "no room"}}, `
MachineDeployment dev-w      0/3
├─ Machine a                 Running       InfrastructureReady: lost
│  └─ VSphereMachine a       NotReady      no room
└─ MachineHealthCheck dev-w  0/1
`},
		{"none is ill: below the range is no news", nil, check(3, 3, "RemediationAllowed=False Remediation is not allowed (unhealthy: 0, unhealthyRange: [1-2])"), nil, `
MachineDeployment dev-w      0/3
└─ MachineHealthCheck dev-w  3/3
`},
	} {
		var b strings.Builder
		n := workerNodes([]unstructured.Unstructured{pool}, test.machines, []unstructured.Unstructured{test.check}, test.parts, nil)[0]
		if err := n.write(&b); err != nil {
			t.Fatal(err)
		}
		squeeze := func(text string) string { return strings.Join(strings.Fields(text), " ") }
		if diff := gocmp.Diff(squeeze(test.want), squeeze(b.String())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

// TestTheZoneOfAPool: the tree says in which zone the machines of a pool are, and of one that is not there, which never gets any, that it is not.
func TestTheZoneOfAPool(t *testing.T) {
	pool := object("MachineDeployment", "default", "dev-w", map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"failureDomain": "north"}}}})
	for _, test := range []struct {
		reason string
		zones  []string
		want   string
	}{
		{"nobody says which there are", nil, "zone north"},
		{"it is there", []string{"east", "north"}, "zone north"},
		{"it is not", []string{"east", "west"}, "zone north, which is not there or not ready: its infrastructure has east, west"},
	} {
		if got := workerNodes([]unstructured.Unstructured{pool}, nil, nil, nil, test.zones)[0].message; got != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
		}
	}
}

// TestWhyNotInFull: a provider whose conditions of today have no room for the reason has its words of before shown, and no others.
func TestWhyNotInFull(t *testing.T) {
	for _, test := range []struct{ reason, now, before, want string }{
		{"only the one before says why", "Ready=False VirtualMachineProvisioned: No additional info provided", "Ready=False no room", "no room"},
		{"both do", "Ready=False VCenterAvailable: login failure", "Ready=False login failure", "VCenterAvailable: login failure"},
		{"it had no reason before", "Ready=False login failure", "Ready=False", "login failure"},
		{"there was none", "Ready=False login failure", "Other=False no room", "login failure"},
		{"what was before is over", "Ready=True", "Ready=False no room", ""},
	} {
		o := says(object("VSphereMachine", "default", "a", map[string]any{}), test.before)
		before, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
		if err == nil {
			err = unstructured.SetNestedSlice(o.Object, before, "status", "deprecated", "v1beta1", "conditions")
		}
		if err != nil {
			t.Fatal(err)
		}
		o = says(o, test.now)
		if got := fullyOf(&o, "Ready"); got.message != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got.message, test.want)
		}
	}
}

// TestWhyNotIsCounted: of a provider whose condition that sums up only counts, what the one says which that is about is shown.
func TestWhyNotIsCounted(t *testing.T) {
	for _, test := range []struct{ reason, status, ready, why, want string }{
		{"it counts", "False", "0 of 8 completed", "VpcFailed", "login failure"},
		{"it counts what it does not know", "Unknown", "0 of 8 completed", "VpcFailed", "login failure"},
		{"it says why itself", "False", "no room", "VpcFailed", "no room"},
		{"the other one is about something else", "False", "0 of 8 completed", "Paused", "0 of 8 completed"},
	} {
		o := object("AWSCluster", "default", "a", map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": "Ready", "status": test.status, "reason": "VpcFailed", "message": test.ready},
			map[string]any{"type": "VpcReady", "status": test.status, "reason": test.why, "message": "login failure"},
		}}})
		if got := fullyOf(&o, "Ready"); got.message != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got.message, test.want)
		}
	}
}
