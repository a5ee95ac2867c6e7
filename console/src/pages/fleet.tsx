import { Input, NativeSelect } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import type { Count, Fleet, Health } from '../api/types'
import { Alerts } from '../parts/alert'
import { Capacity } from '../parts/capacity'
import { Picture } from '../parts/picture'
import { Panel, Title } from '../parts/frame'
import { Empty, Failed, Loading, Said, Warned } from '../parts/states'
import { Age, HealthMark, healths } from '../parts/status'
import { Command } from '../parts/twin'
import { Link, usePlace } from '../router'
import { Sign } from '../parts/icons'

/** The whole fleet at a glance. */
export function FleetPage() {
  const { query, set } = usePlace()
  const group = query.get('group') ?? ''
  const fleet = useQuery({
    queryKey: ['fleet', group],
    queryFn: ({ signal }) => read('/api/fleet', {}, new URLSearchParams(group ? { group } : {}), signal),
    placeholderData: keepPreviousData,
  })
  const data = fleet.data
  return (
    <>
      <Title
        note={data && `${data.total.toLocaleString()} ${data.total === 1 ? 'cluster' : 'clusters'}`}
        twin={{ umbel: 'umbel get clusters' + (group ? ` -L ${group}` : ''), kubectl: 'kubectl get memberclusters.umbel.dev' + (group ? ` -L ${group}` : '') }}
      >
        Fleet
      </Title>
      {fleet.isPending && <Loading rows={10} />}
      {fleet.error && <Failed error={fleet.error} retry={() => void fleet.refetch()} />}
      {data && <Shown fleet={data} group={group} onGroup={(value) => set({ group: value })} />}
    </>
  )
}

function Shown({ fleet, group, onGroup }: { fleet: Fleet; group: string; onGroup(value: string): void }) {
  if (fleet.total === 0) {
    return (
      <>
        <Warned warning={fleet.hub.warning} />
        <Empty title="No cluster has joined this hub yet.">
          <p>A cluster that exists joins with its kubeconfig; its agent dials out to the hub, and nothing dials in.</p>
          <Command text="umbel join NAME --kubeconfig FILE" />
        </Empty>
      </>
    )
  }
  return (
    <>
      <Warned warning={fleet.hub.warning} />
      <ul className="tallies" aria-label="Health">
        {fleet.health.map((count) => (
          <Tally key={count.value} count={count} />
        ))}
      </ul>
      <Panel
        title="Every cluster"
        right={
          <label className="beside">
            <span>Group by</span>
            <NativeSelect size="xs" value={group} onChange={(e) => onGroup(e.currentTarget.value)} data={[{ value: '', label: 'nothing' }, ...fleet.labels]} />
          </label>
        }
      >
        <Picture groups={fleet.groups} grouped={group !== ''} />
        {!!fleet.notShown && <p className="quiet">{fleet.notShown.toLocaleString()} more are not drawn: the list of clusters has them all.</p>}
      </Panel>
      <div className="columns">
        <div>
        <Panel title="Needs a look" right={<Link to="clusters">All clusters</Link>}>
          {fleet.troubles.length === 0 ? (
            <Empty title="Every cluster that is to be here is as it should be." />
          ) : (
            <ul className="lines">
              {fleet.troubles.map((row) => (
                <li key={row.name}>
                  <Link to={'clusters/' + row.name} className="line-name">
                    {row.name}
                  </Link>
                  <span className="line-status">
                    <HealthMark health={row.health} />
                    <Age of={row.health === 'Unknown' ? (row.lastSeen ?? row.since) : row.since} before={row.health === 'Unknown' ? 'last seen ' : 'for '} after={row.health === 'Unknown' ? ' ago' : ''} />
                  </span>
                  <span className="line-why">
                    <Said text={row.why ?? ''} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Panel>
        <Capacity />
        </div>
        <div>
          <Alerts />
          <Panel title="Versions">
            <Bars title="Kubernetes" counts={fleet.kubernetes} facet="kubernetes" />
            <Bars title="Agent" counts={fleet.agents} facet="agent" />
          </Panel>
        </div>
      </div>
    </>
  )
}

function Tally({ count }: { count: Count }) {
  const { tone, shape, text } = healths[count.value as Health]
  return (
    <li>
      <Link to={`clusters?f.health=${count.value}`} className={'tally' + (count.count ? ' tone-' + tone : '')}>
        <span className="tally-count">{count.count.toLocaleString()}</span>
        <span className="tally-name">
          <Sign shape={shape} size={14} /> {text}
        </span>
      </Link>
    </li>
  )
}

/** How many have which version: skew is seen at once. */
function Bars({ title, counts, facet }: { title: string; counts: Count[]; facet: string }) {
  const most = Math.max(...counts.map((c) => c.count), 1)
  return (
    <div className="bars">
      <Input.Label component="h3">{title}</Input.Label>
      {counts.map((c) => (
        <Link key={c.value} to={c.value === 'not known' ? 'clusters' : `clusters?f.${facet}=${encodeURIComponent(c.value)}`} className="bar">
          <span className="bar-name">{c.value}</span>
          <span className="bar-track">
            <span className="bar-fill" style={{ width: `${(100 * c.count) / most}%` }} />
          </span>
          <span className="bar-count">{c.count.toLocaleString()}</span>
        </Link>
      ))}
    </div>
  )
}
