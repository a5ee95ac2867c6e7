package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// HelmSource is a chart of a repository of Helm charts. How it is rendered is said in spec.helm.
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.url.startsWith('oci')",message="verify is for charts of an OCI registry: cosign signs nothing else"
type HelmSource struct {
	// url of the repository: https://…, http://…, or oci://HOST/PATH, without the chart. oci+http:// speaks plain HTTP to a
	// registry that has nothing else; credentials are sent over plain HTTP to the hub's own machine only.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?://.+|oci([+]http)?://.+)$')",message="url has to begin with https://, http:// or oci://"
	URL string `json:"url"`
	// chart is its name in the repository.
	// +kubebuilder:validation:MaxLength=250
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`
	Chart string `json:"chart"`
	// version is a version, or a range such as ">=1.2 <2", of which the newest is taken. The default is the newest that is no
	// prerelease.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Version string `json:"version,omitempty"`
	// secretRef names a Secret, in the same namespace, with the credentials: username and password, token, or, for oci://,
	// .dockerconfigjson; ca.crt for a server with a certificate of an authority of one's own.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// pollInterval is how often the repository is asked. A refresh (`umbel refresh`) asks at once.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="pollInterval is at least 5s"
	// +optional
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
	// verify has the hub take charts of an OCI registry only that are signed by cosign with a key that is known. Without it every
	// chart is taken.
	// +optional
	Verify *Verification `json:"verify,omitempty"`
}

// HelmOptions say how a chart is rendered, be it of a repository of charts or a folder of a Git repository or an OCI artifact
// with a Chart.yaml.
type HelmOptions struct {
	// releaseName is what templates see as .Release.Name. The default is the name of the Package.
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	ReleaseName string `json:"releaseName,omitempty"`
	// namespace of the objects that name none, on the clusters; templates see it as .Release.Namespace. It is not made. The
	// default is "default".
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// valuesFiles are files of values in the chart's folder, one over the other, over the chart's own values.yaml.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// valuesFrom are ConfigMaps and Secrets on the hub, in the namespace of the Package, with values, one over the other, over
	// those of files. They are read as often as the source is asked. What they hold is rendered into what is delivered.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	ValuesFrom []HelmValuesReference `json:"valuesFrom,omitempty"`
	// values are over all others. ${cluster.name} and its like are filled in for each cluster, after templates ran.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +optional
	Values *runtime.RawExtension `json:"values,omitempty"`
	// kubeVersion is which Kubernetes templates are told that there is, such as v1.33. The default is that of the hub's libraries.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	KubeVersion string `json:"kubeVersion,omitempty"`
	// apiVersions are what templates are told that the clusters have beside Kubernetes' own, such as monitoring.coreos.com/v1.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=320
	// +optional
	APIVersions []string `json:"apiVersions,omitempty"`
}

// HelmValuesReference names a ConfigMap or a Secret with values.
type HelmValuesReference struct {
	// kind of the object.
	// +kubebuilder:validation:Enum=ConfigMap;Secret
	Kind string `json:"kind"`
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// key of the values in it, as YAML.
	// +kubebuilder:default="values.yaml"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Key string `json:"key,omitempty"`
}

// HelmVariant is what is different of a chart.
type HelmVariant struct {
	// values are over those of spec.helm, and over those of the variants before.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Values runtime.RawExtension `json:"values"`
}
