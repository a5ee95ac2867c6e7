package decide

import (
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestPlaced(t *testing.T) {
	broken := placement(2, 1, "False", "a")
	broken.Status.Conditions[0].Message = "spec.clusterSelector is invalid"
	for _, c := range []struct {
		reason, restored string
		placement        *v1alpha1.Placement
		want             string
	}{
		{reason: "there is none", want: `False PlacementNotFound there is no placement "p" in namespace "shop" (spec.placementRef.name); clusters keep what they hold`},
		{reason: "there is none, on a restored hub", restored: "noon", want: `False PlacementNotFound there is no placement "p" in namespace "shop" (spec.placementRef.name); clusters keep what they hold`},
		{reason: "one cluster", placement: placement(1, 1, "True", "a"), want: `True Placed placement "p" selects 1 cluster`},
		{reason: "no cluster", placement: placement(1, 1, "True"), want: `True NoClusters placement "p" selects no cluster`},
		{reason: "nobody looked at it", placement: &v1alpha1.Placement{}, want: `False Undecided placement "p" is not decided`},
		{reason: "it cannot be decided", placement: broken, want: `False Undecided placement "p" is not decided: spec.clusterSelector is invalid`},
		{
			reason: "a restored hub", restored: "noon", placement: placement(1, 1, "True", "a"),
			want: "True Placed placement \"p\" selects 1 cluster; it was restored from a backup of noon: no cluster prunes it because of that until `umbel restore --finish`",
		},
	} {
		pkg := &v1alpha1.Package{}
		pkg.Namespace, pkg.Spec.PlacementRef.Name = "shop", "p"
		if c.restored != "" {
			pkg.Annotations = map[string]string{v1alpha1.RestoredAnnotation: c.restored}
		}
		got := Placed(pkg, c.placement)
		if text := string(got.Status) + " " + got.Reason + " " + got.Message; text != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.reason, text, c.want)
		}
	}
}
