package kubeproxy

import "testing"

func TestReads(t *testing.T) {
	for _, c := range []struct {
		method, path string
		want         bool
	}{
		{"GET", "/api/v1/namespaces/shop/pods", true},
		{"GET", "/api/v1/namespaces/shop/pods/web/log", true},
		{"GET", "/api/v1/namespaces/shop/configmaps/exec", true},
		{"GET", "/apis/apps/v1/deployments", true},
		{"HEAD", "/version", true},
		{"GET", "/openapi/v3", true},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", true},
		{"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", true},

		{"GET", "/api/v1/namespaces/shop/pods/web/exec", false},
		{"GET", "/api/v1/namespaces/shop/pods/web/%65xec", false},
		{"GET", "/api/v1/namespaces/shop/pods/web/attach", false},
		{"GET", "/api/v1/namespaces/shop/pods/web/portforward", false},
		{"GET", "/api/v1/nodes/one/proxy/run/shop/web", false},
		{"GET", "/api/v1/namespaces/shop/services/web/proxy/", false},
		{"GET", "/api/v1/proxy/namespaces/shop/services/web", false},
		{"GET", "/api/v1/%zz", false},
		{"POST", "/api/v1/namespaces/shop/pods", false},
		{"POST", "/api/v1/namespaces/shop/serviceaccounts/a/token", false},
		{"POST", "/apis/authentication.k8s.io", false},
		{"PATCH", "/api/v1/nodes/one", false},
		{"PUT", "/apis/apps/v1/namespaces/shop/deployments/web/scale", false},
		{"DELETE", "/api/v1/namespaces/shop", false},
		{"CONNECT", "/api/v1/namespaces/shop/pods/web/exec", false},
	} {
		if got := Reads(c.method, c.path); got != c.want {
			t.Errorf("%s %s: reads is %v", c.method, c.path, got)
		}
	}
}
