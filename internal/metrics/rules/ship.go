package rules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// Shipped is the ConfigMap in the hub's own namespace that remembers which objects were shipped, and what they said: the SHA-256 of their spec by name.
const Shipped = "umbel-rules-shipped"

// step is what becomes of an object that is shipped.
type step int

const (
	leave  step = iota // somebody changed or deleted it, or it is as it should be
	create             // it has never been there
	update             // nobody changed it, and a later version says something else
	adopt              // it is there as it is shipped, and is not remembered: the hub ended in between
)

// next decides that from sums of its spec: as it is shipped, as it was shipped last, and as it is; empty where there is none.
func next(shipped, last, live string) step {
	switch {
	case last == "" && live == "":
		return create
	case last == "" && live == shipped:
		return adopt
	case last != "" && live == last && shipped != last:
		return update
	}
	return leave
}

// together is how often several replicas of a hub, which all ship, get out of each other's way.
var together = wait.Backoff{Duration: 50 * time.Millisecond, Jitter: 1, Steps: 50}

// Ship creates the objects in a file system that were never there, and updates those that nobody changed. It is idempotent.
func Ship(ctx context.Context, c client.Client, from fs.FS) error {
	return retry.OnError(together, func(err error) bool {
		return ctx.Err() == nil && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err))
	}, func() error { return shipAll(ctx, c, from) })
}

func shipAll(ctx context.Context, c client.Client, from fs.FS) error {
	memory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: Shipped}}
	err := c.Get(ctx, client.ObjectKeyFromObject(memory), memory)
	if apierrors.IsNotFound(err) {
		err = c.Create(ctx, memory)
	}
	if err != nil {
		return fmt.Errorf("reading which rules were shipped (configmap %s/%s): %w", v1alpha1.SystemNamespace, Shipped, err)
	}
	files, err := fs.Glob(from, "*/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		shipped, err := readShipped(from, file)
		if err != nil {
			return err
		}
		if err := ship(ctx, c, memory, shipped); err != nil {
			return fmt.Errorf("shipping prometheusrule %q: %w", shipped.GetName(), err)
		}
	}
	return nil
}

func readShipped(from fs.FS, file string) (*unstructured.Unstructured, error) {
	raw, err := fs.ReadFile(from, file)
	if err != nil {
		return nil, err
	}
	o := Object()
	if err := yaml.Unmarshal(raw, &o.Object); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path.Base(file), err)
	}
	o.SetNamespace(v1alpha1.SystemNamespace)
	return o, nil
}

func ship(ctx context.Context, c client.Client, memory *corev1.ConfigMap, shipped *unstructured.Unstructured) error {
	name, sum, live := shipped.GetName(), sumOf(shipped), ""
	there := Object()
	err := c.Get(ctx, client.ObjectKeyFromObject(shipped), there)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil {
		live = sumOf(there)
	}
	switch next(sum, memory.Data[name], live) {
	case leave:
		return nil
	case create:
		err = c.Create(ctx, shipped)
		if apierrors.IsAlreadyExists(err) {
			return nil // somebody else made one just now
		}
	case update:
		there.Object["spec"] = shipped.Object["spec"]
		err = c.Update(ctx, there)
	}
	if err != nil {
		return err
	}
	if memory.Data == nil {
		memory.Data = map[string]string{}
	}
	memory.Data[name] = sum
	return c.Update(ctx, memory)
}

// sumOf is the SHA-256 of a spec.
func sumOf(o *unstructured.Unstructured) string {
	raw, err := json.Marshal(o.Object["spec"])
	if err != nil {
		return "" // what came from JSON or YAML can be written as JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
