package clitest_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway/trust"
)

// looksAfter has the hub's part that answers `umbel ca` run until the test ends.
func (f *fleet) looksAfter(t *testing.T) {
	t.Helper()
	forget := func() {
		ctx := context.WithoutCancel(t.Context())
		for _, o := range []kube.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
			name := trust.CASecret
			if _, is := o.(*corev1.ConfigMap); is {
				name = v1alpha1.CAConfigMap
			}
			o.SetNamespace(v1alpha1.SystemNamespace)
			o.SetName(name)
			if err := kube.IgnoreNotFound(f.api.Delete(ctx, o)); err != nil {
				t.Error(err)
			}
		}
	}
	forget()
	authority, err := trust.Load(t.Context(), trust.Config{Client: f.api})
	if err != nil {
		t.Fatal(err)
	}
	driver := trust.NewDriver(authority, f.api, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if _, err := driver.Step(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := driver.Step(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; forget() })
}

func TestCA(t *testing.T) {
	f := newFleet(t)
	got := f.run(t.Context(), "ca", "status")
	if want := "error: the hub has not said how it stands with its certificate authority"; !strings.HasPrefix(got.Err, want) || got.Code != 1 {
		t.Errorf("before the hub has run: %+v", got)
	}
	f.looksAfter(t)
	for _, step := range []struct {
		args string
		want []string
		code int
	}{
		{"ca status", []string{"Rotation  none under way\n", "AUTHORITY", "NOT AFTER", time.Now().UTC().AddDate(10, 0, 0).Format("2006-"), "umbel members ", "Issues", "Connected, and without the authorities of today: ", "prod-eu"}, 0},
		{"ca rotate --finish", []string{"error: no rotation is under way\n"}, 1},
		{"ca rotate --cancel", []string{"error: there is nothing to cancel"}, 1},
		{"ca rotate", []string{"rotation begun\n", "`umbel ca status` says how far it is"}, 0},
		{"ca rotate", []string{"error: a rotation is announced already; `umbel ca status` says what it waits for\n"}, 1},
		{"ca rotate --compromised", []string{"--cancel`, then begin one with --compromised"}, 1},
		{"ca status", []string{"Rotation  announced since ", "all connected members trust the next authority", "umbel members 2 ", "Next"}, 0},
		{"ca status -o json", []string{`"phase": "Announced"`, `"behind": [`, `"role": "Next"`}, 0},
		{"ca rotate --cancel", []string{"rotation cancelled\n"}, 0},
		{"ca rotate --compromised", []string{"rotation begun, because of a stolen key\n", "`umbel join` again"}, 0},
		{"ca status", []string{"announced, because of a stolen key, since "}, 0},
		{"ca rotate --finish", []string{"rotation finishes without waiting\n"}, 0},
		{"ca rotate --finish --cancel", []string{"three different wishes"}, 2},
	} {
		got := f.run(t.Context(), strings.Fields(step.args)...)
		for _, want := range step.want {
			if !strings.Contains(got.Out+got.Err, want) {
				t.Errorf("umbel %s: it does not say %q:\n%s%s", step.args, want, got.Out, got.Err)
			}
		}
		if got.Code != step.code {
			t.Errorf("umbel %s: exit code %d, want %d", step.args, got.Code, step.code)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for got := (said{}); !strings.Contains(got.Out, "Distrusted"); {
		if got = f.run(t.Context(), "ca", "status"); time.Now().After(deadline) {
			t.Fatalf("it has not switched: %s%s", got.Out, got.Err)
		}
	}
	var info corev1.ConfigMap
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}, &info); err != nil {
		t.Fatal(err)
	}
	for key, value := range info.Data {
		if strings.Contains(value, "PRIVATE KEY") {
			t.Errorf("%s shows a key", key)
		}
	}
}

// Every command of the runbook is run, in its order, as it stands there.
func TestRunbookOfTheCA(t *testing.T) {
	f := newFleet(t)
	f.looksAfter(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operate", "rotate-the-ca.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, block := range strings.Split(string(text), "```") {
		commands, shell := strings.CutPrefix(block, "sh\n")
		if i%2 == 0 || !shell {
			continue
		}
		for line := range strings.Lines(commands) {
			args, ours := strings.CutPrefix(strings.TrimSpace(line), "umbel ")
			if got := f.run(t.Context(), strings.Fields(args)...); !ours || got.Code != 0 {
				t.Errorf("%q: %+v", line, got)
			}
			ran++
		}
	}
	if ran < 6 {
		t.Errorf("the runbook has %d commands; are they still found?", ran)
	}
}
