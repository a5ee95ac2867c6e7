//go:build e2e && vsphere

package e2e

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/vcentertest"
	"umbel.dev/umbel/test/rig"
)

// TestClustersInVSphere is the runbook docs/operate/vsphere.md, with govmomi's simulator for the vCenter: Cluster API's provider for vSphere,
// unchanged, clones a machine and powers it on, a real kubelet boots for it on this computer, the cluster joins, and a pod runs there.
// Credentials that are wrong, a vCenter that is away and a datastore that is full are said to be so, harm nothing that is there, and when
// they are no more the cluster grows. When it is deleted neither the vCenter nor this computer has anything of it.
func TestClustersInVSphere(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "vsphere.md")
	center := vcentertest.Start(t, newComputer(s, "far"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("of its machines the vCenter said\n%s", strings.Join(center.Heard(), "\n"))
		}
	})
	s.shell(line(page, "provider add local"))
	s.shell(strings.ReplaceAll(line(page, "provider add vsphere"), "build/bin/", filepath.Dir(rig.Binary("umbel"))+"/"))
	s.advances("the providers serve", func(ctx context.Context) error { return s.serve(ctx, 3, time.Time{}) })
	s.onHub("-n umbel-system create secret generic vcenter --from-literal=username=" + center.User + " --from-literal=password=wrong")
	s.onHub("apply -f " + s.classIn(center))

	made := s.orders(line(page, "cluster create far"))
	s.treeSays("far", "VSphereCluster", "Login failure")
	begun := time.Now()
	s.onHub("-n umbel-system patch secret vcenter --type=merge -p " + `'{"stringData":{"password":"` + center.Password + `"}}'`)
	s.isMade("far", made)
	t.Logf("with the right credentials the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", center, 1)
	s.runsAPod("far", "first")
	if out := s.umbel("get", "clusters", "-o", "wide"); !strings.Contains(out, "env=far") {
		t.Errorf("the fleet is\n%s", out)
	}

	center.Cut()
	grown := s.orders(line(page, "cluster scale far"))
	s.treeSays("far", "VSphereCluster", "connection refused")
	s.treeSays("far", "─ Machine", "Provisioning ") // that is all which its provider says of it
	s.runsAPod("far", "meanwhile")
	begun = time.Now()
	if err := center.Mend(); err != nil {
		t.Fatal(err)
	}
	s.isMade("far", grown)
	t.Logf("after the vCenter was back it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", center, 2)

	center.Fill()
	grown = s.orders("umbel cluster scale far --workers 3")
	s.treeSays("far", "VSphereMachine", "NoDiskSpace")
	begun = time.Now()
	center.Empty()
	s.isMade("far", grown)
	t.Logf("after the datastore had room it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", center, 3)
	s.umbel("kubectl", "far", "--", "get", "pod/first", "pod/meanwhile")

	begun = time.Now()
	s.shell(line(page, "cluster delete far"))
	t.Logf("ended in %s", time.Since(begun).Round(100*time.Millisecond))
	if left := center.Running(); len(left) > 0 {
		t.Errorf("machines of the vCenter are left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there (%v)", err)
	}
}

// advances waits like eventually, anew whenever something has moved: what is missing is another thing than before.
func (s *story) advances(what string, check func(context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	still := time.AfterFunc(patience, cancel)
	missing, begun := "", time.Now()
	err := rig.Eventually(ctx, 5*patience, func(ctx context.Context) error {
		err := check(ctx)
		if err != nil && err.Error() != missing {
			missing = err.Error()
			still.Reset(patience)
		}
		return err
	})
	if err != nil {
		s.Fatalf("%s: nothing has moved for a while: %v", what, err)
	}
	s.Logf("%s: after %s", what, time.Since(begun).Round(100*time.Millisecond))
}

// orders runs a command in the background, which tells once how it ended.
func (s *story) orders(command string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Shell(s.ctx, command)
		done <- err
	}()
	return done
}

// isMade waits for the end of such a command, which has to succeed.
func (s *story) isMade(cluster string, done <-chan error) {
	s.Helper()
	if err := <-done; err != nil {
		tree, _ := s.Umbel(s.ctx, "cluster", "describe", cluster)
		s.Fatalf("%v\n%s", err, tree)
	}
}

// treeSays waits until `umbel cluster describe` has the words in the line of a part.
func (s *story) treeSays(cluster, part, words string) {
	s.Helper()
	s.advances(fmt.Sprintf("%q is said of the %s of %s", words, part, cluster), func(ctx context.Context) error {
		tree, err := s.Umbel(ctx, "cluster", "describe", cluster)
		for line := range strings.Lines(tree) {
			if strings.Contains(line, part+" ") && strings.Contains(line, words) {
				s.Logf("its tree is\n%s", tree)
				return nil
			}
		}
		return cmp.Or(err, fmt.Errorf("its tree is\n%s", tree))
	})
}

