package self

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// RunGuard is what a guard's Job runs: it switches to the new program, and back when that does not prove itself in time. It
// returns when nothing is left to guard, or ctx ends. It may be killed and run again at any time.
func (p Pod) RunGuard(ctx context.Context, now func() time.Time, log *slog.Logger) error {
	tick := time.NewTicker(2 * glance)
	defer tick.Stop()
	for {
		over, err := p.watch(ctx, now(), log)
		switch {
		case ctx.Err() != nil:
			return nil
		case over:
			return nil
		case err != nil && !errors.Is(err, ErrChanged):
			log.Warn("the guard looks again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watch looks once, and does what is due.
func (p Pod) watch(ctx context.Context, now time.Time, log *slog.Logger) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d, record, err := p.load(ctx)
	if err != nil {
		return false, err
	}
	pods, err := p.Client.CoreV1().Pods(v1alpha1.AgentNamespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return false, fmt.Errorf("listing the agent's pods: %w", err)
	}
	container := &d.Spec.Template.Spec.Containers[0]
	var ofImage = pods.Items[:0]
	for _, pod := range pods.Items {
		if pod.Spec.Containers[0].Image == container.Image {
			ofImage = append(ofImage, pod)
		}
	}
	seen := sight(ofImage)
	seen.Image = container.Image
	verdict := Judge(record, seen, now)
	switch verdict.Do {
	case Leave:
		return true, nil
	case Wait:
		return false, nil
	case Switch:
		container.Image, record.Phase, record.Deadline = record.Image, Switched, now.Add(PodPatience).UTC().Truncate(time.Second)
		log.Info("the guard switches", "build", record.Build, "image", record.Image, "deadline", record.Deadline)
		return false, p.write(ctx, d, record)
	case Yield:
		record.Phase, record.Message = Failed, verdict.Why
	case RollBack:
		container.Image, record.Phase, record.Message = record.FromImage, RolledBack, verdict.Why
	}
	log.Warn("the guard ends the upgrade", "phase", record.Phase, "why", record.Message)
	err = p.write(ctx, d, record)
	return err == nil, err
}
