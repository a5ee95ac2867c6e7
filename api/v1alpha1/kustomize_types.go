package v1alpha1

// KustomizeOptions say how kustomizations are built, be they in a Git repository or an OCI artifact.
type KustomizeOptions struct {
	// remoteBases are Git repositories beside the source that its kustomizations may refer to, as in
	// https://git.example.com/team/bases//web?ref=v1. The hub fetches them, at one commit each. A repository that is not listed is
	// not fetched, and what refers to it is an error. The default is none.
	// +listType=map
	// +listMapKey=url
	// +listMapKey=ref
	// +kubebuilder:validation:MaxItems=16
	// +optional
	RemoteBases []RemoteBase `json:"remoteBases,omitempty"`
}

// RemoteBase is a Git repository beside the source, at one commit.
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) || !self.url.matches('^(ssh://|[^/@:]+@[^/:]+:)')",message="a repository over ssh needs secretRef: a Secret with ssh-privatekey and known_hosts"
type RemoteBase struct {
	// url of the repository, without a folder in it: https://…, ssh://… (or USER@HOST:PATH), http://…, or file:///… as in source.git.
	// It says how the repository is fetched; kustomizations may name it by another protocol, and with or without .git.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^((https?|file|ssh)://[^?]+|[^/@:]+@[^/:]+:[^?]+)$')",message="url has to begin with https://, ssh://, http:// or file://, or be USER@HOST:PATH, and has no ?ref=: ref says that"
	URL string `json:"url"`
	// ref is the full hash of a commit, or a tag; a branch is refused, since it is another commit tomorrow. Who has the server
	// can move a tag: then the hub renders anew. Kustomizations name the same ref, or none.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Ref string `json:"ref"`
	// secretRef names a Secret, in the same namespace, with the credentials, as in source.git.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// ReleasedBase is a remote base as it was when a Release was rendered.
type ReleasedBase struct {
	// url and ref, as the Package lists them.
	URL string `json:"url"`
	Ref string `json:"ref"`
	// commit that ref was at.
	Commit string `json:"commit"`
}
