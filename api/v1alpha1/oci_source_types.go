package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OCISource is a folder of an OCI artifact, as Flux, Helm and `oras push` make them.
// +kubebuilder:validation:XValidation:rule="(has(self.tag) ? 1 : 0) + (has(self.semver) ? 1 : 0) + (has(self.digest) ? 1 : 0) <= 1",message="tag, semver and digest exclude each other"
type OCISource struct {
	// url of the artifact without its version: oci://HOST/PATH. oci+http:// speaks plain HTTP, for a registry that has nothing
	// else; credentials are sent that way to one on the hub's own machine only.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^oci([+]http)?://[^/]+/.+')",message="url has to be oci://HOST/PATH"
	URL string `json:"url"`
	// tag of the artifact. The default is latest.
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`
	// +optional
	Tag string `json:"tag,omitempty"`
	// semver is a range of versions, such as ">=1.2 <2": the newest tag that it allows is taken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Semver string `json:"semver,omitempty"`
	// digest of the artifact, as sha256:….
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +optional
	Digest string `json:"digest,omitempty"`
	// path of the folder in the artifact. The default is all of it.
	// +kubebuilder:default="."
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",message="path is relative to the root of the artifact and does not leave it"
	// +optional
	Path string `json:"path,omitempty"`
	// secretRef names a Secret, in the same namespace, with the credentials: username and password, token, or
	// .dockerconfigjson; ca.crt for a registry with a certificate of an authority of one's own.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// pollInterval is how often the registry is asked. A refresh (`umbel refresh`) asks at once.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="pollInterval is at least 5s"
	// +optional
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
	// verify has the hub take artifacts only that are signed by cosign with a key that is known. Without it every artifact is taken.
	// +optional
	Verify *Verification `json:"verify,omitempty"`
}
