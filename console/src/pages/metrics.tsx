import { NativeSelect, TextInput } from '@mantine/core'
import { lazy, Suspense, useRef, useState, type RefObject } from 'react'
import { Panel, Title } from '../parts/frame'
import { graphs, Measured } from '../parts/measured'
import { usePlace } from '../router'

const spans: Record<string, number> = { 'the last 15 minutes': 15, 'the last hour': 60, 'the last 6 hours': 360, 'the last day': 1440 }

const PromQL = lazy(() => import('../parts/promql'))

/** A query that somebody writes. */
export interface Written {
  text: string
  label: string
  example: string
  onText(text: string): void
  onRun(): void
}

/** What a query is written in: a plain field until the editor is there, which goes on where somebody writes already. */
function Query(written: Written) {
  const focused = useRef(false)
  const { text, label, example, onText } = written
  return (
    <div className="query">
      <Suspense
        fallback={
          <TextInput
            aria-label={label}
            placeholder={example}
            value={text}
            onChange={(e) => onText(e.currentTarget.value)}
            onFocus={() => (focused.current = true)}
            onBlur={() => (focused.current = false)}
            autoComplete="off"
            spellCheck={false}
          />
        }
      >
        <Writes {...written} focused={focused} />
      </Suspense>
    </div>
  )
}

/** The editor, told once it is there whether somebody has begun to write. */
const Writes = ({ focused, ...written }: Written & { focused: RefObject<boolean> }) => <PromQL {...written} focused={focused.current} />

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
        className="filters filters-wrap"
        onSubmit={(e) => {
          e.preventDefault()
          set({ query: text })
        }}
      >
        <Query label="Query of PromQL" example="PromQL, such as sum by (cluster) (umbel_pods)" text={text} onText={setText} onRun={() => set({ query: text })} />
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
