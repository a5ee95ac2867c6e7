import { useQuery } from '@tanstack/react-query'
import { hub } from '../api/client'
import type { LabelSelector, Me, Scope } from '../api/types'
import { Panel, Title } from '../parts/frame'
import { Empty, Failed, Loading } from '../parts/states'
import { EditAsYaml } from '../parts/paper'
import { Age, Mark } from '../parts/status'
import { Link } from '../router'

const most = 200

interface Rules {
  status: { resourceRules: { verbs: string[]; apiGroups?: string[]; resources?: string[]; resourceNames?: string[] }[]; incomplete: boolean }
}

/** Who somebody is here, what they may, and which Scopes give it to whom. */
export default function AccessPage({ me }: { me: Me }) {
  const rules = useQuery({
    queryKey: ['rules'],
    queryFn: ({ signal }) =>
      hub<Rules>('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { method: 'POST', body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace: 'umbel-system' } }, signal }),
  })
  const scopes = useQuery({
    queryKey: ['scopes'],
    queryFn: ({ signal }) => hub<{ metadata: { remainingItemCount?: number }; items: Scope[] }>(`/apis/umbel.dev/v1alpha1/scopes?limit=${most}`, { signal }),
  })
  return (
    <>
      <Title twin={{ umbel: 'umbel whoami', kubectl: 'kubectl auth whoami' }}>Access</Title>
      <div className="columns">
        <div>
          <Panel title="Scopes" right={<EditAsYaml small of={{ resource: 'scopes.umbel.dev' }} />}>
            {scopes.isPending && <Loading rows={3} />}
            {scopes.error && <Failed error={scopes.error} />}
            {scopes.data?.items.length === 0 && <Empty title="There is no Scope.">A Scope gives people rights on the clusters that its labels select: <code>umbel scope create</code> makes one.</Empty>}
            {scopes.data && scopes.data.items.length > 0 && (
              <ul className="lines">
                {scopes.data.items.map((scope) => (
                  <Given key={scope.metadata?.name} scope={scope} />
                ))}
              </ul>
            )}
            {!!scopes.data?.metadata.remainingItemCount && (
              <p className="quiet">
                {scopes.data.metadata.remainingItemCount.toLocaleString()} more: <code>kubectl get scopes.umbel.dev -o wide</code> lists all.
              </p>
            )}
          </Panel>
          <Panel title="What you may on the hub">
            {rules.isPending && <Loading rows={4} />}
            {rules.error && <Failed error={rules.error} />}
            {rules.data && (
              <div className="grid-scroll grid-scroll-plain" tabIndex={0} role="group" aria-label="Table">
                <table className="plain">
                  <thead>
                    <tr>
                      <th>On</th>
                      <th>Verbs</th>
                      <th>Names</th>
                    </tr>
                  </thead>
                  <tbody>
                    {rules.data.status.resourceRules.map((rule, i) => (
                      <tr key={i}>
                        <td className="breaks">{(rule.resources ?? []).map((r) => r + (rule.apiGroups?.[0] ? '.' + rule.apiGroups[0] : '')).join(', ')}</td>
                        <td className="breaks">{rule.verbs.join(', ')}</td>
                        <td className="breaks">{rule.resourceNames?.join(', ') ?? 'all'}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
            {rules.data?.status.incomplete && <p className="quiet">The hub’s API says that this may not be all.</p>}
          </Panel>
        </div>
        <Panel title="You">
          <dl className="facts">
            <dt>Name</dt>
            <dd>{me.user}</dd>
            <dt>Groups</dt>
            <dd>{me.groups.join(', ') || 'none'}</dd>
            <dt>Session</dt>
            <dd>
              <Age of={me.since} before="began " />
              <br />
              ends {new Date(me.ends).toLocaleString()}
            </dd>
          </dl>
        </Panel>
      </div>
    </>
  )
}

/** What a Scope gives: to whom, which role, in which namespaces of which clusters, and on how many of those it holds. */
function Given({ scope: { metadata, spec, status } }: { scope: Scope }) {
  const ready = status?.conditions?.find((c) => c.type === 'Ready')
  const name = metadata?.name
  const of = status?.clusters
  const means = inWords(spec.clusterSelector)
  return (
    <li aria-label={`Scope ${name}`}>
      <span className="line-name">
        {name} <EditAsYaml small about={name} of={{ resource: 'scopes.umbel.dev', name }} />
      </span>
      <span className="line-status">
        <Mark tone={ready?.status === 'True' ? 'Good' : ready?.status === 'False' ? 'Bad' : 'Doubtful'} text={ready?.status === 'True' ? 'Given' : ready?.status === 'False' ? 'Not given' : 'Unknown'} />
        <Age of={ready?.lastTransitionTime ?? metadata?.creationTimestamp} before="for " after="" />
      </span>
      <dl className="facts line-why given">
        <Names title="People" names={spec.users} />
        <Names title="Groups" names={spec.groups} />
        <Names title="ServiceAccounts of the clusters" names={spec.serviceAccounts} />
        <dt>May</dt>
        <dd>
          what the ClusterRole <code className="small">{spec.role}</code> says
        </dd>
        <dt>In</dt>
        <dd>{spec.namespaces[0] === '*' ? 'every namespace, and what lives in none' : spec.namespaces.join(', ')}</dd>
        <dt>On</dt>
        <dd>
          {means === '' ? <Link to="clusters">every cluster</Link> : <Link to={`placements?${new URLSearchParams({ labels: means })}`}>clusters with {means}</Link>}
          {of && `: ${of.selected.toLocaleString()}, of which it holds on ${of.ready.toLocaleString()}`}
        </dd>
      </dl>
      {ready?.status !== 'True' && <span className="line-why">{ready?.message}</span>}
    </li>
  )
}

const Names = ({ title, names }: { title: string; names?: string[] }) =>
  names?.length ? (
    <>
      <dt>{title}</dt>
      <dd>{names.join(', ')}</dd>
    </>
  ) : null

/** A selector as kubectl's -l takes it. */
function inWords({ matchLabels, matchExpressions }: LabelSelector): string {
  const equal = Object.entries(matchLabels ?? {}).map(([k, v]) => `${k}=${v}`)
  const rest = (matchExpressions ?? []).map(({ key, operator, values }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return '!' + key
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${(values ?? []).join(',')})`
  })
  return [...equal, ...rest].join(',')
}
