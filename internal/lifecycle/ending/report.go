package ending

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// Report is what may be left of a cluster that was detached.
type Report struct {
	Cluster string `json:"cluster"`
	// UID is that of the Cluster: another one of its name has a report of its own.
	UID   types.UID   `json:"uid"`
	Begun metav1.Time `json:"begun"`
	// Ended is when nothing of it was left on the hub. Until then whoever detaches it goes on from here.
	Ended *metav1.Time `json:"ended,omitempty"`
	// Orphans are what was let go without its provider's word.
	Orphans []Orphan `json:"orphans"`
	// Inside is what the cluster said was in it, as far as it could be asked: volumes and load balancers.
	Inside []string `json:"inside,omitempty"`
	// Marked are the ids of what its cloud had with its mark when it was let go, where that could be asked.
	Marked []string `json:"marked,omitempty"`
	// Unread are kinds whose objects could not be read, and why: they are not in Orphans.
	Unread []string `json:"unread,omitempty"`
	// Parts are the UIDs of all that was seen of it while its Cluster was there, and of what those own.
	Parts []types.UID `json:"parts,omitempty"`
}

// Encode returns the report as YAML.
func (r Report) Encode() ([]byte, error) { return yaml.Marshal(r) }

// Decode reads a report.
func Decode(text []byte) (Report, error) {
	var r Report
	err := yaml.UnmarshalStrict(text, &r)
	return r, err
}

// Absorb takes over what another report on the same Cluster says. It does nothing with one on another.
func (r *Report) Absorb(other Report) {
	if other.UID != r.UID {
		return
	}
	if !other.Begun.IsZero() && other.Begun.Before(&r.Begun) {
		r.Begun = other.Begun
	}
	r.Orphans = unite(r.Orphans, other.Orphans, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	r.Inside = unite(r.Inside, other.Inside, strings.Compare)
	r.Marked = unite(r.Marked, other.Marked, strings.Compare)
	r.Unread = unite(r.Unread, other.Unread, strings.Compare)
	r.Parts = unite(r.Parts, other.Parts, cmp.Compare[types.UID])
}

// unite returns the elements of both, each once: of two that compare equal, the first's.
func unite[T any](a, b []T, compare func(T, T) int) []T {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, compare)
	return slices.CompactFunc(all, func(x, y T) bool { return compare(x, y) == 0 })
}

// entry is where in a ConfigMap the report on a Cluster is.
func entry(uid types.UID) string { return string(uid) + ".yaml" }

// ReportSuffix is what the name of the ConfigMap with a report ends with, after that of the cluster.
const ReportSuffix = "-orphans"

// shelves returns the ConfigMaps that may have reports on Clusters of a name, those that are not there yet without a resourceVersion:
// the one beside the Cluster, and the one for a namespace that is being deleted itself and takes nothing new.
func shelves(ctx context.Context, hub client.Reader, key client.ObjectKey) ([]*corev1.ConfigMap, error) {
	all := []*corev1.ConfigMap{
		{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name + ReportSuffix}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: key.Namespace + "-" + key.Name + ReportSuffix}},
	}
	for _, shelf := range all {
		if err := hub.Get(ctx, client.ObjectKeyFromObject(shelf), shelf); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the report of what may be left (ConfigMap %s/%s): %w", shelf.Namespace, shelf.Name, err)
		}
	}
	return all, nil
}

// Open returns the newest report on a Cluster of a name whose detaching has not ended, and whether there is one.
func Open(ctx context.Context, hub client.Reader, key client.ObjectKey) (open Report, found bool, err error) {
	all, err := shelves(ctx, hub, key)
	if err != nil {
		return open, false, err
	}
	for _, shelf := range all {
		for name, text := range shelf.Data {
			r, err := Decode([]byte(text))
			if err != nil || r.Cluster != key.String() || entry(r.UID) != name || r.Ended != nil {
				continue // it is none of ours, or of a namespace and a name that come to the same together
			}
			if r.UID == open.UID {
				open.Absorb(r)
			} else if !found || open.Begun.Before(&r.Begun) {
				open, found = r, true
			}
		}
	}
	return open, found, nil
}

// record absorbs what was written of this Cluster before, and writes the report: outside of the hub first, and then there.
func (d *Detaching) record(ctx context.Context, shelves []*corev1.ConfigMap, unread []string) error {
	for _, shelf := range shelves {
		text, has := shelf.Data[entry(d.Report.UID)]
		if !has {
			continue
		}
		before, err := Decode([]byte(text))
		if err != nil {
			return fmt.Errorf("the report of what may be left (ConfigMap %s/%s, data[%s]) cannot be read: %w; nothing was let go: mend it, or move it away",
				shelf.Namespace, shelf.Name, entry(d.Report.UID), err)
		}
		d.Report.Absorb(before)
	}
	d.Report.Unread = d.Cluster.unread(d.Report.Unread, unread)
	if err := d.Write(d.Report); err != nil {
		return fmt.Errorf("writing the report of what may be left: %w; nothing was let go", err)
	}
	text, err := d.Report.Encode()
	if err != nil {
		return err
	}
	if !d.closing(ctx) {
		err := d.shelve(ctx, shelves[0], text)
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return err
		}
	}
	return d.shelve(ctx, shelves[1], text)
}

// closing says whether the namespace of the Cluster is being deleted, and what is written there with it. Where that cannot be read, the
// API says so when something is made there.
func (d *Detaching) closing(ctx context.Context) bool {
	namespace := &corev1.Namespace{}
	err := d.Hub.Get(ctx, client.ObjectKey{Name: d.Cluster.Key.Namespace}, namespace)
	return err == nil && namespace.DeletionTimestamp != nil
}

// shelve writes the report on this Cluster into a ConfigMap, beside those on others of its name.
func (d *Detaching) shelve(ctx context.Context, shelf *corev1.ConfigMap, text []byte) error {
	metav1.SetMetaDataLabel(&shelf.ObjectMeta, v1alpha1.OrphansLabel, d.Cluster.Key.Name)
	if shelf.Data == nil {
		shelf.Data = map[string]string{}
	}
	shelf.Data[entry(d.Report.UID)] = string(text)
	var err error
	if shelf.ResourceVersion == "" {
		err = d.Hub.Create(ctx, shelf)
	} else {
		err = d.Hub.Update(ctx, shelf)
	}
	if err != nil {
		return fmt.Errorf("writing the report of what may be left (ConfigMap %s/%s): %w", shelf.Namespace, shelf.Name, err)
	}
	d.Place = client.ObjectKeyFromObject(shelf)
	return nil
}

// unread returns which kinds are not known of: those that cannot be read now, and those that could not be before and are no kinds here
// any more, so that nobody can.
func (c Cluster) unread(before, now []string) []string {
	lost := slices.DeleteFunc(slices.Clone(before), func(text string) bool {
		of, _, _ := strings.Cut(text, ":")
		for _, kind := range c.kinds {
			if of == kind.Kind+"."+kind.Group {
				return true
			}
		}
		return false
	})
	return unite(now, lost, strings.Compare)
}
