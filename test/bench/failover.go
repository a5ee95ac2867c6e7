package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/tunnel/balancertest"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	// goalFailover is how many ms may pass, at worst, between the death of a replica and an answer of its members by another one.
	goalFailover = 2000
	// deaths is how many replicas are killed.
	deaths = 12
)

// failover is a hub of three replicas, as processes behind a load balancer, on a Kubernetes that is its own member.
type failover struct {
	fleet    *rig.Fleet
	balancer *balancertest.Balancer
	registry string
	base     *rest.Config
	api      kube.Client
	replicas [3]*replicaProcess
}

type replicaProcess struct {
	name, address string
	cmd           *exec.Cmd
}

// measureFailover kills the replica that has the member, again and again, and takes the time until the member answers
// through another one.
func measureFailover(ctx context.Context, fleet *rig.Fleet, r *report.Report) (err error) {
	f := &failover{fleet: fleet}
	defer func() { err = errors.Join(err, f.end()) }()
	if err := f.start(ctx); err != nil {
		return err
	}
	var agents, people []time.Duration
	for range deaths {
		back, answers, err := f.death(ctx)
		if err != nil {
			return err
		}
		agents, people = append(agents, back), append(people, answers)
	}
	r.Lower("a replica is killed: its member answers through another one, p50", report.Percentile(people, 0.5), "ms", 0)
	r.Lower("… worst", report.Percentile(people, 1), "ms", goalFailover)
	r.Lower("… the MemberCluster says where it is now, worst", report.Percentile(agents, 1), "ms", 0)
	return f.measureCrowd(ctx, r)
}

func (f *failover) start(ctx context.Context) (err error) {
	if _, err := f.fleet.Umbel(ctx, "local", "create", "failover", "--nodes", "0"); err != nil {
		return err
	}
	kubeconfig := filepath.Join(f.fleet.Home, "local", "failover", "kubeconfig")
	if f.base, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	if f.balancer, err = balancertest.New(); err != nil {
		return err
	}
	if f.registry, err = f.serveRegistry(ctx); err != nil {
		return err
	}
	for i := range f.replicas {
		if f.replicas[i], err = f.newReplica(fmt.Sprintf("hub-%d", i)); err != nil {
			return err
		}
		f.balancer.Add(f.replicas[i].address)
		if err := f.run(f.replicas[i], kubeconfig); err != nil {
			return err
		}
	}
	for _, replica := range f.replicas {
		if err := f.ready(ctx, replica); err != nil {
			return err
		}
	}
	if err := os.Setenv("UMBEL_KUBECONFIG", kubeconfig); err != nil {
		return err
	}
	_, err = f.fleet.Umbel(ctx, "join", "failover", "--kubeconfig", kubeconfig, "--agent", "process",
		"--agent-dir", filepath.Join(f.fleet.Home, "local", "failover", "agent"), "--timeout", "2m")
	return errors.Join(err, os.Unsetenv("UMBEL_KUBECONFIG"))
}

// serveRegistry serves the registry that the replicas share, until ctx ends.
func (f *failover) serveRegistry(ctx context.Context) (string, error) {
	registry, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(f.fleet.Home, "registry"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: registry}
	context.AfterFunc(ctx, func() { _ = errors.Join(server.Close(), registry.Close()) })
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

func (f *failover) newReplica(name string) (*replicaProcess, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }()
	return &replicaProcess{name: name, address: listener.Addr().String()}, nil
}

func (f *failover) run(replica *replicaProcess, kubeconfig string) error {
	_, port, err := net.SplitHostPort(replica.address)
	if err != nil {
		return err
	}
	replica.cmd = exec.Command(rig.Binary("umbel"), "hub", "--home", filepath.Join(f.fleet.Home, replica.name), "--kubeconfig", kubeconfig,
		"--port", port, "--advertise", f.balancer.Address(), "--registry", f.registry, "--replica", replica.name, "--replica-address", replica.address)
	log, err := os.Create(filepath.Join(f.fleet.Home, replica.name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	replica.cmd.Stderr = log
	return replica.cmd.Start()
}

func (f *failover) ready(ctx context.Context, replica *replicaProcess) error {
	config := rest.AnonymousClientConfig(f.base)
	config.CAData, config.CAFile, config.Insecure, config.Host = nil, "", true, "https://"+replica.address
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// through returns a client of the member by way of a replica, as the administrator of the hub's API.
func (f *failover) through(replica *replicaProcess) (*kubernetes.Clientset, error) {
	config := rest.CopyConfig(f.base)
	config.CAData, config.CAFile, config.Insecure = nil, "", true
	config.Host, config.QPS, config.Timeout = "https://"+replica.address+"/clusters/failover", -1, 5*time.Second
	return kubernetes.NewForConfig(config)
}

// session returns which replica has the member.
func (f *failover) session(ctx context.Context) (string, error) {
	if f.api == nil {
		scheme := runtime.NewScheme()
		if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
			return "", err
		}
		api, err := kube.New(f.base, kube.Options{Scheme: scheme})
		if err != nil {
			return "", err
		}
		f.api = api
	}
	var member v1alpha1.MemberCluster
	if err := f.api.Get(ctx, kube.ObjectKey{Name: "failover"}, &member); err != nil {
		return "", err
	}
	if member.Status.Session == nil {
		return "", errors.New("the member is in session with no replica")
	}
	return member.Status.Session.Replica, nil
}

// death kills the replica that has the member, starts it again, and returns how long it took until the status named
// another one, and until the member answered through one that was alive.
func (f *failover) death(ctx context.Context) (back, answers time.Duration, err error) {
	has, err := f.session(ctx)
	if err != nil {
		return 0, 0, err
	}
	var victim, other *replicaProcess
	for _, replica := range f.replicas {
		if replica.name == has {
			victim = replica
		} else {
			other = replica
		}
	}
	client, err := f.through(other)
	if err != nil {
		return 0, 0, err
	}
	get := func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	if err := rig.Eventually(ctx, time.Minute, get); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := victim.cmd.Process.Kill(); err != nil {
		return 0, 0, err
	}
	if err := rig.Eventually(ctx, time.Minute, get); err != nil {
		return 0, 0, fmt.Errorf("after the death of %s: %w", victim.name, err)
	}
	answers = time.Since(start)
	err = rig.Eventually(ctx, time.Minute, func(ctx context.Context) error {
		if now, err := f.session(ctx); err != nil || now == has {
			return fmt.Errorf("the status names %s, %w", now, err)
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	back = time.Since(start)
	_ = victim.cmd.Wait()
	if err := f.run(victim, filepath.Join(f.fleet.Home, "local", "failover", "kubeconfig")); err != nil {
		return 0, 0, err
	}
	return back, answers, f.ready(ctx, victim)
}

// end ends the replicas.
func (f *failover) end() error {
	for _, replica := range f.replicas {
		if replica != nil && replica.cmd != nil && replica.cmd.Process != nil {
			_ = replica.cmd.Process.Kill()
			_ = replica.cmd.Wait()
		}
	}
	if f.balancer == nil {
		return nil
	}
	return f.balancer.Close()
}
