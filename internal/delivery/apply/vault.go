package apply

import (
	"bytes"
	"encoding/json"
	"fmt"

	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// Vault makes the codes by which an agent knows the orders on its disk as its own. *identity.Keyring is one.
type Vault interface {
	// Code is that of an order; the same order has the same one.
	Code(order []byte) ([]byte, error)
	// Closed says whether every order has one; until then, orders are of a version that made none.
	Closed() bool
	// Close notes that every order has one. It is durable, and may be repeated.
	Close() error
}

// code is that of an order.
func (e *Engine) code(o disk.Order) ([]byte, error) {
	o.Code = nil
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("making a code for the order of package %s: %w", o.Package, err)
	}
	return e.needs.Vault.Code(raw)
}

// genuine says whether the agent wrote an order itself. What somebody else wrote may ask for a deletion, or have a team's package
// applied with the agent's own rights.
func (e *Engine) genuine(o disk.Order) (bool, error) {
	if e.needs.Vault == nil || !e.needs.Vault.Closed() {
		return true, nil
	}
	code, err := e.code(o)
	return bytes.Equal(code, o.Code), err
}

// close gives every order a code, once.
func (e *Engine) close() error {
	if e.needs.Vault == nil || e.needs.Vault.Closed() {
		return nil
	}
	for _, u := range e.roster.all() {
		if !u.orderKnown() {
			continue // what it says is not to be lost; once it can be read, the hub is asked
		}
		if err := u.write(u.asked()); err != nil {
			return fmt.Errorf("giving the order of package %s a code: %w", u.key, err)
		}
	}
	if err := e.needs.Vault.Close(); err != nil {
		e.needs.Log.Warn("that orders have codes is not kept; the next start gives them again", "error", err)
	}
	return nil
}

// write keeps an order on the disk. The caller holds the folder's lock, or nobody else runs yet.
func (u *unit) write(o disk.Order) error {
	if u.engine.needs.Vault != nil {
		code, err := u.engine.code(o)
		if err != nil {
			return err
		}
		o.Code = code
	}
	return u.folder.WriteOrder(o)
}
