import { NativeSelect } from '@mantine/core'
import { lazy, useState } from 'react'
import { Boards, spans } from '../parts/boards'
import { Panel, Title } from '../parts/frame'
import { graphs, Measured } from '../parts/measured'
import { Query } from '../parts/query'
import { Link, usePlace } from '../router'

const DashboardPage = lazy(() => import('./dashboard'))
const NewBoard = lazy(() => import('./board').then((m) => ({ default: m.NewBoard })))
const EditBoard = lazy(() => import('./board').then((m) => ({ default: m.EditBoard })))

/** What is measured: the hub's own graphs and any query, or a dashboard that somebody made. */
export default function MetricsPage() {
  const { parts } = usePlace()
  const [, first, second, third] = parts
  if (first === 'new' && !second) return <NewBoard />
  if (first && second) return third === 'edit' ? <EditBoard namespace={first} name={second} /> : <DashboardPage namespace={first} name={second} />
  return <Explorer />
}

/** What the fleet measures, by cluster; and any query of PromQL. */
function Explorer() {
  const { query, set } = usePlace()
  const span = query.get('since') ?? 'the last hour'
  const minutes = spans[span] ?? 60
  const own = query.get('query') ?? ''
  const [text, setText] = useState(own)
  return (
    <>
      <Title twin={{ umbel: 'umbel top clusters', kubectl: `curl -H "Authorization: Bearer $TOKEN" "${window.location.origin}/api/v1/query" --data-urlencode 'query=${own || 'sum by (cluster) (umbel_pods)'}'` }}>Metrics</Title>
      <Boards />
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
        <Panel title={own} right={<Link to={`metrics/new?${new URLSearchParams({ query: own })}`}>Keep it in a dashboard</Link>}>
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
