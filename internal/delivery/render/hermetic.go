package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// inconstant are the functions of templates that give something else each time. A hub that starts again, or a cluster that
// joins, would then change every cluster.
var inconstant = []string{
	"ago", "bcrypt", "encryptAES", "genCA", "genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
	"genSignedCert", "genSignedCertWithKey", "htpasswd", "now", "randAlpha", "randAlphaNum", "randAscii", "randBytes", "randInt",
	"randNumeric", "shuffle", "uuidv4",
}

// maxList and maxText bound what one call in a template can make.
const maxList, maxText = 100_000, 4 << 20

// hermetic are functions instead of those of Helm's that give something else each time, or as much as one likes. What looks
// into a cluster (lookup) finds nothing, as in `helm template`, and names are not resolved.
func hermetic() template.FuncMap {
	known := sprig.TxtFuncMap()
	funcs := template.FuncMap{}
	for _, name := range inconstant {
		funcs[name] = func(...any) (string, error) {
			return "", fmt.Errorf("%s gives something else each time, and every rendering has to give the same: set the value that it stands in for, or keep it in a Secret that spec.helm.valuesFrom names", name)
		}
	}
	until, step := known["until"].(func(int) []int), known["untilStep"].(func(int, int, int) []int)
	repeat, sequence := known["repeat"].(func(int, string) string), known["seq"].(func(...int) string)
	funcs["until"] = func(count int) ([]int, error) {
		if count > maxList || -count > maxList {
			return nil, errOneCall
		}
		return until(count), nil
	}
	funcs["untilStep"] = func(start, stop, by int) ([]int, error) {
		if by != 0 && (stop-start)/by > maxList {
			return nil, errOneCall
		}
		return step(start, stop, by), nil
	}
	funcs["seq"] = func(params ...int) (string, error) {
		for _, param := range params {
			if param > maxList || -param > maxList {
				return "", errOneCall
			}
		}
		return sequence(params...), nil
	}
	funcs["repeat"] = func(count int, text string) (string, error) {
		if count < 0 || count*len(text) > maxText || count > maxText {
			return "", errOneCall
		}
		return repeat(count, text), nil
	}
	return funcs
}

var errOneCall = errors.New("it would make more than is made of one chart")

// checkSchemas compares the values with values.schema.json of the chart, and of those in it that values are given to.
func checkSchemas(c *chart.Chart, given any, folder string) error {
	values := asMap(given)
	if c.Schema != nil {
		if err := checkSchema(path.Join(folder, "values.schema.json"), c.Schema, values); err != nil {
			return err
		}
	}
	for _, inner := range c.Dependencies() {
		if values[inner.Name()] == nil {
			continue
		}
		if err := checkSchemas(inner, values[inner.Name()], path.Join(folder, "charts", inner.Name())); err != nil {
			return err
		}
	}
	return nil
}

// closed is where schemas are looked for that a schema refers to: nowhere.
type closed struct{}

func (closed) Load(address string) (any, error) {
	return nil, fmt.Errorf("it refers to %s, which is not fetched: put it into $defs", address)
}

func checkSchema(file string, raw []byte, values map[string]any) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s: cannot be used: %v", file, cause)
		}
	}()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("%s: is no JSON: %w", file, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(closed{})
	const name = "values.schema.json"
	if err := compiler.AddResource(name, schema); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := compiled.Validate(values); err != nil {
		return fmt.Errorf("the values are not as %s wants them: %w", file, err)
	}
	return nil
}

func asMap(values any) map[string]any {
	switch values := values.(type) {
	case common.Values:
		return values
	case map[string]any:
		return values
	}
	return nil
}
