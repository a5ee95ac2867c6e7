package query

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"

	"umbel.dev/umbel/api/v1alpha1"
)

// The forms of Prometheus' API for rules and alerts.
type (
	groupsForm struct {
		Groups []groupForm `json:"groups"`
	}
	groupForm struct {
		Name           string    `json:"name"`
		File           string    `json:"file"`
		Rules          []any     `json:"rules"`
		Interval       float64   `json:"interval"`
		Limit          int       `json:"limit"`
		EvaluationTime float64   `json:"evaluationTime"`
		LastEvaluation time.Time `json:"lastEvaluation"`
	}
	ruleForm struct {
		Name           string           `json:"name"`
		Query          string           `json:"query"`
		Labels         labels.Labels    `json:"labels"`
		Health         rules.RuleHealth `json:"health"`
		LastError      string           `json:"lastError,omitempty"`
		EvaluationTime float64          `json:"evaluationTime"`
		LastEvaluation time.Time        `json:"lastEvaluation"`
		Type           string           `json:"type"`
	}
	alertingForm struct {
		State         string        `json:"state"`
		Duration      float64       `json:"duration"`
		KeepFiringFor float64       `json:"keepFiringFor"`
		Annotations   labels.Labels `json:"annotations"`
		Alerts        []alertForm   `json:"alerts"`
		ruleForm
	}
	alertForm struct {
		Labels      labels.Labels `json:"labels"`
		Annotations labels.Labels `json:"annotations"`
		State       string        `json:"state"`
		ActiveAt    *time.Time    `json:"activeAt,omitempty"`
		Value       string        `json:"value"`
	}
	alertsForm struct {
		Alerts []alertForm `json:"alerts"`
	}
)

// groups are those that are evaluated; none where nobody evaluates.
func (a *API) groups() []*rules.Group {
	if a.Groups == nil {
		return nil
	}
	return a.Groups()
}

// rules answers rules. What a rule says is no secret; alerts are told of the clusters that may be seen.
func (a *API) rules(form url.Values, clusters []v1alpha1.ClusterName) answer {
	all := groupsForm{Groups: []groupForm{}}
	wants := func(name, value string) bool { return len(form[name]) == 0 || slices.Contains(form[name], value) }
	without := form.Get("exclude_alerts") == "true"
	for _, g := range a.groups() {
		if !wants("rule_group[]", g.Name()) || !wants("file[]", g.File()) {
			continue
		}
		one := groupForm{
			Name: g.Name(), File: g.File(), Rules: []any{}, Interval: g.Interval().Seconds(), Limit: g.Limit(),
			EvaluationTime: g.GetEvaluationTime().Seconds(), LastEvaluation: g.GetLastEvaluation(),
		}
		for _, r := range g.Rules() {
			if !wants("rule_name[]", r.Name()) {
				continue
			}
			if shown := ruleOf(r, form.Get("type"), clusters, without); shown != nil {
				one.Rules = append(one.Rules, shown)
			}
		}
		if len(one.Rules) > 0 {
			all.Groups = append(all.Groups, one)
		}
	}
	return answer{data: all}
}

// ruleOf is the form of a rule, or nil where another type is asked for.
func ruleOf(r rules.Rule, kind string, clusters []v1alpha1.ClusterName, without bool) any {
	form := ruleForm{
		Name: r.Name(), Query: r.Query().String(), Labels: r.Labels(), Health: r.Health(),
		EvaluationTime: r.GetEvaluationDuration().Seconds(), LastEvaluation: r.GetEvaluationTimestamp(), Type: "recording",
	}
	if err := r.LastError(); err != nil {
		form.LastError = err.Error()
	}
	alerting, is := r.(*rules.AlertingRule)
	if !is {
		if kind != "" && kind != "record" {
			return nil
		}
		return form
	}
	if kind != "" && kind != "alert" {
		return nil
	}
	form.Type = "alerting"
	shown := alertingForm{
		State: alerting.State().String(), Duration: alerting.HoldDuration().Seconds(), KeepFiringFor: alerting.KeepFiringFor().Seconds(),
		Annotations: alerting.Annotations(), Alerts: []alertForm{}, ruleForm: form,
	}
	visible := alertsOf(alerting, clusters)
	if len(clusters) > 0 { // of others it does not say how they are
		shown.State = rules.StateInactive.String()
		for _, one := range visible {
			if shown.State != rules.StateFiring.String() {
				shown.State = one.State
			}
		}
	}
	if !without {
		shown.Alerts = append(shown.Alerts, visible...)
	}
	return shown
}

// alerts answers alerts.
func (a *API) alerts(clusters []v1alpha1.ClusterName) answer {
	all := alertsForm{Alerts: []alertForm{}}
	for _, g := range a.groups() {
		for _, r := range g.AlertingRules() {
			all.Alerts = append(all.Alerts, alertsOf(r, clusters)...)
		}
	}
	return answer{data: all}
}

// alertsOf are the alerts of a rule that may be seen: those about these clusters, or all where none is named.
func alertsOf(r *rules.AlertingRule, clusters []v1alpha1.ClusterName) (all []alertForm) {
	for _, active := range r.ActiveAlerts() {
		if len(clusters) > 0 && !slices.Contains(clusters, v1alpha1.ClusterName(active.Labels.Get("cluster"))) {
			continue
		}
		at := active.ActiveAt
		all = append(all, alertForm{
			Labels: active.Labels, Annotations: active.Annotations, State: active.State.String(), ActiveAt: &at, Value: strconv.FormatFloat(active.Value, 'e', -1, 64),
		})
	}
	slices.SortFunc(all, func(x, y alertForm) int { return labels.Compare(x.Labels, y.Labels) })
	return all
}
