package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/dexidp/dex/connector"
)

// person is an entry of the directory.
type person struct {
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Password string   `json:"password"`
	Groups   []string `json:"groups"`
}

// directory is where Dex looks people up. It implements Dex's PasswordConnector and RefreshConnector.
type directory struct{ File string }

// Open implements server.ConnectorConfig.
func (d *directory) Open(string, *slog.Logger) (connector.Connector, error) { return d, nil }

// Prompt implements connector.PasswordConnector.
func (d *directory) Prompt() string { return "Email" }

// Login implements connector.PasswordConnector.
func (d *directory) Login(_ context.Context, _ connector.Scopes, email, password string) (connector.Identity, bool, error) {
	found, err := d.find(email)
	if err != nil || found == nil || found.Password != password {
		return connector.Identity{}, false, err
	}
	return found.identity(), true, nil
}

// Refresh implements connector.RefreshConnector.
func (d *directory) Refresh(_ context.Context, _ connector.Scopes, was connector.Identity) (connector.Identity, error) {
	found, err := d.find(was.Email)
	if err != nil {
		return connector.Identity{}, err
	}
	if found == nil {
		return connector.Identity{}, fmt.Errorf("%s is not in the directory any more", was.Email)
	}
	return found.identity(), nil
}

// find returns the person with the address, or nil.
func (d *directory) find(email string) (*person, error) {
	raw, err := os.ReadFile(d.File)
	if err != nil {
		return nil, err
	}
	var people []person
	if err := json.Unmarshal(raw, &people); err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.File, err)
	}
	for i := range people {
		if people[i].Email == email {
			return &people[i], nil
		}
	}
	return nil, nil
}

func (p *person) identity() connector.Identity {
	return connector.Identity{
		UserID: p.Email, Username: p.Name, PreferredUsername: p.Name, Email: p.Email, EmailVerified: true, Groups: p.Groups,
	}
}