// nodesAre checks that the Ready nodes of a cluster are the machines that run in a vCenter, by their provider's ids.
func (s *story) nodesAre(cluster string, center *vcentertest.VCenter, want int) {
	s.Helper()
	var nodes corev1.NodeList
	if err := json.Unmarshal([]byte(s.umbel("kubectl", cluster, "--", "get", "nodes", "-o", "json")), &nodes); err != nil {
		s.Fatal(err)
	}
	var ready, running []string
	for _, n := range nodes.Items {
		if slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			ready = append(ready, n.Spec.ProviderID)
		}
	}
	for _, m := range center.Running() {
		running = append(running, "vsphere://"+m.UUID)
	}
	slices.Sort(ready)
	if len(running) != want || !slices.Equal(ready, running) {
		s.Errorf("%d machines are to run: they are %v, and the nodes that are Ready %v", want, running, ready)
	}
}

// classIn returns the file of the class of the runbook, for this vCenter.
func (s *story) classIn(center *vcentertest.VCenter) string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(rig.Root(), "examples", "vsphere", "class.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.TempDir(), "class.yaml")
	if err := os.WriteFile(path, bytes.ReplaceAll(raw, []byte("vcenter.example.com"), []byte(center.Address)), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// computer is what the machines of a cluster in vSphere boot on: this one.
type computer struct {
	cluster  string
	clusters *local.Local
}

func newComputer(s *story, cluster string) *computer {
	s.Helper()
	state, err := hub.ReadState(s.Home)
	if err != nil {
		s.Fatal(err)
	}
	clusters, err := local.New(local.Needs{
		Home: s.Home, Binaries: local.BinariesIn(filepath.Dir(rig.Binary("umbel"))), Registries: []local.Registry{{Host: state.Address, CAFile: state.CAFile}},
	})
	if err != nil {
		s.Fatal(err)
	}
	return &computer{cluster: cluster, clusters: clusters}
}

func (c *computer) hosted(m vcentertest.Machine) local.Hosted {
	return local.Hosted{Name: c.cluster, Owner: metav1.NamespaceDefault + "/" + c.cluster, ProviderID: "vsphere://" + m.UUID}
}

// Boot implements vcentertest.Computer.
func (c *computer) Boot(ctx context.Context, m vcentertest.Machine) (string, error) {
	if err := rig.Eventually(ctx, time.Minute, func(ctx context.Context) error { return mayJoin(ctx, m) }); err != nil {
		return "", err
	}
	raised, err := c.clusters.RaiseMachine(ctx, c.hosted(m), m.Name)
	return raised.Address, err
}

// End implements vcentertest.Computer.
func (c *computer) End(ctx context.Context, m vcentertest.Machine) error {
	return c.clusters.EndMachine(ctx, c.hosted(m), m.Name)
}

var (
	joinToken  = regexp.MustCompile(`token: ([a-z0-9]{6}\.[a-z0-9]{16})\n`)
	joinServer = regexp.MustCompile(`apiServerEndpoint: ([0-9.]+:[0-9]+)\n`)
)

// mayJoin does what kubeadm would begin with, by what the machine was given: it reads where the cluster is, and signs in with the token.
// The kubelet of a machine of this computer has a certificate already, and needs it no more than that.
func mayJoin(ctx context.Context, m vcentertest.Machine) error {
	given, err := userData(m.Guest)
	if err != nil {
		return err
	}
	token, server := joinToken.FindStringSubmatch(given), joinServer.FindStringSubmatch(given)
	if token == nil || server == nil || !strings.Contains(given, "kubeadm join") || !strings.Contains(given, "sha256:") {
		return fmt.Errorf("its user data does not say how it joins:\n%s", given)
	}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://" + server[1], BearerToken: token[1], TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		return err
	}
	me, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("signing in at %s with the token of its user data: %w", server[1], err)
	}
	if !strings.HasPrefix(me.Status.UserInfo.Username, "system:bootstrap:") {
		return fmt.Errorf("with the token of its user data it is %s", me.Status.UserInfo.Username)
	}
	return nil
}

// userData returns what cloud-init would find in the machine.
func userData(guest map[string]string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(guest["guestinfo.userdata"])
	if err != nil || len(raw) == 0 {
		return "", fmt.Errorf("it has no user data (%v)", err)
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return string(raw), nil
	}
	plain, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	raw, err = io.ReadAll(plain)
	return string(raw), err
}
