package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/v1alpha1"
)

// The key with which sessions are sealed, and whose sessions were ended, are one Secret that every replica follows.
// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=secrets,verbs=get;create;update
// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=secrets,resourceNames=umbel-console,verbs=list;watch

const (
	// keysSecret is the name of the Secret, in SystemNamespace.
	keysSecret = "umbel-console"
	// keyField has the key. Whoever deletes the Secret ends every session.
	keyField = "key"
	// endedPrefix begins the fields that say when all sessions of somebody were ended, in milliseconds since 1970. The rest of their
	// names is the SHA-256 of the person's.
	endedPrefix = "ended."
)

// keys is what the Secret says.
type keys struct {
	clients kubernetes.Interface
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	cipher cipher.AEAD
	ended  map[string]int64 // by field
}

// load reads the Secret, or makes it.
func (k *keys) load(ctx context.Context) error {
	secrets := k.clients.CoreV1().Secrets(v1alpha1.SystemNamespace)
	secret, err := secrets.Get(ctx, keysSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		secret, err = secrets.Create(ctx, newKeys(), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // another replica was faster
			secret, err = secrets.Get(ctx, keysSecret, metav1.GetOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("reading the key of console sessions, secret %s/%s: %w", v1alpha1.SystemNamespace, keysSecret, err)
	}
	return k.take(secret)
}

func newKeys() *corev1.Secret {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: keysSecret},
		Data:       map[string][]byte{keyField: key},
	}
}

func (k *keys) take(secret *corev1.Secret) error {
	block, err := aes.NewCipher(secret.Data[keyField])
	if err != nil {
		return fmt.Errorf("secret %s/%s: field %s: %w; delete the Secret, and the hub makes another, which ends every session", v1alpha1.SystemNamespace, keysSecret, keyField, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	ended := map[string]int64{}
	for field, value := range secret.Data {
		if !strings.HasPrefix(field, endedPrefix) {
			continue
		}
		at, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return fmt.Errorf("secret %s/%s: field %s: %q is no number of milliseconds", v1alpha1.SystemNamespace, keysSecret, field, value)
		}
		ended[field] = at
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cipher, k.ended = aead, ended
	return nil
}

func (k *keys) aead() cipher.AEAD {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cipher
}

func endedField(user string) string {
	sum := sha256.Sum256([]byte(user))
	return endedPrefix + hex.EncodeToString(sum[:])
}

// endedBefore says until when sessions of somebody that began then are over, in milliseconds since 1970.
func (k *keys) endedBefore(user string) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended[endedField(user)]
}

// end ends every session of somebody that has begun, on all replicas. Those who were ended so long ago that no session of then
// is left are forgotten.
func (k *keys) end(ctx context.Context, user string) error {
	secrets := k.clients.CoreV1().Secrets(v1alpha1.SystemNamespace)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		secret, err := secrets.Get(ctx, keysSecret, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading secret %s/%s: %w", v1alpha1.SystemNamespace, keysSecret, err)
		}
		now := k.now()
		maps.DeleteFunc(secret.Data, func(field string, value []byte) bool {
			at, err := strconv.ParseInt(string(value), 10, 64)
			return strings.HasPrefix(field, endedPrefix) && (err != nil || at < now.Add(-sessionLife).UnixMilli())
		})
		secret.Data[endedField(user)] = strconv.AppendInt(nil, now.UnixMilli(), 10)
		if secret, err = secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return k.take(secret)
	})
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves people.
func (k *keys) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it follows the Secret until ctx ends, and makes it anew when it was deleted.
func (k *keys) Start(ctx context.Context) error {
	source := cache.NewListWatchFromClient(k.clients.CoreV1().RESTClient(), "secrets", v1alpha1.SystemNamespace, fields.OneTermEqualSelector("metadata.name", keysSecret))
	took := func(o any) {
		if secret, ok := o.(*corev1.Secret); ok {
			if err := k.take(secret); err != nil {
				k.log.Error("following the key of console sessions: going on with the one before", "error", err)
			}
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: took, UpdateFunc: func(_, now any) { took(now) },
			DeleteFunc: func(any) {
				if err := k.load(ctx); err != nil && ctx.Err() == nil {
					k.log.Error("making the key of console sessions anew: going on with the one before", "error", err)
				}
			},
		},
	})
	informer.RunWithContext(ctx)
	return nil
}
