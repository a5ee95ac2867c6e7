package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// slowContent takes nothing of Packages whose names begin with slow until it is let.
type slowContent struct {
	delivery.Content
	let    chan struct{}
	pushes sync.Map // by repository
	pushed sync.Map // digests
}

func (c *slowContent) Push(ctx context.Context, repository, mediaType string, blob []byte) (string, error) {
	if strings.Contains(repository, ".slow-") {
		c.pushes.Store(repository, true)
		select {
		case <-c.let:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	digest, err := c.Content.Push(ctx, repository, mediaType, blob)
	c.pushed.Store(digest, int64(len(blob)))
	return digest, err
}

func (c *slowContent) waiting() (n int) {
	c.pushes.Range(func(any, any) bool { n++; return true })
	return n
}

// TestRenderingsThatTakeLong hold up nobody: however many there are, other Packages are counted, removed and told of. None is lost,
// also where the hub dies meanwhile.
func TestRenderingsThatTakeLong(t *testing.T) {
	slow := &slowContent{let: make(chan struct{})}
	h := newHubWith(t, func(c delivery.Content) delivery.Content {
		slow.Content = c
		return slow
	})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := v1alpha1.KeyOf(h.namespace, "quick")
	h.must(h.Create(t.Context(), h.inline("quick", "prod", item("a", "1"))))
	h.waitTold(eu, key, `"1"`)

	const many = 6
	for i := range many {
		h.must(h.Create(t.Context(), h.inline(fmt.Sprintf("slow-%d", i), "prod", item(fmt.Sprintf("s%d", i), "s"))))
	}
	h.eventually("renderings that take long", func() string {
		if got := slow.waiting(); got < 4 {
			return fmt.Sprintf("%d are under way", got)
		}
		return ""
	})
	h.obeys(eu)
	h.waitFor("quick", v1alpha1.ConditionReady, "True Delivered", "on 1/1 clusters")
	h.place("prod")
	h.waitTold(eu, key, "remove")
	h.place("prod", eu)
	h.waitTold(eu, key, `"1"`)
	if got := slow.waiting(); got != 4 {
		t.Errorf("%d renderings are under way, want 4", got)
	}

	h.stop() // none of them has ended
	close(slow.let)
	h.start()
	for i := range many {
		h.waitTold(eu, v1alpha1.KeyOf(h.namespace, fmt.Sprintf("slow-%d", i)), `"s"`)
	}
	if got := len(h.releases()); got != many+1 {
		t.Errorf("there are %d releases, want one of each package", got)
	}
}

// TestADeletedPackageThatIsBeingRendered goes once it has been, with what was stored of it.
func TestADeletedPackageThatIsBeingRendered(t *testing.T) {
	slow := &slowContent{let: make(chan struct{})}
	h := newHubWith(t, func(c delivery.Content) delivery.Content {
		slow.Content = c
		return slow
	})
	h.place("prod", h.cluster("eu", nil))
	h.must(h.Create(t.Context(), h.inline("slow-0", "prod", item("a", "1"))))
	h.eventually("a rendering", func() string { return map[bool]string{true: "none is under way"}[slow.waiting() == 0] })
	h.must(h.Delete(t.Context(), h.pkg("slow-0")))
	h.eventually("the deletion", func() string {
		return map[bool]string{true: "it is not deleted yet"}[h.pkg("slow-0").DeletionTimestamp.IsZero()]
	})
	close(slow.let)
	h.waitGone("slow-0")
	if got := h.releases(); len(got) != 0 {
		t.Errorf("%d releases are left", len(got))
	}
	slow.pushed.Range(func(digest, size any) bool {
		has, err := h.store.Has(t.Context(), v1alpha1.KeyOf(h.namespace, "slow-0").Repository(), digest.(string), size.(int64))
		if err != nil || has {
			t.Errorf("its content %s is left in the registry: %v, %v", digest, has, err)
		}
		return true
	})
}

// turns lets each push wait for its turn.
type turns struct {
	delivery.Content
	began, let chan struct{}
}

func (c *turns) Push(ctx context.Context, repository, mediaType string, blob []byte) (string, error) {
	select {
	case c.began <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case <-c.let:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return c.Content.Push(ctx, repository, mediaType, blob)
}

// TestCommitsThatComeFasterThanTheyAreRendered: a release is made all the same, and not of each commit that was overtaken.
func TestCommitsThatComeFasterThanTheyAreRendered(t *testing.T) {
	slow := &turns{began: make(chan struct{}), let: make(chan struct{})}
	h := newHubWith(t, func(c delivery.Content) delivery.Content {
		slow.Content = c
		return slow
	})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	commits := []string{repo.Commit(map[string]string{"a.yaml": configMap("a", "0")})}
	key := h.create("app", repo.URL(), ".", "prod")
	for i := 1; i <= 4; i++ {
		<-slow.began
		commits = append(commits, repo.Commit(map[string]string{"a.yaml": configMap("a", fmt.Sprint(i))}))
		h.refresh("app")
		h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", commits[i][:12])
		slow.let <- struct{}{}
	}
	<-slow.began
	slow.let <- struct{}{}
	h.waitTold(eu, key, `"4"`)
	var made []string
	for _, release := range h.releases() {
		made = append(made, release.Spec.Revision)
	}
	if !slices.Contains(made, commits[1]) || !slices.Contains(made, commits[4]) || len(made) == len(commits) {
		t.Errorf("releases were made of %v, want some of %v, the second and the last among them", made, commits)
	}
}
