package explain

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// sceneOf is the package Shop and one of the clusters of clitest.
func sceneOf(cluster string, change func(*Scene)) *Scene {
	s := &Scene{Package: clitest.Shop(), Placement: clitest.Shops(), PlacementName: "shops", Release: clitest.ShopRelease()}
	slices.Reverse(s.Release.Spec.Variants) // sorted by their values, as the hub keeps them
	for _, c := range clitest.Clusters() {
		if c.Name == cluster {
			s.Cluster = &c
		}
	}
	if change != nil {
		change(s)
	}
	return s
}

// rollsOut gives the package a rollout to a newer release, which has reached the cluster dev.
func rollsOut(s *Scene, progressing metav1.Condition) {
	s.Package.Spec.Rollout, s.Package.Status.Release, s.Release.Name = &v1alpha1.RolloutStrategy{}, "shop-newer", "shop-newer"
	s.Release.Spec.Variants[1].Digest = "sha256:11"
	s.Rollout = &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop-2"}}
	s.Rollout.Spec.Release, s.Rollout.Spec.Previous = "shop-newer", clitest.Release
	s.Rollout.Status = v1alpha1.RolloutStatus{
		Phase:      v1alpha1.RolloutRunning,
		Conditions: []metav1.Condition{progressing},
		Stages: []v1alpha1.StageStatus{
			{Name: "test", Step: v1alpha1.StageMoving, Moved: []v1alpha1.ClusterName{"dev"}},
			{Name: "production", Step: v1alpha1.StageWaiting, Waiting: []v1alpha1.ClusterName{"prod-eu", "prod-us"}},
		},
	}
}

// waitsInRollout gives the package a rollout in which the cluster prod-eu waits.
func waitsInRollout(s *Scene, why string) {
	rollsOut(s, clitest.Condition(v1alpha1.ConditionProgressing, metav1.ConditionTrue, v1alpha1.ReasonBaking, "stage test bakes for 10m; 1 cluster waits: prod-eu ("+why+")"))
	s.Rollout.Status.Blocked = []v1alpha1.BlockedClusters{{Message: why, Clusters: []v1alpha1.ClusterName{"prod-eu"}}}
	s.Package.Spec.DependsOn = []v1alpha1.PackageDependency{{Name: "database"}}
	meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionDependencies, metav1.ConditionFalse, v1alpha1.ReasonWaiting,
		"1 cluster waits: prod-eu ("+why+")"))
}

func number(n int32) *int32 { return &n }

