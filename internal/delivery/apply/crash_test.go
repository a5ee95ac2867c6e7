package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/wire"
)

// runCrashingEngine is the process that TestKillAtAnyInstant kills: an engine on dir, whose blobs are files there.
func runCrashingEngine(dir string) int {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	engine, err := New(Needs{
		Dir: dir, Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: time.Now,
		Fetch: func(_ context.Context, _, digest string, _ int64) ([]byte, error) {
			return os.ReadFile(filepath.Join(dir, digest))
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var state wire.DesiredState
	if err := json.Unmarshal(raw, &state); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := engine.Store(context.Background(), &state); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = engine.Run(context.Background())
	return 0
}

// TestKillAtAnyInstant moves a package between releases that share half of their objects, killing the engine with
// SIGKILL at seeded random instants. Whatever happened on the way, the last release is there in the end, whole, and
// nothing of the others is left behind.
func TestKillAtAnyInstant(t *testing.T) {
	s := newStation(t)
	writeKubeconfig(t, s.config, filepath.Join(s.dir, "kubeconfig"))
	const seed, rounds, count = 20261122, 12, 60
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	var newest *wire.Assignment
	for round := range rounds {
		var objects []string
		for i := range count {
			objects = append(objects, s.configMap(fmt.Sprintf("o-%d", (round*count/2+i)%(3*count)), map[string]string{"round": fmt.Sprint(round)}))
		}
		a := s.release("shop/web", fmt.Sprintf("r%d", round), objects...)
		if err := os.WriteFile(filepath.Join(s.dir, a.GetDigest()), s.blobs[a.GetDigest()], 0o600); err != nil {
			t.Fatal(err)
		}
		newest = a
		state, err := json.Marshal(&wire.DesiredState{Assign: []*wire.Assignment{a}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "state.json"), state, 0o600); err != nil {
			t.Fatal(err)
		}
		killAfter(t, s.dir, time.Duration(100+random.IntN(500))*time.Millisecond)
	}
	s.start()
	s.assign(newest) // on a slow machine the last process did not live long enough to be told
	last := fmt.Sprintf("r%d", rounds-1)
	s.reaches("shop/web", last, wire.PackageStatus_APPLIED)
	list, err := s.client.CoreV1().ConfigMaps(s.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cm := range list.Items {
		if cm.Data["round"] != fmt.Sprint(rounds-1) {
			t.Errorf("%s is of round %s: left behind or not brought to the last release", cm.Name, cm.Data["round"])
		}
	}
	if len(list.Items) != count {
		t.Errorf("%d objects, want %d", len(list.Items), count)
	}
}

// TestAnObjectThatTheDeadAppliedTwice: two engines ended between an apply of theirs and its answer, so that our entry is newer than
// the object and nobody noted its uid. It is ours all the same, and goes with its package.
func TestAnObjectThatTheDeadAppliedTwice(t *testing.T) {
	s := newStation(t)
	for _, release := range []string{"first", "second"} {
		written, ended := make(chan struct{}, 8), make(chan struct{})
		answered := s.meddling(http.MethodPatch, "a", func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Contains(body, []byte(release)) {
				return nil, errors.New("the order of before is not carried out any more")
			}
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(bytes.NewReader(body))
			response, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			defer response.Body.Close()
			written <- struct{}{}
			<-ended
			return nil, errors.New("nobody is there any more")
		})
		s.start()
		s.assign(s.release("shop/web", release, s.configMap("a", map[string]string{"of": release})))
		<-written
		time.AfterFunc(100*time.Millisecond, func() { close(ended) }) // when the engine has been told to stop
		s.stop()
		answered()
		s.hasData("a", map[string]string{"of": release})
		time.Sleep(2100 * time.Millisecond) // the API server's times are whole seconds
	}
	s.start()
	s.unassign("shop/web")
	s.lacks("a")
}

// killAfter runs the engine as a process of its own and kills it after d.
func killAfter(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "UMBEL_TEST_ENGINE="+dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("the engine ended by itself: %v\n%s", err, out.String())
	}
	_ = cmd.Wait()
}

func writeKubeconfig(t *testing.T, config *rest.Config, path string) {
	t.Helper()
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "c",
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "c"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"c": {
			ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken,
			ClientCertificate: config.CertFile, ClientKey: config.KeyFile,
		}},
	}, path)
	if err != nil {
		t.Fatal(err)
	}
}
