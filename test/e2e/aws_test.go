//go:build e2e && aws

package e2e

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/lifecycle/awstest"
	"umbel.dev/umbel/internal/lifecycle/ending"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// TestClustersInAWS is the runbook docs/operate/aws.md, with moto for the account: Cluster API's provider for AWS, unchanged, makes a network in
// three zones and runs an instance, a real kubelet boots for it on this computer, the cluster joins, and a pod runs there. A key that is wrong is
// refused before anything is ordered, and said when the provider meets it; AWS is away at first, and the provider dies in the middle; a quota is held
// against what is ordered, and said when the provider meets it. When the cluster is deleted the account holds what it held before, and this computer
// has nothing of it; of one that nobody can end, the report has what the account goes on to hold.
func TestClustersInAWS(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "aws.md")
	account := awstest.Start(t, inAWS{newComputer(s, "far")}, "")
	before := s.holdings(account)
	s.servesAWS(account, page)

	s.comesAboutInTrouble(account, line(page, "cluster create far"))
	s.nodesAre("far", 1, instancesOf(account))
	s.runsAPod("far", "first")
	if out := s.umbel("get", "clusters", "-o", "wide"); !strings.Contains(out, "env=far") {
		t.Errorf("the fleet is\n%s", out)
	}
	s.hasANetwork(account, before)
	s.meetsAQuota(account, line(page, "cluster scale far"))

	begun := time.Now()
	for _, zone := range []string{"worker-b", "worker-c"} {
		s.shell(line(page, "--class "+zone))
	}
	s.nodes("far", 4)
	t.Logf("with machines in two zones more after %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 4, instancesOf(account))
	s.areInZones(account)
	s.umbel("kubectl", "far", "--", "get", "pod/first")

	s.endsInAWS("far", account, before, page)
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there (%v)", err)
	}
	s.leavesOrphans(account, before, page)
}

