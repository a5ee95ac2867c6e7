//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/test/rig"
)

// keepsTheContract has the framework by which Cluster API tests its own providers look at a cluster that is at rest: what it is made of does not
// change by itself, and has its owners and its finalizers again when somebody takes all of them away.
func (s *story) keepsTheContract(cluster string) {
	s.Helper()
	begun := time.Now()
	checks := exec.CommandContext(s.ctx, rig.Binary("capi-contract"), "-test.v", "-ginkgo.v", "-ginkgo.no-color")
	checks.Env = append(os.Environ(), "KUBECONFIG="+hub.AdminKubeconfig(s.Home), "CLUSTER="+cluster)
	if out, err := checks.CombinedOutput(); err != nil {
		s.Errorf("Cluster API's own checks: %v (`make contract` builds them)\n%s", err, out)
	}
	s.Logf("Cluster API's own checks passed in %s", time.Since(begun).Round(100*time.Millisecond))
}

// isAdopted takes a cluster out of the fleet and tells the hub nothing of it any more; then it is adopted: nothing of what it is made of is
// written, and it is managed again, with its labels.
func (s *story) isAdopted(cluster string) {
	s.Helper()
	s.onHub("annotate cluster.cluster.x-k8s.io " + cluster + " -n default " + v1alpha1.JoinAnnotation + "-")
	s.umbel("leave", cluster)
	s.hasNamespace(cluster, v1alpha1.AgentNamespace, false)
	var before map[string]string
	s.eventually("what it is made of is at rest", func(ctx context.Context) error {
		was := before
		before = s.madeOf(cluster)
		if diff := cmp.Diff(was, before); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	begun := time.Now()
	s.umbel("cluster", "adopt", cluster)
	s.Logf("adopted in %s", time.Since(begun).Round(100*time.Millisecond))
	if diff := cmp.Diff(before, s.madeOf(cluster)); diff != "" {
		s.Errorf("when it was adopted, this was written (-before +after):\n%s", diff)
	}
	s.is(cluster, "managed", "env=dev")
}

// madeOf is what Cluster API and its provider have made of a cluster, but for how it is, which they go on to say.
func (s *story) madeOf(cluster string) map[string]string {
	s.Helper()
	out := s.shell(hubKubectl + "get clusters.cluster.x-k8s.io,machinedeployments.cluster.x-k8s.io,machinesets.cluster.x-k8s.io,machines.cluster.x-k8s.io," +
		"machinehealthchecks.cluster.x-k8s.io,hostedclusters,hostedcontrolplanes,localmachines,localbootstraps -n default -o json")
	var list unstructured.UnstructuredList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.Fatal(err)
	}
	made, machines := map[string]string{}, 0
	for _, o := range list.Items {
		if o.GetName() != cluster && o.GetLabels()["cluster.x-k8s.io/cluster-name"] != cluster {
			continue
		}
		if o.GetKind() == "LocalMachine" {
			machines++
		}
		unstructured.RemoveNestedField(o.Object, "status")
		o.SetResourceVersion("")
		raw, err := json.Marshal(o.Object)
		if err != nil {
			s.Fatal(err)
		}
		made[o.GetKind()+" "+o.GetName()] = string(raw)
	}
	if machines == 0 {
		s.Fatalf("cluster %s is made of\n%v", cluster, made)
	}
	return made
}

// isObserved has a cluster be looked at only: nothing is written there, by people or for them, until it is attached again.
func (s *story) isObserved(cluster string) {
	s.Helper()
	begun := time.Now()
	s.umbel("level", cluster, "observed")
	s.is(cluster, "managed, observed")
	s.eventually("nobody writes there through the hub", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "kubectl", cluster, "--", "create", "configmap", "written")
		if err == nil || !strings.Contains(err.Error(), "is observed: it can be read through the hub, and not changed") {
			return fmt.Errorf("somebody who writes is told %v", err)
		}
		return nil
	})
	if out := s.umbel("kubectl", cluster, "--", "get", "nodes", "--no-headers"); !strings.Contains(out, " Ready ") {
		s.Errorf("it can be read, and its nodes are\n%s", out)
	}
	if err := s.manifest(followsItsLabels); err != nil {
		s.Fatal(err)
	}
	s.eventually("it is said why its labels bring it nothing", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "explain", "placement", "follows", "--cluster", cluster)
		if err == nil && !strings.Contains(out, "is observed") {
			err = errors.New(out)
		}
		return err
	})
	if out := s.umbel("kubectl", cluster, "--", "get", "configmap", "-o", "name"); strings.Contains(out, "/follows") {
		s.Errorf("it is observed, and this was delivered:\n%s", out)
	}

	s.umbel("level", cluster, "attached")
	s.holds(cluster, "default", "follows", "labels", "env=dev")
	s.is(cluster, "managed")
	s.eventually("people write there again", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "kubectl", cluster, "--", "create", "configmap", "written-since")
		return err
	})
	s.onHub("delete package/follows placement/follows")
	s.Logf("observed, and attached again, in %s", time.Since(begun).Round(100*time.Millisecond))
}

// is waits until the list of the fleet says all of the words of a cluster.
func (s *story) is(cluster string, words ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("of %s the fleet says %q", cluster, words), func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "get", "clusters", "-o", "wide")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, cluster+" ") {
				continue
			}
			for _, word := range words {
				if !strings.Contains(line, word) {
					return errors.New(line)
				}
			}
			return nil
		}
		return errors.New(out)
	})
}
