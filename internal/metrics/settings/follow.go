package settings

import (
	"context"
	"errors"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=secrets,resourceNames=umbel-metrics,verbs=list;watch

// follower keeps those who want them up to date with the Secret.
type follower struct {
	clients kubernetes.Interface
	events  events.EventRecorder
	apply   []func(*Settings) error
	log     *slog.Logger
}

// Setup has each of apply called with what the Secret says, at the start and when it changes.
func Setup(mgr ctrl.Manager, log *slog.Logger, apply ...func(*Settings) error) error {
	clients, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return err
	}
	return mgr.Add(&follower{clients: clients, events: mgr.GetEventRecorder("umbel-metrics"), apply: apply, log: log})
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has all that is measured.
func (*follower) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (f *follower) Start(ctx context.Context) error {
	source := toolscache.NewListWatchFromClient(f.clients.CoreV1().RESTClient(), "secrets", v1alpha1.SystemNamespace, fields.OneTermEqualSelector("metadata.name", Secret))
	changed := func(o any) {
		if secret, is := o.(*corev1.Secret); is {
			f.take(secret, secret.Data)
		}
	}
	_, informer := toolscache.NewInformerWithOptions(toolscache.InformerOptions{
		ListerWatcher: source, ObjectType: &corev1.Secret{},
		Handler: toolscache.ResourceEventHandlerFuncs{
			AddFunc: changed, UpdateFunc: func(_, now any) { changed(now) },
			DeleteFunc: func(any) { f.take(nil, nil) }, // somebody deleted it: nobody is told any more
		},
	})
	informer.RunWithContext(ctx)
	return nil
}

// take applies what the Secret says, or says why it does not.
func (f *follower) take(secret *corev1.Secret, data map[string][]byte) {
	said, err := Read(data)
	if err == nil {
		for _, apply := range f.apply {
			err = errors.Join(err, apply(said))
		}
	}
	if err == nil {
		return
	}
	f.log.Error("the settings of metrics are not taken, and those before go on", "secret", v1alpha1.SystemNamespace+"/"+Secret, "error", err)
	if secret != nil {
		f.events.Eventf(secret, nil, corev1.EventTypeWarning, "SettingsBroken", "Read", "%s; what it said before goes on", err)
	}
}
