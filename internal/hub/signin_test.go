package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// The API that a hub brings along knows the people of the same file by itself: kubectl on the hub needs no detour.
func TestTheEmbeddedAPIKnowsThePeopleOfAProvider(t *testing.T) {
	provider := oidctest.Start(t)
	binary, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	state, err := LoadState(home, Changes{Authentication: new(provider.WriteConfiguration())})
	if err != nil {
		t.Fatal(err)
	}
	own, err := newEmbedded(home, binary, state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- own.supervisor.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the API ended with %v", err)
		}
	})
	admin, err := own.ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alice := rest.AnonymousClientConfig(admin)
	alice.BearerToken = provider.Token(oidctest.Alice)
	clients, err := kubernetes.NewForConfig(alice)
	if err != nil {
		t.Fatal(err)
	}
	var last string
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			last = err.Error()
			return false, nil
		}
		last = fmt.Sprint(review.Status.UserInfo.Username, review.Status.UserInfo.Groups)
		return last == "alice@example.com[oidc:developers system:authenticated]", nil
	})
	if err != nil {
		t.Errorf("the API says %s", last)
	}
}
