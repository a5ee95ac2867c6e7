package self

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/version"
)

const (
	// recordFile is where a process keeps the record, and programsDir where it keeps programs, in the agent's folder.
	recordFile, programsDir = "upgrade.json", "programs"
	// maxProgram bounds what is fetched, packed.
	maxProgram = 512 << 20
	// processRehearsal is how long a program may take for its rehearsal.
	processRehearsal = time.Minute
)

// Kept is what an agent that runs as a process keeps of upgrades in its folder.
var Kept = []string{recordFile, programsDir}

// RehearseFlag makes an agent rehearse, and end.
const RehearseFlag = "--rehearse"

// Process is the Host of an agent that runs as a process.
type Process struct {
	// Dir is the agent's folder.
	Dir string
	// Args are the agent's arguments, without the program.
	Args []string
	// Door returns how to reach the hub's door: HOST:PORT, and the way there.
	Door func() (address string, transport http.RoundTripper)
}

// Load implements Host.
func (p Process) Load(context.Context) (Record, error) { return readRecord(p.Dir) }

func readRecord(dir string) (Record, error) {
	var record Record
	raw, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record, nil
	}
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		return Record{}, fmt.Errorf("reading %s: %w", filepath.Join(dir, recordFile), err)
	}
	return record, nil
}

// Save implements Host. There is one process that writes: who guards writes when its child is dead.
func (p Process) Save(_ context.Context, last, next Record) error {
	kept, err := readRecord(p.Dir)
	if err != nil {
		return err
	}
	if kept != last {
		return ErrChanged
	}
	return writeRecord(p.Dir, next)
}

func writeRecord(dir string, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, recordFile), raw, 0o600)
}

// Image implements Host.
func (p Process) Image(context.Context) (string, error) { return "", nil }

// Rehearse implements Host.
func (p Process) Rehearse(ctx context.Context, record Record) error {
	if err := p.keep(record.From); err != nil {
		return err
	}
	if err := p.sweep(record); err != nil {
		return err
	}
	if err := p.fetch(ctx, record); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, processRehearsal)
	defer cancel()
	said := &tail{}
	cmd := exec.CommandContext(ctx, p.program(record.Build), append(append([]string{}, p.Args...), RehearseFlag)...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("it was not done in %s; its last words: %s", processRehearsal, said)
	}
	if err != nil {
		return fmt.Errorf("it ended with %w; its last words: %s", err, said)
	}
	return nil
}

// Arm implements Host: the guard is the program that the agent was started from, with the agent's place taken.
func (p Process) Arm(context.Context, Record) error { return ErrHandOver }

// program is where a program is kept.
func (p Process) program(build string) string {
	return filepath.Join(p.Dir, programsDir, build[max(0, len(build)-sumLength):], "umbel-agent")
}

// sumLength is how many hex digits at the end of a build tell programs apart.
const sumLength = 12

// sweep deletes the programs that a record does not speak of.
func (p Process) sweep(record Record) error {
	entries, err := os.ReadDir(filepath.Join(p.Dir, programsDir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(p.Dir, programsDir, entry.Name())
		if path == filepath.Dir(p.program(record.From)) || path == filepath.Dir(p.program(record.Build)) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps the program that runs, so that it can be come back to whatever becomes of the file that it was started from.
func (p Process) keep(build string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	return p.store(build, in)
}

// store writes a program, unless it is there.
func (p Process) store(build string, program io.Reader) error {
	path := p.program(build)
	if got, err := version.Build(path); err == nil && v1alpha1.SameProgram(got, build) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o700))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // it has been put in its place, or is of no use
	if _, err := io.Copy(file, program); err != nil {
		return err
	}
	if got, err := version.Build(file.Name()); err != nil || !v1alpha1.SameProgram(got, build) {
		return errors.Join(fmt.Errorf("the image holds another program (%s) than %s", got, build), err)
	}
	return file.CloseAtomicallyReplace()
}

// fetchWithin is how long fetching a program may take: on a line of 256 kbit/s it takes a quarter of an hour.
const fetchWithin = time.Hour

// fetch gets the program of a record from the hub's registry.
func (p Process) fetch(ctx context.Context, record Record) error {
	if got, err := version.Build(p.program(record.Build)); err == nil && v1alpha1.SameProgram(got, record.Build) {
		return nil
	}
	address, transport := p.Door()
	name, tag, tagged := strings.Cut(strings.TrimPrefix(record.Image, address+"/"), ":")
	if !tagged || !strings.HasPrefix(record.Image, address+"/") {
		return fmt.Errorf("image %s is not one of the hub's at %s, and an agent that runs as a process can have no other", record.Image, address)
	}
	store, err := content.NewStore("https://"+address, transport)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	layer, err := store.PullImage(ctx, name, tag, maxProgram)
	if err != nil {
		return fmt.Errorf("fetching image %s: %w", record.Image, err)
	}
	program, err := unpack(layer)
	if err != nil {
		return fmt.Errorf("unpacking image %s: %w", record.Image, err)
	}
	return p.store(record.Build, program)
}

// unpack returns the one file of a layer.
func unpack(layer []byte) (io.Reader, error) {
	plain, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(plain)
	for {
		head, err := archive.Next()
		if err != nil {
			return nil, err
		}
		if head.Typeflag == tar.TypeReg {
			return archive, nil
		}
	}
}

// tail keeps the last words of a program.
type tail struct{ text []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	const most = 700
	t.text = append(t.text, p...)
	if over := len(t.text) - most; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.text), ""))
	if text == "" {
		return "none"
	}
	return text
}
