package git_test

import (
	"net/http/httptest"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func newReader(t *testing.T, limits source.Limits) source.Reader {
	t.Helper()
	reader, err := git.New(git.Config{Dir: t.TempDir(), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// published is a repository behind a server.
type published struct {
	*sourcetest.Repository
	url          string
	right, wrong source.Credentials
	stop         func()
}

func (p *published) Publish(version string, files map[string]string) {
	p.Commit(files)
	p.Git("tag", "--force", version)
}

func (p *published) Ref(version string) source.Ref {
	if version == "" {
		version = "main"
	}
	return source.Ref{Kind: source.Git, URL: p.url, Name: version, Secret: "team/git"}
}

func (p *published) Credentials() (right, wrong source.Credentials) { return p.right, p.wrong }

func (p *published) Stop() { p.stop() }

func overHTTPS(t *testing.T, header string, right, wrong source.Credentials) *published {
	repo := sourcetest.New(t)
	var server *httptest.Server
	p := &published{Repository: repo, right: right, wrong: wrong}
	server, p.url = repo.ServeTLS(sourcetest.Locked(header))
	p.right.CA, p.wrong.CA, p.stop = sourcetest.CA(server), sourcetest.CA(server), server.Close
	return p
}

func overSSH(t *testing.T) *published {
	repo := sourcetest.New(t)
	server := repo.ServeSSH("")
	other, _ := sourcetest.NewKey(t, "")
	return &published{
		Repository: repo, url: server.URL(repo), stop: server.Stop,
		right: source.Credentials{Key: server.Key, KnownHosts: server.KnownHosts},
		wrong: source.Credentials{Key: other, KnownHosts: server.KnownHosts},
	}
}

func TestConformance(t *testing.T) {
	for name, remote := range map[string]func(*testing.T) sourcetest.Remote{
		"https, with a password": func(t *testing.T) sourcetest.Remote {
			return overHTTPS(t, sourcetest.Basic("ada", sourcetest.Canary),
				source.Credentials{Username: "ada", Password: sourcetest.Canary}, source.Credentials{Username: "ada", Password: sourcetest.Canary + "x"})
		},
		"https, with a token": func(t *testing.T) sourcetest.Remote {
			return overHTTPS(t, "Bearer "+sourcetest.Canary, source.Credentials{Token: sourcetest.Canary}, source.Credentials{Token: sourcetest.Canary + "x"})
		},
		"ssh": func(t *testing.T) sourcetest.Remote { return overSSH(t) },
	} {
		t.Run(name, func(t *testing.T) { sourcetest.Conformance(t, sourcetest.Setup{Reader: newReader, Remote: remote}) })
	}
}
