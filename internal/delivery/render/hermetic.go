package render

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"text/template"
	"time"
	_ "time/tzdata" // the zones that a program brings are the same everywhere

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

// hermetic are functions instead of those of Helm's that give something else each time, elsewhere or in another order, or as much as
// one likes. What looks into a cluster (lookup) finds nothing, as in `helm template`, and names are not resolved.
func hermetic() template.FuncMap {
	known := sprig.TxtFuncMap()
	funcs := template.FuncMap{}
	for _, name := range inconstant {
		funcs[name] = func(...any) (string, error) {
			return "", fmt.Errorf("%s gives something else each time, and every rendering has to give the same: set the value that it stands in for, or keep it in a Secret that spec.helm.valuesFrom names", name)
		}
	}
	for _, more := range []template.FuncMap{dates(), inOrder(), indents(known)} {
		maps.Copy(funcs, more)
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

// inOrder are the functions that list what a map has: Helm's do so in an order by chance.
func inOrder() template.FuncMap {
	return template.FuncMap{
		"keys": func(maps ...map[string]any) []string {
			keys := []string{}
			for _, m := range maps {
				keys = append(keys, sortedKeys(m)...)
			}
			return keys
		},
		"values": func(m map[string]any) []any {
			values := []any{}
			for _, key := range sortedKeys(m) {
				values = append(values, m[key])
			}
			return values
		},
	}
}

// indents are the functions that indent text, within bounds.
func indents(known template.FuncMap) template.FuncMap {
	funcs := template.FuncMap{}
	for _, name := range []string{"indent", "nindent"} {
		indent := known[name].(func(int, string) string)
		funcs[name] = func(spaces int, text string) (string, error) {
			if spaces < 0 || spaces > maxText || spaces*(strings.Count(text, "\n")+1) > maxText {
				return "", errOneCall
			}
			return indent(spaces, text), nil
		}
	}
	return funcs
}

// dates are the functions that say when something is. Helm's take the time zone of whoever renders for that of a date, and now for what
// is no time at all.
func dates() template.FuncMap {
	in := func(layout string, at any, zone string) (string, error) {
		place, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			place = time.UTC
		}
		when, err := timeOf(at)
		return when.In(place).Format(layout), err
	}
	date := func(layout string, at any) (string, error) { return in(layout, at, "UTC") }
	day := func(at any) (string, error) { return in(time.DateOnly, at, "UTC") }
	parse := func(layout, text string) (time.Time, error) { return time.ParseInLocation(layout, text, time.UTC) }
	return template.FuncMap{
		"date": date, "dateInZone": in, "date_in_zone": in,
		"htmlDate": day, "htmlDateInZone": func(at any, zone string) (string, error) { return in(time.DateOnly, at, zone) },
		"toDate":     func(layout, text string) time.Time { when, _ := parse(layout, text); return when },
		"mustToDate": parse,
	}
}

// timeOf is a time, or seconds since 1970.
func timeOf(at any) (time.Time, error) {
	switch at := at.(type) {
	case time.Time:
		return at, nil
	case *time.Time:
		if at != nil {
			return *at, nil
		}
	case int64:
		return time.Unix(at, 0), nil
	case int:
		return time.Unix(int64(at), 0), nil
	case int32:
		return time.Unix(int64(at), 0), nil
	}
	return time.Time{}, fmt.Errorf("%s is no time, and the time that it is now is something else each time", describe(at))
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
