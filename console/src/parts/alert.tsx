import { useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import type { AlertRow } from '../api/types'
import { Link } from '../router'
import { Panel } from './frame'
import type { Shape } from './icons'
import { Failed, Loading } from './states'
import { Age, Mark, type Tone } from './status'

const severities: Record<string, { tone: Tone; shape: Shape }> = {
  critical: { tone: 'Bad', shape: 'bad' },
  page: { tone: 'Bad', shape: 'bad' },
  error: { tone: 'Bad', shape: 'bad' },
  warning: { tone: 'Doubtful', shape: 'alerts' },
}

/** How bad an alert is; one that does not fire yet says so. */
export function AlertMark({ row }: { row: AlertRow }) {
  const { tone, shape } = severities[row.severity] ?? { tone: 'Plain' as Tone, shape: 'waiting' as Shape }
  return row.state === 'firing' ? <Mark tone={tone} shape={shape} text={row.severity} /> : <Mark tone="Plain" shape="waiting" text={`${row.severity}, ${row.state}`} />
}

/** What an alert is known by. */
export const alertKey = (row: AlertRow) => [row.rule, row.name, row.cluster, JSON.stringify(row.labels)].join('|')

/** The worst of what fires, of the fleet or of a cluster. */
export function Alerts({ cluster }: { cluster?: string }) {
  const of = cluster ? { 'f.cluster': cluster } : undefined
  const got = useQuery({
    queryKey: ['alerts', 'worst', cluster],
    queryFn: ({ signal }) => read('/api/alerts', {}, new URLSearchParams({ limit: '4', 'f.state': 'firing', ...of }), signal),
    refetchInterval: 15_000,
  })
  const { data } = got
  return (
    <Panel title="Alerts" right={<Link to={'alerts' + (of ? '?' + new URLSearchParams(of) : '')}>{data && data.total > data.rows.length ? `All ${data.total.toLocaleString()}` : 'All alerts'}</Link>}>
      {got.isPending && <Loading rows={2} />}
      {got.error && <Failed error={got.error} retry={() => void got.refetch()} />}
      {data && data.total === 0 && <p className="quiet">{data.rules > 0 ? `None fires: ${data.rules} rules look after ${cluster ? 'it' : 'the fleet'}.` : 'No rule looks after the fleet.'}</p>}
      {data && data.total > 0 && (
        <ul className="lines">
          {data.rows.map((row) => (
            <li key={alertKey(row)}>
              <Link to={`alerts?${new URLSearchParams({ 'f.alert': row.name, ...(row.cluster ? { 'f.cluster': row.cluster } : {}) })}`} className="line-name">
                {row.name}
              </Link>
              <span className="line-status">
                <AlertMark row={row} /> <Age of={row.since} before="for " after="" />
              </span>
              <span className="line-why">{row.summary}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  )
}
