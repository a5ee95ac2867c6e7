package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/lifecycle/local"
)

func TestCreateReadsItsArguments(t *testing.T) {
	for _, c := range []struct {
		reason string
		args   []string
		want   local.Spec
		code   int
	}{
		{"one node unless told otherwise", []string{"dev"}, local.Spec{Name: "dev", Nodes: 1}, exit.OK},
		{"a control plane alone", []string{"dev", "--nodes=0"}, local.Spec{Name: "dev"}, exit.OK},
		{"a name that no cluster can have", []string{"Dev"}, local.Spec{}, exit.Misuse},
		{"more nodes than there can be", []string{"dev", "--nodes=33"}, local.Spec{}, exit.Misuse},
		{"no name", nil, local.Spec{}, exit.Misuse},
		{"two names", []string{"dev", "prod"}, local.Spec{}, exit.Misuse},
	} {
		var got local.Spec
		cmd := NewCreateCmd(client.New(output.System()), func(_ context.Context, o *SpecOptions) error {
			got = o.Spec
			return nil
		})
		err := execute(t, cmd, c.args...)
		if diff := cmp.Diff(c.want, got); diff != "" || exit.Code(err) != c.code {
			t.Errorf("%s: exit code %d, want %d; (-want +got):\n%s", c.reason, exit.Code(err), c.code, diff)
		}
	}
}

func TestVerbsTakeNames(t *testing.T) {
	for verb, newCmd := range map[string]func(*client.Factory, func(context.Context, *NamesOptions) error) *cobra.Command{
		"delete": NewDeleteCmd, "stop": NewStopCmd, "start": NewStartCmd,
	} {
		var got []string
		runF := func(_ context.Context, o *NamesOptions) error {
			got = o.Names
			return nil
		}
		if err := execute(t, newCmd(client.New(output.System()), runF), "one", "two"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", verb, diff)
		}
		if err := execute(t, newCmd(client.New(output.System()), runF)); exit.Code(err) != exit.Misuse {
			t.Errorf("%s without a name ends with %d (%v), want %d", verb, exit.Code(err), err, exit.Misuse)
		}
	}
}

func TestListFormats(t *testing.T) {
	clusters := []local.Cluster{
		{
			Name: "dev", State: local.Running, Nodes: 1, Server: "https://10.200.1.10:6443", Kubeconfig: "/d/local/dev/kubeconfig",
			PodCIDR: "10.65.0.0/16", ServiceCIDR: "10.129.0.0/16", Link: "u0-dev-0", Namespace: "umbel0-dev-0", PID: 42, Dir: "/d/local/dev",
		},
		{
			Name: "alone", State: local.Stopped, Server: "https://127.0.0.1:40001", Kubeconfig: "/d/local/alone/kubeconfig",
			ServiceCIDR: "10.130.0.0/16", Dir: "/d/local/alone",
		},
	}
	for format, want := range map[output.Format]string{
		output.Human: `NAME    STATE     NODES   SERVER                     KUBECONFIG
dev     Running   1       https://10.200.1.10:6443   /d/local/dev/kubeconfig
alone   Stopped   0       https://127.0.0.1:40001    /d/local/alone/kubeconfig
`,
		output.Wide: `NAME    STATE     NODES   SERVER                     KUBECONFIG                  LINK       NAMESPACE      PODS           SERVICES        PID
dev     Running   1       https://10.200.1.10:6443   /d/local/dev/kubeconfig     u0-dev-0   umbel0-dev-0   10.65.0.0/16   10.129.0.0/16   42
alone   Stopped   0       https://127.0.0.1:40001    /d/local/alone/kubeconfig   -          -              -              10.130.0.0/16   -
`,
		output.Name: "dev\nalone\n",
	} {
		var out bytes.Buffer
		o := &ListOptions{Factory: client.New(output.Streams{Out: &out}), Format: format}
		if err := o.print(clusters); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("-o %q (-want +got):\n%s", format, diff)
		}
	}
}

func TestNoClustersAreAnEmptyList(t *testing.T) {
	for format, want := range map[output.Format]struct{ out, err string }{
		output.JSON:  {out: "[]\n"},
		output.YAML:  {out: "[]\n"},
		output.Human: {err: "No local clusters in /d: `umbel local create NAME` makes one\n"},
	} {
		var out, errs bytes.Buffer
		o := &ListOptions{Factory: client.New(output.Streams{Out: &out, Err: &errs}), Format: format}
		o.Home = "/d"
		if err := o.print(nil); err != nil {
			t.Fatal(err)
		}
		if out.String() != want.out || errs.String() != want.err {
			t.Errorf("-o %q: got %q and %q, want %q and %q", format, out.String(), errs.String(), want.out, want.err)
		}
	}
}

func TestHubRegistries(t *testing.T) {
	for _, c := range []struct {
		reason  string
		content string // of hub/config.json; empty for no file
		want    []local.Registry
		err     string // part of it
	}{
		{"no hub yet", "", nil, ""},
		{"a hub, whose folder was moved since", `{"address": "10.200.0.1:7443", "caFile": "/d/ca.crt"}`, []local.Registry{{Host: "10.200.0.1:7443", CAFile: "hub/gateway-ca.crt"}}, ""},
		{"a hub that has no address yet", `{}`, nil, ""},
		{"damaged", `{`, nil, "config.json"},
	} {
		home := t.TempDir()
		if c.content != "" {
			if err := os.Mkdir(filepath.Join(home, "hub"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, "hub", "config.json"), []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.want {
			c.want[i].CAFile = filepath.Join(home, c.want[i].CAFile)
		}
		got, err := hubRegistries(home)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got error %v, want %q", c.reason, err, c.err)
		}
	}
}

func TestShowingPrintsALinePerStep(t *testing.T) {
	var out bytes.Buffer
	f := client.New(output.Streams{Err: &out})
	f.Now = func() time.Time { return time.Unix(0, 0) }
	broken := errors.New("broken")
	err := showing(f, "dev", func(progress local.Progress) error {
		progress("machine")(nil)
		progress("images")(broken)
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want what the step said", err)
	}
	for _, want := range []string{"✓ dev: machine", "✗ dev: images"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want a line %q", out.String(), want)
		}
	}
}

func execute(t *testing.T, cmd *cobra.Command, args ...string) error {
	t.Helper()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(t.Context())
}
