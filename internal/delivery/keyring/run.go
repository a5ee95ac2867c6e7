package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel"
)

const namespace = v1alpha1.AgentNamespace

// requestTimeout bounds one write.
const requestTimeout = 10 * time.Second

// Run keeps the keys until ctx ends, when it returns nil.
func (k *Keyring) Run(ctx context.Context) error {
	backoff := tunnel.Backoff{Min: 200 * time.Millisecond, Max: time.Minute}
	for {
		began := k.needs.Now()
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if k.needs.Now().Sub(began) > time.Minute {
			backoff.Reset()
		}
		wait := backoff.Next()
		k.needs.Log.Warn("the cluster's keys for what is encrypted are not kept", "error", err, "retryIn", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// follow watches the Secrets of the namespace, and settles whenever they change, until something fails.
func (k *Keyring) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	wake := make(chan struct{}, 1)
	news := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	informer := toolscache.NewSharedIndexInformer(
		toolscache.NewListWatchFromClient(k.needs.Client.CoreV1().RESTClient(), "secrets", namespace, fields.Everything()),
		&corev1.Secret{}, 0, nil)
	_, handled := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { news() }, UpdateFunc: func(any, any) { news() }, DeleteFunc: func(any) { news() },
	})
	err := errors.Join(handled, informer.SetTransform(keysOnly),
		informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *toolscache.Reflector, err error) {
			k.needs.Log.Debug("watching the keys", "error", err)
		}))
	if err != nil {
		cancel()
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { informer.RunWithContext(ctx) })
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	news() // there may be none at all
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
		if err := k.settle(ctx, informer.GetStore()); err != nil {
			return err
		}
	}
}

// keysOnly has the watch keep nothing but keys.
func keysOnly(object any) (any, error) {
	secret, is := object.(*corev1.Secret)
	if !is {
		return object, nil
	}
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: secret.Name, UID: secret.UID, ResourceVersion: secret.ResourceVersion, Annotations: secret.Annotations,
	}}
	for entry, content := range secret.Data {
		if len(entry) > len(suffix) && entry[len(entry)-len(suffix):] == suffix {
			if kept.Data == nil {
				kept.Data = map[string][]byte{}
			}
			kept.Data[entry] = content
		}
	}
	return kept, nil
}

// settle takes the keys over that there are, and makes one where one is missing or asked for.
func (k *Keyring) settle(ctx context.Context, store toolscache.Store) error {
	there := stored{}
	var ours *corev1.Secret
	for _, object := range store.List() {
		secret := object.(*corev1.Secret)
		there[secret.Name] = secret.Data
		if secret.Name == v1alpha1.AgeSecret {
			ours = secret
		}
	}
	_, own, _ := read(there)
	_, asked := annotationsOf(ours)[v1alpha1.RotateAnnotation]
	if own == 0 || asked {
		err := k.add(ctx)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			return nil // the watch is behind: its event is on its way
		}
		if err != nil {
			return err
		}
	}
	if own > 0 && k.take(there) {
		k.needs.Log.Info("the keys of this cluster changed", "recipients", k.Recipients())
		for _, f := range k.changed {
			f()
		}
	}
	return nil
}

func annotationsOf(secret *corev1.Secret) map[string]string {
	if secret == nil {
		return nil
	}
	return secret.Annotations
}

// add puts one more key into our Secret; or, when that is gone, what was in it. What the API server says counts, and not the
// watch: nothing is made twice.
func (k *Keyring) add(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	secrets := k.needs.Client.CoreV1().Secrets(namespace)
	secret, err := secrets.Get(ctx, v1alpha1.AgeSecret, metav1.GetOptions{})
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return fmt.Errorf("reading secret %s/%s: %w", namespace, v1alpha1.AgeSecret, err)
	}
	if gone {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: v1alpha1.AgeSecret, Labels: map[string]string{"app.kubernetes.io/part-of": "umbel"},
		}}
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	k.mu.Lock()
	had := maps.Clone(k.entries)
	k.mu.Unlock()
	_, own, _ := read(stored{v1alpha1.AgeSecret: secret.Data})
	_, asked := secret.Annotations[v1alpha1.RotateAnnotation]
	switch _, lost, _ := read(stored{v1alpha1.AgeSecret: had}); {
	case own > 0 && !asked:
		return nil
	case own == 0 && lost > 0:
		maps.Copy(secret.Data, had)
		k.needs.Log.Warn("the keys of this cluster were deleted; they are put back", "secret", namespace+"/"+v1alpha1.AgeSecret)
	default:
		entry, content, err := generate(k.needs.Now())
		if err != nil {
			return err
		}
		secret.Data[entry] = content
	}
	delete(secret.Annotations, v1alpha1.RotateAnnotation)
	if gone {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	} else {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	}
	return err
}
