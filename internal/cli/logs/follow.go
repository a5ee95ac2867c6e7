package logs

import (
	"context"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/cli/fleet"
)

const (
	// mostStreams is how many containers are followed at a time: each is a stream of the hub.
	mostStreams = 250
	// pause lies between two tries.
	pause = 2 * time.Second
)

// following is what goes on in all clusters.
type following struct {
	*Options
	to    *writer
	group sync.WaitGroup

	mu      sync.Mutex
	streams int
	full    bool // somebody was told that there are too many
}

// follow writes lines as they come until ctx ends, which is no failure.
func (o *Options) follow(ctx context.Context, members []fleet.Member, to *writer) error {
	f := &following{Options: o, to: to}
	for _, m := range members {
		f.group.Go(func() { f.cluster(ctx, m) })
	}
	f.group.Wait()
	return nil
}

// cluster follows one cluster, whatever becomes of it.
func (f *following) cluster(ctx context.Context, m fleet.Member) {
	said := ""
	one := &followed{following: f, member: m, at: map[string]*place{}}
	for first := true; ctx.Err() == nil; first = false {
		err := m.Gone
		if err == nil || !first { // it may be back
			err = one.follow(ctx)
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			f.Note("cluster %q: %s; it is tried again", m.Cluster, strings.ReplaceAll(said, "\n", "; "))
		}
		if err == nil {
			said = ""
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// followed is one cluster.
type followed struct {
	*following
	member fleet.Member

	mu sync.Mutex
	at map[string]*place // by pod and container
}

// place is where the log of a container is.
type place struct {
	open bool
	last time.Time // of the line that was written last
}

// follow lists the pods and watches them until the watch ends.
func (f *followed) follow(ctx context.Context) error {
	api, err := kubernetes.NewForConfig(f.member.Config)
	if err != nil {
		return err
	}
	in, err := f.target.options(ctx, api, f.Namespace)
	if err != nil {
		return err
	}
	list, err := f.target.pods(ctx, api, f.Namespace, in)
	if err != nil {
		return err
	}
	for i := range list.Items {
		f.open(ctx, api, &list.Items[i])
	}
	watch, err := api.CoreV1().Pods(f.Namespace).Watch(ctx, newest(in, list.ResourceVersion))
	if err != nil {
		return err
	}
	defer watch.Stop()
	again := time.NewTicker(pause) // for logs that ended, of containers that run
	defer again.Stop()
	known := map[string]*corev1.Pod{}
	for i := range list.Items {
		known[list.Items[i].Name] = &list.Items[i]
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-watch.ResultChan():
			if !open {
				return nil
			}
			pod, is := event.Object.(*corev1.Pod)
			if !is {
				return apierrors.FromObject(event.Object)
			}
			if event.Type == "DELETED" {
				delete(known, pod.Name)
				continue
			}
			known[pod.Name] = pod
			f.open(ctx, api, pod)
		case <-again.C:
			for _, pod := range known {
				f.open(ctx, api, pod)
			}
		}
	}
}

// open follows the containers of a pod that run and are not followed yet, from where they were followed to.
func (f *followed) open(ctx context.Context, api kubernetes.Interface, pod *corev1.Pod) {
	for _, c := range wanted(f.member.Cluster, pod, f.Container, f.Every) {
		key := c.uid + "/" + c.name
		f.mu.Lock()
		p := f.at[key]
		ended := p == nil && writes(pod, c.name) // one that does not run any more is read once
		if p != nil && p.open || !ended && !running(pod, c.name) || !f.take() {
			f.mu.Unlock()
			continue
		}
		bounds := f.bounds()
		if p == nil {
			p = &place{}
			f.at[key] = p
		} else if !p.last.IsZero() {
			bounds.TailLines, bounds.SinceSeconds, bounds.SinceTime = nil, nil, &metav1.Time{Time: p.last}
		}
		p.open = true
		f.mu.Unlock()
		bounds.Follow = true
		f.group.Go(func() {
			defer f.give()
			f.lines(ctx, api, c, p, bounds)
		})
	}
}

// lines writes the lines of a container, none twice. Why its log ends says nobody: the container did, or the cluster was lost, which is told of as such.
func (f *followed) lines(ctx context.Context, api kubernetes.Interface, c *container, p *place, bounds corev1.PodLogOptions) {
	err := f.stream(ctx, api, c, bounds, func(l line) error {
		f.mu.Lock()
		old := !l.at.IsZero() && !l.at.After(p.last) // since a time is since its second
		if !l.at.IsZero() && !old {
			p.last = l.at
		}
		f.mu.Unlock()
		if old {
			return nil
		}
		return f.to.write(&l)
	})
	if err != nil && ctx.Err() == nil && apierrors.IsForbidden(err) {
		f.Note("cluster %q: %v", c.cluster, err)
	}
	f.mu.Lock()
	p.open = false
	f.mu.Unlock()
}

// take takes one of the streams, unless there are none left, which it says once.
func (f *following) take() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams < mostStreams {
		f.streams++
		return true
	}
	if !f.full {
		f.full = true
		f.Note("more than %d containers are not followed at a time: name fewer clusters or pods", mostStreams)
	}
	return false
}

func (f *following) give() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams--
}
