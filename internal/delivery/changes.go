package delivery

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/budget"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/decide"
)

const (
	// maxCompared is how many variants of a Release are compared with the Release before: beyond it nothing is said of them.
	maxCompared = 200
	// maxDeletes is how many deleted objects a Release names.
	maxDeletes = 10
	// maxListed is how many bytes of listings are kept, beside the two that are being compared. One of 10,000 objects takes two MB.
	maxListed = 16 << 20
	// eachListed is what an object takes of a listing beside its names.
	eachListed = 160
)

// listing is the objects of a content, each with a hash of what it says.
type listing map[bundle.Key]uint64

// size is about how many bytes a listing takes.
func (l listing) size() int {
	bytes := 0
	for key := range l {
		bytes += eachListed + len(key.Group) + len(key.Kind) + len(key.Namespace) + len(key.Name)
	}
	return bytes
}

// compare notes in a Release that is about to be made what it adds, changes and deletes, compared to the current one. What cannot
// be read is not said: it stops no Release, since it is the agents that hold deletes back.
func (c *Controller) compare(ctx context.Context, v *visit, spec *v1alpha1.ReleaseSpec) {
	before := v.seen.Release
	for i := range spec.Variants {
		spec.Variants[i].Changes = nil // of one that an earlier Release had as well
	}
	if before == nil {
		return
	}
	spec.Against = before.Name
	contents := contents{content: c.content, repository: spec.Repository, seed: maphash.MakeSeed(), most: maxListed}
	var gone departed
	for _, move := range decide.Moves(spec, &before.Spec, v.selected()) {
		if contents.reads >= maxCompared {
			continue
		}
		if err := contents.compare(ctx, move.To, move.Had, &gone); err != nil {
			move.To.Changes = nil
			c.log.Warn("what a release changes is not known", "package", v.key, "against", before.Name, "error", err)
		}
	}
	spec.Deletes = gone.names()
}

// contents reads contents, and keeps the listings of those that were used last: those that many clusters had are not read for
// each class of them, and a Release with many variants does not fill the memory.
type contents struct {
	content    Content
	repository string // of the Package, whatever the Release
	seed       maphash.Seed
	most       int // bytes of listings that are kept
	kept       []kept
	reads      int
}

// kept is a listing that was read, the one that was used longest ago first.
type kept struct {
	digest  string
	objects listing
	bytes   int
}

// compare notes what a variant does to clusters that had any of some contents, and what goes.
func (c *contents) compare(ctx context.Context, variant *v1alpha1.Variant, had []*v1alpha1.Variant, gone *departed) error {
	now, err := c.read(ctx, variant)
	if err != nil {
		return err
	}
	for _, old := range had {
		was, err := c.read(ctx, old)
		if err != nil {
			return err
		}
		changes, deleted := compare(was, now)
		if variant.Changes == nil || changes.Deleted > variant.Changes.Deleted {
			variant.Changes = &changes
		}
		for _, key := range deleted {
			gone.add(key)
		}
	}
	return nil
}

func (c *contents) read(ctx context.Context, variant *v1alpha1.Variant) (listing, error) {
	if i := slices.IndexFunc(c.kept, func(k kept) bool { return k.digest == variant.Digest }); i >= 0 {
		found := c.kept[i]
		c.kept = append(slices.Delete(c.kept, i, i+1), found)
		return found.objects, nil
	}
	c.reads++
	blob, err := c.content.Pull(ctx, c.repository, variant.Digest, variant.Size)
	if err != nil {
		return nil, fmt.Errorf("reading content %s: %w", variant.Digest, err)
	}
	found := listing{}
	for it, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
		if err != nil {
			return nil, fmt.Errorf("reading content %s: %w", variant.Digest, err)
		}
		found[it.ID.Key()] = maphash.Bytes(c.seed, it.Object)
	}
	c.keep(kept{variant.Digest, found, found.size()})
	return found, nil
}

// keep keeps a listing, and lets go of those that were used longest ago as long as there are too many bytes of them. One that
// is larger than all that may be kept is not.
func (c *contents) keep(one kept) {
	c.kept = append(c.kept, one)
	bytes := 0
	for _, k := range c.kept {
		bytes += k.bytes
	}
	for ; bytes > c.most; c.kept = slices.Delete(c.kept, 0, 1) {
		bytes -= c.kept[0].bytes
	}
}

// compare counts what is added, changed and deleted between two contents, and returns what is deleted.
func compare(was, now listing) (changes v1alpha1.Changes, deleted []bundle.Key) {
	for key, hash := range now {
		before, there := was[key]
		switch {
		case !there:
			changes.Added++
		case before != hash:
			changes.Changed++
		}
	}
	for key := range was {
		if _, stays := now[key]; stays {
			continue
		}
		changes.Deleted++
		if budget.Protects(key) {
			changes.Protected++
		}
		deleted = append(deleted, key)
	}
	return changes, deleted
}

// departed is the first few of the objects that go, those that are protected and others.
type departed struct{ protected, others []bundle.Key }

func (d *departed) add(key bundle.Key) {
	some := &d.others
	if budget.Protects(key) {
		some = &d.protected
	}
	at, there := slices.BinarySearchFunc(*some, key, bundle.Key.Compare)
	if there || at >= maxDeletes {
		return
	}
	*some = slices.Insert(*some, at, key)
	*some = (*some)[:min(len(*some), maxDeletes)]
}

// names names them, protected ones first.
func (d *departed) names() []string {
	var names []string
	for _, key := range slices.Concat(d.protected, d.others) {
		if len(names) < maxDeletes {
			names = append(names, key.String())
		}
	}
	return names
}
