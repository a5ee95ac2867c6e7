import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo } from 'react'
import { ask } from '../api/client'
import type { Series } from './graph'
import { Empty, Failed, Loading } from './states'
import { Command } from './twin'

const Graph = lazy(() => import('./graph'))

interface Answer {
  data: { result: { metric: Record<string, string>; values: [number, string][] }[] }
}

export const units = {
  plain: (v: number) => (Math.abs(v) >= 1000 ? Math.round(v).toLocaleString() : String(Math.round(v * 1000) / 1000)),
  bytes: (v: number) => (v >= 2 ** 30 ? (v / 2 ** 30).toFixed(1) + ' GiB' : (v / 2 ** 20).toFixed(0) + ' MiB'),
  cores: (v: number) => (v < 1 ? Math.round(v * 1000) + ' m' : v.toFixed(2)),
}

/** How many lines a graph has at most: those with the most. */
const most = 16

/** A query of PromQL as a graph; of one cluster alone, or of all that somebody may see. */
export function Measured({ query, minutes, cluster, unit = units.plain, label }: { query: string; minutes: number; cluster?: string; unit?: (v: number) => string; label: string }) {
  const got = useQuery({
    queryKey: ['measured', query, minutes, cluster],
    queryFn: async ({ signal }) => {
      const end = Math.floor(Date.now() / 1000)
      const step = Math.max(15, Math.ceil((minutes * 60) / 240))
      const asked = new URLSearchParams({ query: `topk(${most}, ${query})`, start: String(end - minutes * 60), end: String(end), step: String(step) })
      if (cluster) asked.set('cluster', cluster)
      const answer = (await (await ask('/console/api/metrics/query_range?' + asked.toString(), { signal })).json()) as Answer
      return { end, step, result: answer.data.result }
    },
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  })
  const drawn = useMemo(() => {
    if (!got.data) return null
    const { end, step, result } = got.data
    const times: number[] = []
    for (let t = end - minutes * 60; t <= end; t += step) times.push(t)
    const series: Series[] = result.slice(0, most).map(({ metric, values }) => {
      const by = new Map(values.map(([t, v]) => [Math.round(t), Number(v)]))
      return { name: Object.entries(metric).filter(([k]) => k !== '__name__').map(([k, v]) => (k === 'cluster' ? v : `${k}=${v}`)).join(' ') || label, values: times.map((t) => by.get(t) ?? null) }
    })
    return { times, series }
  }, [got.data, minutes, label])
  if (got.isPending) return <Loading rows={4} />
  if (got.error) return <Failed error={got.error} retry={() => void got.refetch()} />
  if (!drawn || drawn.series.length === 0) {
    return (
      <Empty title="Nothing was measured of that in this time.">
        <p>Agents measure what the profile of their cluster says; without one, nothing.</p>
        <Command text={`kubectl patch memberclusters.umbel.dev ${cluster ?? 'NAME'} --type merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`} />
      </Empty>
    )
  }
  return (
    <Suspense fallback={<Loading rows={4} />}>
      <Graph times={drawn.times} series={drawn.series} unit={unit} label={label} />
    </Suspense>
  )
}

/** What is asked most. BY is how it is summed up. */
export const graphs: { name: string; query: string; unit?: (v: number) => string }[] = [
  { name: 'Processors in use', query: 'sum by (BY) (rate(node_cpu_usage_seconds_total[5m]))', unit: units.cores },
  { name: 'Memory in use', query: 'sum by (BY) (node_memory_working_set_bytes)', unit: units.bytes },
  { name: 'Requests to the API server, per second', query: 'sum by (BY) (rate(apiserver_request_total[5m]))' },
  { name: 'Pods', query: 'sum by (BY) (umbel_pods)' },
]
