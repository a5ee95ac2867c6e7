//go:build e2e && (vsphere || aws)

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/test/rig"
)

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

// nodesAre checks that the Ready nodes of a cluster are the machines that run elsewhere, by their providers' ids.
func (s *story) nodesAre(cluster string, want int, running []string) {
	s.Helper()
	err := s.ready(s.ctx, cluster, running)
	if len(running) != want || err != nil {
		s.Errorf("%d machines are to run: they are %v (%v)", want, running, err)
	}
}

// ready checks that these machines are the Ready nodes of a cluster.
func (s *story) ready(ctx context.Context, cluster string, running []string) error {
	out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "nodes", "-o", "json")
	if err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := json.Unmarshal([]byte(out), &nodes); err != nil {
		return err
	}
	var ready []string
	for _, n := range nodes.Items {
		if slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			ready = append(ready, n.Spec.ProviderID)
		}
	}
	slices.Sort(ready)
	slices.Sort(running)
	if !slices.Equal(ready, running) {
		return fmt.Errorf("%v run, and the nodes that are Ready are %v", running, ready)
	}
	return nil
}

// exampleIn returns a file of examples, with other words in it.
func (s *story) exampleIn(example string, with ...string) string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(rig.Root(), "examples", example))
	if err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.TempDir(), filepath.Base(example))
	if err := os.WriteFile(path, []byte(strings.NewReplacer(with...).Replace(string(raw))), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// computer is what the machines boot on of a cluster elsewhere: this one.
type computer struct {
	cluster  string
	clusters *local.Local
}

func newComputer(s *story, cluster string) *computer {
	s.Helper()
	clusters, err := local.New(local.Needs{Home: s.Home, Binaries: local.BinariesIn(filepath.Dir(rig.Binary("umbel"))), Registries: []local.Registry{s.registry()}})
	if err != nil {
		s.Fatal(err)
	}
	return &computer{cluster: cluster, clusters: clusters}
}

// registry is the hub's, which has the image of its agent.
func (s *story) registry() local.Registry {
	s.Helper()
	state, err := hub.ReadState(s.Home)
	if err != nil {
		s.Fatal(err)
	}
	return local.Registry{Host: state.Address, CAFile: state.CAFile}
}

func (c *computer) hosted(providerID string) local.Hosted {
	return local.Hosted{Name: c.cluster, Owner: metav1.NamespaceDefault + "/" + c.cluster, ProviderID: providerID}
}

// raise boots a machine that was given user data, and returns its address.
func (c *computer) raise(ctx context.Context, name, providerID, userData string) (string, error) {
	if err := rig.Eventually(ctx, patience, func(ctx context.Context) error { return mayJoin(ctx, userData) }); err != nil {
		return "", err
	}
	raised, err := c.clusters.RaiseMachine(ctx, c.hosted(providerID), name)
	return raised.Address, err
}

// end ends it.
func (c *computer) end(ctx context.Context, name, providerID string) error {
	return c.clusters.EndMachine(ctx, c.hosted(providerID), name)
}

var (
	joinToken  = regexp.MustCompile(`token: ([a-z0-9]{6}\.[a-z0-9]{16})\n`)
	joinServer = regexp.MustCompile(`apiServerEndpoint: ([0-9.]+:[0-9]+)\n`)
)

// mayJoin does what kubeadm would begin with, by the user data that the machine was given: it reads where the cluster is, and signs in with the token.
// The kubelet of a machine of this computer has a certificate already, and needs it no more than that.
func mayJoin(ctx context.Context, given string) error {
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
