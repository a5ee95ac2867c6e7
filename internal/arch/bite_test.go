package arch

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestRulesBite shows each rule code that breaks it, and code that only looks like it.
func TestRulesBite(t *testing.T) {
	long := "// Command umbel is long.\npackage main\n" + strings.Repeat("\n", longestMain)
	cases := []struct {
		rule  string
		files map[string]string
		want  []string
	}{
		{
			rule: "every package has a level",
			files: map[string]string{
				"internal/attic/old.go": "package attic", "internal/kube/anything/x.go": "package anything",
				"kube/v1.36/go.mod": "module other", "kube/v1.36/main.go": "package main", "build/x.go": "package x",
				"internal/kube/testdata/broken.go": "not go",
			},
			want: []string{"internal/attic/old.go:1: package internal/attic has no level"},
		},
		{
			rule: "arrows point down",
			files: map[string]string{
				"internal/tunnel/a.go":   "package tunnel\nimport _ \"umbel.dev/umbel/internal/gateway\"",
				"internal/delivery/b.go": "package delivery\nimport _ \"umbel.dev/umbel/internal/hub\"",
				"internal/hub/c.go":      "package hub\nimport _ \"umbel.dev/umbel/internal/gateway\"",
				"test/e2e/d_test.go":     "package e2e\nimport _ \"umbel.dev/umbel/internal/hub\"",
			},
			want: []string{
				"internal/delivery/b.go:2: level 3 imports internal/hub of level 4",
				"internal/tunnel/a.go:2: level 2 imports internal/gateway of level 3",
			},
		},
		{
			rule: "rooms of one level do not import each other",
			files: map[string]string{
				"internal/gateway/a.go":        "package gateway\nimport _ \"umbel.dev/umbel/internal/delivery\"",
				"internal/delivery/b.go":       "package delivery\nimport _ \"umbel.dev/umbel/internal/delivery/bundle\"",
				"internal/delivery/apply/c.go": "package apply\nimport _ \"umbel.dev/umbel/internal/delivery/bundle\"",
				"internal/hub/d.go":            "package hub\nimport _ \"umbel.dev/umbel/internal/cli\"",
				"internal/cli/hub/e.go":        "package hub\nimport _ \"umbel.dev/umbel/internal/hub\"",
				"internal/kube/f/f.go":         "package f\nimport _ \"umbel.dev/umbel/internal/identity\"",
			},
			want: []string{
				"internal/gateway/a.go:2: internal/gateway imports internal/delivery",
				"internal/hub/d.go:2: internal/hub imports internal/cli",
			},
		},
		{
			rule: "api imports apimachinery only",
			files: map[string]string{
				"api/v1alpha1/a.go": "package v1alpha1\nimport (\n_ \"fmt\"\n_ \"k8s.io/apimachinery/pkg/runtime\"\n_ \"k8s.io/api/core/v1\"\n)",
				"api/wire/b.go":     "package wire\nimport _ \"google.golang.org/protobuf/proto\"",
			},
			want: []string{"api/v1alpha1/a.go:5: imports k8s.io/api/core/v1"},
		},
		{
			rule: "planners decide purely",
			files: map[string]string{
				"internal/placement/plan.go":       "package placement\nimport _ \"sigs.k8s.io/controller-runtime/pkg/client\"",
				"internal/placement/controller.go": "package placement\nimport _ \"sigs.k8s.io/controller-runtime/pkg/client\"",
				"internal/delivery/plan.go":        "package delivery\nimport clock \"time\"\nvar now = clock.Now\nvar _ clock.Duration",
				"internal/lifecycle/plan.go":       "package lifecycle\nimport \"net\"\nimport _ \"net/netip\"\nvar _ net.HardwareAddr",
				"internal/gateway/plan.go":         "package gateway\nimport \"net\"\nvar _ = net.Dial",
				"internal/kube/process/plan.go":    "package process\nimport _ \"os/exec\"",
				"internal/delivery/decide/a.go": "package decide\nimport _ \"umbel.dev/umbel/internal/delivery/bundle\"\n" +
					"import _ \"umbel.dev/umbel/internal/delivery/source\"",
				"internal/delivery/decide/a_test.go": "package decide\nimport _ \"os\"",
				"internal/delivery/bundle/b.go":      "package bundle\nimport _ \"io\"",
				"internal/delivery/bundle/b_test.go": "package bundle\nimport _ \"os\"",
				"internal/delivery/source/c.go":      "package source\nimport _ \"umbel.dev/umbel/internal/delivery/source/git\"",
				"internal/delivery/source/git/d.go":  "package git\nimport _ \"net/http\"",
				"internal/placement/decide/e.go":     "package decide\nimport _ \"k8s.io/client-go/tools/events\"",
				"internal/hub/plan.go":               "package hub\nimport _ \"umbel.dev/umbel/internal/delivery/source\"",
			},
			want: []string{
				"internal/delivery/decide/a.go:3: imports umbel.dev/umbel/internal/delivery/source: internal/delivery/source/git/d.go:2: imports net/http",
				"internal/delivery/plan.go:3: uses time.Now",
				"internal/gateway/plan.go:2: imports net",
				"internal/kube/process/plan.go:2: imports os/exec",
				"internal/placement/decide/e.go:2: imports k8s.io/client-go/tools/events",
				"internal/placement/plan.go:2: imports sigs.k8s.io/controller-runtime/pkg/client",
			},
		},
		{
			rule: "what ships imports nothing that is for tests",
			files: map[string]string{
				"internal/hub/a.go":            "package hub\nimport _ \"umbel.dev/umbel/internal/kube/kubetest\"",
				"internal/hub/b_test.go":       "package hub\nimport _ \"umbel.dev/umbel/internal/kube/kubetest\"",
				"internal/kube/kubetest/c.go":  "package kubetest\nimport _ \"testing\"",
				"internal/delivery/testing.go": "package delivery\nimport _ \"testing\"",
			},
			want: []string{"internal/delivery/testing.go:2: imports testing", "internal/hub/a.go:2: imports umbel.dev/umbel/internal/kube/kubetest"},
		},
		{
			rule: "no forbidden import",
			files: map[string]string{
				"internal/hub/a_test.go": "package hub\nimport _ \"github.com/stretchr/testify/assert\"",
			},
			want: []string{"internal/hub/a_test.go:2: imports github.com/stretchr/testify/assert: tests compare with cmp.Diff and say what they got and wanted"},
		},
		{
			rule: "only cmd begins a context",
			files: map[string]string{
				"internal/hub/a.go":      "package hub\nimport \"context\"\nvar a, b = context.Background(), context.TODO()",
				"internal/hub/a_test.go": "package hub\nimport \"context\"\nvar c = context.Background()",
				"cmd/umbel/main.go":      "package main\nimport \"context\"\nvar d = context.Background()",
			},
			want: []string{"internal/hub/a.go:3: uses context.Background", "internal/hub/a.go:3: uses context.TODO"},
		},
		{
			rule: "only cmd ends the process",
			files: map[string]string{
				"internal/hub/a.go": "package hub\nimport \"os\"\nfunc f() {\n\tos.Exit(1)\n}",
				"cmd/umbel/main.go": "package main\nimport \"os\"\nfunc main() { os.Exit(1) }",
			},
			want: []string{"internal/hub/a.go:4: uses os.Exit"},
		},
		{
			rule:  "nobody logs and dies",
			files: map[string]string{"internal/hub/a.go": "package hub\nimport \"log\"\nfunc f() { log.Fatalf(\"\") }"},
			want:  []string{"internal/hub/a.go:3: uses log.Fatalf"},
		},
		{
			rule: "nobody sleeps",
			files: map[string]string{
				"internal/hub/a.go":      "package hub\nimport \"time\"\nfunc f() { time.Sleep(1) }",
				"internal/hub/a_test.go": "package hub\nimport \"time\"\nfunc g() { time.Sleep(1) }",
			},
			want: []string{"internal/hub/a.go:3: uses time.Sleep"},
		},
		{
			rule: "a manager says which queue it has",
			files: map[string]string{
				"internal/hub/a.go":      "package hub\nimport ctrl \"sigs.k8s.io/controller-runtime\"\nvar a, _ = ctrl.NewManager(nil, ctrl.Options{Controller: c.Controller{UsePriorityQueue: new(false)}})",
				"internal/hub/a_test.go": "package hub\nimport ctrl \"sigs.k8s.io/controller-runtime\"\nvar b, _ = ctrl.NewManager(nil, ctrl.Options{})",
			},
			want: []string{"internal/hub/a_test.go:3: uses sigs.k8s.io/controller-runtime.NewManager"},
		},
		{
			rule: "no init functions",
			files: map[string]string{
				"internal/hub/a.go":   "package hub\ntype t int\nfunc (t) init() {}\nfunc init() {}",
				"api/wire/wire.pb.go": "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage wire\nfunc init() {}",
			},
			want: []string{"internal/hub/a.go:4: has a func init"},
		},
		{
			rule: "no vague names",
			files: map[string]string{
				"internal/kube/common/a.go":      "package common",
				"internal/hub/util_test.go":      "package hub",
				"api/v1alpha1/package_types.go":  "package v1alpha1",
				"internal/delivery/commonest.go": "package delivery",
			},
			want: []string{"internal/hub/util_test.go:1: is called util", "internal/kube/common/a.go:1: is called common", "internal/kube/common/a.go:1: is called common"},
		},
		{
			rule: "every package starts with its sentence",
			files: map[string]string{
				"internal/hub/doc.go": "// Package hub answers: what runs?\npackage hub", "internal/hub/a.go": "package hub",
				"internal/agent/a.go": "// Package hub is another.\npackage agent",
				"cmd/umbel/main.go":   "// Command umbel is the CLI.\npackage main",
				"test/e2e/a_test.go":  "package e2e",
			},
			want: []string{"internal/agent/a.go:2: package internal/agent has no sentence", "test/e2e/a_test.go:1: package test/e2e has no sentence"},
		},
		{
			rule:  "a main is short",
			files: map[string]string{"cmd/umbel/main.go": long, "cmd/umbel/more.go": long},
			want:  []string{"cmd/umbel/main.go:2: has 62 lines, more than 60"},
		},
	}
	tested := map[string]bool{}
	for _, c := range cases {
		tested[c.rule] = true
		t.Run(c.rule, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, content := range c.files {
				tree[name] = &fstest.MapFile{Data: []byte(content)}
			}
			var got []string
			for _, b := range find(t, c.rule).find(load(t, tree)) {
				got = append(got, b.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range rules {
		if !tested[r.name] {
			t.Errorf("rule %q is not shown anything that breaks it", r.name)
		}
	}
}

func find(t *testing.T, name string) rule {
	t.Helper()
	for _, r := range rules {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("there is no rule %q", name)
	return rule{}
}
