package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	// logBytes is how much the pod has logged: less than what has a log rotated. It is read logReads times in a row.
	// listBytes is how much a list of ConfigMaps takes, and copyBytes how much is copied.
	logBytes  = 8 << 20
	logReads  = 6
	listBytes = 32 << 20
	copyBytes = 192 << 20
	// bulkRounds is how often each is measured over each way.
	bulkRounds = 5
)

// transfer moves many bytes over a way and says how many.
type transfer struct {
	name    string
	bytes   int
	kubectl bool // does it
	move    func(ctx context.Context, w way) (int64, error)
}

// bulk measures how fast many bytes come, and how small requests fare meanwhile.
func (s *reach) bulk(ctx context.Context, r *report.Report) error {
	if err := errors.Join(s.makeSpeaker(ctx), s.makeList(ctx)); err != nil {
		return err
	}
	for _, t := range []transfer{
		{"logs", logReads * logBytes, false, s.logs}, {"list", listBytes, false, s.list},
		{"cp from a pod", copyBytes, true, s.copyFrom}, {"cp into a pod", copyBytes, true, s.copyTo},
	} {
		if err := s.compare(ctx, r, t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return s.besideBulk(ctx, r)
}

// compare measures a transfer over the ways in turn: rates, and the median of the ratios of neighbours. kubectl does not take the way over
// relays.
func (s *reach) compare(ctx context.Context, r *report.Report, t transfer) error {
	var direct, through, ratios, relayed, ofRelayed, spent []float64
	for i := range bulkRounds + 1 {
		d, err := rate(ctx, s.direct, t)
		if err != nil {
			return err
		}
		before, err := s.processor()
		if err != nil {
			return err
		}
		h, err := rate(ctx, s.hub, t)
		if err != nil {
			return err
		}
		after, err := s.processor()
		if err != nil {
			return err
		}
		b := d
		if !t.kubectl {
			if b, err = rate(ctx, s.relays, t); err != nil {
				return err
			}
		}
		if i == 0 {
			continue // caches get warm
		}
		direct, through, ratios = append(direct, d), append(through, h), append(ratios, h/d)
		relayed, ofRelayed, spent = append(relayed, b/d), append(ofRelayed, h/b), append(spent, after-before)
	}
	r.Higher(t.name+" direct", median(direct), "MB/s", 0)
	r.Higher(t.name+" through the hub", median(through), "MB/s", 0)
	r.Higher(t.name+" through the hub against direct", median(ratios), "ratio", goalThroughput)
	r.Lower(t.name+", processor time of hub and agent for 64 MiB", median(spent)*1000*(64<<20)/float64(t.bytes), "ms", 0)
	if !t.kubectl {
		r.Higher(t.name+" over two bare relays against direct", median(relayed), "ratio", 0)
		r.Higher(t.name+" through the hub against two bare relays", median(ofRelayed), "ratio", 0)
	}
	return nil
}

// processor returns how many seconds of a processor hub and agent have had.
func (s *reach) processor() (float64, error) {
	hub, err := rig.CPUOf(s.hubPID)
	if err != nil {
		return 0, err
	}
	agent, err := rig.CPUOf(s.agentPID)
	return hub + agent, err
}

func rate(ctx context.Context, w way, t transfer) (float64, error) {
	start := time.Now()
	n, err := t.move(ctx, w)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", w.name, err)
	}
	return float64(n) / 1e6 / time.Since(start).Seconds(), nil
}

// makeSpeaker starts a pod that has logged a lot before it runs. It has a shell and a few programs of this machine.
func (s *reach) makeSpeaker(ctx context.Context) error {
	container := corev1.Container{
		Name: "speaker", Image: "registry.umbel.dev/coredns:v1", ImagePullPolicy: corev1.PullNever,
		Command: []string{"/usr/bin/sleep", "36000"},
		Env:     []corev1.EnvVar{{Name: "PATH", Value: "/usr/bin"}},
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "speaker"}}
	for _, dir := range []string{"/usr", "/lib", "/lib64"} {
		name := "host" + strings.ReplaceAll(dir, "/", "-")
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}},
		})
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
	}
	first := *container.DeepCopy()
	first.Name = "talker"
	first.Command = []string{"/usr/bin/bash", "-c", fmt.Sprintf("yes '%s' | head -c %d", strings.Repeat("a line of a log ", 32), logBytes)}
	pod.Spec.InitContainers, pod.Spec.Containers = []corev1.Container{first}, []corev1.Container{container}
	pods := s.direct.client.CoreV1().Pods(s.namespace)
	err := rig.Eventually(ctx, time.Minute, func(ctx context.Context) error { // its ServiceAccount comes after the Namespace
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 3*time.Minute, func(ctx context.Context) error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("the pod is %s", now.Status.Phase)
		}
		return err
	})
}

