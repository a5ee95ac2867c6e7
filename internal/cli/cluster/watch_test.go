package cluster

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestWhoWaitsOutlivesTheHub: a hub that does not answer is asked again, and what it answers ends the wait.
func TestWhoWaitsOutlivesTheHub(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://127.0.0.1:1", Err: errors.New("connection refused")}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "clusters"}, "dev", nil)
	answers := []error{refused, apierrors.NewServiceUnavailable("it starts"), forbidden, nil, refused, nil}
	asked := 0
	err := until(t.Context(), nil, func(context.Context) (bool, string, error) {
		asked++
		return asked == len(answers), "", answers[asked-1]
	})
	if err != nil || asked != len(answers) {
		t.Errorf("asked %d times: %v", asked, err)
	}
	for _, final := range []error{forbidden, apierrors.NewNotFound(schema.GroupResource{Resource: "clusters"}, "dev"), errors.New("it failed")} {
		if err := until(t.Context(), nil, func(context.Context) (bool, string, error) { return false, "", final }); !errors.Is(err, final) {
			t.Errorf("%v: got %v", final, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*poll)
	defer cancel()
	if err := until(ctx, nil, func(context.Context) (bool, string, error) { return false, "", refused }); err == nil || !strings.Contains(err.Error(), "not in time: Get") {
		t.Errorf("of one that is gone: %v", err)
	}
}
