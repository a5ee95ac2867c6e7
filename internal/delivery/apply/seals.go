package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// SealedName is a file in the agent's folder that stands once the hub has sealed what it said: from then on nothing is taken
// without a seal.
const SealedName = "sealed"

// errUnsealed says that a hub that sealed does so no more.
var errUnsealed = errors.New("it has no seal, and this hub sealed what it said before: an older version of the hub runs, or somebody stands between")

// mistrusts says why an assignment is not to be followed; nil when it is. A release that the package is at already was looked at
// when it came; how it is to be treated may change.
func (e *Engine) mistrusts(key v1alpha1.PackageKey, want *disk.Release, a *wire.Assignment) error {
	if e.needs.Verify == nil {
		return nil
	}
	if u := e.roster.get(key); u != nil && want.Equal(u.asked().Target()) && !u.asked().Removing {
		return nil
	}
	mark := filepath.Join(e.needs.Dir, SealedName)
	if a.GetSeal() == nil {
		if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
			return errUnsealed
		}
		return nil
	}
	if err := e.needs.Verify(a); err != nil {
		return err
	}
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	return renameio.WriteFile(mark, nil, 0o600)
}

// refuse keeps what a package is at, and says why it does not go where it is told. The caller holds storing.
func (e *Engine) refuse(key v1alpha1.PackageKey, a *wire.Assignment, why error) error {
	u := e.roster.get(key)
	if u == nil {
		u = loadUnit(e, disk.Open(e.dir, key), disk.Order{Package: key})
		e.welcome(u)
	}
	keeps := "nothing of it is here, and nothing is applied"
	if now := u.asked().Target(); now != nil {
		keeps = "release " + now.Release + " stays and is repaired"
	}
	text := fmt.Sprintf("release %s is refused: %s; %s", a.GetRelease(), why, keeps)
	u.mu.Lock()
	news := u.standing.unbelieved.text != text
	u.standing.unbelieved = unbelieved{a.GetRelease(), text}
	u.mu.Unlock()
	if news {
		u.log.Error("what the hub asks for is refused", "release", a.GetRelease(), "revision", a.GetRevision(), "because", why, "now", keeps)
	}
	e.changed(u)
	return nil
}

// unbelieved is what a package was told and did not take.
type unbelieved struct{ release, text string }

// trust forgets a refusal: something else is asked for now.
func (u *unit) trust() {
	u.mu.Lock()
	u.standing.unbelieved = unbelieved{}
	u.mu.Unlock()
	u.engine.changed(u)
}
