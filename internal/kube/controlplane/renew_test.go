package controlplane

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
)

// TestRenewByTheClock: nothing is touched before two thirds of a life are over; then each certificate is another one, of the same key,
// and the CAs stay. What was lost is issued.
func TestRenewByTheClock(t *testing.T) {
	c := config()
	c.Dir = t.TempDir()
	plane, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := plane.HubConfig(); err != nil { // somebody asks for one more
		t.Fatal(err)
	}
	read := func() map[string]string {
		files := map[string]string{}
		for _, pattern := range []string{"pki/*", "admin.kubeconfig"} {
			paths, _ := filepath.Glob(filepath.Join(c.Dir, pattern))
			for _, path := range paths {
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				files[filepath.Base(path)] = string(raw)
			}
		}
		return files
	}
	made := time.Now()
	before := read()
	first, err := plane.Renew(made.Add(240 * 24 * time.Hour))
	if err != nil || first.Sub(made.Add(leafTTL)).Abs() > time.Minute {
		t.Errorf("after 240 days the first ends at %s (%v)", first, err)
	}
	for name, content := range read() {
		if content != before[name] {
			t.Errorf("after 240 days %s is another one", name)
		}
	}
	late := made.Add(250 * 24 * time.Hour)
	until, err := plane.Renew(late)
	if err != nil || until.Sub(late.Add(leafTTL)).Abs() > time.Minute {
		t.Errorf("renewed, the first ends at %s (%v)", until, err)
	}
	leaves := map[string]bool{"admin.kubeconfig": true}
	all := append(plane.leaves(), administrator(hubFile, HubUser))
	for _, l := range all {
		leaves[l.file+".crt"] = true
	}
	after := read()
	for name, content := range after {
		if same := content == before[name]; same == leaves[name] {
			t.Errorf("after 250 days %s stayed the same: %t", name, same)
		}
	}
	for _, l := range all {
		pair, err := identity.LoadKeyPair(plane.pki(l.file+".crt"), plane.pki(l.file+".key"))
		if err == nil {
			_, err = pair.TLS() // they fit together
		}
		if err != nil {
			t.Errorf("%s: %v", l.file, err)
		}
	}
	if err := os.Remove(plane.pki("apiserver.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := plane.Renew(late); err != nil || read()["apiserver.crt"] == "" {
		t.Errorf("one that was lost is not issued: %v", err)
	}
	if _, err := plane.Renew(made.Add(9 * 365 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	if end, err := plane.Renew(made.Add(9*365*24*time.Hour + 300*24*time.Hour)); err != nil || end.Sub(made.Add(caTTL)).Abs() > time.Minute {
		t.Errorf("in the last year of the CA the first ends at %s, with the CA (%v)", end, err)
	}
}

// TestAnEarlierBuildsKubeconfig: the certificate that it has in it is read once by whoever runs, and is not renewed. It is said when it ends.
func TestAnEarlierBuildsKubeconfig(t *testing.T) {
	c := config()
	c.Dir = t.TempDir()
	plane, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	old, err := plane.Kubeconfig(identity.Request{CommonName: schedulerUser, TTL: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plane.path("scheduler.kubeconfig"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if until, err := plane.Renew(time.Now()); err != nil || time.Until(until) > 30*24*time.Hour {
		t.Errorf("the first ends at %s (%v)", until, err)
	}
}
