package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
)

// EpochOf reads the number of restores of a hub from its namespace: 0 where there was none.
func EpochOf(namespace metav1.Object) (uint64, error) {
	text := namespace.GetAnnotations()[v1alpha1.EpochAnnotation]
	if text == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("annotation %s of namespace %s is %q, want a number", v1alpha1.EpochAnnotation, namespace.GetName(), text)
	}
	return epoch, nil
}

// advance gives the hub an epoch above those of its earlier copies: the seconds of the clock, since two restores of one backup
// know nothing of each other; and more than the backup's, should the clock be behind.
func (r *restore) advance(ctx context.Context) error {
	namespace, err := r.client.Resource(namespaces).Get(ctx, v1alpha1.SystemNamespace, metav1.GetOptions{})
	if err != nil {
		return err
	}
	before, err := EpochOf(namespace)
	if err != nil {
		return err
	}
	epoch := max(before+1, uint64(max(0, r.target.Now().Unix())))
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{v1alpha1.EpochAnnotation: strconv.FormatUint(epoch, 10)},
	}})
	if err != nil {
		return err
	}
	_, err = r.client.Resource(namespaces).Patch(ctx, v1alpha1.SystemNamespace, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "umbel-restore"})
	return err
}
