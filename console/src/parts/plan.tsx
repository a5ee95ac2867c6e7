import { Button, NativeSelect } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { brokeOff, read } from '../api/client'
import type { Change, PackageDetails, PlanGroup, PlanSight } from '../api/types'
import { Link, usePlace } from '../router'
import { Deeds } from './deeds'
import { Diff } from './diff'
import { Panel } from './frame'
import { Sign } from './icons'
import { Empty, Failed } from './states'
import { Mark, type Tone } from './status'
import { AsCommand } from './twin'

const marks: Record<string, { sign: string; tone: Tone }> = {
  add: { sign: '+', tone: 'Good' },
  change: { sign: '~', tone: 'Doubtful' },
  delete: { sign: '−', tone: 'Bad' },
  'let go': { sign: '‹', tone: 'Doubtful' },
}

/** What a release would do to the clusters: each is asked, by a dry run of what its agent would send, and those for which it is the same stand together. */
export default function Plan({ namespace, name, details }: { namespace: string; name: string; details: PackageDetails }) {
  const { query, set } = usePlace()
  const queries = useQueryClient()
  const newest = details.rollout?.rollout.spec.release ?? details.row.release
  const release = query.get('release') ?? newest ?? ''
  const n = namespace === 'default' ? '' : ` -n ${namespace}`
  const key = ['plan', namespace, name, release]
  const plan = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => read('/api/packages/{namespace}/{name}/plan', { namespace, name }, new URLSearchParams({ release }), signal),
    enabled: release !== '',
    staleTime: Infinity, // it asks every cluster: anew when somebody says so
    retry: (times, error) => times < 2 && brokeOff(error),
  })
  if (!release) return <Empty title="There is no release yet.">The hub makes one when it has fetched and rendered the source.</Empty>
  return (
    <div className="tab">
      <div className="tab-head">
        <NativeSelect
          aria-label="Release"
          size="xs"
          value={release}
          onChange={(e) => set({ release: e.currentTarget.value === newest ? undefined : e.currentTarget.value })}
          data={details.releases.map((r) => ({ value: r.name, label: `${r.name}${r.name === details.row.release ? ' (current)' : ''}` }))}
        />
        <Button size="xs" variant="default" loading={plan.isFetching} leftSection={<Sign shape="moving" size={14} />} onClick={() => void queries.refetchQueries({ queryKey: key })}>
          Ask again
        </Button>
        {plan.data && !plan.isFetching && <Deeds deeds={plan.data.deeds} of={`the plan of ${release}`} />}
        <AsCommand twin={{ umbel: `umbel plan ${name} --release ${release}${n}` }} />
      </div>
      {plan.isPending && (
        <p role="status" className="quiet">
          Asking {details.row.clusters.selected.toLocaleString()} {details.row.clusters.selected === 1 ? 'cluster' : 'clusters'} what would become of their objects …
        </p>
      )}
      {plan.error && <Failed error={plan.error} retry={() => void plan.refetch()} />}
      {plan.data && <Shown sight={plan.data} />}
    </div>
  )
}

function Shown({ sight }: { sight: PlanSight }) {
  return (
    <>
      <p className="plan-head">
        From {sight.source}. {sight.asked < sight.of && <>Asked {sight.asked.toLocaleString()} of {sight.of.toLocaleString()} clusters: the command asks all. </>}
        {sight.lacks.length > 0 && <Mark tone="Doubtful" text={`Not whole: ${sight.lacks.join(', ')}`} />}
      </p>
      {sight.of > 0 && sight.unsaved && <p className="quiet">{sight.unsaved}.</p>}
      {sight.of === 0 && <Empty title="The placement selects no cluster." />}
      {sight.groups.map((group) => (
        <Group key={group.clusters.join()} group={group} />
      ))}
      {[...sight.without, ...sight.unasked].map((u) => (
        <p key={u.cluster} className="row-why row-why-wraps">
          <Link to={'clusters/' + u.cluster}>{u.cluster}</Link>: {u.reason}
        </p>
      ))}
    </>
  )
}

function Group({ group }: { group: PlanGroup }) {
  return (
    <Panel title={`${group.count.toLocaleString()} ${group.count === 1 ? 'cluster' : 'clusters'}: ${group.summary}`}>
      <p className="plan-clusters">
        {group.clusters.map((cluster) => (
          <Link key={cluster} to={'clusters/' + cluster} className="label">
            {cluster}
          </Link>
        ))}
        {group.count > group.clusters.length && <span className="quiet">and {(group.count - group.clusters.length).toLocaleString()} more</span>}
      </p>
      {group.changes.length === 0 && <p className="quiet">Every object is as it would be.</p>}
      {group.changes.map((change, i) => (
        <One key={change.object} change={change} open={group.changes.length <= 5 || i < 3} />
      ))}
      {!!group.more && <p className="quiet">and {group.more.toLocaleString()} changes more: the command shows all.</p>}
      {group.unknown.map((text) => (
        <p key={text} className="row-why row-why-wraps">
          <Mark tone="Doubtful" text={text} />
        </p>
      ))}
    </Panel>
  )
}

function One({ change, open }: { change: Change; open: boolean }) {
  const { sign, tone } = marks[change.action] ?? { sign: '?', tone: 'Plain' as Tone }
  return (
    <details className="change" open={open}>
      <summary>
        <span className={'change-sign tone-' + tone}>
          <span aria-hidden="true">{sign}</span> {change.action}
        </span>
        <strong className="breaks">{change.object}</strong> {change.file && <code className="small">{change.file}</code>}
      </summary>
      {change.note && <p className="row-why row-why-wraps">{change.note}</p>}
      {change.problem && (
        <p className="row-why row-why-wraps">
          <Mark tone="Bad" text={`It would fail: ${change.problem}`} />
        </p>
      )}
      {change.diff && <Diff text={change.diff} label={change.object} />}
    </details>
  )
}
