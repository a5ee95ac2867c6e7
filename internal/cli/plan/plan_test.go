package plan

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/preview"
)

// big is 412 clusters that change in the same way, 7 that differ, one that does not and three that say less.
func big() *Plan {
	p := &Plan{Package: "team-a/shop", Source: "path apps/shop of the working tree /repo (commit 0123456789ab, with changes)"}
	replicas := preview.Change{
		Action: preview.Update, Object: "Deployment.apps shop/web", File: "apps/shop/web.yaml",
		Diff: "@@ -9,3 +9,3 @@\n spec:\n-  replicas: 2\n+  replicas: 3\n   selector:\n",
	}
	drifted := replicas
	drifted.Diff = "@@ -9,3 +9,3 @@\n spec:\n-  replicas: 5\n+  replicas: 3\n   selector:\n"
	gone := preview.Change{Action: preview.Delete, Object: "ConfigMap shop/old"}
	fresh := preview.Change{Action: preview.Add, Object: "Thing.example.com one", File: "apps/shop/thing.yaml", Problem: "the cluster has no kind Thing in example.com/v1"}
	add := func(name string, err error, same int, changes ...preview.Change) {
		p.add(seen{v1alpha1.ClusterName(name), &preview.Preview{Changes: changes, Same: same}, err})
	}
	add("already", nil, 5)
	for i := range 412 {
		add(fmt.Sprintf("c-%03d", i), nil, 3, replicas, gone)
	}
	for i := range 7 {
		add(fmt.Sprintf("d-%d", i), nil, 3, drifted, gone)
	}
	add("old", nil, 4, fresh)
	add("away", errors.New("it is not connected"), 0)
	p.add(seen{"blind", &preview.Preview{Unknown: []string{"whether secrets would be deleted: forbidden"}, Same: 5}, nil})
	p.Without = []Unasked{{"bare", "cluster bare has no label region"}}
	p.sort()
	return p
}

func TestWhatIsTheSameIsTold(t *testing.T) {
	var out bytes.Buffer
	big().write(&out, output.Plain)
	want := `Package team-a/shop, from path apps/shop of the working tree /repo (commit 0123456789ab, with changes)

412 clusters: 1 to change, 1 to delete, 3 stay (c-000, c-001, c-002, c-003, c-004 and 407 more)
  ~ Deployment.apps shop/web   (apps/shop/web.yaml)
      @@ -9,3 +9,3 @@
       spec:
      -  replicas: 2
      +  replicas: 3
         selector:
  - ConfigMap shop/old

7 clusters: 1 to change, 1 to delete, 3 stay (d-0, d-1, d-2, d-3, d-4 and 2 more)
  ~ Deployment.apps shop/web   (apps/shop/web.yaml)
      @@ -9,3 +9,3 @@
       spec:
      -  replicas: 5
      +  replicas: 3
         selector:
  - ConfigMap shop/old

1 cluster: 1 would fail, 4 stay (old)
  + Thing.example.com one   (apps/shop/thing.yaml)
      it would fail: the cluster has no kind Thing in example.com/v1

1 cluster: nothing changes, 5 objects stay (already)

1 cluster: nothing changes, 5 objects stay (blind)
  ? whether secrets would be deleted: forbidden

Nothing for cluster bare, which keeps what it holds: cluster bare has no label region

Not asked: cluster away: it is not connected
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	lacks := []string{"1 cluster would not take all of it", "1 cluster could not be looked at whole", "1 cluster could not be asked", "1 cluster would get nothing of it"}
	if diff := cmp.Diff(lacks, big().lacks()); diff != "" {
		t.Errorf("what it lacks (-want +got):\n%s", diff)
	}
}

func TestMarkdownCannotBeBrokenByADiff(t *testing.T) {
	p := &Plan{Package: "default/a", Source: "b"}
	p.add(seen{"c", &preview.Preview{Changes: []preview.Change{{Action: preview.Update, Object: "ConfigMap a/b", Diff: "@@ -1 +1 @@\n-```\n+````\n"}}}, nil})
	var out bytes.Buffer
	p.markdown(&out)
	want := "### Package `default/a`\n\nFrom b.\n\n**1 cluster: 1 to change, 0 stay**\n\n<details><summary>c</summary>\n\n`c` \n\n</details>\n\n" +
		"- change `ConfigMap a/b`\n\n  `````diff\n  @@ -1 +1 @@\n  -```\n  +````\n  `````\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(p.lacks()) > 0 || !p.changes() {
		t.Errorf("it lacks %q", p.lacks())
	}
}

// TestKeep: a plan is kept with what it says of each cluster that was asked; one that would fail, or of nothing, is not.
func TestKeep(t *testing.T) {
	if _, err := big().Keep(); err == nil || !strings.Contains(err.Error(), "it would fail") {
		t.Errorf("what would fail somewhere: %v", err)
	}
	p := &Plan{Package: "team-a/shop", Source: "release shop-1", Unasked: []Unasked{{"away", "it is not connected"}}}
	if _, err := p.Keep(); err == nil || !strings.Contains(err.Error(), "nothing to save") {
		t.Errorf("a plan of nothing: %v", err)
	}
	look := &preview.Preview{Changes: []preview.Change{{Action: preview.Delete, Object: "ConfigMap shop/old"}}, Same: 1}
	p.add(seen{"dev", look, nil})
	p.contents = &delivery.Contents{Classes: []delivery.ClassContent{{Class: decide.Class{Clusters: []v1alpha1.ClusterName{"dev", "away"}}, Digest: "sha256:1"}}}
	kept, err := p.Keep()
	if err != nil {
		t.Fatal(err)
	}
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "shop", UID: "u"}}
	Beside(pkg, kept)
	want := &v1alpha1.Plan{
		TypeMeta: metav1.TypeMeta{APIVersion: "umbel.dev/v1alpha1", Kind: "Plan"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", GenerateName: "shop-", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "umbel.dev/v1alpha1", Kind: "Package", Name: "shop", UID: "u"},
		}},
		Spec: v1alpha1.PlanSpec{
			PackageRef: v1alpha1.LocalReference{Name: "shop"}, Source: "release shop-1", Summary: "1 cluster: 1 to delete, 1 stay", Clusters: 1,
			Contents: []v1alpha1.PlannedContent{{
				Digest: "sha256:1", Deletes: []string{"ConfigMap shop/old"}, Clusters: []v1alpha1.PlannedCluster{{Name: "dev", Changes: look.Hash()}},
			}},
		},
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
	notes := []string{"1 cluster could not be asked, and will wait for another plan.", "Package team-a/shop releases without a plan as well: spec.plan: Required makes it wait for one."}
	if diff := cmp.Diff(notes, p.Notes(pkg)); diff != "" {
		t.Errorf("what comes of it (-want +got):\n%s", diff)
	}
}
