package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GitSource is a folder of a Git repository at a revision.
// +kubebuilder:validation:XValidation:rule="!(has(self.ref) && has(self.semver))",message="ref and semver exclude each other: name a branch, tag or commit, or give a range of versions"
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) || !self.url.matches('^(ssh://|[^/@:]+@[^/:]+:)')",message="a repository over ssh needs secretRef: a Secret with ssh-privatekey and known_hosts"
type GitSource struct {
	// url of the repository: https://…, ssh://… (or USER@HOST:PATH), http://…, or file:///… for one on the hub's own machine, in
	// a folder that the hub was told to read (`umbel hub --allow-local-sources`).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^((https?|file|ssh)://.+|[^/@:]+@[^/:]+:.+)$')",message="url has to begin with https://, ssh://, http:// or file://, or be USER@HOST:PATH"
	URL string `json:"url"`
	// ref is a branch, a tag, or the full hash of a commit. The default is main.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Ref string `json:"ref,omitempty"`
	// semver is a range of versions, such as ">=1.2 <2": the newest tag that it allows is taken, instead of a ref.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Semver string `json:"semver,omitempty"`
	// path of the folder in the repository. A kustomization.yaml in it is built with kustomize; without one, every
	// .yaml, .yml and .json file below it is taken as it is. The default is the root of the repository.
	// +kubebuilder:default="."
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",message="path is relative to the root of the repository and does not leave it"
	// +optional
	Path string `json:"path,omitempty"`
	// recurseSubmodules has the submodules of the commit fetched, and theirs, from where .gitmodules says. Those on the same server
	// are fetched with the same Secret, others with none. The default is that a submodule cannot be read.
	// +optional
	RecurseSubmodules bool `json:"recurseSubmodules,omitempty"`
	// secretRef names a Secret, in the same namespace, with the credentials: username and password, or token; for ssh
	// ssh-privatekey and known_hosts; ca.crt for a server with a certificate of an authority of one's own.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// pollInterval is how often the repository is asked for a new revision. A refresh (`umbel refresh`) asks at once.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="pollInterval is at least 5s"
	// +optional
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
	// verify has the hub take commits only that somebody signed whose key is known. Without it every commit is taken.
	// +optional
	Verify *GitVerification `json:"verify,omitempty"`
}
