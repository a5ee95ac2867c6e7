package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/client"
)

// Ask returns the hub's answer: events as lines of JSON, and one of Kind Status at the end. The caller closes it.
func Ask(ctx context.Context, f *client.Factory, hub *client.Hub, query audit.Query) (io.ReadCloser, error) {
	web, url, err := f.Door(ctx, hub)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+audit.Path+"?"+query.Values().Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	return nil, Refusal(response)
}

// Refusal is the error of an answer of the hub that is none.
func Refusal(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("the hub answered %s: %w", response.Status, err)
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return fmt.Errorf("the hub answered %s to a question about the past: is it older than this command?", response.Status)
	}
	return &apierrors.StatusError{ErrStatus: status}
}
