import { Button, NativeSelect } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Boards, spanOf, spans, unitOf } from '../parts/boards'
import { Deeds } from '../parts/deeds'
import { Panel, Title } from '../parts/frame'
import { Measured } from '../parts/measured'
import { EditAsYaml } from '../parts/paper'
import { Empty, Failed, Loading } from '../parts/states'
import { Link, usePlace } from '../router'
import { queries } from '../live'

/** A dashboard that somebody made, as the ConfigMap has it that Grafana reads too. */
export default function DashboardPage({ namespace, name }: { namespace: string; name: string }) {
  const { query, set, go } = usePlace()
  const board = useQuery({
    queryKey: ['dashboard', namespace, name],
    queryFn: ({ signal }) => read('/api/dashboards/{namespace}/{name}', { namespace, name }, undefined, signal),
    placeholderData: keepPreviousData,
  })
  const { data } = board
  const span = query.get('since') ?? spanOf(data?.minutes ?? 60)
  return (
    <>
      <Title
        note={`${namespace}/${name}`}
        twin={{ kubectl: `kubectl get configmaps ${name} -n ${namespace} -o yaml` }}
        actions={
          data && (
            <>
              <Button component={Link} to={`metrics/${namespace}/${name}/edit`} size="xs" variant="default">
                Edit
              </Button>
              <EditAsYaml of={{ resource: 'configmaps', namespace, name }} />
              <Deeds
                deeds={data.deeds}
                of={data.title}
                onDone={() => {
                  void queries.invalidateQueries({ queryKey: ['dashboards'] })
                  go('metrics')
                }}
              />
            </>
          )
        }
      >
        {data?.title ?? name}
      </Title>
      <Boards />
      {board.isPending && <Loading rows={8} />}
      {board.error && <Failed error={board.error} retry={() => void board.refetch()} />}
      {data?.problem && <Empty title={`It cannot be shown: ${data.problem}`}>Edit it as YAML to mend it.</Empty>}
      {data && !data.problem && (
        <>
          <div className="filters">
            <NativeSelect aria-label="Time" size="xs" value={span} onChange={(e) => set({ since: e.currentTarget.value })} data={Object.keys(spans)} />
          </div>
          {data.panels.length === 0 && <Empty title="It has no panel yet.">Edit adds some.</Empty>}
          <div className="graphs">
            {data.panels.map((panel, i) => (
              <Panel key={i} title={panel.title} right={panel.query && !panel.not && <Link to={`metrics?${new URLSearchParams({ query: panel.query })}`}>Look closer</Link>}>
                {panel.not ? <p className="quiet">Not drawn here: {panel.not}.</p> : <Measured query={panel.query} minutes={spans[span] ?? 60} unit={unitOf(panel.unit)} label={panel.title} />}
              </Panel>
            ))}
          </div>
        </>
      )}
    </>
  )
}
