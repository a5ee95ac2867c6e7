//go:build e2e && aws

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/lifecycle/awstest"
	"umbel.dev/umbel/internal/lifecycle/computertest"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/programtest"
)

func TestMain(m *testing.M) {
	computertest.Main()
	os.Exit(m.Run())
}

const (
	imageOfExamples = "ami-0123456789abcdef0"
	imageOfMoto     = "ami-03cf127a"
)

// TestAControlPlaneInAWS is the part of the same runbook of clusters that are in AWS altogether: three machines, one in each zone, become a control plane
// by kubeadm, behind a load balancer, with one more for pods; the cluster joins the fleet with its labels, and runs a pod. When it is deleted the account holds
// what it held before. The machines are computers that boot by what the provider gives to instances.
func TestAControlPlaneInAWS(t *testing.T) {
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "aws.md")
	computers := computertest.New(t, s.Home)
	computers.Registries = []local.Registry{s.registry()}
	account := awstest.Start(t, booting{computers}, computers.Balancers)
	before := s.holdings(account)
	s.servesAWS(account, page)
	s.haveKey(account.Key, account.Secret)
	s.onHub("apply -f " + s.exampleIn("aws/kubeadm.yaml", imageOfExamples, imageOfMoto))

	begun := time.Now()
	s.isMade("ha", s.orders(line(page, "cluster create ha")))
	t.Logf("the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("ha", 4, instancesOf(account))
	s.areInZones(account)
	if labels := s.member("ha").Labels; labels["env"] != "ha" {
		t.Errorf("its labels in the fleet are %v", labels)
	}
	s.runsAPod("ha", "first")
	s.eventually("its members of etcd run", func(ctx context.Context) error { // their kubelets say so a while later
		out, err := s.Umbel(ctx, "kubectl", "ha", "--", "get", "pods", "-n", "kube-system", "-l", "component=etcd", "--no-headers")
		if err == nil && strings.Count(out, "Running") != 3 {
			err = errors.New(out)
		}
		return err
	})

	s.endsInAWS("ha", account, before, page)
	s.eventually("its computers are gone", func(context.Context) error {
		if left := computers.Booted(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
}

// servesAWS adds the runbook's providers to the hub, with the account for AWS, and the class of clusters. What becomes of instances is told when the story fails.
func (s *story) servesAWS(account *awstest.Account, page []string) {
	s.Helper()
	programtest.Of(s.T, "umbel-aws") // umbel finds it beside itself
	s.Cleanup(func() {
		if s.Failed() {
			s.Logf("of its instances the account said\n%s", strings.Join(account.Heard(), "\n"))
		}
	})
	s.shell(line(page, "provider add local"))
	s.shell(line(page, "provider add aws") + " -- --service-endpoints=" + account.Endpoints())
	s.advances("the providers serve", func(ctx context.Context) error { return s.serve(ctx, 3, time.Time{}) })
	s.onHub("apply -f " + s.exampleIn("aws/class.yaml", imageOfExamples, imageOfMoto))
}

// haveKey makes the Secret with an access key.
func (s *story) haveKey(id, secret string) {
	s.Helper()
	s.onHub("-n umbel-system create secret generic aws --from-literal=AccessKeyID=" + id + " --from-literal=SecretAccessKey=" + secret)
}

// areInZones checks that two instances run in the first of three zones, and one in each other.
func (s *story) areInZones(account *awstest.Account) {
	s.Helper()
	var zones []string
	for _, i := range account.Running() {
		zones = append(zones, i.Zone)
	}
	slices.Sort(zones)
	if want := []string{"us-east-1a", "us-east-1a", "us-east-1b", "us-east-1c"}; !slices.Equal(zones, want) {
		s.Errorf("the machines are in the zones %v and not %v", zones, want)
	}
}

// endsInAWS deletes a cluster by the runbook, after which the account holds what it held before.
func (s *story) endsInAWS(cluster string, account *awstest.Account, before, page []string) {
	s.Helper()
	begun := time.Now()
	s.shell(line(page, "cluster delete "+cluster))
	s.Logf("ended in %s", time.Since(begun).Round(100*time.Millisecond))
	s.advances("the account holds what it held before", func(ctx context.Context) error {
		left, err := account.Holds(ctx)
		if err == nil && !slices.Equal(left, before) {
			err = fmt.Errorf("it holds %v, and held %v", left, before)
		}
		return err
	})
	s.eventually("no instance runs on", func(context.Context) error { // what becomes of one is told some seconds later
		if left := account.Running(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
}

// booting are computers that boot by their user data.
type booting struct{ *computertest.Computers }

// Boot implements awstest.Computer.
func (b booting) Boot(ctx context.Context, i awstest.Instance) (string, error) {
	return b.Computers.Boot(ctx, computertest.Computer{Name: i.Name, ProviderID: i.ProviderID(), UserData: i.UserData})
}

// End implements awstest.Computer.
func (b booting) End(ctx context.Context, i awstest.Instance) error {
	return b.Computers.End(ctx, i.Name)
}
