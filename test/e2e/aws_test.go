//go:build e2e && aws

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/lifecycle/awstest"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// TestClustersInAWS is the runbook docs/operate/aws.md, with moto for the account: Cluster API's provider for AWS, unchanged, makes a network in
// three zones and runs an instance, a real kubelet boots for it on this computer, the cluster joins, and a pod runs there. Credentials that are
// wrong are said to be so. When it is deleted the account holds what it held before, and this computer has nothing of it.
func TestClustersInAWS(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "aws.md")
	account := awstest.Start(t, inAWS{newComputer(s, "far")}, "")
	before := s.holdings(account)
	s.servesAWS(account, page)
	s.haveKey(account.Key, "wrong")

	made := s.orders(line(page, "cluster create far"))
	s.treeSays("far", "AWSCluster", "AWS was not able to validate the provided access credentials")
	begun := time.Now()
	s.onHub("-n umbel-system patch secret aws --type=merge -p " + `'{"stringData":{"SecretAccessKey":"` + account.Secret + `"}}'`)
	s.isMade("far", made)
	t.Logf("with the right credentials the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 1, instancesOf(account))
	s.runsAPod("far", "first")
	if out := s.umbel("get", "clusters", "-o", "wide"); !strings.Contains(out, "env=far") {
		t.Errorf("the fleet is\n%s", out)
	}
	s.hasANetwork(account, before)

	begun = time.Now()
	s.shell(line(page, "cluster scale far"))
	for _, zone := range []string{"worker-b", "worker-c"} {
		s.shell(line(page, "--class "+zone))
	}
	s.nodes("far", 4)
	t.Logf("with three machines more after %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 4, instancesOf(account))
	s.areInZones(account)
	s.umbel("kubectl", "far", "--", "get", "pod/first")

	s.endsInAWS("far", account, before, page)
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there (%v)", err)
	}
}

// holdings returns what an account holds.
func (s *story) holdings(account *awstest.Account) []string {
	s.Helper()
	all, err := account.Holds(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// hasANetwork checks what an account holds for a cluster with one machine, beside what it held before.
func (s *story) hasANetwork(account *awstest.Account, before []string) {
	s.Helper()
	number := map[string]int{}
	for _, one := range s.holdings(account) {
		if slices.Contains(before, one) {
			continue
		}
		kind, name, _ := strings.Cut(one, ": ")
		number[kind]++
		if _, zone, found := strings.Cut(name, " in "); found {
			number[zone]++
		}
	}
	s.Logf("the account holds for it %v", number)
	for kind, want := range map[string]int{
		"instances": 1, "volumes": 1, "VPCs": 1, "subnets": 6, "us-east-1a": 2, "us-east-1b": 2, "us-east-1c": 2, "NAT gateways": 3, "addresses": 3, "internet gateways": 1,
	} {
		if number[kind] != want {
			s.Errorf("the account has %d %s for the cluster and not %d", number[kind], kind, want)
		}
	}
}

// instancesOf are the ids of the instances that run in an account.
func instancesOf(account *awstest.Account) []string {
	var ids []string
	for _, i := range account.Running() {
		ids = append(ids, i.ProviderID())
	}
	return ids
}

// inAWS is the computer of the instances of an account.
type inAWS struct{ *computer }

// Boot implements awstest.Computer.
func (c inAWS) Boot(ctx context.Context, i awstest.Instance) (string, error) {
	return c.raise(ctx, i.Name, i.ProviderID(), i.UserData)
}

// End implements awstest.Computer.
func (c inAWS) End(ctx context.Context, i awstest.Instance) error {
	return c.end(ctx, i.Name, i.ProviderID())
}
