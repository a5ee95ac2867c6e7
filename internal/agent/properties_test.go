package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAMemberTellsWhereItBelongs: the hub says the fleet's name, the cluster has it as a property and tells the hub, and with it
// what to encrypt secrets for; and
// when the cluster has left, also without prune, nothing in it says so any more.
func TestAMemberTellsWhereItBelongs(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.eventually("the hub knows its properties", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
		got := map[string]string{}
		for _, p := range member.Status.Properties {
			got[p.Name] = p.Value
		}
		if to := got[v1alpha1.RecipientsProperty]; !strings.HasPrefix(to, "age1") {
			return fmt.Errorf("what to encrypt for is %q", to)
		}
		if end, of := member.Status.CertificateEnd(); of != "agent's own login" || time.Until(end) > 24*time.Hour { // kubetest's is of a day
			return fmt.Errorf("its first certificate ends at %s, and is that of its %q", end, of)
		}
		delete(got, v1alpha1.RecipientsProperty)
		delete(got, v1alpha1.CertificateProperty)
		if diff := cmp.Diff(map[string]string{"cluster.clusterset.k8s.io": "prod-eu", "clusterset.k8s.io": "umbel-test"}, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	f.leave()
	f.left()
	f.uninstalled()
	dyn, err := dynamic.NewForConfig(f.api)
	f.must(err)
	properties := dyn.Resource(schema.GroupVersionResource{Group: "about.k8s.io", Version: "v1beta1", Resource: "clusterproperties"})
	f.eventually("no property is left, nor the kind", func() error {
		_, err := properties.List(t.Context(), metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return absent(err)
	})
}
