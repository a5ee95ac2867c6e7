//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
)

// drained is the runbook docs/operate/drain-a-cluster.md: a taint keeps what is there, another drives it out, and away with it
// all is as it was; a Placement of one cluster moves once, and not back.
func drained(s *story) {
	const tolerate = `patch placement everywhere --type merge -p '{"spec":{"tolerations":%s}}'`
	s.onHub(fmt.Sprintf(tolerate, `[{"operator":"Exists"}]`))
	defer s.onHub(fmt.Sprintf(tolerate, "null"))
	if err := s.manifest(`apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata: {name: one, namespace: default}
spec:
  clusterSelector: {matchLabels: {env: prod}}
  fields: [{field: kubernetesVersion, operator: AtLeast, values: [v1.30]}]
  expressions: ["cluster.labels.region in ['eu', 'us']"]
  numberOfClusters: 1
`); err != nil {
		s.Fatal(err)
	}
	defer s.onHub("delete placement one")
	s.eventually("a cluster is chosen", func(context.Context) error {
		if p := s.placement("one"); p.Status.Selected != 1 {
			return fmt.Errorf("of %v, %v", p.Status.Clusters, p.Status.Conditions)
		}
		return nil
	})
	s.onHub("get placementdecision one-0")
	blocks := s.page("../../docs/operate/drain-a-cluster.md", 3)
	s.try(blocks[0], 2)
	s.hasNamespace("prod-us", "payments", true)
	s.try(blocks[1], 3)
	s.hasNamespace("prod-us", "payments", false)
	s.eventually("the one cluster is another", func(context.Context) error {
		if p := s.placement("one"); len(p.Status.Clusters) != 1 || p.Status.Clusters[0] != "prod-eu" {
			return fmt.Errorf("it is %v", p.Status.Clusters)
		}
		return nil
	})
	if out := s.umbel("explain", "package", "guardrails", "--cluster", "prod-us"); !strings.Contains(out, "taint maintenance=disks:Evict") || !strings.Contains(out, "umbel taint prod-us maintenance-") {
		s.Errorf("explain says:\n%s", out)
	}
	s.hasNamespace("prod-us", "shop", true) // its Placement tolerates the taint
	s.try(blocks[2], 2)
	s.hasNamespace("prod-us", "payments", true)
	if p := s.placement("one"); len(p.Status.Clusters) != 1 || p.Status.Clusters[0] != "prod-eu" {
		s.Errorf("it moved back to %v", p.Status.Clusters)
	}
}

// explained is the page docs/operate/why-here.md, and that the way to a cluster that holds a package passes at every step.
func explained(s *story) {
	for _, block := range s.page("../../docs/operate/why-here.md", 3) {
		s.try(block, 1)
	}
	if out := s.umbel("explain", "package", "guardrails", "--cluster", "dev"); !strings.Contains(out, "guardrails is not on dev: spec.clusterSelector: env=prod: the cluster has env=dev") {
		s.Errorf("explain says:\n%s", out)
	}
	s.eventually("every step passes", func(context.Context) error {
		var account struct {
			State string
			Steps []struct{ Check, Result, Message string }
		}
		if err := json.Unmarshal([]byte(s.umbel("explain", "package", "guardrails", "--cluster", "prod-eu", "-o", "json")), &account); err != nil {
			s.Fatal(err)
		}
		for _, step := range account.Steps {
			if step.Result == "Fail" || step.Result == "Unknown" || account.State != "Ready" {
				return fmt.Errorf("%s: %+v", account.State, step)
			}
		}
		return nil
	})
}

// page returns the commands of a page, block by block; there have to be that many blocks with any.
func (s *story) page(path string, want int) (blocks [][]string) {
	s.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		var commands []string
		for line := range strings.SplitSeq(part, "\n") {
			if i%2 == 1 && strings.HasPrefix(line, "umbel ") {
				commands = append(commands, line)
			}
		}
		if len(commands) > 0 {
			blocks = append(blocks, commands)
		}
	}
	if len(blocks) != want {
		s.Fatalf("%s has %d blocks of commands, want %d", path, len(blocks), want)
	}
	return blocks
}

func (s *story) placement(name string) (p v1alpha1.Placement) {
	s.Helper()
	if err := json.Unmarshal([]byte(s.umbel("get", "placement", name, "-o", "json")), &p); err != nil {
		s.Fatal(err)
	}
	return p
}
