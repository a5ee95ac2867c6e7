package kubetest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// updates is how many follow a writer's create.
const updates = 3

// Writers write to an API all at once while what serves it is killed, and say afterwards whether all is there that it acknowledged. Each
// has connections and ConfigMaps of its own: it creates one, then updates those that it has, in turn, one write after another.
//
// An update names the revision that it changes. So one that failed, which may come late, never comes after a later one that was acknowledged.
type Writers struct {
	namespace string
	pace      time.Duration
	writers   []*writer

	mu      sync.Mutex
	last    time.Time // when somebody had something acknowledged
	silence time.Duration
}

// Spell is what came of some time of writing.
type Spell struct {
	// Created and Updated were acknowledged, Failed were not.
	Created, Updated, Failed int
	// Pause is the longest time in which one of the writers had nothing acknowledged, Silence that in which none of them had.
	Pause, Silence time.Duration
}

func (s Spell) String() string {
	return fmt.Sprintf("%d creates and %d updates were acknowledged, %d writes were not; nothing for %s at the longest, and nothing of one writer for %s",
		s.Created, s.Updated, s.Failed, s.Silence.Round(10*time.Millisecond), s.Pause.Round(10*time.Millisecond))
}

// NewWriters returns so many, who write to a namespace, each once in every pace at most. They share out the addresses among themselves
// whenever they begin; from when a write fails, after as long as is said in the address, who asked there asks at the next one.
func NewWriters(namespace string, number int, pace time.Duration, addresses ...*rest.Config) (*Writers, error) {
	w := &Writers{namespace: namespace, pace: pace}
	for n := range number {
		w.writers = append(w.writers, &writer{Writers: w, name: fmt.Sprintf("writer-%d", n)})
	}
	return w, w.Reach(addresses...)
}

// Reach has them write to these addresses from now on. None may be writing.
func (w *Writers) Reach(addresses ...*rest.Config) error {
	for _, one := range w.writers {
		one.clients = nil
		for _, address := range addresses {
			own := rest.CopyConfig(address)
			own.QPS, own.Dial = -1, (&net.Dialer{}).DialContext // a connection is shared by those who dial by the same function
			client, err := kubernetes.NewForConfig(own)
			if err != nil {
				return err
			}
			one.clients = append(one.clients, client)
		}
	}
	return nil
}

// Begin has them write until the function that is returned is called. What is being written then is waited for.
func (w *Writers) Begin(ctx context.Context) (end func() Spell) {
	ctx, stop := context.WithCancel(ctx)
	w.last, w.silence = time.Now(), 0
	var running sync.WaitGroup
	for n, one := range w.writers {
		one.spell, one.last, one.at = Spell{}, w.last, n%len(one.clients)
		running.Go(func() { one.run(ctx) })
	}
	return func() Spell {
		stop()
		running.Wait()
		w.acknowledged(time.Now())
		all := Spell{Silence: w.silence}
		for _, one := range w.writers {
			one.waited(w.last)
			all.Created, all.Updated, all.Failed = all.Created+one.spell.Created, all.Updated+one.spell.Updated, all.Failed+one.spell.Failed
			all.Pause = max(all.Pause, one.spell.Pause)
		}
		return all
	}
}

func (w *Writers) acknowledged(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silence, w.last = max(w.silence, now.Sub(w.last)), now
}

