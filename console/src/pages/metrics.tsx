import { NativeSelect, TextInput } from '@mantine/core'
import { useState } from 'react'
import { Panel, Title } from '../parts/frame'
import { graphs, Measured } from '../parts/measured'
import { usePlace } from '../router'

const spans: Record<string, number> = { 'the last 15 minutes': 15, 'the last hour': 60, 'the last 6 hours': 360, 'the last day': 1440 }

/** What the fleet measures, by cluster; and any query of PromQL. */
export default function MetricsPage() {
  const { query, set } = usePlace()
  const span = query.get('since') ?? 'the last hour'
  const minutes = spans[span] ?? 60
  const own = query.get('query') ?? ''
  const [text, setText] = useState(own)
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
        <TextInput aria-label="Query of PromQL" placeholder="PromQL, such as sum by (cluster) (umbel_pods)" value={text} onChange={(e) => setText(e.currentTarget.value)} className="filters-words" />
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
