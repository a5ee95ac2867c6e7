package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/google/renameio/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// farewell is the agent's note to itself that it has let go, so that it knows whatever happens to it: from then on it
// repairs nothing, and the hub's word that it is no member makes it go. It is about one membership, the one that its
// bootstrap began; for a cluster that is joined anew it means nothing.
type farewell struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// TokenHash is the hash of the join token, which `umbel join` draws anew for every membership.
	TokenHash string `json:"tokenHash"`
}

// farewellOf returns what an agent with this bootstrap writes.
func farewellOf(boot v1alpha1.Bootstrap) farewell {
	return farewell{Cluster: boot.Cluster, TokenHash: identity.HashToken(boot.Token)}
}

// parseFarewell reads a farewell. A damaged one counts as none: the hub asks again.
func parseFarewell(raw []byte) farewell {
	var f farewell
	if err := json.Unmarshal(raw, &f); err != nil {
		return farewell{}
	}
	return f
}

// farewellHome is where a farewell outlives the agent.
type farewellHome interface {
	// load returns what was saved last, or the zero farewell. An error says that it is not known whether there is one. It
	// may block until ctx ends.
	load(ctx context.Context) (farewell, error)
	// save keeps a farewell, which is durable when save returns; the zero one takes away what is there. It is idempotent.
	save(ctx context.Context, f farewell) error
}

// farewellFile is the farewellHome of an agent that runs as a process.
type farewellFile string

func (path farewellFile) load(context.Context) (farewell, error) {
	raw, err := os.ReadFile(string(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return farewell{}, fmt.Errorf("reading whether the agent has let go: %w", err)
	}
	return parseFarewell(raw), nil
}

func (path farewellFile) save(_ context.Context, f farewell) error {
	if f == (farewell{}) {
		return os.RemoveAll(string(path))
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(string(path), raw, 0o600); err != nil {
		return fmt.Errorf("writing that the agent has let go: %w", err)
	}
	return nil
}

// farewellMap is the farewellHome of a pod, which may find itself with another folder at any start: a key of the
// ConfigMap of its state.
type farewellMap struct {
	client kubernetes.Interface
	log    *slog.Logger
}

// farewellKey is where the ConfigMap has the farewell, and who writes that key.
const farewellKey, farewellManager = "farewell", "umbel-agent-farewell"

func (m farewellMap) load(ctx context.Context) (f farewell, err error) {
	err = insist(ctx, m.log, "reading whether the agent has let go", func(ctx context.Context) error {
		state, err := m.client.CoreV1().ConfigMaps(v1alpha1.AgentNamespace).Get(ctx, stateConfigMap, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			f = parseFarewell([]byte(state.Data[farewellKey]))
		}
		return err
	})
	return f, err
}

func (m farewellMap) save(ctx context.Context, f farewell) error {
	state := corev1ac.ConfigMap(stateConfigMap, v1alpha1.AgentNamespace)
	if f != (farewell{}) {
		raw, err := json.Marshal(f)
		if err != nil {
			return err
		}
		state.WithData(map[string]string{farewellKey: string(raw)})
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := metav1.ApplyOptions{FieldManager: farewellManager, Force: true}
	if _, err := m.client.CoreV1().ConfigMaps(v1alpha1.AgentNamespace).Apply(ctx, state, options); err != nil {
		return fmt.Errorf("writing that the agent has let go to configmap %s/%s: %w", v1alpha1.AgentNamespace, stateConfigMap, err)
	}
	return nil
}
