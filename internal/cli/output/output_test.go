package output_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/output"
)

func TestTable(t *testing.T) {
	rows := [][]output.Cell{
		{output.Text("größe"), {Text: "True", Tone: output.Good}, output.Text("")},
		{output.Text("b"), output.Text(""), output.Text("two\nlines")},
	}
	cases := []struct {
		reason string
		table  output.Table
		want   string
	}{
		{
			reason: "columns line up by characters, an empty cell is visible, a cell stays on its line",
			table:  output.Table{Headers: []string{"NAME", "READY", "MESSAGE"}},
			want: "NAME    READY   MESSAGE\n" +
				"größe   True    -\n" +
				"b       -       two lines\n",
		},
		{
			reason: "without headers nothing is as wide as them",
			table:  output.Table{Headers: []string{"NAME", "READY", "MESSAGE"}, HideHeaders: true, Indent: "  "},
			want: "  größe   True   -\n" +
				"  b       -      two lines\n",
		},
		{
			reason: "colours take no room",
			table:  output.Table{Headers: []string{"NAME", "READY", "MESSAGE"}, Palette: output.Coloured},
			want: "NAME    READY   MESSAGE\n" +
				"größe   \x1b[32mTrue\x1b[0m    -\n" +
				"b       -       two lines\n",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var out bytes.Buffer
			if err := c.table.Write(&out, rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPaletteIsPlainForPrograms(t *testing.T) {
	streams := output.Streams{Out: &bytes.Buffer{}}
	if got := streams.Palette(streams.Out); got != output.Plain {
		t.Errorf("got palette %v for a stream that is no terminal, want %v", got, output.Plain)
	}
}

func TestPaletteOnATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, c := range []struct {
		reason, noColor, term string
		want                  output.Palette
		animated              bool
	}{
		{reason: "somebody watches", term: "xterm", want: output.Coloured, animated: true},
		{reason: "who wants no colour", noColor: "1", term: "xterm", want: output.Plain, animated: true},
		{reason: "by any value", noColor: "no", term: "xterm", want: output.Plain, animated: true},
		{reason: "on a terminal that knows none", term: "dumb", want: output.Plain},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		if got, animated := (output.Streams{}).Palette(terminal), output.Animated(terminal); got != c.want || animated != c.animated {
			t.Errorf("%s: got palette %v and animated %v, want %v and %v", c.reason, got, animated, c.want, c.animated)
		}
	}
}

func TestFormatFlag(t *testing.T) {
	cases := []struct {
		reason string
		args   []string
		want   output.Format
		err    string
	}{
		{reason: "none", want: output.Human},
		{reason: "json", args: []string{"-o", "json"}, want: output.JSON},
		{reason: "one that the command does not know", args: []string{"-o", "name"}, err: `"name" is not one of wide, json`},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var got output.Format
			cmd := &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return nil }}
			output.AddFlag(cmd, &got, output.Wide, output.JSON)
			cmd.SetArgs(append([]string{}, c.args...))
			err := cmd.Execute()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAges(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	cases := []struct {
		reason     string
		t          time.Time
		ago, until string
	}{
		{reason: "never"},
		{reason: "past", t: now.Add(-4 * time.Minute), ago: "4m ago", until: "4m ago"},
		{reason: "a clock that is ahead", t: now.Add(3 * time.Hour), ago: "0s ago", until: "in 3h"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff([]string{c.ago, c.until}, []string{output.Ago(c.t, now), output.Until(c.t, now)}); diff != "" {
				t.Errorf("ago, until (-want +got):\n%s", diff)
			}
		})
	}
}
