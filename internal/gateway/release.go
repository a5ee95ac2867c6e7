package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=releases,verbs=get

// releaseAPI is where Releases are in the hub's API: who reads content asks for a subresource of one.
const releaseAPI = "/apis/umbel.dev/v1alpha1/namespaces/%s/releases/%s/" + v1alpha1.ContentSubresource

// releaseContent serves the content of a Release to a person: at the path, NAMESPACE/NAME/DIGEST.
func (g *Gateway) releaseContent(w http.ResponseWriter, r *http.Request, at string) {
	parts := strings.Split(at, "/")
	if len(parts) != 3 || slices.Contains(parts, "") || strings.ContainsAny(at, "%\\") {
		kubeproxy.WriteError(w, http.StatusNotFound, "the content of a release is at "+v1alpha1.ContentPath+"NAMESPACE/NAME/DIGEST")
		return
	}
	target := audit.Target{Path: fmt.Sprintf(releaseAPI, parts[0], parts[1])}
	g.Audit.Serve(w, r, target, func(w http.ResponseWriter, r *http.Request) {
		g.serveRelease(w, r, client.ObjectKey{Namespace: parts[0], Name: parts[1]}, parts[2])
	})
}

// serveRelease serves one content of a Release to who may read its content. It may hold Secrets: reading Releases alone is not enough.
func (g *Gateway) serveRelease(w http.ResponseWriter, r *http.Request, at client.ObjectKey, digest string) {
	log := g.Log.With("peer", r.RemoteAddr, "method", r.Method, "release", at.String())
	who, ok := g.recognise(w, r, log)
	if !ok {
		return
	}
	if !reads(r) {
		refuse(w, r, http.StatusMethodNotAllowed, "the content of releases is for reading")
		return
	}
	allowed, err := g.people.can(r.Context(), authorizer.AttributesRecord{
		User: who, Verb: "get", Namespace: at.Namespace, Name: at.Name, Resource: "releases", Subresource: v1alpha1.ContentSubresource,
	})
	if err != nil {
		log.Error("a request for the content of a release was not decided", "user", who.GetName(), "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return
	}
	if !allowed {
		log.Warn("a request for the content of a release was refused", "user", who.GetName(), "why", "not allowed on the hub")
		refuse(w, r, http.StatusForbidden, fmt.Sprintf("user %q may not read the content of release %q: that takes the verb \"get\" on releases.umbel.dev/%s in namespace %q of the hub",
			who.GetName(), at.Name, v1alpha1.ContentSubresource, at.Namespace))
		return
	}
	var release v1alpha1.Release
	if err := g.live.Get(r.Context(), at, &release); err != nil {
		code, why := http.StatusServiceUnavailable, "the hub cannot read the release now; try again"
		if apierrors.IsNotFound(err) {
			code, why = http.StatusNotFound, fmt.Sprintf("there is no release %q in namespace %q: `umbel plan` without --release plans what is in a working tree", at.Name, at.Namespace)
		}
		refuse(w, r, code, why)
		return
	}
	key := v1alpha1.KeyOf(at.Namespace, release.Spec.PackageRef.Name)
	has := slices.ContainsFunc(release.Spec.Variants, func(v v1alpha1.Variant) bool { return v.Digest == digest })
	if !has || release.Spec.Repository != key.Repository() { // who writes a Release by hand reads no other package with it
		refuse(w, r, http.StatusNotFound, fmt.Sprintf("release %q has no content %s of package %s", at.Name, digest, key))
		return
	}
	audit.From(r.Context()).Allowed("")
	inside := r.Clone(r.Context())
	inside.URL.Path, inside.URL.RawPath, inside.URL.RawQuery = "/v2/"+release.Spec.Repository+"/blobs/"+digest, "", ""
	inside.RequestURI = inside.URL.Path
	g.Registry.ServeHTTP(w, inside)
}
