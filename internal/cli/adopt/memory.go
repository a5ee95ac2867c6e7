package adopt

import (
	"encoding/json"
	"fmt"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/adopt/owner"
)

// adoption is from whom a cluster's objects were taken over, as the Package remembers it.
type adoption struct {
	From origin.Ref `json:"from"`
	// Control is the cluster from which the other does its work, where that is another one.
	Control  v1alpha1.ClusterName `json:"control,omitempty"`
	Managers []owner.Manager      `json:"managers"`
	// Was is how the other was.
	Was json.RawMessage `json:"was,omitempty"`
}

// adoptionsOf reads what a Package remembers.
func adoptionsOf(pkg *v1alpha1.Package) (map[v1alpha1.ClusterName]adoption, error) {
	all := map[v1alpha1.ClusterName]adoption{}
	text := pkg.Annotations[v1alpha1.AdoptionsAnnotation]
	if text == "" {
		return all, nil
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("package %s, annotation %s: %w", pkg.Name, v1alpha1.AdoptionsAnnotation, err)
	}
	return all, nil
}

// remember writes what a Package is to remember.
func remember(pkg *v1alpha1.Package, all map[v1alpha1.ClusterName]adoption) error {
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if pkg.Annotations == nil {
		pkg.Annotations = map[string]string{}
	}
	pkg.Annotations[v1alpha1.AdoptionsAnnotation] = string(raw)
	return nil
}
