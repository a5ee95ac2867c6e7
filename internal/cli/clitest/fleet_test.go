package clitest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/audit"
	"umbel.dev/umbel/internal/cli/ca"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/cli/consent"
	"umbel.dev/umbel/internal/cli/deletes"
	"umbel.dev/umbel/internal/cli/describe"
	"umbel.dev/umbel/internal/cli/drift"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/explain"
	"umbel.dev/umbel/internal/cli/get"
	"umbel.dev/umbel/internal/cli/kubeconfig"
	"umbel.dev/umbel/internal/cli/kubectl"
	"umbel.dev/umbel/internal/cli/label"
	"umbel.dev/umbel/internal/cli/leave"
	"umbel.dev/umbel/internal/cli/level"
	"umbel.dev/umbel/internal/cli/logs"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/provider"
	"umbel.dev/umbel/internal/cli/refresh"
	"umbel.dev/umbel/internal/cli/rollout"
	"umbel.dev/umbel/internal/cli/scope"
	"umbel.dev/umbel/internal/cli/secrets"
	"umbel.dev/umbel/internal/cli/status"
	"umbel.dev/umbel/internal/cli/taint"
	"umbel.dev/umbel/internal/cli/token"
	"umbel.dev/umbel/internal/cli/upgrade"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestMain is umbel too, for what the tests' commands start of it: a process that renders.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == program {
		if err := render.Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := beUmbel(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(kubetest.Main(m))
}

// program is what commands look for beside themselves.
const program = "umbel"

// beUmbel puts the program of the tests beside itself as umbel. Its folder is deleted with it.
func beUmbel() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Link(own, filepath.Join(filepath.Dir(own), program)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// fleet is a hub's API with the objects of package clitest in it, looked at a quarter of an hour after they were made.
type fleet struct {
	api        kube.WithWatch
	kubeconfig string
	now        time.Time
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	f := &fleet{kubeconfig: kubetest.Kubeconfig(t, config), now: time.Now().Add(15*time.Minute + 30*time.Second).Truncate(time.Second)}
	hub, err := f.factory(io.Discard, io.Discard).Connect()
	if err != nil {
		t.Fatal(err)
	}
	f.api = hub.WithWatch
	for _, namespace := range []string{v1alpha1.SystemNamespace, "team-a"} {
		err := f.api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		if err != nil && !apierrors.IsAlreadyExists(err) { // namespaces stay: nothing runs that would empty them
			t.Fatal(err)
		}
	}
	for _, cluster := range clitest.Clusters() {
		if seen := cluster.Status.LastSeen; seen != nil {
			cluster.Status.LastSeen = &metav1.Time{Time: f.now.Add(-4 * time.Minute)}
		}
		f.create(t, &cluster)
	}
	for _, object := range []kube.Object{clitest.Shop(), clitest.Broken(), clitest.Shops(), clitest.ShopRelease()} {
		f.create(t, object)
	}
	f.create(t, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}})
	f.heard(t, 2*time.Second)
	return f
}

// create makes an object with its status, and removes it after the test.
func (f *fleet) create(t *testing.T, object kube.Object) {
	t.Helper()
	status := object.DeepCopyObject().(kube.Object)
	if err := f.api.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
	t.Cleanup(func() {
		_ = f.api.Delete(context.WithoutCancel(t.Context()), object) // a test may have deleted it itself
	})
	switch object.(type) {
	case *v1alpha1.MemberCluster, *v1alpha1.Package, *v1alpha1.Placement, *v1alpha1.Rollout, *corev1.Node:
		status.SetResourceVersion(object.GetResourceVersion())
		if err := f.api.Status().Update(t.Context(), status); err != nil {
			t.Fatalf("writing the status of %T %s: %v", object, object.GetName(), err)
		}
	}
}

// heard has the hub heard of that long ago.
func (f *fleet) heard(t *testing.T, ago time.Duration) {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}, lease); err != nil {
		t.Fatal(err)
	}
	renewed, lasts := metav1.NewMicroTime(f.now.Add(-ago)), int32(15)
	lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &renewed, &lasts
	if err := f.api.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) factory(out, err io.Writer) *client.Factory {
	factory := client.New(output.Streams{In: strings.NewReader("some input"), Out: out, Err: err})
	factory.Kubeconfig = f.kubeconfig
	factory.Now = func() time.Time { return f.now }
	return factory
}

// said is what a command wrote and how it ended.
type said struct {
	Out, Err string
	Code     int
}

// run runs a command line, as main does.
func (f *fleet) run(ctx context.Context, args ...string) said {
	var out, errs bytes.Buffer
	err := f.root(&out, &errs, args...).ExecuteContext(ctx)
	if err != nil && !exit.Silent(err) {
		errs.WriteString("error: " + err.Error() + "\n")
	}
	return said{Out: out.String(), Err: errs.String(), Code: exit.Code(err)}
}

func (f *fleet) root(out, errs io.Writer, args ...string) *cobra.Command {
	factory := f.factory(out, errs)
	root := &cobra.Command{Use: "umbel", SilenceErrors: true, SilenceUsage: true}
	root.SetFlagErrorFunc(exit.Flags)
	root.SetOut(out)
	root.SetErr(errs)
	factory.AddFlags(root.PersistentFlags())
	root.AddCommand(scope.NewCmd(factory), get.NewCmd(factory), describe.NewCmd(factory), label.NewCmd(factory), token.NewCmd(factory), refresh.NewCmd(factory), kubectl.NewCmd(factory), kubeconfig.NewCmd(factory), leave.NewCmd(factory))
	root.AddCommand(consent.NewCmds(factory, deletes.NewApproveCmd(factory))...)
	root.AddCommand(deletes.NewUndoCmd(factory))
	root.AddCommand(taint.NewCmd(factory), level.NewCmd(factory), explain.NewCmd(factory), plan.NewCmd(factory))
	root.AddCommand(drift.NewCmd(factory), ca.NewCmd(factory), audit.NewCmd(factory), upgrade.NewCmd(factory), rollout.NewCmd(factory), secrets.NewCmd(factory), provider.NewCmd(factory), status.NewCmd(factory), logs.NewCmd(factory))
	root.SetArgs(args)
	return root
}

// follow runs a command and returns its lines as they come, those of standard error after "! ".
func (f *fleet) follow(ctx context.Context, args ...string) (<-chan string, <-chan error) {
	lines, done := make(chan string), make(chan error, 1)
	write := func(prefix string) io.Writer {
		return writer(func(text []byte) {
			for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
				select {
				case lines <- prefix + scanner.Text():
				case <-ctx.Done():
				}
			}
		})
	}
	go func() { done <- f.root(write(""), write("! "), args...).ExecuteContext(ctx) }()
	return lines, done
}

type writer func([]byte)

func (w writer) Write(text []byte) (int, error) {
	w(text)
	return len(text), nil
}

func read(t *testing.T, from said, into any) {
	t.Helper()
	if from.Code != 0 {
		t.Fatalf("got code %d: %s", from.Code, from.Err)
	}
	if err := json.Unmarshal([]byte(from.Out), into); err != nil {
		t.Fatalf("%v in:\n%s", err, from.Out)
	}
}
