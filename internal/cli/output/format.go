package output

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Format is what is asked for with -o.
type Format string

// The formats. Human is the default: tables and text.
const (
	Human Format = ""
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"
)

// formatFlag is a Format on the command line.
type formatFlag struct {
	format  *Format
	allowed []Format
}

// AddFlag gives the command the flag -o with the formats that it knows, and completes them.
func AddFlag(cmd *cobra.Command, format *Format, allowed ...Format) {
	flag := formatFlag{format: format, allowed: allowed}
	cmd.Flags().VarP(flag, "output", "o", "output format: "+flag.list())
	names := make([]string, len(allowed))
	for i, f := range allowed {
		names[i] = string(f)
	}
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

func (f formatFlag) String() string { return string(*f.format) }

func (f formatFlag) Type() string { return "FORMAT" }

func (f formatFlag) Set(value string) error {
	if !slices.Contains(f.allowed, Format(value)) {
		return fmt.Errorf("%q is not one of %s", value, f.list())
	}
	*f.format = Format(value)
	return nil
}

func (f formatFlag) list() string {
	names := make([]string, len(f.allowed))
	for i, format := range f.allowed {
		names[i] = string(format)
	}
	return strings.Join(names, ", ")
}
