package logs

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// selectorOf returns how an object selects its pods.
func selectorOf(object any, err error) (*metav1.LabelSelector, error) {
	if err != nil {
		return nil, err
	}
	switch o := object.(type) {
	case *appsv1.Deployment:
		return o.Spec.Selector, nil
	case *appsv1.StatefulSet:
		return o.Spec.Selector, nil
	case *appsv1.DaemonSet:
		return o.Spec.Selector, nil
	case *appsv1.ReplicaSet:
		return o.Spec.Selector, nil
	case *batchv1.Job:
		return o.Spec.Selector, nil
	case *corev1.Service:
		return &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, nil
	}
	return nil, nil
}
