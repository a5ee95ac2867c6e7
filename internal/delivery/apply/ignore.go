package apply

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
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
	pointers := t.rule.pointers
	if t.rule.whole {
		pointers = everything(object)
	}
	some := partial{api: api, gvr: t.gvr, key: key, object: object, pointers: pointers, managers: t.rule.managers}
	return some.send(ctx, body, o)
}

// partial is an object of which some fields are left to others.
type partial struct {
	api      *member.API
	gvr      schema.GroupVersionResource
	key      bundle.Key
	object   map[string]any
	pointers []fields.Pointer
	managers []string
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
	if _, changed, err := p.release(ours(found)); err != nil {
		return member.Written{}, err
	} else if changed {
		if _, err := p.api.Yield(ctx, p.gvr, p.key, p.release); err != nil {
			return member.Written{}, err
		}
	}
	rest, err := p.without(found)
	if err != nil {
		return member.Written{}, err
	}
	return p.api.Apply(ctx, p.gvr, p.key, rest, o)
}

// release gives up the fields in the agent's entry, and says whether there were any.
func (p partial) release(entry []byte) (_ []byte, changed bool, err error) {
	if len(entry) == 0 || len(p.pointers) == 0 {
		return entry, false, nil
	}
	owned, err := fields.ParseEntry(entry)
	if err != nil {
		return nil, false, err
	}
	for _, pointer := range p.pointers {
		released, unit := owned.Release(p.object, pointer)
		if unit != nil {
			return nil, false, fmt.Errorf("spec.drift.ignore: the API takes %s as one, so %s cannot be left to others alone: ignore %s", unit, pointer, unit)
		}
		changed = changed || released
	}
	if !changed {
		return entry, false, nil
	}
	after, err := owned.Bytes()
	return after, true, err
}

// without is what is applied to an object that is there.
func (p partial) without(found metav1.Object) ([]byte, error) {
	fields.Without(p.object, p.pointers)
	for _, manager := range p.managers {
		for _, entry := range found.GetManagedFields() {
			if entry.Manager != manager || entry.FieldsV1 == nil {
				continue
			}
			owned, err := fields.ParseEntry(entry.FieldsV1.GetRawBytes())
			if err != nil {
				return nil, err
			}
			owned.Subtract(p.object)
		}
	}
	return fields.Encode(p.object)
}

// ours is the agent's entry in the managedFields of an object; nil when there is none.
func ours(found metav1.Object) []byte {
	for _, entry := range found.GetManagedFields() {
		if fields.IsOurs(entry) && entry.FieldsV1 != nil {
			return entry.FieldsV1.GetRawBytes()
		}
	}
	return nil
}

// everything is all fields of an object but what it is known by and what it asks for.
func everything(object map[string]any) (all []fields.Pointer) {
	for name := range object {
		if name != "apiVersion" && name != "kind" && name != "metadata" {
			all = append(all, fields.Pointer{name})
		}
	}
	metadata, _ := object["metadata"].(map[string]any)
	kept := map[string]map[string]bool{
		"labels":      {v1alpha1.PackageLabel: true},
		"annotations": {v1alpha1.DriftAnnotation: true, v1alpha1.ConfigSyncMutationAnnotation: true},
	}
	for name, value := range metadata {
		entries, isMap := value.(map[string]any)
		switch {
		case name == "name" || name == "namespace":
		case kept[name] == nil || !isMap:
			all = append(all, fields.Pointer{"metadata", name})
		default:
			for key := range entries {
				if !kept[name][key] {
					all = append(all, fields.Pointer{"metadata", name, key})
				}
			}
		}
	}
	return all
}
