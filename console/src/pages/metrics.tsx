import { NativeSelect, TextInput } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask } from '../api/client'
import { Panel, Title } from '../parts/frame'
import { graphs, Measured } from '../parts/measured'
import { usePlace } from '../router'

const spans: Record<string, number> = { 'the last 15 minutes': 15, 'the last hour': 60, 'the last 6 hours': 360, 'the last day': 1440 }

/** What PromQL has, of what is used most. */
const functions = ['sum by (cluster) (', 'max by (cluster) (', 'avg by (cluster) (', 'count by (cluster) (', 'topk(5, ', 'rate(', 'increase(', 'avg_over_time(', 'max_over_time(', 'histogram_quantile(0.99, ', 'absent(']

/** How a query may go on: functions, and the names of what is measured, by the word that is being typed. */
function useOffers(text: string): string[] {
  const word = /[a-zA-Z_:][a-zA-Z0-9_:]*$/.exec(text)?.[0] ?? ''
  const before = text.slice(0, text.length - word.length)
  const names = useQuery({
    queryKey: ['names', word],
    queryFn: async ({ signal }) => {
      const asked = new URLSearchParams({ limit: '50', 'match[]': `{__name__=~"${word}.*"}` })
      return ((await (await ask('/console/api/metrics/label/__name__/values?' + asked.toString(), { signal })).json()) as { data: string[] }).data
    },
    enabled: word.length >= 2,
    placeholderData: keepPreviousData,
  })
  const found = [...functions.filter((f) => word && f.startsWith(word)), ...(word.length >= 2 ? (names.data ?? []).filter((n) => n.startsWith(word)) : [])]
  return found.filter((f) => f !== word).slice(0, 20).map((f) => before + f)
}

/** What the fleet measures, by cluster; and any query of PromQL. */
export default function MetricsPage() {
  const { query, set } = usePlace()
  const span = query.get('since') ?? 'the last hour'
  const minutes = spans[span] ?? 60
  const own = query.get('query') ?? ''
  const [text, setText] = useState(own)
  const offered = useOffers(text)
  return (
    <>
      <Title twin={{ umbel: 'umbel top clusters', kubectl: `curl -H "Authorization: Bearer $TOKEN" "${window.location.origin}/api/v1/query" --data-urlencode 'query=${own || 'sum by (cluster) (umbel_pods)'}'` }}>Metrics</Title>
      <form
        className="filters"
        onSubmit={(e) => {
          e.preventDefault()
          set({ query: text })
        }}
      >
        <TextInput aria-label="Query of PromQL" placeholder="PromQL, such as sum by (cluster) (umbel_pods)" value={text} onChange={(e) => setText(e.currentTarget.value)} className="filters-words" list="promql" autoComplete="off" spellCheck={false} />
        <datalist id="promql">
          {offered.map((offer) => (
            <option key={offer} value={offer} />
          ))}
        </datalist>
        <NativeSelect aria-label="Time" value={span} onChange={(e) => set({ since: e.currentTarget.value })} data={Object.keys(spans)} />
      </form>
      {own && (
        <Panel title={own}>
          <Measured query={own} minutes={minutes} label={own} />
        </Panel>
      )}
      <div className="graphs">
        {graphs.map((g) => (
          <Panel key={g.name} title={g.name}>
            <Measured query={g.query.replace('BY', 'cluster')} minutes={minutes} unit={g.unit} label={g.name} />
          </Panel>
        ))}
      </div>
    </>
  )
}
