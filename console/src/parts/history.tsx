import { NativeSelect } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { ask } from '../api/client'
import { usePlace } from '../router'
import { Panel } from './frame'
import { Failed, Loading } from './states'
import { span } from './status'

const spans: Record<string, number> = { 'the last hour': 60, 'the last day': 24 * 60, 'the last week': 7 * 24 * 60 }

/** The series in which the hub writes down how a cluster is, twice a minute. */
const series: { name: string; title: string; no: string }[] = [
  { name: 'umbel_cluster_connected', title: 'Connected', no: 'not connected' },
  { name: 'umbel_cluster_ready', title: 'Ready', no: 'not ready' },
]

interface Answer {
  data: { result: { metric: Record<string, string>; values: [number, string][] }[] }
}

type Is = 'yes' | 'no' | 'unknown'
interface Part {
  is: Is
  from: number
  to: number
}

/** How a cluster was, over time: connected and ready, and when it was not. */
export function History({ cluster }: { cluster: string }) {
  const { query, set } = usePlace()
  const over = query.get('over') ?? 'the last day'
  const minutes = spans[over] ?? 24 * 60
  const got = useQuery({
    queryKey: ['history', cluster, minutes],
    queryFn: async ({ signal }) => {
      const end = Math.floor(Date.now() / 1000)
      const step = Math.max(30, Math.ceil((minutes * 60) / 600))
      const asked = new URLSearchParams({
        query: `{__name__=~"${series.map((s) => s.name).join('|')}",cluster="${cluster}"}`,
        start: String(end - minutes * 60), end: String(end), step: String(step), cluster,
      })
      const answer = (await (await ask('/console/api/metrics/query_range?' + asked.toString(), { signal })).json()) as Answer
      return { end, step, result: answer.data.result }
    },
    refetchInterval: 60_000,
    placeholderData: keepPreviousData,
  })
  const bars = useMemo(() => {
    if (!got.data) return []
    const { end, step, result } = got.data
    const start = end - minutes * 60
    return series.map((s) => ({ ...s, parts: partsOf(result.find((r) => r.metric.__name__ === s.name)?.values ?? [], start, end, step) }))
  }, [got.data, minutes])
  return (
    <Panel title="How it was" right={<NativeSelect aria-label="Over" size="xs" value={over} onChange={(e) => set({ over: e.currentTarget.value })} data={Object.keys(spans)} />}>
      {got.isPending && <Loading rows={3} />}
      {got.error && <Failed error={got.error} retry={() => void got.refetch()} />}
      {bars.map((bar) => (
        <Bar key={bar.name} {...bar} />
      ))}
      {bars.length > 0 && (
        <div className="span-when">
          <span>{span(minutes * 60_000)} ago</span>
          <span>now</span>
        </div>
      )}
    </Panel>
  )
}

/** What stands beside each other for as long as it was so. */
function partsOf(values: [number, string][], start: number, end: number, step: number): Part[] {
  const at = new Map(values.map(([t, v]) => [Math.round(t), v === '1' ? 'yes' : 'no'] as [number, Is]))
  const parts: Part[] = []
  for (let t = start; t <= end; t += step) {
    const is = at.get(t) ?? 'unknown'
    const last = parts[parts.length - 1]
    if (last?.is === is) last.to = t + step
    else parts.push({ is, from: t, to: t + step })
  }
  return parts
}

function Bar({ title, no, parts }: { title: string; no: string; parts: Part[] }) {
  const known = parts.filter((p) => p.is !== 'unknown').reduce((n, p) => n + p.to - p.from, 0)
  const yes = parts.filter((p) => p.is === 'yes').reduce((n, p) => n + p.to - p.from, 0)
  const gaps = parts.filter((p) => p.is === 'no')
  const share = known === 0 ? 'not known' : yes === known ? 'all of the time that is known' : `${((100 * yes) / known).toFixed(1)} % of the time that is known`
  const time = (t: number) => new Date(t * 1000).toLocaleString([], { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
  return (
    <div>
      <div className="span-head">
        <strong>{title}</strong>
        <span className="quiet">{share}</span>
      </div>
      <div className="span-bar" role="img" aria-label={`${title}: ${share}`}>
        {parts.map((p) => (
          <span key={p.from} className={'span-' + p.is} style={{ flexGrow: p.to - p.from, flexBasis: 0 }} title={`${p.is === 'yes' ? title : p.is === 'no' ? no : 'nothing is known'}: ${time(p.from)} to ${time(p.to)}`} />
        ))}
      </div>
      {gaps.length > 0 && (
        <p className="quiet small">
          {gaps.slice(-3).map((g) => `${no} from ${time(g.from)} for ${span((g.to - g.from) * 1000)}`).join('; ')}
          {gaps.length > 3 && `; and ${gaps.length - 3} times before`}
        </p>
      )}
    </div>
  )
}
