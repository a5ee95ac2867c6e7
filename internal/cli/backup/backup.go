// Package backup is `umbel backup`: it writes what makes the hub this hub into one file, while the hub runs, or verifies such
// a file. `umbel restore` reads it.
package backup

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/backup"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/hub"
)

const examples = `  # while the hub runs, encrypted for whoever has the key of that recipient
  umbel backup hub.backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p

  # to another machine, unencrypted: keep it like a key
  umbel backup - | ssh backup.example.com 'umask 077; cat > hub.backup'

  # is a file whole?
  umbel backup --check hub.backup --identity key.txt`

// Options are the arguments of `umbel backup`.
type Options struct {
	*client.Factory
	// File is where the backup goes, or is; - is standard output, or input.
	File string
	// Recipients are public keys of age for which it is encrypted.
	Recipients []string
	// Check verifies a file instead.
	Check bool
	// Identity is the file with the key that decrypts it.
	Identity string
}

// NewCmd returns the command `umbel backup`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the hub to a file, while it runs",
		Long: "Write what makes the hub this hub to one file, as it is at one moment, while it runs: its objects with their status, the\n" +
			"CA that every member trusts, accounts and roles, keys, and the content of current releases. `umbel restore` makes a hub\n" +
			"of it again, to which the members come back by themselves.\n\n" +
			"Whoever has the file can act as the hub: encrypt it (--recipient), or keep it like a key.",
		Example: examples,
		Args:    exit.Takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.File = args[0]
			if o.Check {
				return o.check()
			}
			return o.take(cmd.Context())
		},
	}
	cmd.Flags().StringArrayVar(&o.Recipients, "recipient", nil, "`KEY` of age (age1...) for whose owner it is encrypted; may be given several times")
	cmd.Flags().BoolVar(&o.Check, "check", false, "verify the file instead of writing it")
	cmd.Flags().StringVar(&o.Identity, "identity", "", "with --check: `FILE` with the key of age that decrypts it")
	return cmd
}

func (o *Options) take(ctx context.Context) error {
	if o.Identity != "" {
		return exit.Usagef("--identity is for --check: a backup is encrypted for a --recipient")
	}
	home, err := filepath.Abs(o.Home)
	if err != nil {
		return err
	}
	host := backup.Own
	if o.Kubeconfig != "" {
		host = backup.Shared
	}
	return o.OnHub(ctx, func(ctx context.Context, h *client.Hub) error {
		var manifest backup.Manifest
		err := o.into(func(to io.Writer) (err error) {
			manifest, err = hub.Backup(ctx, home, h.Config, host, to)
			return err
		})
		if err != nil {
			return err
		}
		o.Note("backup of %s: %s", manifest.Time.Format("2006-01-02 15:04:05Z07:00"), Contents(manifest))
		if len(o.Recipients) == 0 {
			o.Note("It is not encrypted, and whoever has it can act as the hub: keep it like a key (--recipient encrypts it)")
		}
		return nil
	})
}

// into has write write the backup to where it belongs. A file is there when it is whole.
func (o *Options) into(write func(io.Writer) error) error {
	seal := func(to io.Writer) error {
		sealed, err := backup.Seal(to, o.Recipients)
		if err != nil {
			return exit.Usage(err)
		}
		if err := write(sealed); err != nil {
			return err
		}
		return sealed.Close()
	}
	if o.File == "-" {
		return seal(o.Out)
	}
	if folder := filepath.Dir(o.File); !isFolder(folder) {
		return fmt.Errorf("writing the backup %s: there is no folder %s", o.File, folder)
	}
	file, err := renameio.NewPendingFile(o.File, renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	defer file.Cleanup() //nolint:errcheck // nothing is left of a backup that failed
	if err := seal(file); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (o *Options) check() error {
	if len(o.Recipients) > 0 {
		return exit.Usagef("--recipient is for writing a backup, not for --check")
	}
	var manifest backup.Manifest
	err := Read(o.Factory, o.File, o.Identity, func(plain io.Reader) (err error) {
		manifest, err = backup.Read(plain, nil)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "whole: of %s, by umbel %s, %s\n", manifest.Time.Format("2006-01-02 15:04:05Z07:00"), manifest.Umbel, Contents(manifest))
	return nil
}

// Read reads a backup from a file, or from standard input, decrypted with the key in the file identity where it has to be.
func Read(f *client.Factory, path, identity string, read func(io.Reader) error) error {
	from := f.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("reading the backup: %w", err)
		}
		defer file.Close()
		from = file
	}
	var key []byte
	if identity != "" {
		var err error
		if key, err = os.ReadFile(identity); err != nil {
			return fmt.Errorf("reading the key of --identity: %w", err)
		}
	}
	plain, err := backup.Unseal(from, key)
	if err == nil {
		err = read(plain)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Contents says what is in a backup.
func Contents(manifest backup.Manifest) string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(manifest.Objects)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", manifest.Objects[kind], kind))
	}
	var bytes int64
	for _, part := range manifest.Parts {
		bytes += part.Size
	}
	return fmt.Sprintf("%s; %d parts of %d bytes", strings.Join(kinds, ", "), len(manifest.Parts), bytes)
}
