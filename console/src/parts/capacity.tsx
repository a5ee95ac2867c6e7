import { NativeSelect } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Link, usePlace } from '../router'
import { Panel } from './frame'
import { Sheet } from './listing'
import { units } from './measured'
import { Pages } from './pages'
import { Empty, Failed, Loading } from './states'
import { AsCommand, Command } from './twin'

const limit = 8

/** How much of the fleet is requested and used, on average of the last hour, and who takes it. */
export function Capacity() {
  const { query, set } = usePlace()
  const by = query.get('by') ?? 'clusters'
  const from = query.get('rows') ?? '0'
  const got = useQuery({
    queryKey: ['capacity', by, from],
    queryFn: ({ signal }) => read('/api/capacity', {}, new URLSearchParams({ by, from, limit: String(limit) }), signal),
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  })
  const data = got.data
  return (
    <Panel
      title="Capacity"
      right={
        <span className="panel-right">
          <label className="beside">
            <span>By</span>
            <NativeSelect size="xs" value={by} onChange={(e) => set({ by: e.currentTarget.value === 'clusters' ? undefined : e.currentTarget.value, rows: undefined })} data={['clusters', 'namespaces', 'teams']} />
          </label>
          <AsCommand twin={{ umbel: `umbel capacity ${by}` }} />
        </span>
      }
    >
      {got.isPending && <Loading rows={5} />}
      {got.error && <Failed error={got.error} retry={() => void got.refetch()} />}
      {data && data.total === 0 && (
        <Empty title="Nothing was measured in the last hour.">
          <p>Agents measure what the profile of their cluster says; without one, nothing.</p>
          <Command text={`kubectl patch memberclusters.umbel.dev NAME --type merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`} />
        </Empty>
      )}
      {data && data.total > 0 && (
        <>
          <div className="meters">
            <Meter name="Processors" requested={data.whole.cpuRequested} used={data.whole.cpuUsed} of={data.whole.cpuAllocatable} unit={cores} />
            <Meter name="Memory" requested={data.whole.memoryRequested} used={data.whole.memoryUsed} of={data.whole.memoryAllocatable} unit={units.bytes} />
            {data.whole.costPerMonth !== undefined && (
              <div className="meter">
                <span className="meter-name">About, per month</span>
                <strong className="meter-cost">
                  {Math.round(data.whole.costPerMonth).toLocaleString()} {data.whole.currency}
                </strong>
              </div>
            )}
          </div>
          <Sheet plain columns={[{ clusters: 'Cluster', namespaces: 'Namespace', teams: 'Team' }[by] ?? '', ...figures]}>
            {data.rows.map((row) => (
              <tr key={[row.cluster, row.namespace, row.team].join('/')}>
                <td>
                  {by === 'teams' ? (
                    row.team || <span className="quiet">nobody’s</span>
                  ) : (
                    <>
                      <Link to={`clusters/${row.cluster}`}>{row.cluster}</Link>
                      {row.namespace && <span className="quiet">/{row.namespace}</span>} {row.team && <span className="label">{row.team}</span>}
                    </>
                  )}
                </td>
                <Amount value={row.cpuRequested} of={row.cpuAllocatable} unit={cores} />
                <Amount value={row.cpuUsed} of={row.cpuAllocatable} unit={cores} />
                <Amount value={row.memoryRequested} of={row.memoryAllocatable} unit={units.bytes} />
                <Amount value={row.memoryUsed} of={row.memoryAllocatable} unit={units.bytes} />
              </tr>
            ))}
          </Sheet>
          <Pages from={data.from} limit={limit} total={data.total} onFrom={(to) => set({ rows: to ? String(to) : undefined })} />
          {by !== 'teams' && data.measured < data.clusters && (
            <p className="quiet small">
              {data.measured.toLocaleString()} of {data.clusters.toLocaleString()} clusters said what they use; of the others nothing is counted.
            </p>
          )}
        </>
      )}
    </Panel>
  )
}

const figures = ['CPU requested', 'used', 'Memory requested', 'used'].map((name) => ({ name, className: 'num' }))

const cores = (v: number) => (v < 10 ? v.toFixed(2) : Math.round(v).toLocaleString())

function Amount({ value, of, unit }: { value?: number; of?: number; unit(v: number): string }) {
  return (
    <td className="num nowrap">
      {value === undefined ? '–' : unit(value)} {value !== undefined && !!of && <span className="quiet">{Math.round((100 * value) / of)}%</span>}
    </td>
  )
}

/** What is requested, and what of that is used, of what there is. */
function Meter({ name, requested, used, of, unit }: { name: string; requested?: number; used?: number; of?: number; unit(v: number): string }) {
  const share = (v?: number) => (v === undefined || !of ? 0 : Math.min(100, (100 * v) / of))
  const say = (v?: number) => (v === undefined ? 'not known' : unit(v) + (of ? ` (${Math.round(share(v))}%)` : ''))
  return (
    <div className="meter" role="group" aria-label={name}>
      <span className="meter-name">
        {name} <span className="quiet">{of === undefined ? '' : `of ${unit(of)}`}</span>
      </span>
      <span className="meter-track" aria-hidden="true">
        <span className="meter-requested" style={{ width: `${share(requested)}%` }} />
        <span className="meter-used" style={{ width: `${share(used)}%` }} />
      </span>
      <span className="meter-said small">
        <span>{say(requested)} requested</span>
        <span>{say(used)} used</span>
      </span>
    </div>
  )
}