func TestAccounts(t *testing.T) {
	soon := metav1.NewTime(clitest.Now.Add(4 * time.Minute))
	for _, c := range []struct {
		reason string
		golden string
		scene  *Scene
		moment view.Moment
	}{
		{reason: "it is as it should be", golden: "ready.txt", scene: sceneOf("prod-eu", nil)},
		{reason: "a chart with values from everywhere, a variant, and a base", golden: "inputs.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Release.Spec.Source = v1alpha1.Source{Helm: &v1alpha1.HelmSource{URL: "https://charts.example.com", Chart: "shop", Version: "1.x"}}
			s.Release.Spec.RemoteBases = []v1alpha1.ReleasedBase{{URL: "https://git.example.com/bases", Ref: "v1", Commit: "4f0c2a9e7b1d4f0c2a9e7b1d4f0c2a9e7b1d4f0c"}}
			s.Package.Spec.Helm = &v1alpha1.HelmOptions{
				ValuesFiles: []string{"prod.yaml"}, ValuesFrom: []v1alpha1.HelmValuesReference{{Kind: "Secret", Name: "passwords"}}, Values: &runtime.RawExtension{Raw: []byte(`{"a": "secret"}`)},
			}
			s.Package.Spec.Variants = []v1alpha1.PackageVariant{
				{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}},
				{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}, {},
			}
		})},
		{reason: "an object fails", golden: "failing.txt", scene: sceneOf("dev", nil)},
		{reason: "the cluster is lost", golden: "lost.txt", scene: sceneOf("prod-us", nil)},
		{reason: "a team's package that may not apply an object", golden: "team.txt", scene: sceneOf("dev", func(s *Scene) {
			s.Package.Status.ActsAs = "shop/deployer"
			for i := range s.Cluster.Status.Packages {
				if s.Cluster.Status.Packages[i].Package == v1alpha1.KeyOf(s.Package.Namespace, s.Package.Name) {
					s.Cluster.Status.Packages[i].Contested = []v1alpha1.Contest{{Object: "ConfigMap shop/banner", Package: "other/web"}}
				}
			}
		})},
		{reason: "a newer release waits for a plan", golden: "plan-required.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Package.Spec.Plan = v1alpha1.PlanRequired
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionPlanned, metav1.ConditionFalse, v1alpha1.ReasonPlanRequired,
				"commit 4f0c2a9e7b1e waits as release shop-99887766, since nobody has saved a plan of what it changes: "+v1alpha1.SavePlan("default/shop", "shop-99887766")))
		})},
		{reason: "the first release waits for a plan", golden: "plan-required-first.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Package.Spec.Plan, s.Package.Status.Release, s.Cluster.Status.Packages = v1alpha1.PlanRequired, "", nil
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionPlanned, metav1.ConditionFalse, v1alpha1.ReasonPlanRequired,
				"commit 4f0c2a9e7b1e waits as release shop-99887766, since nobody has saved a plan of what it changes: "+v1alpha1.SavePlan("default/shop", "shop-99887766")))
		})},
		{reason: "the cluster waits for another package", golden: "dependency.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Package.Spec.DependsOn, s.Cluster.Status.Packages = []v1alpha1.PackageDependency{{Name: "database"}}, nil
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionDependencies, metav1.ConditionFalse, v1alpha1.ReasonWaiting,
				"1 cluster waits: prod-eu (there is no package default/database (spec.dependsOn))"))
		})},
		{reason: "the cluster waits for an agent that is not too old", golden: "agent-too-old.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Cluster.Status.Packages = nil
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionAgents, metav1.ConditionFalse, v1alpha1.ReasonAgentTooOld,
				"1 cluster keeps what it holds, since its agent is too old: prod-eu does not know plans (spec.plan); `umbel upgrade agents` brings them to the hub's version: prod-eu"))
		})},
		{reason: "another cluster does", golden: "ready.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Cluster.Status.AgentFeatures = wire.Features()
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionAgents, metav1.ConditionFalse, v1alpha1.ReasonAgentTooOld, "1 clusters keep what they hold"))
		})},
		{reason: "more than its namespace allows", golden: "quota.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Cluster.Status.Packages = nil
			meta.SetStatusCondition(&s.Package.Status.Conditions, clitest.Condition(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonQuotaExceeded,
				"namespace shop may have 2 packages (umbel.dev/max-packages), and 2 were made before this one"))
		})},
		{reason: "the placement does not select it", golden: "not-selected.txt", scene: sceneOf("edge", nil)},
		{reason: "a label is missing that the manifests use", golden: "label-missing.txt", scene: sceneOf("edge", func(s *Scene) {
			s.Placement.Spec.ClusterSelector = metav1.LabelSelector{}
			s.Placement.Status.Clusters, s.Placement.Status.Selected = []v1alpha1.ClusterName{"dev", "edge", "prod-eu", "prod-us"}, 4
		})},
		{reason: "everything that a placement can ask for", golden: "asked.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			hour := int64(3600)
			s.Cluster.Status.Packages = nil
			s.Cluster.Spec.Taints = []v1alpha1.Taint{
				{Key: "known", Effect: v1alpha1.TaintEvict}, {Key: "slow", Effect: v1alpha1.TaintPreferNoSelect}, {Key: "maintenance", Value: "disks", Effect: v1alpha1.TaintNoSelect},
				{Key: "soon", Effect: v1alpha1.TaintEvict},
			}
			s.Placement.Spec = v1alpha1.PlacementSpec{
				ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod", "tier": "gold"}},
				Fields: []v1alpha1.FieldRequirement{
					{Field: "kubernetesVersion", Operator: v1alpha1.FieldAtLeast, Values: []string{"v1.37"}},
					{Field: "properties.gpu", Operator: v1alpha1.FieldDoesNotExist},
				},
				Expressions: []string{"cluster.labels.region == 'eu'", "cluster.properties.gpu == 'a'", "cluster.labels.region != 'eu'"},
				Tolerations: []v1alpha1.Toleration{
					{Key: "known", Operator: v1alpha1.TolerationExists},
					{Key: "soon", Operator: v1alpha1.TolerationExists, Effect: v1alpha1.TaintEvict, TolerationSeconds: &hour},
				},
				NumberOfClusters: number(2), Spread: &v1alpha1.Spread{Label: "zone", MaxSkew: number(1)},
				Scores: []v1alpha1.Score{{Weight: 3, Expression: "size(cluster.name)"}, {Weight: 1, Expression: "int(cluster.properties.gpu)"}},
			}
			s.Placement.Status.Clusters, s.Placement.Status.Selected = []v1alpha1.ClusterName{"dev", "prod-us"}, 2
			meta.SetStatusCondition(&s.Placement.Status.Conditions, clitest.Condition(v1alpha1.ConditionSatisfied, metav1.ConditionFalse, v1alpha1.ReasonNotSpread, "they are skewed"))
		})},
		{reason: "it stays for a while", golden: "leaving.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Placement.Spec.Fields = []v1alpha1.FieldRequirement{{Field: "kubernetesVersion", Operator: v1alpha1.FieldAtLeast, Values: []string{"v1.37"}}}
			s.Placement.Status.Leaving = []v1alpha1.Leaving{{
				Clusters: []v1alpha1.ClusterName{"prod-eu"}, Since: clitest.Ago(time.Minute), Until: soon, Because: "fields[0]: kubernetesVersion AtLeast v1.37",
			}}
		})},
		{reason: "it cannot be told", golden: "undecided.txt", scene: sceneOf("edge", func(s *Scene) {
			s.Placement.Spec = v1alpha1.PlacementSpec{Expressions: []string{"cluster.labels.env == 'prod'"}}
			s.Placement.Status.Undecided = []v1alpha1.ClusterName{"edge"}
		})},
		{reason: "the placement cannot be read", golden: "invalid.txt", scene: sceneOf("edge", func(s *Scene) {
			s.Placement.Spec.Expressions = []string{"cluster.labels.env = 'prod'"}
			s.Placement.Status.Conditions[0] = clitest.Condition(v1alpha1.ConditionDecided, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector, "spec.expressions[0]")
		})},
		{reason: "there is no placement, and no release", golden: "nothing.txt", scene: sceneOf("edge", func(s *Scene) {
			s.Package, s.Placement, s.PlacementName, s.Release = clitest.Broken(), nil, "nowhere", nil
		})},
		{reason: "it is on its way out", golden: "removing.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Placement.Status.Clusters, s.Placement.Status.Selected = []v1alpha1.ClusterName{"dev"}, 1
			s.Placement.Spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}
			s.Cluster.Status.Packages[0].Phase = v1alpha1.PackageRemoving
		})},
		{reason: "too many would lose it at once", golden: "withheld.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Placement.Spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{"env": "nowhere"}}
			s.Placement.Status.Clusters, s.Placement.Status.Selected = nil, 0
			s.Clusters = clitest.Clusters()
		})},
		{reason: "deletes of the release wait for a word", golden: "deletes-held.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Cluster.Status.Packages[0].DeletesHeld = &v1alpha1.MemberDeletesHeld{Objects: 2, Holds: 4, Allowed: 1, Names: []string{"ConfigMap shop/a", "ConfigMap shop/b"}}
		})},
		{reason: "its turn in a rollout has not come", golden: "rollout.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			rollsOut(s, clitest.Condition(v1alpha1.ConditionProgressing, metav1.ConditionTrue, v1alpha1.ReasonBaking, "stage test bakes for 10m"))
		})},
		{reason: "its turn in a rollout is to be approved", golden: "rollout-approval.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			rollsOut(s, clitest.Condition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval,
				"stage production waits for somebody to approve that it begins: `umbel rollout approve`"))
		})},
		{reason: "in a rollout it waits for another package", golden: "rollout-blocked.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			waitsInRollout(s, "package default/database is not healthy on this cluster")
		})},
		{reason: "in a rollout it waits for an agent that is not too old", golden: "rollout-blocked-agent.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			waitsInRollout(s, "its agent does not know plans (spec.plan)")
		})},
		{reason: "in a rollout others wait, and it does not", golden: "rollout-others-blocked.txt", scene: sceneOf("prod-us", func(s *Scene) {
			waitsInRollout(s, "package default/database is not healthy on this cluster")
		})},
		{reason: "no rollout has begun yet", golden: "rollout-none.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Package.Spec.Rollout = &v1alpha1.RolloutStrategy{}
		})},
		{reason: "it holds the release before", golden: "behind.txt", scene: sceneOf("prod-eu", func(s *Scene) {
			s.Package.Status.Release, s.Release.Name, s.Release.Spec.Variants[0].Digest = "shop-newer", "shop-newer", "sha256:22"
			s.Release.Spec.Variants[1].Digest = "sha256:11"
		})},
		{reason: "the hub is silent", golden: "silent-hub.txt", scene: sceneOf("prod-eu", nil), moment: clitest.Silent()},
		{reason: "a placement alone", golden: "placement.txt", scene: sceneOf("prod-eu", func(s *Scene) { s.Package, s.Release = nil, nil })},
		{reason: "a placement that does not mean it", golden: "placement-not.txt", scene: sceneOf("edge", func(s *Scene) { s.Package, s.Release = nil, nil })},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if c.moment == (view.Moment{}) {
				c.moment = clitest.Alive()
			}
			var out bytes.Buffer
			if err := (&page{out: &out}).account(Explain(c.scene, c.moment), c.moment); err != nil {
				t.Fatal(err)
			}
			clitest.Golden(t, c.golden, out.String())
		})
	}
}

