package output

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// Encode writes value as JSON or YAML. The names of fields are those of its json tags in both.
func Encode(w io.Writer, format Format, value any) error {
	var text []byte
	var err error
	switch format {
	case JSON:
		text, err = json.MarshalIndent(value, "", "    ")
		text = append(text, '\n')
	case YAML:
		text, err = yaml.Marshal(value)
	default:
		return fmt.Errorf("format %q is neither json nor yaml", format)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", format, err)
	}
	_, err = w.Write(text)
	return err
}
