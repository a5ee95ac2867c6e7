//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// firstDelivery runs every command of docs/operate/first-delivery.md, as fast as a person who reads what the ones before said.
func firstDelivery(s *story) {
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operate", "first-delivery.md"))
	if err != nil {
		s.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split(string(page), "```\n") {
		if i%2 == 1 {
			blocks = append(blocks, strings.ReplaceAll(part, "~/.umbel", s.Home))
		}
	}
	waits := map[int]func(){ // what is seen before a block is run
		2: func() {
			s.packageSays("hello", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "waits for somebody to approve")
		},
		6: func() { s.stageWaits(2) },
		8: func() { s.holds("prod-us", "hello", "greeting", "text", "Good morning from prod-us") },
		9: func() { s.stageWaits(4) },
		11: func() {
			s.packageSays("hello", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "dev, prod-eu, prod-us", "Namespace hello")
		},
		12: func() { s.hasNamespace("prod-us", "hello", false) },
	}
	if len(blocks) != 13 {
		s.Fatalf("the page has %d blocks of commands, want 13", len(blocks))
	}
	for i, block := range blocks {
		if wait := waits[i]; wait != nil {
			wait()
		}
		if i == 4 { // somebody deletes an object, and looks whether it is back, which may take its agent a moment
			var deletes, looks string
			deletes, block, _ = strings.Cut(block, "\n")
			looks, block, _ = strings.Cut(block, "\n")
			s.shell(deletes)
			s.eventually(looks, func(ctx context.Context) error {
				_, err := s.Shell(ctx, looks)
				return err
			})
		}
		s.shell(block)
		if i == 2 {
			s.explains("hello", "prod-eu", "hello is on its way to prod-eu", "stage prod waits for somebody to approve that it begins", "`umbel rollout approve hello` lets it go on")
		}
	}
	s.lacks("dev", "default", "greeting")
}

// stageWaits is when the rollout of this number waits for an approval.
func (s *story) stageWaits(number int64) {
	s.Helper()
	name := v1alpha1.RolloutName("hello", number)
	s.eventually(name+" waits for an approval", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "rollout", "status", "hello")
		if err != nil || !strings.Contains(out, name) || !strings.Contains(out, v1alpha1.ReasonAwaitingApproval) {
			return fmt.Errorf("it says %s (%v)", out, err)
		}
		return nil
	})
}
