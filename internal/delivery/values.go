package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/render"
)

// Of Secrets, those that the hub may get: see credentials.
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

// defaultNamespace is where objects of a chart are that name no namespace.
const defaultNamespace = "default"

// valued is what a Package renders with beside its source, as it was found out last: the values of a chart, or the commits of remote bases.
type valued struct {
	generation int64
	at         time.Time // of the fetch that it belongs to
	options    render.ChartOptions
	pins       []v1alpha1.ReleasedBase
	digest     string // of all of it; empty where the Package says nothing
}

// values finds out with which values a chart is rendered, or with which commits of remote bases a folder. ConfigMaps and Secrets are read anew after each fetch, which is as
// often as the source is asked.
func (c *Controller) values(ctx context.Context, v *visit) error {
	if listed := basesOf(v.pkg); len(listed) > 0 {
		pins := v.pins
		if v.commit == "" { // the source cannot be read now, or not be used: what clusters have stays
			pins = pinsOf(v.seen.Release, listed)
		}
		if v.valuesUnknown = pins == nil; pins != nil {
			v.memo.valued = valued{options: optionsOf(v.pkg), pins: pins, digest: digestOf(pins)}
		}
		return nil
	}
	if v.pkg.Spec.Helm == nil && v.pkg.Spec.Source.Helm == nil {
		v.memo.valued = valued{options: optionsOf(v.pkg)}
		return nil
	}
	if v.unasked { // the pass after the first fetch finds them out
		v.valuesUnknown = true
		return nil
	}
	// Of a source that cannot be read now they are needed all the same: for a cluster that comes meanwhile.
	if known := &v.memo.valued; known.digest != "" && known.generation == v.pkg.Generation && (v.commit == "" || known.at.Equal(v.fetched)) {
		return nil
	}
	options, err := chartOptions(ctx, c.live, v.pkg) // past the cache
	if err != nil {
		v.set(metav1.Condition{
			Type: v1alpha1.ConditionRendered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonValuesInvalid, Message: v.andStays(err.Error()),
		})
		v.valuesUnknown, v.memo.valued = true, valued{}
		v.again(retryFetch)
		return nil
	}
	raw, err := json.Marshal(options) // but for its Secrets, which have no order
	if err != nil {
		return fmt.Errorf("putting the values of package %s together: %w", v.key, err)
	}
	sum := sha256.Sum256(raw)
	v.memo.valued = valued{generation: v.pkg.Generation, at: v.fetched, options: options, digest: hex.EncodeToString(sum[:])}
	return nil
}

// optionsOf is what the Package itself says, but for values.
func optionsOf(pkg *v1alpha1.Package) render.ChartOptions {
	options := render.ChartOptions{ReleaseName: pkg.Name, Namespace: defaultNamespace}
	helm := pkg.Spec.Helm
	if helm == nil {
		return options
	}
	if helm.ReleaseName != "" {
		options.ReleaseName = helm.ReleaseName
	}
	if helm.Namespace != "" {
		options.Namespace = helm.Namespace
	}
	options.ValuesFiles, options.KubeVersion, options.APIVersions = helm.ValuesFiles, helm.KubeVersion, helm.APIVersions
	return options
}

// chartOptions is all that the Package says, with what spec.helm.valuesFrom names.
func chartOptions(ctx context.Context, hub client.Reader, pkg *v1alpha1.Package) (render.ChartOptions, error) {
	options := optionsOf(pkg)
	if pkg.Spec.Helm == nil {
		return options, nil
	}
	for i, from := range pkg.Spec.Helm.ValuesFrom {
		field := fmt.Sprintf("spec.helm.valuesFrom[%d]", i)
		document, err := valuesOf(ctx, hub, types.NamespacedName{Namespace: pkg.Namespace, Name: from.Name}, from)
		if err != nil {
			return render.ChartOptions{}, fmt.Errorf("%s: %w", field, err)
		}
		options.Values = append(options.Values, render.Values{From: fmt.Sprintf("%s (%s %s, key %s)", field, from.Kind, from.Name, from.Key), Document: document})
		if from.Kind == "Secret" {
			options.Secrets = append(options.Secrets, textsOf(document)...)
		}
	}
	if values := pkg.Spec.Helm.Values; values != nil {
		options.Values = append(options.Values, render.Values{From: "spec.helm.values", Document: values.Raw})
	}
	return options, nil
}

func valuesOf(ctx context.Context, hub client.Reader, name types.NamespacedName, from v1alpha1.HelmValuesReference) ([]byte, error) {
	var document []byte
	var found bool
	var err error
	switch from.Kind {
	case "Secret":
		var secret corev1.Secret
		err = hub.Get(ctx, name, &secret)
		document, found = secret.Data[from.Key]
	default:
		var config corev1.ConfigMap
		err = hub.Get(ctx, name, &config)
		text, ok := config.Data[from.Key]
		document, found = []byte(text), ok
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no %s %q in namespace %q", from.Kind, name.Name, name.Namespace)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("this hub may not get the %ss of namespace %q: docs/operate/sources.md says how to let it", from.Kind, name.Namespace)
	case err != nil:
		return nil, fmt.Errorf("reading %s %s: %w", from.Kind, name, err)
	case !found:
		return nil, fmt.Errorf("%s %q has no key %q", from.Kind, name.Name, from.Key)
	}
	return document, nil
}

// textsOf are the texts in a document of values, which no error may tell. Of one that cannot be read no error tells anything.
func textsOf(document []byte) []string {
	var value any
	if yaml.Unmarshal(document, &value) != nil {
		return nil
	}
	var texts []string
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, inner := range value {
				walk(inner)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		case string:
			texts = append(texts, value)
		case nil, bool:
		default:
			texts = append(texts, fmt.Sprint(value))
		}
	}
	walk(value)
	return texts
}
