package describe

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/output"
)

const (
	// nodePatience is how long a cluster may take to tell of its nodes.
	nodePatience = 5 * time.Second
	// mostNodes is of how many nodes it is asked at a time.
	mostNodes = 500
)

// nodeState is how the nodes of a cluster are. The hub keeps nothing of them: the cluster is asked when somebody looks.
type nodeState struct {
	// Nodes is how many there are, and Ready how many of them take pods.
	Nodes int `json:"nodes"`
	Ready int `json:"ready"`
	// Troubles are what keeps pods away from nodes.
	Troubles []nodeTrouble `json:"troubles,omitempty"`
	// Unknown says why nobody could tell.
	Unknown string `json:"unknown,omitempty"`
}

// nodeTrouble is what keeps pods away from a node.
type nodeTrouble struct {
	Node    string      `json:"node"`
	Trouble string      `json:"trouble"`
	Since   metav1.Time `json:"since,omitzero"`
	Message string      `json:"message,omitempty"`
}

// askNodes asks a connected cluster for its nodes, through the hub and as whoever looks.
func askNodes(ctx context.Context, f *client.Factory, hub *client.Hub, cluster *v1alpha1.MemberCluster) *nodeState {
	state, err := listNodes(ctx, f, hub, cluster)
	if err != nil {
		return &nodeState{Unknown: err.Error()}
	}
	return state
}

func listNodes(ctx context.Context, f *client.Factory, hub *client.Hub, cluster *v1alpha1.MemberCluster) (*nodeState, error) {
	members, err := fleet.Members(ctx, f, hub, []v1alpha1.MemberCluster{*cluster})
	if err != nil {
		return nil, err
	}
	if gone := members[0].Gone; gone != nil {
		return nil, gone
	}
	api, err := kubernetes.NewForConfig(members[0].Config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	state, next := &nodeState{}, ""
	for {
		list, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: mostNodes, Continue: next, ResourceVersion: ""})
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("the cluster did not answer within %s", nodePatience)
			}
			return nil, err
		}
		for i := range list.Items {
			state.add(&list.Items[i])
		}
		if next = list.Continue; next == "" {
			return state, nil
		}
	}
}

// add counts a node, and notes what keeps pods away from it.
func (s *nodeState) add(node *corev1.Node) {
	s.Nodes++
	ready := corev1.NodeCondition{Status: corev1.ConditionUnknown, Message: "it has not said how it is"}
	var pressed []nodeTrouble
	for _, c := range node.Status.Conditions {
		switch c.Type {
		case corev1.NodeReady:
			ready = c
		case corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable:
			if c.Status == corev1.ConditionTrue {
				pressed = append(pressed, nodeTrouble{node.Name, string(c.Type), c.LastTransitionTime, cmp.Or(c.Message, c.Reason)})
			}
		}
	}
	if ready.Status == corev1.ConditionTrue {
		s.Ready++
	} else {
		s.Troubles = append(s.Troubles, nodeTrouble{node.Name, "NotReady", ready.LastTransitionTime, cmp.Or(ready.Message, ready.Reason)})
	}
	s.Troubles = append(s.Troubles, pressed...)
	if node.Spec.Unschedulable {
		s.Troubles = append(s.Troubles, nodeTrouble{Node: node.Name, Trouble: "Cordoned", Message: "somebody has it take no further pods"})
	}
}

// cell says in a few words how the nodes are.
func (s *nodeState) cell() output.Cell {
	switch {
	case s.Unknown != "":
		return output.Cell{Text: "not known: " + s.Unknown, Tone: output.Doubtful}
	case s.Nodes == 0:
		return output.Cell{Text: "none: no pod can run", Tone: output.Doubtful}
	case s.Ready < s.Nodes:
		return output.Cell{Text: fmt.Sprintf("%d of %d ready", s.Ready, s.Nodes), Tone: output.Bad}
	case len(s.Troubles) > 0:
		return output.Cell{Text: fmt.Sprintf("%d of %d ready, and not all take pods", s.Ready, s.Nodes), Tone: output.Doubtful}
	}
	return output.Text(fmt.Sprintf("%d of %d ready", s.Ready, s.Nodes))
}
