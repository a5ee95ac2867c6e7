package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// What is watched is one object by its name, which may be granted by its name.
//
// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=secrets,resourceNames=umbel-member-ca,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,resourceNames=umbel-ca;hub-info,verbs=patch

// look is how often the driver looks while it waits for members, and longestLook while nothing is under way: what is shown is as old as that.
const (
	look        = 2 * time.Second
	longestLook = time.Minute
)

// Driver takes the steps of a rotation. It is a runnable of the manager that one replica runs; were it two, the
// Secret's resourceVersion lets one of them take each step.
type Driver struct {
	authority *Authority
	members   client.Reader
	clients   kubernetes.Interface
	log       *slog.Logger
	watched   time.Time // since when members are counted
	warned    time.Time
}

// NewDriver returns a driver that takes steps when it is told to. members reads MemberClusters, and may do so from a cache.
func NewDriver(authority *Authority, members client.Reader, log *slog.Logger) *Driver {
	return &Driver{authority: authority, members: members, log: log}
}

// Setup has the manager keep the authority up to date and take the steps of rotations. changed is called after each change.
func Setup(mgr ctrl.Manager, authority *Authority, changed func() error, log *slog.Logger) (*Driver, error) {
	clients, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("making the client that follows the members' certificate authority: %w", err)
	}
	driver := NewDriver(authority, mgr.GetClient(), log)
	driver.clients = clients
	follower := &follower{authority: authority, clients: clients, changed: changed, log: log}
	return driver, errors.Join(mgr.Add(follower), mgr.Add(driver))
}

// Start implements manager.Runnable.
func (d *Driver) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	asked, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		follow(ctx, d.clients, "configmaps", v1alpha1.CAConfigMap, &corev1.ConfigMap{}, func(any) {
			select {
			case asked <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { cancel(); <-done }()
	for {
		wait, err := d.Step(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Error("looking after the members' certificate authority", "error", err)
			wait = look
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-asked:
			timer.Stop()
		}
	}
}

// Step takes the next step, if there is one to take now, and says when to look again. It may be called at any time and by
// anybody: it decides on what the API says.
func (d *Driver) Step(ctx context.Context) (time.Duration, error) {
	now := d.authority.now()
	if d.watched.IsZero() {
		d.watched = now
	}
	secret, err := d.authority.refresh(ctx)
	if err != nil {
		return 0, err
	}
	s, err := parse(secret)
	if err != nil {
		return 0, err
	}
	asked, shown, err := d.conversation(ctx)
	if err != nil {
		return 0, err
	}
	seen := standing{
		phase: s.rotation.Phase, since: s.rotation.Since, compromised: s.rotation.Compromised, end: s.issuer.Certificate().NotAfter,
		answered: s.rotation.Request, finishing: s.rotation.Finishing, request: asked, watched: d.watched,
	}
	if s.rotation.Phase == v1alpha1.CAAnnounced {
		if err = d.count(ctx, &seen, identity.TrustDigest(s.trust().PEM())); err != nil {
			return 0, err
		}
	}
	decided := next(seen, d.authority.pace, now)
	after, err := d.apply(s, decided, asked, now)
	if err == nil && after.signer == nil {
		after, err = after.signing(now)
	}
	if err != nil {
		return 0, err
	}
	if after != s {
		written, err := d.write(ctx, secret, after)
		if apierrors.IsConflict(err) {
			return 0, nil // another replica was faster: look again
		}
		if err != nil || !written {
			return 0, err
		}
		d.log.Info("the members' certificate authority takes a step", "step", decided.op, "phase", after.rotation.Phase,
			"issues", after.issuer.Certificate().Subject.CommonName, "connected", seen.connected, "behind", seen.behind, "away", seen.away, "refused", decided.refused)
	}
	d.warn(after, now)
	if err := d.show(ctx, after, decided.until, shown); err != nil {
		return 0, err
	}
	return pause(after, s, decided, now), nil
}

// pause is how long there is nothing to look at.
func pause(after, before *state, decided decision, now time.Time) time.Duration {
	wait := longestLook
	if !decided.until.IsZero() {
		wait = min(wait, max(0, decided.until.Sub(now)))
	}
	switch {
	case after != before:
		return 0
	case after.rotation.Phase == v1alpha1.CAAnnounced:
		return min(wait, look)
	}
	return wait
}

// apply makes the state that follows; the same one when nothing changes.
func (d *Driver) apply(s *state, decided decision, asked v1alpha1.CARequest, now time.Time) (after *state, err error) {
	after = s
	switch decided.op {
	case announce:
		ca, err := identity.NewCAAt(now, caName(s.rotation.Number+1), caTTL)
		if err != nil {
			return nil, err
		}
		after = s.announced(ca, decided.compromised, now)
	case switchOver:
		if after, err = s.switched(now); err != nil {
			return nil, err
		}
	case retire:
		after = s.settled(now)
	case cancel:
		after = s.cancelled(now)
	}
	if !decided.answers {
		return after, nil
	}
	answered := *after
	answered.rotation.Request, answered.rotation.Refused = asked.ID, decided.refused
	answered.rotation.Finishing = answered.rotation.Finishing || decided.finish
	return &answered, nil
}

// write writes the Secret on what was read.
func (d *Driver) write(ctx context.Context, secret *corev1.Secret, after *state) (bool, error) {
	data, err := after.data()
	if err != nil {
		return false, err
	}
	changed := secret.DeepCopy()
	changed.Data = data
	if err := d.authority.client.Update(ctx, changed); err != nil {
		return false, fmt.Errorf("writing secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return true, d.authority.take(changed)
}

// conversation reads what was asked, and what was answered.
func (d *Driver) conversation(ctx context.Context) (asked v1alpha1.CARequest, shown map[string]string, err error) {
	var talk corev1.ConfigMap
	err = d.authority.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}, &talk)
	if client.IgnoreNotFound(err) != nil {
		return asked, nil, fmt.Errorf("reading configmap %s/%s: %w", v1alpha1.SystemNamespace, v1alpha1.CAConfigMap, err)
	}
	if raw := talk.Data[v1alpha1.CARequestKey]; raw != "" {
		if err := json.Unmarshal([]byte(raw), &asked); err != nil {
			return v1alpha1.CARequest{}, talk.Data, nil // nobody's wish that can be understood
		}
	}
	return asked, talk.Data, nil
}

// count counts the members that are connected, and who of all does not keep the bundle. It is asked every other second, of a
// fleet of any size: what the cache has is looked at and not copied.
func (d *Driver) count(ctx context.Context, seen *standing, bundle string) error {
	var all v1alpha1.MemberClusterList
	if err := d.members.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("counting which members keep the new authority: %w", err)
	}
	for i := range all.Items {
		status := &all.Items[i].Status
		id, connected := status.Identity, meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionConnected)
		keeps := id != nil && id.Trust == bundle
		switch {
		case connected && keeps:
			seen.connected++
		case connected:
			seen.connected++
			seen.behind++
		case id != nil && !keeps:
			seen.away++
		}
	}
	return nil
}

