package self

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// stable is a member whose agent is a pod. There is a real API server, and nobody who runs pods: the test says how they fare.
type stable struct {
	*testing.T
	Pod
}

const oldImage, newImage = "hub:7443/umbel/agent:a", "hub:7443/umbel/agent:b"

func newStable(t *testing.T) *stable {
	client, err := kubernetes.NewForConfig(kubetest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &stable{t, Pod{Client: client, Name: "umbel-agent-1"}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	_, err = client.CoreV1().ServiceAccounts(v1alpha1.AgentNamespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "umbel-agent"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	name := map[string]string{"app.kubernetes.io/name": "umbel-agent"}
	pod := corev1.PodSpec{
		ServiceAccountName: "umbel-agent",
		Containers: []corev1.Container{{
			Name: "agent", Image: oldImage, Args: []string{"--dir=/var/lib/umbel-agent"},
			VolumeMounts: []corev1.VolumeMount{{Name: "state", MountPath: "/var/lib/umbel-agent"}},
		}},
		Volumes: []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/umbel-agent"}}}},
	}
	_, err = client.AppsV1().Deployments(v1alpha1.AgentNamespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: deployment},
		Spec: appsv1.DeploymentSpec{
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: name},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: name}, Spec: pod},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, now := context.Background(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
		client.AppsV1().Deployments(v1alpha1.AgentNamespace).Delete(ctx, deployment, now)
		client.CoreV1().Pods(v1alpha1.AgentNamespace).DeleteCollection(ctx, now, metav1.ListOptions{})
		background := metav1.DeletePropagationBackground
		now.PropagationPolicy = &background
		client.BatchV1().Jobs(v1alpha1.AgentNamespace).DeleteCollection(ctx, now, metav1.ListOptions{})
	})
	pod.NodeName = "node-1"
	s.run("umbel-agent-1", pod)
	return s
}

// run makes a pod of the agent.
func (s *stable) run(name string, spec corev1.PodSpec) {
	s.Helper()
	_, err := s.Client.CoreV1().Pods(v1alpha1.AgentNamespace).Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": "umbel-agent"}}, Spec: spec,
	}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
}

// fares says how a pod fares, once it is there.
func (s *stable) fares(name string, status corev1.PodStatus) {
	s.Helper()
	s.eventually(name+" is there", func() error {
		pod, err := s.Client.CoreV1().Pods(v1alpha1.AgentNamespace).Get(s.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Status = status
		_, err = s.Client.CoreV1().Pods(v1alpha1.AgentNamespace).UpdateStatus(s.Context(), pod, metav1.UpdateOptions{})
		return err
	})
}

func (s *stable) eventually(what string, check func() error) {
	s.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("did not happen: %s: %v", what, err)
		}
	}
}

// is waits until the Deployment has an image and its record a phase.
func (s *stable) is(image string, phase Phase) Record {
	s.Helper()
	var record Record
	s.eventually(fmt.Sprintf("%s, %s", image, phase), func() error {
		d, r, err := s.load(s.Context())
		if err != nil {
			return err
		}
		record = r
		if got := d.Spec.Template.Spec.Containers[0].Image; got != image || r.Phase != phase {
			return fmt.Errorf("it is %s, %s", got, r.Phase)
		}
		return nil
	})
	return record
}

func running(restarts int32, last *corev1.ContainerStateTerminated) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", RestartCount: restarts, LastTerminationState: corev1.ContainerState{Terminated: last},
	}}}
}

func ended(code int32, words string) corev1.PodStatus {
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodFailed
	}
	return corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: words, Reason: "Error"}},
	}}}
}

// agent runs an upgrader of a build in the pod.
func (s *stable) agent(build string) (*Upgrader, func()) {
	u := New(Config{Host: s.Pod, Build: build, Patience: time.Minute, Now: time.Now, Log: slog.New(slog.NewTextHandler(s.Output(), nil))})
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	return u, func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("the upgrader ended: %v", err)
		}
	}
}

// guard runs what the guard's Job runs, until it is over or stopped; after it is over stop returns at once.
func (s *stable) guard(now func() time.Time) (over <-chan error, kill func()) {
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- s.RunGuard(ctx, now, slog.New(slog.NewTextHandler(s.Output(), nil))) }()
	return done, cancel
}