// TestForesee: a spec that nobody has made yet is decided as the hub would, beside what the placement selects now.
func TestForesee(t *testing.T) {
	fresh := func(change func(*v1alpha1.PlacementSpec)) *v1alpha1.Placement {
		p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new", Generation: 1}}
		change(&p.Spec)
		return p
	}
	for _, c := range []struct {
		reason    string
		placement *v1alpha1.Placement
		want      []string
	}{
		{"by a label", fresh(func(s *v1alpha1.PlacementSpec) { s.ClusterSelector.MatchLabels = map[string]string{"env": "prod"} }), []string{
			"prod-eu Selected", "prod-us Selected", "dev NotSelected spec.clusterSelector: env=prod: the cluster has env=dev", "edge NotSelected spec.clusterSelector: env=prod: the cluster has no such label",
		}},
		{"by an expression that errs of one", fresh(func(s *v1alpha1.PlacementSpec) { s.Expressions = []string{"cluster.labels.env == 'dev'"} }), []string{
			"dev Selected", "edge Undecided spec.expressions[0]: cluster.labels.env == 'dev': line 1, column 15: no such key: env; so nothing is decided by it",
			"prod-eu NotSelected spec.expressions[0]: cluster.labels.env == 'dev': is false", "prod-us NotSelected spec.expressions[0]: cluster.labels.env == 'dev': is false",
		}},
		{"a number of them", fresh(func(s *v1alpha1.PlacementSpec) { s.NumberOfClusters = number(1) }), []string{
			"prod-eu Selected", "dev NotSelected spec.numberOfClusters: 1 seat taken, all by prod-eu; who has one keeps it",
			"edge NotSelected spec.numberOfClusters: 1 seat taken, all by prod-eu; who has one keeps it", "prod-us NotSelected spec.numberOfClusters: 1 seat taken, all by prod-eu; who has one keeps it",
		}},
	} {
		f, err := Foresee(c.placement, clitest.Clusters(), clitest.Now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range f.Verdicts {
			line := string(v.Cluster) + " " + string(v.State)
			if v.State != Selected {
				line += " " + f.Because(v.Cluster)
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	if _, err := Foresee(fresh(func(s *v1alpha1.PlacementSpec) { s.Expressions = []string{"cluster.nome"} }), nil, clitest.Now); err == nil || !strings.Contains(err.Error(), "spec.expressions[0]") {
		t.Errorf("an expression that cannot be read: %v", err)
	}
}

func TestSurvey(t *testing.T) {
	s := &Scene{Placement: clitest.Shops(), PlacementName: "shops", Clusters: clitest.Clusters()}
	var out bytes.Buffer
	if err := (&page{out: &out}).survey(Survey(s)); err != nil {
		t.Fatal(err)
	}
	clitest.Golden(t, "survey.txt", out.String())
}

// TestJSON: what programs read names every step with words that do not change.
func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := output.Encode(&out, output.JSON, Explain(sceneOf("dev", nil), clitest.Alive())); err != nil {
		t.Fatal(err)
	}
	clitest.Golden(t, "failing.json", out.String())
}