// Check reads what an API holds, and returns what is lost of all that was acknowledged, or was missed by the writers themselves on their
// way. None may be writing.
func (w *Writers) Check(ctx context.Context, client kubernetes.Interface) (lost []string, err error) {
	all, err := client.CoreV1().ConfigMaps(w.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	there := map[string]*corev1.ConfigMap{}
	for i := range all.Items {
		there[all.Items[i].Name] = &all.Items[i]
	}
	for _, one := range w.writers {
		lost = append(lost, one.lost...)
		for _, p := range one.pages {
			if _, problem := p.read(there[p.name]); problem != "" {
				lost = append(lost, problem)
			}
		}
	}
	slices.Sort(lost)
	return slices.Compact(lost), nil
}

// writer is one of them.
type writer struct {
	*Writers
	name    string
	clients []kubernetes.Interface
	at      int // which of them is asked
	tried   int
	pages   []*page
	next    int   // of pages, to be updated
	unsure  *page // whose last update was not acknowledged
	lost    []string
	spell   Spell
	last    time.Time
}

// page is an object whose creation was acknowledged.
type page struct {
	name string
	// acked is the number of the last update that was acknowledged, and tried of the last one that was asked for.
	acked, tried int
	now          *corev1.ConfigMap
}

func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(w.pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := w.write(context.WithoutCancel(ctx)); err != nil {
			w.spell.Failed++
			w.at = (w.at + 1) % len(w.clients)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (w *writer) write(ctx context.Context) error {
	if w.unsure != nil {
		return w.update(ctx, w.unsure)
	}
	w.tried++
	if len(w.pages) == 0 || w.tried%(1+updates) == 0 {
		return w.create(ctx)
	}
	w.next = (w.next + 1) % len(w.pages)
	return w.update(ctx, w.pages[w.next])
}

func (w *writer) create(ctx context.Context) error {
	p := &page{name: fmt.Sprintf("%s-%d", w.name, w.tried)}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: p.name}, Data: map[string]string{"update": "0"}}
	made, err := w.clients[w.at].CoreV1().ConfigMaps(w.namespace).Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err // it may be there, and is not asked for again
	}
	p.now = made
	w.pages = append(w.pages, p)
	w.spell.Created++
	w.went()
	return nil
}

func (w *writer) update(ctx context.Context, p *page) error {
	client := w.clients[w.at].CoreV1().ConfigMaps(w.namespace)
	if p.now == nil {
		is, err := client.Get(ctx, p.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			is, err = nil, nil
		}
		if err != nil {
			return err
		}
		if is = w.reads(p, is); is == nil {
			return nil
		}
		p.now = is
	}
	p.tried++
	next := p.now.DeepCopy()
	next.Data = map[string]string{"update": strconv.Itoa(p.tried)}
	now, err := client.Update(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		w.unsure, p.now = p, nil
		return err
	}
	w.unsure, p.now, p.acked = nil, now, p.tried
	w.spell.Updated++
	w.went()
	return nil
}

// reads has a page go on from what the API says of it, and notes what is wrong with that. One that is gone is not written any more.
func (w *writer) reads(p *page, is *corev1.ConfigMap) *corev1.ConfigMap {
	says, problem := p.read(is)
	if problem != "" {
		w.lost = append(w.lost, problem)
	}
	if is == nil {
		w.unsure = nil
		w.pages = slices.DeleteFunc(w.pages, func(other *page) bool { return other == p })
		return nil
	}
	p.acked, p.tried = says, max(p.tried, says)
	return is
}

// read returns which update an API has of a page, and what is wrong with that: one that was acknowledged may have been followed by those
// that were not, and by no others.
func (p *page) read(is *corev1.ConfigMap) (says int, problem string) {
	if is == nil {
		return 0, fmt.Sprintf("%s was created, and is not there", p.name)
	}
	says, err := strconv.Atoi(is.Data["update"])
	switch {
	case err != nil:
		problem = fmt.Sprintf("%s says %q", p.name, is.Data)
	case says < p.acked:
		problem = fmt.Sprintf("%s has update %d, though %d was acknowledged", p.name, says, p.acked)
	case says > p.tried:
		problem = fmt.Sprintf("%s has update %d, though %d was the last one", p.name, says, p.tried)
	}
	return says, problem
}

// went notes that something was acknowledged.
func (w *writer) went() {
	now := time.Now()
	w.waited(now)
	w.acknowledged(now)
}

func (w *writer) waited(until time.Time) {
	w.spell.Pause, w.last = max(w.spell.Pause, until.Sub(w.last)), until
}