// warn says in the log, once a day, what somebody has to look after.
func (d *Driver) warn(s *state, now time.Time) {
	if now.Sub(d.warned) < 24*time.Hour {
		return
	}
	for _, warning := range s.warnings(now) {
		d.log.Warn("the members' certificate authority: " + warning)
		d.warned = now
	}
}

// show tells people: how it stands, and by which CAs they know the hub.
func (d *Driver) show(ctx context.Context, s *state, until time.Time, shown map[string]string) error {
	status := s.status(d.authority.now())
	if !until.IsZero() && s.rotation.Phase != v1alpha1.CASettled {
		status.Until = &metav1.Time{Time: until.UTC().Truncate(time.Second)}
	}
	for i, a := range status.Authorities {
		status.Authorities[i].Refused = d.authority.refusals(a.Fingerprint)
	}
	raw, err := json.Marshal(status)
	if err != nil {
		return err
	}
	var errs []error
	if shown[v1alpha1.CAStatusKey] != string(raw) {
		errs = append(errs, d.authority.publish(ctx, v1alpha1.CAConfigMap, map[string]string{v1alpha1.CAStatusKey: string(raw)}))
	}
	var info corev1.ConfigMap
	err = d.authority.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	cas := string(identity.EncodeCerts(s.issuers()))
	if err == nil && info.Data[v1alpha1.HubInfoCA] != cas {
		err = d.authority.publish(ctx, v1alpha1.HubInfoConfigMap, map[string]string{v1alpha1.HubInfoCA: cas})
	}
	return errors.Join(append(errs, client.IgnoreNotFound(err))...)
}

// status is what people are shown of a state.
func (s *state) status(now time.Time) v1alpha1.CAStatus {
	status := v1alpha1.CAStatus{
		Phase: s.rotation.Phase, Compromised: s.rotation.Compromised, Bundle: identity.TrustDigest(s.trust().PEM()),
		Request: s.rotation.Request, Refused: s.rotation.Refused, Warnings: s.warnings(now),
	}
	if !s.rotation.Since.IsZero() {
		status.Since = &metav1.Time{Time: s.rotation.Since}
	}
	for _, a := range s.all() {
		status.Authorities = append(status.Authorities, v1alpha1.CAAuthority{
			Name: a.cert.Subject.CommonName, Fingerprint: Fingerprint(a.cert), Role: a.role,
			NotBefore: metav1.Time{Time: a.cert.NotBefore}, NotAfter: metav1.Time{Time: a.cert.NotAfter},
		})
	}
	return status
}
