import { NativeSelect } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { ask } from '../api/client'
import { usePlace } from '../router'
import { Panel } from './frame'
import { Failed, Loading } from './states'
import { span } from './status'

const spans: Record<string, number> = { 'the last hour': 60, 'the last day': 24 * 60, 'the last week': 7 * 24 * 60 }

/** The series in which the hub writes down how a cluster is, and how often it does, in seconds. */
const series: { name: string; title: string; no: string }[] = [
  { name: 'umbel_cluster_connected', title: 'Connected', no: 'not connected' },
  { name: 'umbel_cluster_ready', title: 'Ready', no: 'not ready' },
]
const every = 30

interface Answer {
  data: { result: { metric: Record<string, string>; values: [number, string][] }[] }
}

type Is = 'yes' | 'no' | 'unknown'

/** A while in which it was so: `no` where it was not, be it for a part of the time. `known` and `not` are seconds of it. */
interface Part {
  is: Is
  from: number
  to: number
  known: number
  not: number
}

/** Asks for every sample of each step, not for one instant in it: so an outage is seen that is shorter than a step. */
function question(cluster: string, step: number): string {
  return series
    .flatMap((s) => ['sum', 'count'].map((of) => `label_replace(label_replace(${of}_over_time(${s.name}{cluster="${cluster}"}[${step}s]), "name", "${s.name}", "", ""), "of", "${of}", "", "")`))
    .join(' or ')
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
      const step = Math.max(2 * every, Math.ceil((minutes * 60) / 600)) // of one that is late the next has two
      const steps = Math.floor((minutes * 60) / step)
      const asked = new URLSearchParams({ query: question(cluster, step), start: String(end - (steps - 1) * step), end: String(end), step: String(step), cluster })
      const answer = (await (await ask('/console/api/metrics/query_range?' + asked.toString(), { signal })).json()) as Answer
      return { end, step, steps, result: answer.data.result }
    },
    refetchInterval: 60_000,
    placeholderData: keepPreviousData,
  })
  const bars = useMemo(() => {
    if (!got.data) return []
    const { end, step, steps, result } = got.data
    const of = (name: string, what: string) => new Map(result.find((r) => r.metric.name === name && r.metric.of === what)?.values.map(([t, v]) => [Math.round(t), Number(v)]))
    return series.map((s) => ({ ...s, parts: partsOf(of(s.name, 'count'), of(s.name, 'sum'), end - steps * step, end, step) }))
  }, [got.data])
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

/** What stands beside each other for as long as it was so: of each step how often it was said, and how often that it was. */
function partsOf(said: Map<number, number>, yes: Map<number, number>, start: number, end: number, step: number): Part[] {
  const parts: Part[] = []
  for (let t = start + step; t <= end; t += step) {
    const n = said.get(t) ?? 0
    const not = n - (yes.get(t) ?? 0)
    const known = Math.min(n * every, step)
    const one: Part = { is: n === 0 ? 'unknown' : not > 0 ? 'no' : 'yes', from: t - step, to: t, known, not: n === 0 ? 0 : (known * not) / n }
    const last = parts[parts.length - 1]
    if (last?.is !== one.is) parts.push(one)
    else parts[parts.length - 1] = { ...last, to: one.to, known: last.known + one.known, not: last.not + one.not }
  }
  return parts
}

function Bar({ title, no, parts }: { title: string; no: string; parts: Part[] }) {
  const known = parts.reduce((n, p) => n + p.known, 0)
  const yes = known - parts.reduce((n, p) => n + p.not, 0)
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
          {gaps.slice(-3).map((g) => `${no} for ${span(g.not * 1000)} ${g.not < g.to - g.from - every ? `between ${time(g.from)} and ${time(g.to)}` : `from ${time(g.from)}`}`).join('; ')}
          {gaps.length > 3 && `; and ${gaps.length - 3} times before`}
        </p>
      )}
    </div>
  )
}
