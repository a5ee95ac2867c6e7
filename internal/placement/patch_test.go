package placement

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

// TestAPatchIsTheStatus: whatever was decided before and is now, the patch leads from the one status to the other.
func TestAPatchIsTheStatus(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, ResourceVersion: "7"}}
		p.Spec.Fields = []v1alpha1.FieldRequirement{{Field: "kubernetesVersion", Operator: v1alpha1.FieldAtLeast, Values: []string{"v1.36"}}}
		plan, err := decide.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			o := decided(p, plan, plan.Decide(someFleet(random), decide.BeforeOf(&p.Status), noon.Add(time.Duration(random.IntN(9))*time.Minute)))
			want := o.status
			want.Clusters = o.clusters()
			got := patched(t, p, o)
			if diff := cmp.Diff(text(t, want), text(t, got.Status)); diff != "" {
				t.Fatalf("seed %d (-decided +patched):\n%s", seed, diff)
			}
			*p = got
		}
		if again, err := patchOf(p, outcomeOf(p)); again != nil || err != nil {
			t.Fatalf("what is said already is written: %s, %v", again, err)
		}
	}
}

// someFleet is up to 12 or up to 400 clusters, some of which have not said anything, or do not fit.
func someFleet(random *rand.Rand) decide.Fleet {
	fleet := decide.Fleet{}
	most := []int{12, 12, 12, 400}[random.IntN(4)]
	for i := range most {
		if random.IntN(3) == 0 {
			continue
		}
		c := &decide.Cluster{Name: named(i), KubernetesVersion: "v1.36.3"}
		if version := []string{"", "v1.35.9", "v1.36.3"}[random.IntN(3)]; random.IntN(3) == 0 {
			c.KubernetesVersion = version
		}
		fleet[c.Name] = c
	}
	return fleet
}

// patched is the Placement as the API gives it back.
func patched(t *testing.T, p *v1alpha1.Placement, o outcome) v1alpha1.Placement {
	t.Helper()
	patch, err := patchOf(p, o)
	if err != nil {
		t.Fatal(err)
	}
	stands := text(t, p)
	if patch != nil {
		read, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := read.Apply([]byte(stands))
		if err != nil {
			t.Fatalf("%s is refused: %v", patch, err)
		}
		stands = string(changed)
	}
	var after v1alpha1.Placement
	if err := json.Unmarshal([]byte(stands), &after); err != nil {
		t.Fatal(err)
	}
	return after
}

func text(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestOneNameIsOneEdit: of many names that stay none is written.
func TestOneNameIsOneEdit(t *testing.T) {
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, ResourceVersion: "7"}}
	p.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "prod"}
	plan, err := decide.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	fleet := decide.Fleet{}
	for i := range 5000 {
		fleet[named(i)] = &decide.Cluster{Name: named(i), Labels: map[string]string{"env": "prod"}}
	}
	*p = patched(t, p, decided(p, plan, plan.Decide(fleet, decide.Before{}, noon)))
	delete(fleet, "c02500")
	fleet["newcomer"] = &decide.Cluster{Name: "newcomer", Labels: map[string]string{"env": "prod"}}
	for _, name := range []v1alpha1.ClusterName{"c02500", "newcomer"} {
		o := decided(p, plan, plan.Revise(fleet, []v1alpha1.ClusterName{name}, decide.BeforeOf(&p.Status), noon))
		patch, err := patchOf(p, o)
		if err != nil || len(patch) > 512 {
			t.Errorf("%s changed, and %d bytes are written, %v", name, len(patch), err)
		}
		*p = patched(t, p, o)
		if _, is := slices.BinarySearch(p.Status.Clusters, name); is != (fleet[name] != nil) || !slices.IsSorted(p.Status.Clusters) {
			t.Errorf("%s is %v; sorted: %v", name, is, slices.IsSorted(p.Status.Clusters))
		}
	}
}
