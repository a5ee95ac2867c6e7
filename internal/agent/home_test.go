package agent

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	if home := os.Getenv("UMBEL_TEST_HOME"); home != "" {
		os.Exit(saveForever(home))
	}
	os.Exit(kubetest.Main(m))
}

// homes are the implementations of identity.Home: each test gets one that keeps nothing yet, and the name by which a
// process of its own finds it (see openHome).
var homes = map[string]func(t *testing.T) (home identity.Home, name string){
	"folder": func(t *testing.T) (identity.Home, string) {
		dir := filepath.Join(t.TempDir(), "identity")
		return identity.Folder(dir), "folder " + dir
	},
	"secret": func(t *testing.T) (identity.Home, string) {
		config := emptyMember(t)
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		writeKubeconfig(t, config, kubeconfig)
		return newSecretHome(t.Context(), t, config), "secret " + kubeconfig
	},
}

// TestHome is what every identity.Home has to do.
func TestHome(t *testing.T) {
	for name, open := range homes {
		t.Run(name, func(t *testing.T) {
			for story, tell := range map[string]func(*testing.T, func(*testing.T) (identity.Home, string)){
				"what is saved is loaded":                              savedIsLoaded,
				"a key stays for good":                                 keyStays,
				"of agents that begin at once one key stays":           oneKeyStays,
				"killed at any instant it leaves parts that are whole": killedWhileSaving,
			} {
				t.Run(story, func(t *testing.T) { tell(t, open) })
			}
		})
	}
}

func savedIsLoaded(t *testing.T, open func(*testing.T) (identity.Home, string)) {
	home, _ := open(t)
	expect := func(reason string, want identity.Papers) {
		t.Helper()
		got, err := home.Load()
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		if diff := cmp.Diff(text(want), text(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	save := func(papers identity.Papers) {
		t.Helper()
		if err := home.Save(papers); err != nil {
			t.Fatal(err)
		}
	}
	expect("nothing is kept yet, and that is no error", identity.Papers{})
	key := newKeyPEM(t)
	save(identity.Papers{Key: key})
	expect("the key alone", identity.Papers{Key: key})
	whole := identity.Papers{Key: key, Certificate: []byte("certificate 1"), Trust: []byte("trust 1")}
	save(whole)
	save(whole)
	expect("twice the same", whole)
	save(identity.Papers{Key: key, Certificate: []byte("certificate 2"), Trust: []byte("trust 1")})
	expect("a renewed certificate", identity.Papers{Key: key, Certificate: []byte("certificate 2"), Trust: []byte("trust 1")})
	save(identity.Papers{Key: key})
	expect("what is not given stays", identity.Papers{Key: key, Certificate: []byte("certificate 2"), Trust: []byte("trust 1")})
}

func keyStays(t *testing.T, open func(*testing.T) (identity.Home, string)) {
	home, _ := open(t)
	first := identity.Papers{Key: newKeyPEM(t), Certificate: []byte("certificate 1"), Trust: []byte("trust 1")}
	if err := home.Save(first); err != nil {
		t.Fatal(err)
	}
	other := identity.Papers{Key: newKeyPEM(t), Certificate: []byte("certificate 2"), Trust: []byte("trust 2")}
	err := home.Save(other)
	if !errors.Is(err, identity.ErrOtherKey) || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("saving another key: %v, want ErrOtherKey and nothing of a key", err)
	}
	got, err := home.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text(first), text(got)); diff != "" {
		t.Errorf("something changed (-want +got):\n%s", diff)
	}
}

func oneKeyStays(t *testing.T, open func(*testing.T) (identity.Home, string)) {
	home, _ := open(t)
	ca, err := identity.NewCA("hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	const agents = 8
	var rings [agents]*identity.Keyring
	var starting sync.WaitGroup
	for i := range agents {
		starting.Go(func() {
			ring, err := identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: ca.CertPEM(), Log: slog.New(slog.DiscardHandler)})
			if err != nil && !errors.Is(err, identity.ErrOtherKey) {
				t.Error(err)
			}
			rings[i] = ring
		})
	}
	starting.Wait()
	kept, err := home.Load()
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.ParseKey(kept.Key)
	if err != nil {
		t.Fatal(err)
	}
	working := 0
	for _, ring := range rings {
		if ring == nil {
			continue // it came second, and is started anew
		}
		working++
		if !ring.Key().Equal(key) {
			t.Error("an agent works with a key that is not the one that is kept")
		}
	}
	if working == 0 {
		t.Error("no agent works")
	}
}

// killedWhileSaving kills a process that saves again and again, at different instants.
func killedWhileSaving(t *testing.T, open func(*testing.T) (identity.Home, string)) {
	home, name := open(t)
	key := newKeyPEM(t)
	if err := home.Save(identity.Papers{Key: key}); err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		saver := exec.Command(os.Args[0])
		saver.Env = append(os.Environ(), "UMBEL_TEST_HOME="+name)
		out, err := saver.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		saver.Stderr = t.Output()
		if err := saver.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has saved once
			t.Fatal(err)
		}
		<-time.After(time.Duration(round) * 3 * time.Millisecond)
		if err := saver.Process.Kill(); err != nil {
			t.Fatalf("the process ended by itself: %v", err)
		}
		_ = saver.Wait()
		got, err := home.Load()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Key, key) {
			t.Fatalf("round %d: the key is another one", round)
		}
		for part, content := range map[string][]byte{"certificate": got.Certificate, "trust": got.Trust} {
			if !bytes.Equal(content, large(part, 0)) && !bytes.Equal(content, large(part, 1)) {
				t.Errorf("round %d: the %s has %d bytes and is none that was saved", round, part, len(content))
			}
		}
	}
}

