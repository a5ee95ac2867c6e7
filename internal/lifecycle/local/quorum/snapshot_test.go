package quorum

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// snapshot writes what a member holds into a file.
func (h *host) snapshot(number int) string {
	h.Helper()
	path := filepath.Join(h.TempDir(), "snapshot.db")
	file, err := os.Create(path)
	if err != nil {
		h.Fatal(err)
	}
	defer file.Close()
	if err := Snapshot(h.Context(), h.plane(number).EtcdURL(), h.config(), file); err != nil {
		h.Fatal(err)
	}
	return path
}

func (h *host) api() kubernetes.Interface {
	h.Helper()
	config, err := h.plane(0).BootstrapConfig()
	if err != nil {
		h.Fatal(err)
	}
	config.Host, config.Timeout = h.plane(0).OwnURL(), 5*time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		h.Fatal(err)
	}
	return client
}

func (h *host) writes(client kubernetes.Interface, name string) *corev1.ConfigMap {
	h.Helper()
	var made *corev1.ConfigMap
	h.eventually(name+" is written", func() (err error) {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		made, err = client.CoreV1().ConfigMaps("default").Create(h.Context(), object, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // the one before was, and the answer was late
			made, err = client.CoreV1().ConfigMaps("default").Get(h.Context(), name, metav1.GetOptions{})
		}
		return err
	})
	return made
}

func (h *host) has(client kubernetes.Interface, name string) bool {
	h.Helper()
	has := false
	h.eventually("the API says whether "+name+" is there", func() error {
		_, err := client.CoreV1().ConfigMaps("default").Get(h.Context(), name, metav1.GetOptions{})
		has = err == nil
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	return has
}

// restores has the control plane begin with a snapshot, as package local does: the first member with what is in it, the others with
// nothing.
func (h *host) restores(file string) {
	h.Helper()
	if err := h.plane(0).RestoreAside(h.Context(), file); err != nil {
		h.Fatal(err)
	}
	for n := range h.places {
		h.halt(n)
		if n == 0 {
			continue
		}
		if err := h.plane(n).Forget(); err != nil {
			h.Fatal(err)
		}
	}
	for range 2 { // a second time for whoever was killed in between
		if err := h.plane(0).Restored(); err != nil {
			h.Fatal(err)
		}
	}
}

// TestThreeMembersAreRestored: what the snapshot holds is there, what came after it is not; the members are three again; and whoever
// watched what came after is told to list anew, and does not wait for ever.
func TestThreeMembersAreRestored(t *testing.T) {
	h := newHost(t)
	h.keep(1)
	h.keep(3)
	client := h.api()
	h.writes(client, "before")
	if !h.has(h.client(1), "before") { // the member that is asked for the snapshot may be behind the others
		t.Fatal("member 1 has not what was written")
	}
	file := h.snapshot(1) // any of them
	after := h.writes(client, "after")
	h.restores(file)
	h.keep(3)
	for n := range 3 {
		h.serves(n)
	}
	if !h.has(client, "before") || h.has(client, "after") {
		t.Error("it does not hold what it held when the snapshot was taken")
	}
	h.eventually("a watch of what came after ends", func() error {
		events, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: after.ResourceVersion})
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer events.Stop()
		select {
		case e := <-events.ResultChan():
			if e.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
				return nil
			}
			return fmt.Errorf("it was told %v", e)
		case <-time.After(2 * time.Second):
			return errors.New("it hears nothing")
		}
	})
	if kept, err := os.Stat(filepath.Join(h.dir, "0", "etcd.before")); err != nil || !kept.IsDir() {
		t.Errorf("what it held before is gone: %v", err)
	}
}

// TestASnapshotThatIsNotWhole is neither taken nor restored, and what runs is not touched.
func TestASnapshotThatIsNotWhole(t *testing.T) {
	h := newHost(t)
	h.only = 1
	h.keep(1)
	file := h.snapshot(0)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{
		"cut off": raw[:len(raw)/2], "without its checksum": raw[:len(raw)-sha256.Size], "of another content": append(bytes.Clone(raw[:8192]), append([]byte("xxxx"), raw[8196:]...)...), "empty": nil,
	} {
		path := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.plane(0).RestoreAside(t.Context(), path); err == nil {
			t.Errorf("%s: it was restored", what)
		}
		if left, _ := filepath.Glob(filepath.Join(h.dir, "0", "etcd.restored*")); len(left) > 0 {
			t.Errorf("%s: left %v", what, left)
		}
	}
	if members, err := newEtcd(h.config(), h.look()).list(t.Context()); err != nil || len(members) != 1 {
		t.Errorf("what runs is %v, %v", members, err)
	}
}

// TestTheStreamOfASnapshot: parts of any size, an error in the middle, and an end that comes early.
func TestTheStreamOfASnapshot(t *testing.T) {
	data := bytes.Repeat([]byte("etcd"), 1000)
	sum := sha256.Sum256(data)
	whole := append(bytes.Clone(data), sum[:]...)
	line := func(part []byte) string {
		return `{"result":{"blob":"` + base64.StdEncoding.EncodeToString(part) + `"}}` + "\n"
	}
	for name, c := range map[string]struct {
		body, want string
	}{
		"small parts":  {line(whole[:7]) + line(whole[7:3990]) + line(whole[3990:4010]) + line(whole[4010:]), ""},
		"one part":     {line(whole), ""},
		"cut off":      {line(whole[:2000]), "not all of it"},
		"half a part":  {line(whole[:2000]) + line(whole[2000:])[:100], "EOF"},
		"an error":     {line(whole[:2000]) + `{"error":{"message":"disk on fire"}}`, "disk on fire"},
		"nothing":      {"", "not all of it"},
		"no JSON":      {"<html>", "invalid character"},
		"wrong in one": {line(append([]byte("E"), whole[1:]...)), "not all of it"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.body)) }))
		var out bytes.Buffer
		err := Snapshot(context.WithoutCancel(t.Context()), server.URL, nil, &out)
		server.Close()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err == nil && !bytes.Equal(out.Bytes(), whole) {
			t.Errorf("%s: %d bytes, of %d", name, out.Len(), len(whole))
		}
	}
}
