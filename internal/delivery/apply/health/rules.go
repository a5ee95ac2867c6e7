package health

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// costLimit bounds one evaluation, in the units of cel-go: a comparison of two fields costs about three.
const costLimit = 100_000

// Rule is one rule as it is written.
type Rule struct {
	Group       string `json:"group,omitempty"`
	Kind        string `json:"kind"`
	Healthy     string `json:"healthy"`
	Progressing string `json:"progressing,omitempty"`
	Failed      string `json:"failed,omitempty"`
	Message     string `json:"message,omitempty"`
}

// Rules are compiled rules, by kind. The nil value has none.
type Rules map[schema.GroupKind]*Compiled

// Compiled is a rule that can be evaluated, or the reason why it cannot.
type Compiled struct {
	healthy, progressing, failed, message cel.Program
	wrong                                 error
}

// Compile compiles rules. One that does not compile makes every object of its kind Unknown, with the reason; the error names
// all of those.
func Compile(rules []Rule) (Rules, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType), ext.Strings(ext.StringsVersion(2)), cel.OptionalTypes())
	if err != nil {
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	compiled := Rules{}
	var errs []error
	for _, rule := range rules {
		gk := schema.GroupKind{Group: rule.Group, Kind: rule.Kind}
		c, err := compile(env, rule)
		if err == nil && compiled[gk] != nil {
			err = errors.New("there are two rules for this kind")
		}
		if err != nil {
			c = &Compiled{wrong: fmt.Errorf("spec.health of %s: %w", gk, err)}
			errs = append(errs, c.wrong)
		}
		compiled[gk] = c
	}
	return compiled, errors.Join(errs...)
}

func compile(env *cel.Env, rule Rule) (*Compiled, error) {
	c := &Compiled{}
	for _, each := range []struct {
		field, text string
		gives       *cel.Type
		into        *cel.Program
	}{
		{"healthy", rule.Healthy, cel.BoolType, &c.healthy},
		{"progressing", rule.Progressing, cel.BoolType, &c.progressing},
		{"failed", rule.Failed, cel.BoolType, &c.failed},
		{"message", rule.Message, cel.StringType, &c.message},
	} {
		if each.text == "" && each.field != "healthy" {
			continue
		}
		program, err := programOf(env, each.text, each.gives)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", each.field, err)
		}
		*each.into = program
	}
	return c, nil
}

func programOf(env *cel.Env, text string, gives *cel.Type) (cel.Program, error) {
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if out := ast.OutputType(); !out.IsExactType(gives) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%q gives %s, has to give %s", text, out, gives)
	}
	return env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
}

// Of judges an object. The state is one of kstatus'.
func (c *Compiled) Of(object map[string]any) (state status.Status, message string) {
	if c.wrong != nil {
		return status.UnknownStatus, c.wrong.Error()
	}
	failed, err := c.holds(c.failed, "failed", object)
	if err == nil && failed {
		return status.FailedStatus, c.why(object, "its health rule says that it failed")
	}
	progressing, err2 := c.holds(c.progressing, "progressing", object)
	healthy, err3 := c.holds(c.healthy, "healthy", object)
	switch err := errors.Join(err, err2, err3); {
	case err != nil:
		return status.UnknownStatus, err.Error()
	case healthy && !progressing:
		return status.CurrentStatus, ""
	}
	return status.InProgressStatus, c.why(object, "its health rule says that it is not healthy yet")
}

func (c *Compiled) holds(program cel.Program, field string, object map[string]any) (bool, error) {
	if program == nil {
		return false, nil
	}
	value, err := eval(program, object)
	if err != nil {
		return false, fmt.Errorf("its health rule, %s: %w", field, err)
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("its health rule, %s: gives %s, has to give true or false", field, value.Type().TypeName())
	}
	return bool(holds), nil
}

// why is what the rule says of the object, or otherwise. What a rule quotes is bounded.
func (c *Compiled) why(object map[string]any, otherwise string) string {
	if c.message == nil {
		return otherwise
	}
	value, err := eval(c.message, object)
	if err != nil {
		return otherwise
	}
	text, ok := value.(types.String)
	if !ok || text == "" {
		return otherwise
	}
	const most = 512
	return strings.ToValidUTF8(string(text)[:min(len(text), most)], "")
}

func eval(program cel.Program, object map[string]any) (ref.Val, error) {
	value, _, err := program.Eval(map[string]any{"self": object})
	if err != nil {
		return nil, err
	}
	return value, nil
}