// saveForever is the process that killedWhileSaving kills.
func saveForever(name string) int {
	home, err := openHome(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	papers, err := home.Load()
	for n := 0; err == nil; n++ {
		err = home.Save(identity.Papers{Key: papers.Key, Certificate: large("certificate", n%2), Trust: large("trust", n%2)})
		if n == 0 {
			fmt.Println("saved")
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func openHome(name string) (identity.Home, error) {
	kind, path, _ := strings.Cut(name, " ")
	if kind == "folder" {
		return identity.Folder(path), nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	return &secretHome{life: context.Background(), client: client, log: slog.Default()}, err
}

func large(part string, n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s %d\n", part, n), 4000)
}

// TestSecretSaysWhoseKeyItHolds: `umbel join` looks there, and the Secret goes with the namespace.
func TestSecretSaysWhoseKeyItHolds(t *testing.T) {
	config := emptyMember(t)
	home := newSecretHome(t.Context(), t, config)
	ca, err := identity.NewCA("hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: ca.CertPEM(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Sign(identity.Request{CommonName: "prod-eu", TTL: time.Hour}, ring.Key().Public(), x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Install(certificate, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	secret, err := home.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := home.client.CoreV1().Namespaces().Get(t.Context(), v1alpha1.AgentNamespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := ring.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if got := secret.Annotations[identity.FingerprintAnnotation]; got != fingerprint {
		t.Errorf("the annotation says %q, want %q", got, fingerprint)
	}
	if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].UID != namespace.UID {
		t.Errorf("its owners are %v, want the namespace", owners)
	}
	if !bytes.Equal(secret.Data[secretCertificate], certificate) {
		t.Error("it does not hold the certificate")
	}
}

// TestFolderOfAPod is the story of a pod whose folder is its node's, moving between two nodes.
func TestFolderOfAPod(t *testing.T) {
	config := emptyMember(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	config.BearerTokenFile = serviceAccountToken // as in a pod
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	start := func(dir string) {
		t.Helper()
		if _, err := settle(t.Context(), Options{Dir: dir, Config: config, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, client); err != nil {
			t.Fatal(err)
		}
	}
	order := func(dir string) string { return filepath.Join(dir, packagesDir, "shop", "order.json") }
	store := func(dir string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(order(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(order(dir), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(reason, dir string, want bool) {
		t.Helper()
		_, err := os.Stat(order(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if got := err == nil; got != want {
			t.Errorf("%s: the folder holds its order: %t, want %t", reason, got, want)
		}
	}
	store(one)
	start(one)
	holds("what an earlier membership left does not come back", one, false)
	store(one)
	start(one)
	holds("started again where it was, it has what it had", one, true)
	start(two)
	store(two)
	start(two)
	holds("the same on the second node", two, true)
	start(one)
	holds("back on the first node: that is of an earlier time", one, false)
	start(two)
	holds("and so is what the second one has by now", two, false)

	store(two)
	crashed := filepath.Join(two, stateFile)
	if err := os.Remove(crashed); err != nil {
		t.Fatal(err)
	}
	start(two)
	holds("killed between the API and the folder: nothing comes back", two, false)
}

// TestProcessKeepsItsFolder: an agent that is no pod asks no API server where its key is.
func TestProcessKeepsItsFolder(t *testing.T) {
	dir := t.TempDir()
	home, err := settle(t.Context(), Options{Dir: dir, Config: &rest.Config{Host: "https://192.0.2.1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := identity.Folder(filepath.Join(dir, "identity")); home != want {
		t.Errorf("its papers are in %v, want %v", home, want)
	}
}

// TestAnAPIServerThatIsAwayIsWaitedFor: an agent must not take a key for missing, nor end, because nobody answers.
func TestAnAPIServerThatIsAwayIsWaitedFor(t *testing.T) {
	config := emptyMember(t)
	nobody := newSecretHome(t.Context(), t, &rest.Config{Host: "https://127.0.0.1:1"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	nobody.life = ctx
	if _, err := nobody.Load(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that it waited until its life ended", err)
	}
	if err := newSecretHome(ctx, t, config).Save(identity.Papers{Key: newKeyPEM(t)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("saving at the end of its life: %v", err)
	}
}

// emptyMember returns the test API with an agent's namespace in which no agent has been.
func emptyMember(t *testing.T) *rest.Config {
	t.Helper()
	config := kubetest.Start(t)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	err = client.CoreV1().Secrets(v1alpha1.AgentNamespace).Delete(t.Context(), identity.MemberSecret, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	err = client.CoreV1().ConfigMaps(v1alpha1.AgentNamespace).Delete(t.Context(), stateConfigMap, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return config
}

func newSecretHome(ctx context.Context, t *testing.T, config *rest.Config) *secretHome {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &secretHome{life: ctx, client: client, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func newKeyPEM(t *testing.T) []byte {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := identity.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPEM
}

// text makes papers comparable, and shows them: these are of tests.
func text(p identity.Papers) [3]string {
	return [3]string{string(p.Key), string(p.Certificate), string(p.Trust)}
}

func writeKubeconfig(t *testing.T, config *rest.Config, path string) {
	t.Helper()
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "c",
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "c"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"c": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
	}, path)
	if err != nil {
		t.Fatal(err)
	}
}
