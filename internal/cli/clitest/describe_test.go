package clitest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestDescribe(t *testing.T) {
	f := newFleet(t)
	shop := &v1alpha1.Package{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop"}, shop); err != nil {
		t.Fatal(err)
	}
	f.create(t, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: "shop.1"},
		InvolvedObject: corev1.ObjectReference{Kind: "Package", Namespace: "default", Name: "shop", UID: shop.UID},
		Type:           "Normal", Reason: "Released", Message: "Released shop-1a2b3c4d", LastTimestamp: metav1.NewTime(f.now.Add(-time.Minute)), Count: 2,
	})
	cases := []struct {
		reason string
		args   string
		want   []string // lines, with one blank where there are more
	}{
		{
			reason: "a package", args: "describe package shop",
			want: []string{
				"Git: https://git.example.com/fleet.git", "Clusters: 1 of 3 ready, 1 failing, 1 unknown", "Delivered False ClustersFailing",
				"dev Failing shop-1a2b3c4d 4f0c2a9e7b1d 3/4 2/4 0", "prod-eu Ready shop-1a2b3c4d 4f0c2a9e7b1d 4/4 4/4 2", "prod-us Unknown shop-1a2b3c4d",
				"dev apps/web.yaml Deployment.apps shop/web spec.replicas: Invalid value", "prod-eu Role shop/pod-reader: Deleted, put back",
				"60s Normal Released Released shop-1a2b3c4d (2 times)",
			},
		},
		{
			reason: "a cluster", args: "describe cluster prod-us",
			want: []string{"Labels: env=prod,region=us", "Connected: Unknown (4m ago)", "Synced Unknown (was True)", "default/shop Unknown"},
		},
		{
			reason: "a placement", args: "describe pl/shops",
			want: []string{"Selects: env in (dev,prod)", "Packages: shop", "prod-eu True True env=prod,region=eu"},
		},
		{
			reason: "a release", args: "describe release shop-1a2b3c4d",
			want: []string{"Current: yes", "prod 4 2Ki sha256:2c26b46b68ff", "dev prod-eu prod-us"},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got := f.run(t.Context(), strings.Fields(c.args)...)
			if got.Code != 0 || got.Err != "" {
				t.Fatalf("got code %d and %q", got.Code, got.Err)
			}
			text := strings.Join(strings.Fields(got.Out), " ")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("got no %q in:\n%s", want, got.Out)
				}
			}
		})
	}
	if got := f.run(t.Context(), "describe", "package", "nope"); got.Code != 1 || !strings.Contains(got.Err, `there is no package "nope" in namespace "default"`) {
		t.Errorf("describing what does not exist: got %+v", got)
	}
	if got := f.run(t.Context(), "describe", "package"); got.Code != 2 {
		t.Errorf("describing nothing: got %+v, want code 2", got)
	}
}

func TestDescribeJSON(t *testing.T) {
	f := newFleet(t)
	var got struct {
		Package  v1alpha1.Package
		Clusters []struct{ Cluster, State string }
		Hub      struct{ Alive bool }
	}
	read(t, f.run(t.Context(), "describe", "package", "shop", "-o", "json"), &got)
	states := map[string]string{}
	for _, c := range got.Clusters {
		states[c.Cluster] = c.State
	}
	if diff := cmp.Diff(map[string]string{"dev": "Failing", "prod-eu": "Ready", "prod-us": "Unknown"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if got.Package.Name != "shop" || got.Package.Kind != "Package" || !got.Hub.Alive {
		t.Errorf("got %+v, want the package and a hub that is alive", got)
	}
}
