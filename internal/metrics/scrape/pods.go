package scrape

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/internal/metrics/edge"
)

// allPods is how long all pods of a round may take together: those that do not answer hold up little.
const allPods = 20 * time.Second

// watch reads which pods are to be measured: what PodMonitors and ServiceMonitors name, where those kinds exist.
func (s *state) watch(ctx context.Context) (*edge.Watch, error) {
	pods, err := s.monitors(ctx, "podmonitors")
	if err != nil {
		return nil, err
	}
	services, err := s.monitors(ctx, "servicemonitors")
	if err != nil {
		return nil, err
	}
	var serving []edge.Service
	if len(services) > 0 {
		err = pages(func(o metav1.ListOptions) (string, error) {
			list, err := s.client.CoreV1().Services("").List(ctx, o)
			if err != nil {
				return "", fmt.Errorf("listing services: %w", err)
			}
			for i := range list.Items {
				serving = append(serving, serviceOf(&list.Items[i]))
			}
			return list.Continue, nil
		})
	}
	return edge.NewWatch(pods, services, serving), err
}

// monitors lists the objects of a kind of Prometheus' operator; none where there is no such kind.
func (s *state) monitors(ctx context.Context, resource string) (all []edge.Monitor, err error) {
	err = pages(func(o metav1.ListOptions) (string, error) {
		raw, err := s.client.CoreV1().RESTClient().Get().AbsPath("/apis/monitoring.coreos.com/v1/"+resource).
			Param("limit", fmt.Sprint(o.Limit)).Param("continue", o.Continue).SetHeader("Accept", "application/json").Do(ctx).Raw()
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("listing %s: %w", resource, err)
		}
		var list struct {
			Metadata metav1.ListMeta
			Items    []edge.Monitor
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return "", fmt.Errorf("reading %s: %w", resource, err)
		}
		all = append(all, list.Items...)
		return list.Metadata.Continue, nil
	})
	return all, err
}

func serviceOf(s *corev1.Service) edge.Service {
	of := edge.Service{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: s.Annotations, Selector: s.Spec.Selector, Ports: map[string]intstr.IntOrString{}}
	for _, p := range s.Spec.Ports {
		to := p.TargetPort
		if to == (intstr.IntOrString{}) {
			to = intstr.FromInt32(p.Port)
		}
		of.Ports[p.Name] = to
	}
	return of
}

// attach reads what monitors want to know of nodes, where one does.
func (s *state) attach(ctx context.Context) error {
	if !s.watched.Nodes() {
		return nil
	}
	s.attached = map[string]*edge.Node{}
	return pages(func(o metav1.ListOptions) (string, error) {
		list, err := s.client.CoreV1().Nodes().List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing nodes for monitors: %w", err)
		}
		for i := range list.Items {
			n := &list.Items[i]
			s.attached[n.Name] = &edge.Node{Name: n.Name, Labels: n.Labels, Annotations: n.Annotations}
		}
		return list.Continue, nil
	})
}

// targetsOf adds where a pod is to be asked. One that does not run is not.
func (s *state) targetsOf(pod *corev1.Pod) {
	if s.watched == nil || pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil || len(s.targets) >= edge.MaxTargets {
		return
	}
	p := edge.Pod{Namespace: pod.Namespace, Name: pod.Name, Address: pod.Status.PodIP, Labels: pod.Labels, Annotations: pod.Annotations, About: about(pod), Node: s.attached[pod.Spec.NodeName]}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, port := range c.Ports {
			p.Ports = append(p.Ports, edge.Port{Name: port.Name, Number: port.ContainerPort, Container: c.Name, Protocol: string(port.Protocol)})
		}
	}
	s.targets = append(s.targets, s.watched.Targets(&p)...)
}

// about is what else Prometheus' discovery says of a pod.
func about(pod *corev1.Pod) map[string]string {
	said := map[string]string{"node_name": pod.Spec.NodeName, "host_ip": pod.Status.HostIP, "uid": string(pod.UID), "phase": string(pod.Status.Phase)}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			said["ready"] = strings.ToLower(string(c.Status))
		}
	}
	if by := metav1.GetControllerOf(pod); by != nil {
		said["controller_kind"], said["controller_name"] = by.Kind, by.Name
	}
	return said
}

// ofPods are the questions to pods.
func (s *Scraper) ofPods(targets []edge.Target) (questions []question) {
	secrets := &vault{client: s.client, tokens: &s.tokens}
	for _, t := range targets {
		questions = append(questions, question{
			of:  source{job: t.Job, instance: t.Instance(), namespace: t.Namespace, pod: t.Pod, labels: t.Labels},
			ask: func(ctx context.Context, from source) []said { return []said{s.askPod(ctx, t, from, secrets)} },
		})
	}
	return questions
}

func (s *Scraper) askPod(ctx context.Context, t edge.Target, from source, secrets *vault) said {
	ctx, cancel := context.WithTimeout(ctx, t.Within)
	defer cancel()
	a := said{from: from, reading: t.Reading, at: s.Now(), err: t.Reading.TooMany()}
	if a.err != nil {
		return a
	}
	body, err := s.openPod(ctx, t, secrets)
	if err != nil {
		a.err = err
		return a
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, edge.MaxPodText+1))
	switch {
	case err != nil:
		a.err = err
	case len(raw) > edge.MaxPodText:
		a.err = fmt.Errorf("it says more than %d bytes, which is what one pod may", edge.MaxPodText)
	default:
		a.text = raw
	}
	return a
}

// openPod asks a pod: by the API server's way to pods, and through a port of it that is forwarded where that way does not carry what the pod is to be shown.
func (s *Scraper) openPod(ctx context.Context, t edge.Target, secrets *vault) (io.ReadCloser, error) {
	if t.Access != nil {
		return s.openForwarded(ctx, t, secrets)
	}
	way := s.led
	if t.Reading.Stays {
		way = s.client.CoreV1().RESTClient()
	}
	r := way.Get().AbsPath(t.URL()).SetHeader("Accept", accept)
	for name, values := range t.Params {
		for _, value := range values {
			r.Param(name, value)
		}
	}
	return r.Stream(ctx)
}

// accept is the text format that is asked for.
const accept = "text/plain;version=0.0.4"
