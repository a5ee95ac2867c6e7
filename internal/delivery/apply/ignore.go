package apply

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// Fields that are left to others are set when an object is created, and then left out of what is applied. Server-side apply
// takes away what a manager owned alone and leaves out, so the agent gives up its ownership first: from then on they belong
// to nobody, whoever sets them owns them, and nothing of them is ever a drift.

// send applies an object, without the fields that are left to others. One that leaves nothing to others costs one request.
func send(ctx context.Context, api *member.API, key bundle.Key, t task, body []byte, o member.Ownership) (member.Written, error) {
	if !t.rule.ignores() {
		return api.Apply(ctx, t.gvr, key, body, o)
	}
	object, err := fields.Decode(body)
	if err != nil {
		return member.Written{}, err
	}
	some := partial{api: api, gvr: t.gvr, key: key, object: object, left: t.rule.left, pointers: t.rule.left.Fields(object)}
	return some.send(ctx, body, o)
}

// partial is an object of which some fields are left to others.
type partial struct {
	api      *member.API
	gvr      schema.GroupVersionResource
	key      bundle.Key
	object   map[string]any
	left     *outgoing.Left
	pointers []fields.Pointer // of left
}

func (p partial) send(ctx context.Context, body []byte, o member.Ownership) (member.Written, error) {
	found, err := p.api.Metadata(ctx, p.gvr, p.key)
	if err != nil {
		return member.Written{}, err
	}
	if found == nil {
		got, err := p.api.Apply(ctx, p.gvr, p.key, body, o)
		if err != nil || len(p.pointers) == 0 {
			return got, err
		}
		after, err := p.api.Yield(ctx, p.gvr, p.key, p.release)
		after.Created, after.Shared = got.Created, got.Shared
		return after, err
	}
	if _, changed, err := p.release(fields.Ours(found.GetManagedFields())); err != nil {
		return member.Written{}, err
	} else if changed {
		if _, err := p.api.Yield(ctx, p.gvr, p.key, p.release); err != nil {
			return member.Written{}, err
		}
	}
	rest, err := p.left.Rest(p.object, found.GetManagedFields())
	if err != nil {
		return member.Written{}, err
	}
	return p.api.Apply(ctx, p.gvr, p.key, rest, o)
}

// release gives up the fields in the agent's entry, and says whether there were any.
func (p partial) release(entry []byte) (_ []byte, changed bool, err error) {
	return outgoing.Release(p.object, p.pointers, entry)
}
