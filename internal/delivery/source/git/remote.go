package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/file"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"umbel.dev/umbel/internal/delivery/source"
)

// maxHaves is how many commits of the history of each reference a server is told of, and allHaves of all of them: what it has
// among them, it need not send again.
const maxHaves, allHaves = 64, 4096

// conversation is one with a server that speaks git-upload-pack.
type conversation interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// remote is a server that has said which references it has.
type remote struct {
	conversation
	offers *capability.List
	heads  map[plumbing.ReferenceName]plumbing.Hash
	close  func()

	allowance *source.Allowance
}

// dial begins a conversation and asks for the references.
func dial(ctx context.Context, ref source.Ref, with source.Credentials, limit int64) (*remote, error) {
	allowance := source.NewAllowance(limit)
	endpoint, err := transport.NewEndpoint(ref.URL)
	if err != nil {
		return nil, err
	}
	r := &remote{close: func() {}, allowance: allowance}
	switch endpoint.Protocol {
	case "file":
		r.conversation, err = file.DefaultClient.NewUploadPackSession(endpoint, nil)
	case "ssh":
		r.conversation, err = dialSSH(ctx, ref, endpoint, with, allowance)
	case "http", "https":
		r.conversation, r.close, err = dialHTTP(ref, endpoint, with, allowance)
	default:
		err = fmt.Errorf("%s:// is not spoken: give an address that begins with https:// or ssh://", endpoint.Protocol)
	}
	if err != nil {
		return nil, err
	}
	letGo := r.close
	r.close = func() {
		_ = r.Close() // what was fetched is in the mirror, whatever the server says of the end
		letGo()
	}
	said, err := r.AdvertisedReferencesContext(ctx)
	if err != nil {
		r.close()
		return nil, allowance.Explain(err)
	}
	r.offers, r.heads = said.Capabilities, make(map[plumbing.ReferenceName]plumbing.Hash, len(said.References))
	for name, hash := range said.References {
		r.heads[plumbing.ReferenceName(name)] = hash
	}
	for name, hash := range said.Peeled {
		r.heads[plumbing.ReferenceName(name+peeled)] = hash
	}
	return r, nil
}

// dialHTTP prepares a conversation over http or https. go-git takes credentials off a request that is led to another host.
func dialHTTP(ref source.Ref, endpoint *transport.Endpoint, with source.Credentials, allowance *source.Allowance) (conversation, func(), error) {
	line := source.Encrypted
	if endpoint.Protocol == "http" {
		line = source.PlainHTTP
	}
	if err := with.CheckLine(ref, endpoint.Host, line); err != nil {
		return nil, nil, err
	}
	speaking, err := source.NewTransport(ref, with, allowance)
	if err != nil {
		return nil, nil, err
	}
	var auth transport.AuthMethod
	switch {
	case with.Token != "":
		auth = &githttp.TokenAuth{Token: with.Token}
	case with.Password != "" && with.Username == "":
		auth = &githttp.BasicAuth{Username: "git", Password: with.Password} // a token, for which servers take any name
	case with.Password != "":
		auth = &githttp.BasicAuth{Username: with.Username, Password: with.Password}
	}
	talk, err := githttp.NewClient(&http.Client{Transport: speaking}).NewUploadPackSession(endpoint, auth)
	return talk, speaking.CloseIdleConnections, err
}

// fetch brings the objects of references into a mirror, beyond what it has, and then the references.
func (r *remote) fetch(ctx context.Context, storage *filesystem.Storage, wants map[plumbing.ReferenceName]plumbing.Hash) error {
	request := packp.NewUploadPackRequestFromCapabilities(r.offers)
	if r.offers.Supports(capability.NoProgress) {
		if err := request.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	asked := map[plumbing.Hash]bool{}
	for _, hash := range wants {
		if !asked[hash] && storage.HasEncodedObject(hash) != nil {
			asked[hash] = true
			request.Wants = append(request.Wants, hash)
		}
	}
	if len(request.Wants) > 0 {
		var err error
		if request.Haves, err = haves(storage); err != nil {
			return err
		}
		if err := r.allowance.Explain(r.receive(ctx, storage, request)); err != nil {
			return err
		}
	}
	for name, hash := range wants {
		if err := storage.SetReference(plumbing.NewHashReference(name, hash)); err != nil {
			return fmt.Errorf("keeping a reference in the mirror: %w", err)
		}
	}
	return nil
}

// receive has a server send objects, and writes them to the mirror.
func (r *remote) receive(ctx context.Context, storage *filesystem.Storage, request *packp.UploadPackRequest) error {
	answer, err := r.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer answer.Close() //nolint:errcheck // it was read to its end, or is an error already
	var pack io.Reader = answer
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case request.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	if err := packfile.UpdateObjectStorage(storage, pack); err != nil && !errors.Is(err, packfile.ErrEmptyPackfile) {
		return err
	}
	return nil
}

// haves are commits that the mirror has: where its references are, and some of what was before.
func haves(storage *filesystem.Storage) ([]plumbing.Hash, error) {
	references, err := storage.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	known := map[plumbing.Hash]bool{}
	err = references.ForEach(func(reference *plumbing.Reference) error {
		if reference.Type() != plumbing.HashReference || len(known) >= allHaves {
			return nil
		}
		hash, err := peel(storage, reference.Hash())
		if err != nil {
			return nil // then it is not said to be there
		}
		commit, err := object.GetCommit(storage, plumbing.NewHash(hash))
		if err != nil {
			return nil
		}
		left := maxHaves
		return object.NewCommitPreorderIter(commit, known, nil).ForEach(func(c *object.Commit) error {
			known[c.Hash] = true
			if left--; left == 0 || len(known) >= allHaves {
				return storer.ErrStop
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	hashes := make([]plumbing.Hash, 0, len(known))
	for hash := range known {
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// address of an endpoint, with the port that is the protocol's own.
func address(endpoint *transport.Endpoint, port int) string {
	if endpoint.Port != 0 {
		port = endpoint.Port
	}
	return net.JoinHostPort(endpoint.Host, strconv.Itoa(port))
}
