package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/signature"
)

// rule says by whom a source has to be signed.
type rule struct {
	mode     v1alpha1.GitVerificationMode // empty for artifacts
	keysFrom []v1alpha1.KeysReference
	field    string // where the Package says so
	digest   string // of the rule; empty when there is none
}

// ruleOf returns the rule of a source; the zero rule when it need not be signed.
func ruleOf(from v1alpha1.Source) rule {
	var r rule
	switch {
	case from.Git != nil && from.Git.Verify != nil:
		r = rule{mode: from.Git.Verify.Mode, keysFrom: from.Git.Verify.KeysFrom, field: "spec.source.git.verify"}
		if r.mode == "" {
			r.mode = v1alpha1.VerifyHEAD
		}
	case from.OCI != nil && from.OCI.Verify != nil:
		r = rule{keysFrom: from.OCI.Verify.KeysFrom, field: "spec.source.oci.verify"}
	case from.Helm != nil && from.Helm.Verify != nil:
		r = rule{keysFrom: from.Helm.Verify.KeysFrom, field: "spec.source.helm.verify"}
	default:
		return rule{}
	}
	r.digest = digestOf(r.mode, r.keysFrom)
	return r
}

// digestOf names something that JSON can write.
func digestOf(parts ...any) string {
	raw, err := json.Marshal(parts)
	if err != nil {
		raw = fmt.Appendf(nil, "%v", parts) // another name, for what there is not
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// readyBy are the conditions that Ready is made of.
func readyBy(spec *v1alpha1.PackageSpec) []string {
	from := []string{v1alpha1.ConditionFetched}
	if ruleOf(spec.Source).digest != "" {
		from = append(from, v1alpha1.ConditionVerified)
	}
	from = append(from, v1alpha1.ConditionRendered, v1alpha1.ConditionPlaced)
	if spec.Plan == v1alpha1.PlanRequired {
		from = append(from, v1alpha1.ConditionPlanned)
	}
	return append(from, v1alpha1.ConditionDelivered)
}

// keyring is who may sign, as it was read last.
type keyring struct {
	generation int64
	refresh    string
	at         time.Time
	keys       *signature.Keys
	err        error     // why they cannot be used
	fetched    time.Time // the fetch that verdicts are of: an artifact may be signed later
	verdicts   map[source.Revision]verdict
}

// verdict is what came of verifying a revision with a keyring.
type verdict struct {
	by  string
	err error
}

// verify looks whether what was fetched is signed as the Package asks, and whether the Releases that clusters may be told still
// are. What is not, is not rendered, and not told.
func (c *Controller) verify(ctx context.Context, v *visit) error {
	r := ruleOf(v.pkg.Spec.Source)
	v.seen.Rule = r.digest
	if r.digest == "" {
		meta.RemoveStatusCondition(&v.pkg.Status.Conditions, v1alpha1.ConditionVerified)
		v.pkg.Status.Verified = nil
		return nil
	}
	if err := c.readKeys(ctx, v, r); err != nil {
		return err
	}
	at, _ := placeOf(v.pkg.Namespace, v.pkg.Spec.Source)
	c.verifyHead(v, r, at.ref)
	return c.review(ctx, v, r, at.ref)
}

// verifyHead decides on what the source is at now.
func (c *Controller) verifyHead(v *visit, r rule, ref source.Ref) {
	if v.commit == "" && v.memo.keyring.err == nil {
		return
	}
	condition := metav1.Condition{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionFalse}
	found, before, under := verdict{err: v.memo.keyring.err}, v.pkg.Status.Verified, digestOf(v.pkg.Spec.Source)
	if found.err == nil {
		found = c.judge(v, r, ref, v.head)
	}
	switch {
	case v.memo.keyring.err != nil:
		condition.Reason = v1alpha1.ReasonKeysInvalid
		condition.Message = fmt.Sprintf("%s: %s", r.field, found.err)
	case found.err != nil:
		condition.Reason = v1alpha1.ReasonNotVerified
		condition.Message = fmt.Sprintf("%s of %s is not verified: %s; sign it anew, or add the key to %s", r.what(v.head), source.Redact(ref.URL), found.err, r.where())
	case before != nil && before.Under == under && before.Revision != v.head.ID && c.fetcher.Before(ref, v.head.ID, before.Revision):
		condition.Reason = v1alpha1.ReasonWentBack
		condition.Message = fmt.Sprintf("%s of %s is older than %s, which was verified before: whoever has the server may show an old state that somebody signed once; to go back, revert the commits, or name the commit in spec.source.git.ref",
			r.what(v.head), source.Redact(ref.URL), source.Short(before.Revision))
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonVerified
		condition.Message = fmt.Sprintf("%s is signed by %s", r.what(v.head), found.by)
		v.signed = &v1alpha1.Verified{Under: r.digest, Revision: v.head.ID, Tag: v.head.Tag, By: found.by}
		v.pkg.Status.Verified = &v1alpha1.Verified{Under: under, Revision: v.head.ID, Tag: v.head.Tag, By: found.by}
	}
	if condition.Status != metav1.ConditionTrue {
		v.commit = ""
		condition.Message = v.andStays(condition.Message)
	}
	v.set(condition)
}

// what names what has to be signed.
func (r rule) what(revision source.Revision) string {
	switch r.mode {
	case v1alpha1.VerifyTag:
		return fmt.Sprintf("tag %s (%s)", revision.Name, source.Short(revision.ID))
	case v1alpha1.VerifyTagAndHEAD:
		return fmt.Sprintf("tag %s or its commit %s", revision.Name, source.Short(revision.ID))
	case "":
		return fmt.Sprintf("artifact %s (%s)", revision.Name, source.Short(digestIn(revision.ID)))
	}
	return "commit " + source.Short(revision.ID)
}

// where names where the keys are.
func (r rule) where() string {
	text := ""
	for i, from := range r.keysFrom {
		if i > 0 {
			text += " or "
		}
		text += fmt.Sprintf("%s %s", from.Kind, from.Name)
	}
	return text
}

// judge verifies a revision, once with each keyring.
func (c *Controller) judge(v *visit, r rule, ref source.Ref, revision source.Revision) verdict {
	if known, ok := v.memo.keyring.verdicts[revision]; ok {
		return known
	}
	evidence, err := c.fetcher.Evidence(ref, revision)
	if err != nil {
		return verdict{err: &unreadable{err}} // the cache may have it at another time
	}
	found := verdict{}
	found.by, found.err = signers(v.memo.keyring.keys, r.mode, evidence, revision)
	v.memo.keyring.verdicts[revision] = found
	return found
}

// digestIn is the digest of an artifact, or of a chart of a version.
func digestIn(revision string) string {
	if _, digest, found := strings.Cut(revision, "@"); found {
		return digest
	}
	return revision
}

// unreadable says that it cannot be told whether something is signed.
type unreadable struct{ error }

// signers says who signed, when everything is signed that has to be.
func signers(keys *signature.Keys, mode v1alpha1.GitVerificationMode, evidence source.Evidence, revision source.Revision) (string, error) {
	var tag, commit signature.Signer
	var err error
	if mode == "" {
		signer, err := keys.Artifact(digestIn(revision.ID), evidence.Signatures)
		return signer.String(), err
	}
	if mode != v1alpha1.VerifyHEAD {
		if evidence.Tag == nil {
			return "", errors.New("it is no annotated tag, which alone can be signed")
		}
		if tag, err = keys.Tag(evidence.Tag, revision.Name, revision.ID); err != nil {
			return "", fmt.Errorf("the tag: %w", err)
		}
	}
	if mode != v1alpha1.VerifyTag {
		if commit, err = keys.Commit(evidence.Commit); err != nil {
			return "", err
		}
	}
	switch {
	case mode == v1alpha1.VerifyTag || mode == v1alpha1.VerifyTagAndHEAD && tag == commit:
		return tag.String(), nil
	case mode == v1alpha1.VerifyTagAndHEAD:
		return fmt.Sprintf("%s, and its commit by %s", tag, commit), nil
	}
	return commit.String(), nil
}

// readKeys reads who may sign, as often as the source is asked.
func (c *Controller) readKeys(ctx context.Context, v *visit, r rule) error {
	at, _ := placeOf(v.pkg.Namespace, v.pkg.Spec.Source)
	now, every := c.now(), pollEvery(v.key, at.poll, nil)
	if known := &v.memo.keyring; !known.at.IsZero() && known.generation == v.pkg.Generation && known.refresh == v.memo.refresh && now.Sub(known.at) < every {
		if !known.fetched.Equal(v.fetched) {
			known.fetched, known.verdicts = v.fetched, map[source.Revision]verdict{}
		}
		v.again(known.at.Add(every).Sub(now))
		return nil
	}
	keys, err := keysOf(ctx, c.live, v.pkg.Namespace, r.keysFrom)
	if failed := (*apiError)(nil); errors.As(err, &failed) {
		return fmt.Errorf("reading the keys of package %s: %w", v.key, failed.error)
	}
	v.memo.keyring = keyring{generation: v.pkg.Generation, refresh: v.memo.refresh, at: now, keys: keys, err: err, fetched: v.fetched, verdicts: map[source.Revision]verdict{}}
	v.again(every)
	return nil
}

// apiError says that the API did not answer, which says nothing of keys.
type apiError struct{ error }

func keysOf(ctx context.Context, hub client.Reader, namespace string, from []v1alpha1.KeysReference) (*signature.Keys, error) {
	entries := map[string][]byte{}
	for i, each := range from {
		name := types.NamespacedName{Namespace: namespace, Name: each.Name}
		data, err := dataOf(ctx, hub, name, each.Kind)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("keysFrom[%d]: there is no %s %q in namespace %q", i, each.Kind, each.Name, namespace)
		case apierrors.IsForbidden(err):
			return nil, fmt.Errorf("keysFrom[%d]: this hub may not get the %ss of namespace %q: docs/operate/sources.md says how to let it", i, each.Kind, namespace)
		case err != nil:
			return nil, &apiError{err}
		}
		for key, value := range data {
			entries[fmt.Sprintf("%s %s, key %s", each.Kind, each.Name, key)] = value
		}
	}
	return signature.Parse(entries)
}

func dataOf(ctx context.Context, hub client.Reader, name types.NamespacedName, kind string) (map[string][]byte, error) {
	if kind == "Secret" {
		var secret corev1.Secret
		err := hub.Get(ctx, name, &secret)
		return secret.Data, err
	}
	var config corev1.ConfigMap
	err := hub.Get(ctx, name, &config)
	data := map[string][]byte{}
	for key, text := range config.Data {
		data[key] = []byte(text)
	}
	for key, raw := range config.BinaryData {
		data[key] = raw
	}
	return data, err
}