// comesAboutInTrouble has a cluster ordered with a wrong key, which is refused; ordered while AWS is away, so that nobody can refuse it; met by the
// provider with that key; and made with the right one, though the provider dies when it has begun.
func (s *story) comesAboutInTrouble(account *awstest.Account, order string) {
	s.Helper()
	before := s.holdings(account)
	s.haveKey(account.Key, "wrong")
	s.refused(strings.Fields(order)[1:], `cluster "far" cannot be made`, "AWS refuses the access key of Secret umbel-system/aws", "SignatureDoesNotMatch")
	account.Cut()
	made := s.orders(order + " --timeout 20m")
	s.treeSays("far", "AWSCluster", "connection refused")
	if err := account.Mend(); err != nil {
		s.Fatal(err)
	}
	s.treeSays("far", "AWSCluster", "AWS was not able to validate the provided access credentials")
	if now := s.holdings(account); !slices.Equal(now, before) {
		s.Errorf("without a key the account holds %v, and held %v", now, before)
	}
	begun := time.Now()
	s.onHub("-n umbel-system patch secret aws --type=merge -p " + `'{"stringData":{"SecretAccessKey":"` + account.Secret + `"}}'`)
	s.advances("a network is begun", func(ctx context.Context) error {
		now, err := account.Holds(ctx)
		if err == nil && slices.Equal(now, before) {
			err = errors.New("there is none")
		}
		return err
	})
	s.eventually("its provider dies", func(context.Context) error { // it may be between two processes, for it is started anew for the key
		pids, err := s.Processes(s.Home, "providers/aws/program")
		if err == nil && len(pids) == 0 {
			err = errors.New("it does not run")
		}
		for _, pid := range pids {
			err = errors.Join(err, unix.Kill(pid, unix.SIGKILL))
		}
		return err
	})
	s.isMade("far", made)
	s.Logf("with the right credentials, and a provider that was killed, the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
}

// meetsAQuota has the account run no more than it does: an order for a machine more is refused; where nobody asks before, the provider meets it; and when the
// quota is larger the machine comes.
func (s *story) meetsAQuota(account *awstest.Account, order string) {
	s.Helper()
	limit := func(cores int) {
		s.Helper()
		if err := account.Limit(s.ctx, cores); err != nil {
			s.Fatal(err)
		}
	}
	limit(2)
	s.refused(strings.Fields(order)[1:], `cluster "far" gets no more machines`, "2 of 2 are used, and the cluster needs 2")
	s.onHub(`patch clusters.cluster.x-k8s.io far --type=json -p '[{"op":"replace","path":"/spec/topology/workers/machineDeployments/0/replicas","value":2}]'`)
	s.treeSays("far", "AWSMachine", "VcpuLimitExceeded")
	s.nodesAre("far", 1, instancesOf(account))
	begun := time.Now()
	limit(64)
	s.shell(order + " --timeout 20m")
	s.Logf("when more may run it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 2, instancesOf(account))
}

// leavesOrphans has EC2 be gone for good while a cluster ends. It is forgotten then, and what the account goes on to hold of it is in the report.
func (s *story) leavesOrphans(account *awstest.Account, before, page []string) {
	s.Helper()
	s.isMade("far", s.orders(line(page, "cluster create far")+" --timeout 20m"))
	account.Cut("ec2")
	ended := s.orders(line(page, "cluster delete far") + " --timeout 20m")
	s.advances("its machine is to end in AWS", func(ctx context.Context) error {
		out, err := s.Shell(ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" get awsmachines -o jsonpath='{.items[*].metadata.deletionTimestamp}'`)
		if err == nil && out == "" {
			err = errors.New("it is not")
		}
		return err
	})
	file := filepath.Join(s.TempDir(), "far-orphans.yaml")
	s.shell(strings.ReplaceAll(line(page, "--force-detach"), "far-orphans.yaml", file))
	if err := <-ended; err != nil {
		s.Errorf("who waited for its end was told: %v", err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("the report is\n%s", raw)
	report, err := ending.Decode(raw)
	if err != nil {
		s.Fatal(err)
	}
	s.isReported(report, s.gained(account, before))
	if out := s.umbel("get", "clusters", "-o", "name"); strings.Contains(out, "/far") {
		s.Errorf("the fleet has it still: %s", out)
	}
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		s.Errorf("this computer has it still (%v)", err)
	}
}

// isReported checks that a report has of each kind what the account holds, no more and no less, by what the provider wrote down; and all of it by the
// cluster's mark.
func (s *story) isReported(report ending.Report, held map[string][]string) {
	s.Helper()
	s.Logf("the account goes on to hold %v", held)
	for kind, prefix := range map[string]string{"VPCs": "vpc-", "subnets": "subnet-", "internet gateways": "igw-", "NAT gateways": "nat-", "instances": "i-"} {
		var want, got, unmarked []string
		for _, name := range held[kind] {
			id, _, _ := strings.Cut(name, " in ")
			want = append(want, id)
			if !slices.ContainsFunc(report.Marked, func(arn string) bool { return strings.HasSuffix(arn, "/"+id) }) {
				unmarked = append(unmarked, id)
			}
		}
		for _, o := range report.Orphans {
			for id := range maps.Values(o.IDs) {
				if strings.HasPrefix(id, prefix) && !slices.Contains(got, id) {
					got = append(got, id)
				}
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			s.Errorf("%s of the account and of the report (-account +report):\n%s", kind, diff)
		}
		if len(unmarked) > 0 {
			s.Errorf("%s are not among those with the mark: %v", kind, unmarked)
		}
	}
}

// gained returns what an account holds and did not hold before, by kind.
func (s *story) gained(account *awstest.Account, before []string) map[string][]string {
	s.Helper()
	byKind := map[string][]string{}
	for _, one := range s.holdings(account) {
		if kind, name, _ := strings.Cut(one, ": "); !slices.Contains(before, one) {
			byKind[kind] = append(byKind[kind], name)
		}
	}
	return byKind
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
	for kind, names := range s.gained(account, before) {
		number[kind] = len(names)
		for _, name := range names {
			if _, zone, found := strings.Cut(name, " in "); found {
				number[zone]++
			}
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
