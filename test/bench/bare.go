package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// parallel is how many requests the bare program has under way, as many as the agent.
const parallel = 16

// payload makes objects of about 640 bytes, as in the figures of others.
var payload = strings.Repeat("x", 430)

func manifest(namespace, name string) []byte {
	raw, _ := json.Marshal(map[string]any{ // strings alone, so it cannot fail
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"data":     map[string]string{"payload": payload, "v": "1"},
	})
	return raw
}

func objectName(i int) string { return fmt.Sprintf("object-%05d", i) }

// bare is the limit: a program of a few lines, which knows its objects and nothing else.
type bare struct {
	client    kubernetes.Interface
	namespace string
}

func (b bare) apply(ctx context.Context, name string) error {
	force := true
	_, err := b.client.CoreV1().ConfigMaps(b.namespace).Patch(ctx, name, types.ApplyPatchType, manifest(b.namespace, name),
		metav1.PatchOptions{FieldManager: "bare", Force: &force})
	return err
}

// applyAll applies n objects, 16 at once, and returns the rate per second.
func (b bare) applyAll(ctx context.Context, n int) (float64, error) {
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range n {
		group.Go(func() error { return b.apply(ctx, objectName(i)) })
	}
	err := group.Wait()
	return float64(n) / time.Since(start).Seconds(), err
}

// loop watches and re-applies what is deleted or changed, until the context ends.
func (b bare) loop(ctx context.Context) (wait func(), err error) {
	list, err := b.client.CoreV1().ConfigMaps(b.namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	watching, err := b.client.CoreV1().ConfigMaps(b.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, err
	}
	var running sync.WaitGroup
	running.Go(func() {
		var group errgroup.Group
		group.SetLimit(parallel)
		for event := range watching.ResultChan() {
			cm, ok := event.Object.(*corev1.ConfigMap)
			if !ok || !strings.HasPrefix(cm.Name, "object-") {
				continue
			}
			if event.Type == watch.Deleted || event.Type == watch.Modified && cm.Data["v"] != "1" {
				group.Go(func() error { return b.apply(ctx, cm.Name) })
			}
		}
		_ = group.Wait() // an error shows as an object that never comes back
	})
	return func() { watching.Stop(); running.Wait() }, nil
}

func (b bare) create(ctx context.Context) error {
	_, err := b.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
	return err
}
