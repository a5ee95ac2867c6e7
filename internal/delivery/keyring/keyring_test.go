package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/sops"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// member is an API server with an agent's namespace, and a keyring on it.
type member struct {
	*Keyring
	t      *testing.T
	client *kubernetes.Clientset
	log    *log
	stop   func()
}

type log struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write implements io.Writer.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func newMember(t *testing.T) *member {
	t.Helper()
	m := &member{t: t, client: kubernetes.NewForConfigOrDie(kubetest.Start(t)), log: &log{}, stop: func() {}}
	agents := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}
	if _, err := m.client.CoreV1().Namespaces().Create(t.Context(), agents, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.stop()
		err := m.client.CoreV1().Secrets(namespace).DeleteCollection(context.WithoutCancel(t.Context()), metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	m.start()
	return m
}

func (m *member) start() {
	m.Keyring = New(Needs{Client: m.client, Log: slog.New(slog.NewTextHandler(m.log, nil)), Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = m.Run(ctx); close(done) }()
	m.stop = sync.OnceFunc(func() { cancel(); <-done })
}

func (m *member) eventually(what string, check func() error) {
	m.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("%s: %v", what, err)
		}
	}
}

// has waits until there are so many recipients, and returns them.
func (m *member) has(n int) []string {
	m.t.Helper()
	m.eventually(fmt.Sprintf("there are %d recipients", n), func() error {
		if got := m.Recipients(); len(got) != n {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
	return m.Recipients()
}

func (m *member) secret() *corev1.Secret {
	m.t.Helper()
	secret, err := m.client.CoreV1().Secrets(namespace).Get(m.t.Context(), v1alpha1.AgeSecret, metav1.GetOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	return secret
}

// A member makes a key, once, and finds it again; it makes another one when it is asked to, keeps the one before, and what was
// wrapped before is read still.
func TestAMemberMakesItsKey(t *testing.T) {
	m := newMember(t)
	first := m.has(1)[0]
	wrapped, err := m.Wrap(t.Context(), []byte("canary"))
	if err != nil {
		t.Fatal(err)
	}
	m.stop()
	m.start()
	if again := m.has(1)[0]; again != first {
		t.Errorf("after a start it is %s, not %s", again, first)
	}
	patch := []byte(`{"metadata":{"annotations":{"` + v1alpha1.RotateAnnotation + `":"now"}}}`)
	if _, err := m.client.CoreV1().Secrets(namespace).Patch(t.Context(), v1alpha1.AgeSecret, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	both := m.has(2)
	if both[1] != first || both[0] == first {
		t.Errorf("the new one has to come first: %v, before %s", both, first)
	}
	secret := m.secret()
	if _, asked := secret.Annotations[v1alpha1.RotateAnnotation]; asked || len(secret.Data) != 2 {
		t.Errorf("it has %d entries, and annotations %v", len(secret.Data), secret.Annotations)
	}
	if plain, err := m.Unwrap(t.Context(), wrapped); err != nil || string(plain) != "canary" {
		t.Errorf("unwrapping: %v", err)
	}
	for _, content := range secret.Data {
		key := content[bytes.Index(content, []byte("AGE-SECRET-KEY-")):]
		if strings.Contains(m.log.text(), string(bytes.TrimSpace(key))) {
			t.Error("a key is in the log")
		}
	}
}

// Whoever deletes the keys of a running agent gets them back, the same.
func TestDeletedKeysComeBack(t *testing.T) {
	m := newMember(t)
	first := m.has(1)[0]
	was := m.secret()
	if err := m.client.CoreV1().Secrets(namespace).Delete(t.Context(), v1alpha1.AgeSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	m.eventually("it is back", func() error {
		now, err := m.client.CoreV1().Secrets(namespace).Get(t.Context(), v1alpha1.AgeSecret, metav1.GetOptions{})
		if err == nil && now.UID == was.UID {
			err = errors.New("it is not deleted yet")
		}
		return err
	})
	if got := m.has(1)[0]; got != first {
		t.Errorf("it is another one: %s, not %s", got, first)
	}
}

// Keys that people bring count, of every sort; an entry that is none is named, not quoted, and harms no other.
func TestBroughtKeys(t *testing.T) {
	m := newMember(t)
	own := m.has(1)[0]
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	brought := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "brought"}, Data: map[string][]byte{
		"a.agekey": []byte("# of the team\n" + sopstest.Identity(t).String() + "\n"), "b.agekey": []byte(hybrid.String()), "c.agekey": sopstest.SSHKey(t),
		"d.agekey": []byte("canary, no key"), "other": []byte("canary, and not meant"),
	}}
	if _, err := m.client.CoreV1().Secrets(namespace).Create(t.Context(), brought, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := m.has(4)
	if got[0] != own || got[1] != sopstest.Identity(t).Recipient().String() || got[2] != hybrid.Recipient().String() || !strings.HasPrefix(got[3], "ssh-ed25519 ") {
		t.Errorf("recipients: %v", got)
	}
	m.eventually("the log names what is no key", func() error {
		if !strings.Contains(m.log.text(), "secret brought, entry d.agekey") {
			return errors.New(m.log.text())
		}
		return nil
	})
	if strings.Contains(m.log.text(), "canary") {
		t.Error("the log quotes it")
	}
	for _, name := range []string{"secret.yaml", "secret-ssh.yaml"} {
		file, err := sops.Read(sopstest.File(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (opener{m.Keyring}).Open(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.client.CoreV1().Secrets(namespace).Delete(t.Context(), "brought", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := m.has(1); !slices.Equal(got, []string{own}) {
		t.Errorf("recipients: %v", got)
	}
	file, err := sops.Read(sopstest.File(t, "secret.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (opener{m.Keyring}).Open(file); err == nil || !strings.Contains(err.Error(), own) {
		t.Errorf("a key that was taken away still opens, or the error names not what there is: %v", err)
	}
}
