import { useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Link, usePlace } from '../router'
import { units } from './measured'
import { Failed } from './states'

/** What values are in, by Grafana's names, and what people read of them. */
export const grafanaUnits: Record<string, { called: string; unit: (v: number) => string }> = {
  short: { called: 'number', unit: units.plain },
  bytes: { called: 'bytes', unit: units.bytes },
  cores: { called: 'processors', unit: units.cores },
  percentunit: { called: 'share of 1, as percent', unit: (v) => Math.round(v * 1000) / 10 + ' %' },
  percent: { called: 'percent', unit: (v) => Math.round(v * 10) / 10 + ' %' },
  s: { called: 'seconds', unit: (v) => (v < 1 ? Math.round(v * 1000) + ' ms' : Math.round(v * 100) / 100 + ' s') },
  reqps: { called: 'per second', unit: (v) => units.plain(v) + '/s' },
}

export const unitOf = (name: string) => (grafanaUnits[name] ?? grafanaUnits.short!).unit

/** How far back graphs look, by what that is called. */
export const spans: Record<string, number> = { 'the last 15 minutes': 15, 'the last hour': 60, 'the last 6 hours': 360, 'the last day': 1440, 'the last week': 10080 }

export const spanOf = (minutes: number) => Object.keys(spans).find((name) => spans[name]! >= minutes) ?? 'the last week'

/** The dashboards that somebody may see, the hub's own first. */
export function Boards() {
  const { parts } = usePlace()
  const list = useQuery({ queryKey: ['dashboards'], queryFn: ({ signal }) => read('/api/dashboards', {}, undefined, signal) })
  const here = (path: string) => (parts.slice(0, 3).join('/') === path ? ('page' as const) : undefined)
  return (
    <>
      <nav aria-label="Dashboards" className="boards">
        <Link to="metrics" className="label" aria-current={here('metrics')}>
          The fleet
        </Link>
        {list.data?.rows.map((row) => (
          <Link key={row.namespace + '/' + row.name} to={`metrics/${row.namespace}/${row.name}`} className="label" aria-current={here(`metrics/${row.namespace}/${row.name}`)}>
            {row.title} <span className="quiet">{row.namespace}</span>
          </Link>
        ))}
        <Link to="metrics/new" className="label" aria-current={here('metrics/new')}>
          New dashboard
        </Link>
      </nav>
      {list.data?.more && <p className="quiet small">{list.data.more}</p>}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
    </>
  )
}
