package main

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// seenObject is what an observer saw of a ConfigMap.
type seenObject struct {
	uid  string
	data map[string]string
}

// observer watches the ConfigMaps of a namespace and notes when what was waited for happened.
type observer struct {
	watching watch.Interface
	done     sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]expectation
	first   time.Time // of the first object that was added
	last    time.Time
	count   int
}

type expectation struct {
	met func(seenObject) bool
	at  chan time.Time
}

func observe(ctx context.Context, client kubernetes.Interface, namespace string) (*observer, error) {
	list, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	watching, err := client.CoreV1().ConfigMaps(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, err
	}
	o := &observer{watching: watching, waiting: map[string]expectation{}}
	o.done.Go(o.run)
	return o, nil
}

func (o *observer) run() {
	for event := range o.watching.ResultChan() {
		now := time.Now()
		cm, ok := event.Object.(*corev1.ConfigMap)
		if !ok || event.Type == watch.Deleted {
			continue
		}
		o.mu.Lock()
		if event.Type == watch.Added {
			if o.count == 0 {
				o.first = now
			}
			o.count, o.last = o.count+1, now
		}
		if e, waited := o.waiting[cm.Name]; waited && e.met(seenObject{string(cm.UID), cm.Data}) {
			e.at <- now
			delete(o.waiting, cm.Name)
		}
		o.mu.Unlock()
	}
}

// await returns a channel that gets the time at which the object first met the expectation.
func (o *observer) await(name string, met func(seenObject) bool) <-chan time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := make(chan time.Time, 1)
	o.waiting[name] = expectation{met, at}
	return at
}

// added says how many objects were added, and within which time.
func (o *observer) added() (int, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count, o.last.Sub(o.first)
}

func (o *observer) stop() {
	o.watching.Stop()
	o.done.Wait()
}