// makeList makes ConfigMaps that take many bytes together.
func (s *reach) makeList(ctx context.Context) error {
	const each = 64 << 10
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range listBytes / each {
		group.Go(func() error {
			object := &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("large-%d", i), Labels: map[string]string{"size": "large"}},
				Data:       map[string]string{"text": strings.Repeat(fmt.Sprintf("%08d", i), each/8)},
			}
			_, err := s.direct.client.CoreV1().ConfigMaps(s.namespace).Create(ctx, object, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

func (s *reach) logs(ctx context.Context, w way) (int64, error) {
	var sum int64
	for range logReads {
		n, err := s.log(ctx, w)
		sum += n
		if err == nil && n != logBytes {
			err = fmt.Errorf("the log has %d bytes, not %d", n, logBytes)
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (s *reach) log(ctx context.Context, w way) (int64, error) {
	stream, err := w.client.CoreV1().Pods(s.namespace).GetLogs("speaker", &corev1.PodLogOptions{Container: "talker"}).Stream(ctx)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	return io.Copy(io.Discard, stream)
}

// list asks for the bytes as they are: compressed, they would be few.
func (s *reach) list(ctx context.Context, w way) (int64, error) {
	stream, err := w.client.CoreV1().RESTClient().Get().Namespace(s.namespace).Resource("configmaps").
		Param("labelSelector", "size=large").SetHeader("Accept-Encoding", "identity").Stream(ctx)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	return io.Copy(io.Discard, stream)
}

func (s *reach) copyFrom(ctx context.Context, w way) (int64, error) {
	var out counter
	err := s.exec(ctx, w, nil, &out, "head", "-c", fmt.Sprint(copyBytes), "/dev/zero")
	return int64(out), err
}

func (s *reach) copyTo(ctx context.Context, w way) (int64, error) {
	var out strings.Builder
	err := s.exec(ctx, w, io.LimitReader(zeros{}, copyBytes), &out, "wc", "-c")
	if err == nil && strings.TrimSpace(out.String()) != fmt.Sprint(copyBytes) {
		err = fmt.Errorf("the pod got %q bytes of %d", out.String(), copyBytes)
	}
	return copyBytes, err
}

// exec runs a program in the pod by kubectl, which does for cp what it does for exec.
func (s *reach) exec(ctx context.Context, w way, in io.Reader, out io.Writer, command ...string) error {
	args := []string{"kubectl", "--kubeconfig", w.kubeconfig, "--context", w.context, "-n", s.namespace, "exec", "speaker"}
	if in != nil {
		args = append(args, "-i")
	}
	kubectl := exec.CommandContext(ctx, rig.Binary("umbel-kube"), append(append(args, "--"), command...)...)
	var said strings.Builder
	kubectl.Stdin, kubectl.Stdout, kubectl.Stderr = in, out, &said
	if err := kubectl.Run(); err != nil {
		return fmt.Errorf("kubectl exec: %w: %s", err, said.String())
	}
	return nil
}

// besideBulk measures small requests while a pod is copied from, over the same way.
func (s *reach) besideBulk(ctx context.Context, r *report.Report) error {
	for _, w := range []way{s.direct, s.hub} {
		flowing, stop := context.WithCancel(ctx)
		var bulk errgroup.Group
		bulk.Go(func() error {
			for flowing.Err() == nil {
				if _, err := s.copyFrom(flowing, w); err != nil && flowing.Err() == nil {
					return err
				}
			}
			return nil
		})
		var times []time.Duration
		err := func() error {
			defer stop()
			for range 500 {
				start := time.Now()
				if _, err := w.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, "small", metav1.GetOptions{}); err != nil {
					return err
				}
				times = append(times, time.Since(start))
			}
			return nil
		}()
		if err := errors.Join(err, bulk.Wait()); err != nil {
			return err
		}
		r.Lower("small GET beside a cp, both "+w.name+", p50", report.Percentile(times, 0.5), "ms", 0)
		r.Lower("small GET beside a cp, both "+w.name+", p99", report.Percentile(times, 0.99), "ms", 0)
	}
	return nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// zeros has as many zeros as anybody reads.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
