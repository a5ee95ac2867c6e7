package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/delivery"
)

// released is what clusters would get of a Release that stands there, as the hub rendered it: no source is needed, and the
// digests are those that the hub knows.
func (o *Options) released(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package, selected []v1alpha1.MemberCluster) (*rendered, error) {
	var release v1alpha1.Release
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: pkg.Namespace, Name: o.Release}, &release); err != nil {
		return nil, err
	}
	if of := release.Spec.PackageRef.Name; of != pkg.Name {
		return nil, fmt.Errorf("release %q is one of package %q, not of %q", o.Release, of, pkg.Name)
	}
	read, err := o.shelf(ctx, hub)
	if err != nil {
		return nil, err
	}
	contents, err := delivery.ContentsOf(&release.Spec, selected, func(v *v1alpha1.Variant) ([]byte, error) {
		return read(ctx, &release, v)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the content of release %s: %w", o.Release, err)
	}
	return &rendered{fmt.Sprintf("release %s (revision %.12s)", release.Name, release.Spec.Revision), contents}, nil
}

// shelf returns what reads the contents of Releases from the hub, with the rights of whoever asks.
func (o *Options) shelf(ctx context.Context, hub *client.Hub) (reader, error) {
	web, url, err := o.Door(ctx, hub)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, release *v1alpha1.Release, v *v1alpha1.Variant) ([]byte, error) {
		at := url + v1alpha1.ContentPath + release.Namespace + "/" + release.Name + "/" + v.Digest
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return nil, err
		}
		response, err := web.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close() //nolint:errcheck // it was read
		return content(response, v.Size)
	}, nil
}

// content reads the hub's answer, which is as long as the Release says.
func content(response *http.Response, size int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, max(size, 64<<10)+1))
	if err != nil {
		return nil, fmt.Errorf("the hub answered %s: %w", response.Status, err)
	}
	if response.StatusCode == http.StatusOK {
		return text, nil
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return nil, fmt.Errorf("the hub answered %s to a question for content: is it older than this command? Plan from a clone of the source then, without --release", response.Status)
	}
	return nil, &apierrors.StatusError{ErrStatus: status}
}