func (s *stable) jobs() int {
	s.Helper()
	jobs, err := s.Client.BatchV1().Jobs(v1alpha1.AgentNamespace).List(s.Context(), metav1.ListOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return len(jobs.Items)
}

// rehearsed has an upgrade come to where a guard has the next word.
func (s *stable) rehearsed() {
	s.Helper()
	u, kill := s.agent(buildA)
	u.Order(&wire.Upgrade{Build: buildB, Image: newImage})
	s.is(oldImage, Rehearsing)
	s.fares(rehearsalPod, ended(0, ""))
	s.is(oldImage, Armed)
	s.eventually("there is a guard", func() error {
		if s.jobs() != 1 {
			return errors.New("there is none")
		}
		return nil
	})
	kill()
}

func TestAPodIsUpgraded(t *testing.T) {
	s := newStable(t)
	s.rehearsed()
	over, kill := s.guard(time.Now)
	s.is(newImage, Switched)
	kill() // at any instant: its Job runs it again
	<-over
	over, _ = s.guard(time.Now)
	u, stop := s.agent(buildB)
	u.Order(&wire.Upgrade{Build: buildB, Image: newImage})
	u.Prove()
	record := s.is(newImage, Done)
	if err := <-over; err != nil {
		t.Error(err)
	}
	want := Record{Build: buildB, Image: newImage, Phase: Done, From: buildA, FromImage: oldImage, Installed: buildA, Deadline: record.Deadline}
	if diff := cmp.Diff(want, record); diff != "" {
		t.Error(diff)
	}
	s.eventually("it says so", func() error {
		if got := u.State().GetPhase(); got != wire.UpgradeState_DONE {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
	stop()
}

// What the pod of a rehearsal must not be: another agent, one that writes, one on another node, or one that outlives the agent.
func TestTheRehearsalsPod(t *testing.T) {
	s := newStable(t)
	d, _, err := s.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pod := rehearsal(d, Record{Image: newImage}, "node-1")
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	if selector.Matches(labels.Set(pod.Labels)) || !c.VolumeMounts[0].ReadOnly || pod.Spec.NodeName != "node-1" ||
		pod.OwnerReferences[0].UID != d.UID || c.Image != newImage || c.Args[len(c.Args)-1] != RehearseFlag {
		t.Errorf("the pod is %+v", pod)
	}
	job := guardJob(d, Record{Build: buildB, FromImage: oldImage}, "node-1")
	if selector.Matches(labels.Set(job.Spec.Template.Labels)) || job.Spec.Template.Spec.Containers[0].Image != oldImage {
		t.Errorf("the guard is %+v", job.Spec.Template)
	}
}

func TestARehearsalFails(t *testing.T) {
	waits := corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}},
	}}}
	for _, c := range []struct {
		reason string
		status corev1.PodStatus
		words  string
	}{
		{"it ends", ended(3, "this agent is broken"), "this agent is broken"},
		{"its image cannot be pulled", waits, "ErrImagePull not found"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newStable(t)
			u, stop := s.agent(buildA)
			order := &wire.Upgrade{Build: buildB, Image: newImage}
			u.Order(order)
			s.is(oldImage, Rehearsing)
			s.fares(rehearsalPod, c.status)
			s.eventually("it failed", func() error {
				if got := u.State(); got.GetPhase() != wire.UpgradeState_FAILED || !strings.Contains(got.GetMessage(), c.words) {
					return fmt.Errorf("it says %s", got)
				}
				return nil
			})
			s.is(oldImage, Failed)
			if s.jobs() != 0 {
				t.Error("there is a guard")
			}
			_, err := s.Client.CoreV1().Pods(v1alpha1.AgentNamespace).Get(t.Context(), rehearsalPod, metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("the rehearsal's pod is there: %v", err)
			}
			stop()

			u, stop = s.agent(buildA) // its next life
			u.Order(order)
			s.eventually("it says so again", func() error {
				if u.State().GetPhase() != wire.UpgradeState_FAILED {
					return fmt.Errorf("it says %s", u.State())
				}
				return nil
			})
			stop()
		})
	}
}

func TestAPodIsRolledBack(t *testing.T) {
	later := func() time.Time { return time.Now().Add(2 * PodPatience) }
	for _, c := range []struct {
		reason string
		status corev1.PodStatus
		now    func() time.Time
		words  string
	}{
		{"it ends again and again", running(3, &corev1.ContainerStateTerminated{ExitCode: 3, Message: "panic"}), time.Now, "panic"},
		{"it hangs", running(0, nil), later, "not in session in time"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newStable(t)
			s.rehearsed()
			over, kill := s.guard(time.Now)
			s.is(newImage, Switched)
			kill()
			<-over
			d, _, err := s.load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.run("umbel-agent-2", d.Spec.Template.Spec)
			s.fares("umbel-agent-2", c.status)
			over, _ = s.guard(c.now)
			record := s.is(oldImage, RolledBack)
			if err := <-over; err != nil || !strings.Contains(record.Message, c.words) {
				t.Errorf("%v: %+v", err, record)
			}
			late, stop := s.agent(buildB) // the new agent, which wakes too late
			late.Prove()
			stop()
			s.is(oldImage, RolledBack)

			u, stop := s.agent(buildA)
			u.Order(&wire.Upgrade{Build: buildB, Image: newImage})
			s.eventually("the agent from before says so", func() error {
				if got := u.State(); got.GetPhase() != wire.UpgradeState_ROLLED_BACK || !strings.Contains(got.GetMessage(), c.words) {
					return fmt.Errorf("it says %s", got)
				}
				return nil
			})
			stop()
		})
	}
}

// That the new agent proved itself and that its guard gave up cannot both be.
func TestOneWins(t *testing.T) {
	s := newStable(t)
	s.rehearsed()
	over, kill := s.guard(time.Now)
	record := s.is(newImage, Switched)
	kill()
	<-over
	d, _, err := s.load(t.Context()) // the guard has looked, and is about to write
	if err != nil {
		t.Fatal(err)
	}
	next := record
	next.Phase = Done
	if err := s.Save(t.Context(), record, next); err != nil {
		t.Fatal(err)
	}
	back := record
	back.Phase = RolledBack
	d.Spec.Template.Spec.Containers[0].Image = oldImage
	if err := s.write(t.Context(), d, back); !errors.Is(err, ErrChanged) {
		t.Errorf("the guard wrote over it: %v", err)
	}
	if err := s.Save(t.Context(), record, back); !errors.Is(err, ErrChanged) {
		t.Errorf("so did a record: %v", err)
	}
	s.is(newImage, Done)
}

// A person who changes the image meanwhile is right.
func TestAPersonIsRight(t *testing.T) {
	s := newStable(t)
	s.rehearsed()
	d, _, err := s.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Template.Spec.Containers[0].Image = "registry.example.com/agent:mine"
	if _, err := s.Client.AppsV1().Deployments(v1alpha1.AgentNamespace).Update(t.Context(), d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	over, _ := s.guard(time.Now)
	if err := <-over; err != nil {
		t.Error(err)
	}
	s.is("registry.example.com/agent:mine", Failed)
}
