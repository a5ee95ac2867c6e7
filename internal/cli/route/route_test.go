package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

func TestDoorOf(t *testing.T) {
	cases := []struct {
		reason string
		data   map[string]string
		want   Door
		err    string
	}{
		{
			reason: "where the hub is reached",
			data:   map[string]string{"address": "127.0.0.1:7443", "ca": "PEM"},
			want:   Door{Address: "127.0.0.1:7443", CA: []byte("PEM")},
		},
		{
			reason: "no address", data: map[string]string{"ca": "PEM"},
			err: "ConfigMap umbel-system/hub-info: data.address is missing: the hub writes it when it starts",
		},
		{
			reason: "without a CA nobody is trusted", data: map[string]string{"address": "127.0.0.1:7443"},
			err: "ConfigMap umbel-system/hub-info: data.ca is missing: the hub writes it when it starts",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			info := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "umbel-system", Name: "hub-info"}, Data: c.data}
			got, err := doorOf(info)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("door (-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever came through the door goes on by it, and asks for no right to read where it is.
func TestDoorThatSomebodyCameBy(t *testing.T) {
	for _, c := range []struct {
		host string
		want Door
		came bool
	}{
		{host: "https://hub.example.com:7443/hub", want: Door{Address: "hub.example.com:7443", CA: []byte("PEM")}, came: true},
		{host: "https://hub.example.com/hub", want: Door{Address: "hub.example.com", CA: []byte("PEM")}, came: true},
		{host: "https://127.0.0.1:6443"},
		{host: "https://proxy.example.com/clusters/hub"},
		{host: "http://hub.example.com/hub"},
	} {
		got, came := doorIn(&rest.Config{Host: c.host, TLSClientConfig: rest.TLSClientConfig{CAData: []byte("PEM")}})
		if diff := cmp.Diff(c.want, got); diff != "" || came != c.came {
			t.Errorf("%s: came %v (-want +got):\n%s", c.host, came, diff)
		}
	}
}

func TestKubeconfigForAMember(t *testing.T) {
	hub := clientcmdapi.NewConfig()
	hub.Clusters["hub"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:6443", CertificateAuthorityData: []byte("the hub's API")}
	hub.AuthInfos["ada"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte("cert"), ClientKeyData: []byte("key")}
	hub.AuthInfos["eve"] = &clientcmdapi.AuthInfo{Token: "somebody else's"}
	hub.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "ada", Namespace: "team-a"}
	hub.CurrentContext = "hub"

	want := clientcmdapi.NewConfig()
	want.Clusters["prod-eu"] = &clientcmdapi.Cluster{Server: "https://hub/clusters/prod-eu", CertificateAuthorityData: []byte("PEM")}
	want.AuthInfos["hub"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte("cert"), ClientKeyData: []byte("key")}
	want.Contexts["prod-eu"] = &clientcmdapi.Context{Cluster: "prod-eu", AuthInfo: "hub"} // the hub's namespaces are not the member's
	want.CurrentContext = "prod-eu"

	got := Door{Address: "hub", CA: []byte("PEM")}.Kubeconfig(hub, "prod-eu")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kubeconfig (-want +got):\n%s", diff)
	}
}

// TestOpen: nobody is asked who would not answer; an API server that was slow for once would.
func TestOpen(t *testing.T) {
	for _, c := range []struct {
		reason     string
		conditions []metav1.Condition
		want       string
	}{
		{"it answers", []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered}}, ""},
		{"its agent is there", []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAPIUnreachable}}, ""},
		{"nobody is", []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonProbeTimeout, Message: "no answer"}},
			`cluster "prod-eu" is not connected: no answer (ProbeTimeout)`},
		{"nobody has ever been", nil, `cluster "prod-eu" is not connected: nobody has heard of its agent yet`},
	} {
		cluster := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu"}, Status: v1alpha1.MemberClusterStatus{Conditions: c.conditions}}
		if err := Open(view.Moment{}, cluster); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}
