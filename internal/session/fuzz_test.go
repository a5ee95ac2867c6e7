package session

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// said are messages as they travel.
func said[M proto.Message](f *testing.F, messages ...M) []byte {
	f.Helper()
	var stream bytes.Buffer
	for _, m := range messages {
		if err := WriteFrame(&stream, m); err != nil {
			f.Fatal(err)
		}
	}
	return stream.Bytes()
}

// hears runs one end of a session whose peer says first and then raw, and nothing more. It returns how the end ended.
func hears(t *testing.T, first, raw []byte, run func(net.Conn) error) error {
	t.Helper()
	near, far := net.Pipe()
	var peer sync.WaitGroup
	peer.Go(func() { io.Copy(io.Discard, far) })
	peer.Go(func() {
		far.Write(first)
		far.Write(raw)
		far.Close()
	})
	err := run(near)
	near.Close()
	peer.Wait()
	return err
}

// FuzzWhatAnAgentSays has a hub lead a session with an agent that says anything. It ends with an error that is one of the
// session's, and no package gets past it that has no name.
func FuzzWhatAnAgentSays(f *testing.F) {
	for _, m := range []*wire.FromAgent{
		{Message: &wire.FromAgent_Ack{Ack: &wire.Ack{Version: 1}}},
		{Message: &wire.FromAgent_Ack{Ack: &wire.Ack{Version: 1, Error: "no space left on device"}}},
		{Message: &wire.FromAgent_Status{Status: &wire.StatusReport{
			Packages: []*wire.PackageStatus{{Package: "a/web", Release: "1", Phase: wire.PackageStatus_FAILED, Failures: []*wire.Failure{{Object: "o"}}}},
			Removed:  []string{"a/db"}, KubernetesVersion: "v1", Properties: &wire.ClusterProperties{Items: []*wire.ClusterProperty{{Name: "n", Value: "v"}}},
		}}},
		{Message: &wire.FromAgent_ProbeAnswer{ProbeAnswer: &wire.ProbeAnswer{Nonce: 1, ApiError: "down"}}},
		{Message: &wire.FromAgent_CertificateRequest{CertificateRequest: &wire.CertificateRequest{Csr: []byte("csr")}}},
		{Message: &wire.FromAgent_Detached{Detached: &wire.Detached{}}},
		{Message: &wire.FromAgent_TrustHeld{TrustHeld: &wire.TrustHeld{Digest: "0123"}}},
		{Message: &wire.FromAgent_Upgrade{Upgrade: &wire.UpgradeState{Build: "b", Phase: wire.UpgradeState_DONE}}},
		hello("v1"),
	} {
		f.Add(said(f, m, m), true)
		f.Add(said(f, m), false)
	}
	f.Add([]byte("\xff\xff\xff\x7f"), true)
	opening := hello("v1")
	opening.GetHello().Packages = []*wire.PackageStatus{{Package: "a/db", Release: "1"}}
	greeting := said(f, opening)
	f.Fuzz(func(t *testing.T, raw []byte, greeted bool) {
		first := greeting
		if !greeted {
			first = nil
		}
		heard := &named{diary: &diary{}}
		err := hears(t, first, raw, func(stream net.Conn) error {
			return RunHub(t.Context(), stream, HubConfig{
				Version: "v1", Changed: make(chan struct{}), Orders: make(chan *wire.FromHub), Observer: heard, Log: quiet,
				Desired: func() (DesiredSet, bool) {
					return DesiredSet{Assign: assigned(assignment("a/web", "2")), Remove: []v1alpha1.PackageKey{"a/db"}}, true
				},
				Issue: func(csr []byte) ([]byte, []byte, error) { return csr, nil, errors.New("no") },
			})
		})
		if err == nil {
			t.Error("a session ended without an error")
		}
		for _, name := range heard.names {
			if ns, n := v1alpha1.PackageKey(name).Split(); ns == "" || n == "" || len(name) > 400 {
				t.Errorf("a package %q was heard of", name)
			}
		}
	})
}

// named is an observer that notes the names of packages.
type named struct {
	*diary
	names []string
}

func (n *named) Opened(hello *wire.Hello) {
	n.diary.Opened(hello)
	for _, p := range hello.GetPackages() {
		n.names = append(n.names, p.GetPackage())
	}
}

func (n *named) Reported(report *wire.StatusReport) {
	n.diary.Reported(report)
	for _, p := range report.GetPackages() {
		n.names = append(n.names, p.GetPackage())
	}
}

// FuzzWhatAHubSays has an agent lead a session with a hub that says anything. It lets go when it was told to, and not
// otherwise.
func FuzzWhatAHubSays(f *testing.F) {
	for _, m := range []*wire.FromHub{
		{Message: &wire.FromHub_Probe{Probe: &wire.Probe{Nonce: 1, IntervalMillis: 1000}}},
		{Message: &wire.FromHub_Desired{Desired: &wire.DesiredState{Version: 1, Assign: []*wire.Assignment{assignment("a/web", "1")}, Remove: []string{"a/db"}}}},
		{Message: &wire.FromHub_Certificate{Certificate: &wire.CertificateIssued{CertificatePem: []byte("c"), TrustPem: []byte("t")}}},
		{Message: &wire.FromHub_Trust{Trust: &wire.TrustBundle{TrustPem: []byte("t"), RenewWithinMillis: 5}}},
		{Message: &wire.FromHub_Detach{Detach: &wire.Detach{Prune: true}}},
		{Message: &wire.FromHub_Upgrade{Upgrade: &wire.Upgrade{Build: "b", Image: "i", Attempt: 1}}},
		{Message: &wire.FromHub_Refusal{Refusal: &wire.Refusal{Reason: ReasonNoMember, Message: "gone", Upgrade: &wire.Upgrade{Build: "b"}}}},
		welcome(),
	} {
		f.Add(said(f, m, m), true)
		f.Add(said(f, m), false)
	}
	greeting := said(f, welcome())
	f.Fuzz(func(t *testing.T, raw []byte, greeted bool) {
		first := greeting
		if !greeted {
			first = nil
		}
		detached := make(chan bool, 100)
		err := hears(t, first, raw, func(stream net.Conn) error {
			return RunAgent(t.Context(), stream, AgentConfig{
				Version: "v1", Packages: newMember(), Credentials: &ring{renewAt: time.Now().Add(time.Hour)}, Log: quiet,
				CheckAPI: func(context.Context) (string, error) { return "v1", nil },
				Detach: func(_ context.Context, wish *wire.Detach) error {
					detached <- wish.GetPrune()
					return nil
				},
			})
		})
		if err == nil {
			t.Error("a session ended without an error")
		}
		if len(detached) > 0 && !tells(append(first[:len(first):len(first)], raw...)) {
			t.Error("the agent let go, and nobody told it to")
		}
	})
}

func welcome() *wire.FromHub {
	return &wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: &wire.Welcome{Protocol: wire.Protocol, HubVersion: "v1", ProbeIntervalMillis: 5000}}}
}

// tells says whether there is a Detach in what a hub said.
func tells(raw []byte) bool {
	reader := bufio.NewReader(bytes.NewReader(raw))
	for {
		var m wire.FromHub
		if ReadFrame(reader, &m) != nil {
			return false
		}
		if m.GetDetach() != nil {
			return true
		}
	}
}
