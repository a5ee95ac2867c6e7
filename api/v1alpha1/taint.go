package v1alpha1

// Taint keeps Placements that do not tolerate it away from a cluster.
type Taint struct {
	// key names what is the matter with the cluster, such as example.com/maintenance.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	Key string `json:"key"`
	// value says more, such as until-friday.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Value string `json:"value,omitempty"`
	// effect says what it does.
	Effect TaintEffect `json:"effect"`
}

// TaintEffect says what a taint does to Placements that do not tolerate it.
// +kubebuilder:validation:Enum=NoSelect;PreferNoSelect;Evict
type TaintEffect string

const (
	// TaintNoSelect: none selects the cluster anew. One that has selected it keeps it.
	TaintNoSelect TaintEffect = "NoSelect"
	// TaintPreferNoSelect: one that selects a number of clusters takes the others first.
	TaintPreferNoSelect TaintEffect = "PreferNoSelect"
	// TaintEvict: none selects the cluster anew, and one that has selected it gives it up, which prunes what it delivered.
	TaintEvict TaintEffect = "Evict"
)

// String writes the taint as people do: key=value:Effect.
func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + string(t.Effect)
	}
	return t.Key + "=" + t.Value + ":" + string(t.Effect)
}

// TaintEffects are all effects.
func TaintEffects() []TaintEffect {
	return []TaintEffect{TaintNoSelect, TaintPreferNoSelect, TaintEvict}
}

// Toleration lets a Placement select clusters that have taints, as one of a pod does for nodes.
// +kubebuilder:validation:XValidation:rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'Evict')",message="tolerationSeconds says how long an Evict taint is borne: give effect Evict as well"
// +kubebuilder:validation:XValidation:rule="has(self.key) || (has(self.operator) && self.operator == 'Exists')",message="without a key the operator is Exists: it tolerates every taint"
// +kubebuilder:validation:XValidation:rule="!has(self.operator) || self.operator != 'Exists' || !has(self.value)",message="operator Exists takes no value"
type Toleration struct {
	// key of the taints that are tolerated. Without it, with operator Exists, all are.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	// +optional
	Key string `json:"key,omitempty"`
	// operator is Equal, for taints with this value, or Exists, for any value.
	// +kubebuilder:default=Equal
	// +optional
	Operator TolerationOperator `json:"operator,omitempty"`
	// value of the taints that are tolerated.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Value string `json:"value,omitempty"`
	// effect of the taints that are tolerated. Without it all are.
	// +optional
	Effect TaintEffect `json:"effect,omitempty"`
	// tolerationSeconds is for how long a selected cluster stays so after an Evict taint was seen first. It selects no
	// cluster anew. Without it the taint is tolerated for ever.
	// +kubebuilder:validation:Minimum=0
	// +optional
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// TolerationOperator compares a toleration with a taint.
// +kubebuilder:validation:Enum=Equal;Exists
type TolerationOperator string

const (
	// TolerationEqual: the taint has the toleration's value.
	TolerationEqual TolerationOperator = "Equal"
	// TolerationExists: the taint has any value.
	TolerationExists TolerationOperator = "Exists"
)

// Tolerates says whether the toleration is meant for the taint, be it for a while.
func (t *Toleration) Tolerates(taint Taint) bool {
	if t.Key != "" && t.Key != taint.Key || t.Effect != "" && t.Effect != taint.Effect {
		return false
	}
	return t.Operator == TolerationExists || t.Key != "" && t.Value == taint.Value
}
