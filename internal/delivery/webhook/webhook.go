package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// Path is what the paths of receivers begin with.
const Path = "/hooks/"

const (
	// maxBody bounds what a server says. A push with hundreds of commits has less than half of it.
	maxBody = 3 << 20
	// patience is how long it may take to say it.
	patience = 15 * time.Second
	// Each receiver may be heard so often in a second, and so often at once.
	heard, atOnce = 5, 50
	maxReceivers  = 10_000
)

// Needs is what a Handler needs.
type Needs struct {
	// Secrets are read past every cache.
	Secrets client.Reader
	// Refresh has the Packages of a namespace, or of all when it is empty, look at their repositories, and says how many
	// Packages that concerns.
	Refresh func(ctx context.Context, namespace string, repositories []string) (int, error)
	Log     *slog.Logger
}

// Handler serves the paths below Path. Who is not known gets 403, so that its caller can count those.
type Handler struct {
	needs  Needs
	nobody []byte // the token of receivers that there are not

	mu       sync.Mutex
	limiters map[types.NamespacedName]*rate.Limiter
}

// New returns a Handler.
func New(needs Needs) *Handler {
	nobody := make([]byte, 32)
	_, _ = rand.Read(nobody) // never fails
	return &Handler{needs: needs, nobody: nobody, limiters: map[types.NamespacedName]*rate.Limiter{}}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := receiverOf(r.URL.Path)
	if !ok || r.Method != http.MethodPost {
		http.Error(w, "receivers of pushes are at "+Path+"NAMESPACE/NAME, for POST", http.StatusNotFound)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)) // where it can be set
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, "a push may have 3 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "the request was not sent whole", http.StatusBadRequest)
		return
	}
	format, token, err := h.receiver(r.Context(), name)
	if err != nil {
		h.needs.Log.Error("reading the receiver of a push", "receiver", name, "error", err)
		http.Error(w, "the hub cannot look up its receivers now; try again", http.StatusServiceUnavailable)
		return
	}
	if genuine := format.verify(r.Header, body, token); !genuine {
		h.needs.Log.Warn("a push was refused", "receiver", name, "peer", r.RemoteAddr)
		http.Error(w, "there is no such receiver, or the token of this push is not its own", http.StatusForbidden)
		return
	}
	if !h.limiter(name).Allow() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many pushes at once; the repository is asked anyway", http.StatusTooManyRequests)
		return
	}
	h.tell(w, r, name, format, body)
}

// tell hands on what a genuine push says.
func (h *Handler) tell(w http.ResponseWriter, r *http.Request, name types.NamespacedName, format format, body []byte) {
	repositories, err := format.parse(r.Header, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if len(repositories) == 0 { // such as a ping
		fmt.Fprintln(w, "heard; this is no push")
		return
	}
	namespace := name.Namespace
	if namespace == v1alpha1.SystemNamespace {
		namespace = ""
	}
	count, err := h.needs.Refresh(r.Context(), namespace, repositories)
	if err != nil {
		h.needs.Log.Error("having packages look at their repositories", "receiver", name, "error", err)
		http.Error(w, "the hub cannot ask its packages now; try again", http.StatusServiceUnavailable)
		return
	}
	h.needs.Log.Info("a push was heard", "receiver", name, "repository", repositories[0], "packages", count)
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "%s %s at %s\n", v1alpha1.Counted(count, "package"), v1alpha1.Agreeing(count, "looks", "look"), repositories[0])
}

// receiverOf takes the name of a receiver out of a path.
func receiverOf(path string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(strings.TrimPrefix(path, Path), "/")
	ok := found && strings.HasPrefix(path, Path) && namespace != "" && name != "" && len(path) < 512 && !strings.ContainsAny(namespace+name, "/%\\") && name != "." && name != ".."
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

// receiver returns the format and the token of a receiver. Of one that there is not it returns a token that nobody has.
func (h *Handler) receiver(ctx context.Context, name types.NamespacedName) (format, []byte, error) {
	var secret corev1.Secret
	err := h.needs.Secrets.Get(ctx, name, &secret)
	if apierrors.IsForbidden(err) {
		h.needs.Log.Warn("a push came for a receiver in a namespace whose Secrets this hub may not get", "receiver", name)
		return formats["github"], h.nobody, nil
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return format{}, nil, err
	}
	known, ok := formats[secret.Labels[v1alpha1.WebhookLabel]]
	token := secret.Data["token"]
	if err != nil || !ok || len(token) < MinToken {
		return formats["github"], h.nobody, nil
	}
	return known, token, nil
}

// MinToken is how long the token of a receiver has to be: a shorter one could be guessed.
const MinToken = 16

func (h *Handler) limiter(name types.NamespacedName) *rate.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	limiter := h.limiters[name]
	if limiter == nil {
		if len(h.limiters) >= maxReceivers {
			clear(h.limiters)
		}
		limiter = rate.NewLimiter(heard, atOnce)
		h.limiters[name] = limiter
	}
	return limiter
}
