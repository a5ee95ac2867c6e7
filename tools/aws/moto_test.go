//go:build aws

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAgainstMoto asks moto (`make moto`), which checks signatures, has AWS' types of instances, and knows the quotas of networks and, where one is set,
// of virtual CPUs; not that of addresses.
func TestAgainstMoto(t *testing.T) {
	q, desk := startMoto(t)
	q.Network = &Network{VPCs: 1, Addresses: 3}
	q.Machines = []Machines{{Number: 2, Type: "t3.large", Image: "ami-03cf127a", Profile: "nodes.cluster-api-provider-aws.sigs.k8s.io", Zone: "us-east-1b"}}

	got, err := ask(t, "check", q)
	if err != nil || len(got.Problems) > 0 || len(got.Sizes) != 1 || got.Sizes[0] != (Size{2, 8192}) {
		t.Errorf("it says %+v (%v)", got, err)
	}
	t.Logf("moto does not say: %q", got.Unknown)
	refused := func(want string, change func(*Question)) {
		t.Helper()
		other := q
		other.Machines = append([]Machines(nil), q.Machines...)
		change(&other)
		got, err := ask(t, "check", other)
		if err != nil || !strings.Contains(strings.Join(got.Problems, "\n"), want) {
			t.Errorf("want %q, got %+v (%v)", want, got, err)
		}
	}
	refused("SignatureDoesNotMatch", func(q *Question) { q.Secret = "wrong" })
	refused("InvalidClientTokenId", func(q *Question) { q.Key = "AKIA1" })
	refused(`has no instances of type "t9.large"`, func(q *Question) { q.Machines[0].Type = "t9.large" })
	refused(`zone us-east-1z has no instances of type "t3.large"`, func(q *Question) { q.Machines[0].Zone = "us-east-1z" })
	refused(`has no image "ami-0123456789abcdef0"`, func(q *Question) { q.Machines[0].Image = "ami-0123456789abcdef0" })
	refused(`with instance profile "none"`, func(q *Question) { q.Machines[0].Profile = "none" })

	account, err := open(q)
	if err != nil {
		t.Fatal(err)
	}
	limit(t, desk, 5)
	if got, err := ask(t, "check", q); err != nil || len(got.Problems) > 0 {
		t.Errorf("at a quota that is large enough it says %+v (%v)", got, err)
	}
	run := url.Values{"ImageId": {"ami-03cf127a"}, "InstanceType": {"t3.large"}, "MinCount": {"1"}, "MaxCount": {"1"}}
	for _, want := range []string{"", "", "VcpuLimitExceeded"} {
		if err := account.query(t.Context(), "ec2", "RunInstances", run, &struct{}{}); codeOf(err) != want {
			t.Errorf("with a quota of five an instance of two was run with %v, and not %q", err, want)
		}
	}
	refused(`in region us-east-1: 4 of 5 are used, and the cluster needs 4`, func(*Question) {})
	limit(t, desk, 64)
	for range 4 { // one was there
		err := account.query(t.Context(), "ec2", "CreateVpc", url.Values{
			"CidrBlock": {"10.0.0.0/16"}, "TagSpecification.1.ResourceType": {"vpc"}, "TagSpecification.1.Tag.1.Key": {ownedTag + "far"}, "TagSpecification.1.Tag.1.Value": {"owned"},
		}, &struct{}{})
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(`quota "VPCs per Region" in region us-east-1: 5 of 5 are used, and the cluster needs 1`, func(*Question) {})
	q.Cluster = "far"
	if got, err := ask(t, "left", q); err != nil || len(got.Left) != 4 || !strings.Contains(got.Left[0], ":vpc/vpc-") {
		t.Errorf("of the cluster it has left %v (%v)", got.Left, err)
	}
	q.Cluster = "near"
	if got, err := ask(t, "left", q); err != nil || len(got.Left) != 0 {
		t.Errorf("of another cluster it has left %v (%v)", got.Left, err)
	}
}

// limit sets the quota of virtual CPUs of an account.
func limit(t *testing.T, desk string, cores int) {
	t.Helper()
	answer, err := http.Post(desk+"/quota", "application/json", strings.NewReader(fmt.Sprintf(`{"cores": %d}`, cores)))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

// startMoto starts an account, which ends with the test, and returns a question to it, and where it is asked what is no service of AWS.
func startMoto(t *testing.T) (q Question, desk string) {
	t.Helper()
	deaf := httptest.NewServer(http.NotFoundHandler()) // nothing is run
	t.Cleanup(deaf.Close)
	moto := exec.Command(filepath.Join("..", "..", "build", "bin", "umbel-moto"), "--machines", deaf.URL)
	moto.Stderr = t.Output()
	out, err := moto.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := moto.Start(); err != nil {
		t.Fatalf("%v: `make moto` builds it", err)
	}
	t.Cleanup(func() {
		if err := moto.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = moto.Wait() // it has no other end
	})
	first, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	said := struct{ URL, Region, Key, Secret, Desk string }{}
	if err := json.Unmarshal(first, &said); err != nil {
		t.Fatalf("umbel-moto begins with %q: %v", first, err)
	}
	return Question{
		Region: said.Region, Key: said.Key, Secret: said.Secret, From: "Secret umbel-system/aws",
		Endpoints: map[string]string{"ec2": said.URL, "sts": said.URL, "servicequotas": said.URL, "tagging": said.URL},
	}, said.Desk
}
