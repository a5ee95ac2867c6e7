import { Button, NativeSelect, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { read } from '../api/client'
import type { Manifest } from '../api/types'
import { queries } from '../live'
import { Boards, grafanaUnits, spanOf, spans, unitOf } from '../parts/boards'
import { Panel, Title } from '../parts/frame'
import { Measured } from '../parts/measured'
import { Query } from '../parts/query'
import { Review } from '../parts/review'
import { Failed, Loading } from '../parts/states'
import { Link, usePlace } from '../router'

/** A panel as Grafana writes it. What of it is not written here stays as it is. */
interface GrafanaPanel {
  id?: number
  type?: string
  title?: string
  targets?: { refId?: string; expr?: string }[]
  fieldConfig?: { defaults?: { unit?: string }; overrides?: unknown[] }
  gridPos?: { h: number; w: number; x: number; y: number }
}
interface Model {
  title?: string
  time?: { from?: string; to?: string }
  panels?: GrafanaPanel[]
}
interface ConfigMap {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace: string; labels?: Record<string, string> }
  data?: Record<string, string>
}

/** What somebody writes of a panel; `was` is the one that it comes from. */
interface Draft {
  key: number
  title: string
  query: string
  unit: string
  was?: GrafanaPanel
}
interface Board {
  title: string
  name: string
  namespace: string
  span: string
  panels: Draft[]
}

const fieldOf = (data: Record<string, string> = {}) => Object.keys(data).sort().find((name) => name.endsWith('.json'))

const draws = (panel: GrafanaPanel) => panel.type !== 'row' && !!panel.targets?.some((t) => t.expr)

function minutesOf(from = ''): number {
  const found = /^now-(\d+)([mhdw])$/.exec(from)
  return found ? Number(found[1]) * { m: 1, h: 60, d: 1440, w: 10080 }[found[2] as 'm' | 'h' | 'd' | 'w'] : 60
}

/** What is written of a dashboard that there is. */
function boardOf(map: ConfigMap, model: Model): Board {
  return {
    title: model.title ?? map.metadata.name,
    name: map.metadata.name,
    namespace: map.metadata.namespace,
    span: spanOf(minutesOf(model.time?.from)),
    panels: (model.panels ?? []).map((was, key) => ({ key, was, title: was.title ?? '', query: was.targets?.find((t) => t.expr)?.expr ?? '', unit: was.fieldConfig?.defaults?.unit ?? 'short' })),
  }
}

/** The dashboard as Grafana has it, with what was written. Panels that were added or moved have all of them laid out anew, two in a row. */
function modelOf(board: Board, was: Model): Model {
  const drawn = board.panels
  const moved = drawn.length !== (was.panels ?? []).length || drawn.some((d, i) => d.was !== was.panels?.[i])
  let last = Math.max(0, ...drawn.map((d) => d.was?.id ?? 0))
  const panels = drawn.map((d, i): GrafanaPanel => {
    const place = moved ? { gridPos: { h: 8, w: 12, x: (i % 2) * 12, y: Math.floor(i / 2) * 8 } } : {}
    if (d.was && !draws(d.was)) return { ...d.was, ...place }
    const from = d.was ?? { id: ++last, type: 'timeseries' }
    const [first = { refId: 'A' }, ...others] = from.targets ?? []
    return {
      ...from,
      title: d.title,
      targets: [{ ...first, expr: d.query }, ...others],
      fieldConfig: { overrides: [], ...from.fieldConfig, defaults: { ...from.fieldConfig?.defaults, unit: d.unit } },
      ...place,
    }
  })
  const time = was.time && spanOf(minutesOf(was.time.from)) === board.span ? was.time : { from: `now-${spans[board.span]}m`, to: 'now' }
  return { ...(was.panels ? was : { schemaVersion: 39, editable: true, timezone: 'browser' }), title: board.title, time, panels }
}

/** A dashboard that is made. */
export function NewBoard() {
  const { query } = usePlace()
  const first = query.get('query') ?? ''
  const began: Board = { title: '', name: '', namespace: 'default', span: 'the last hour', panels: [{ key: 0, title: '', query: first, unit: 'short' }] }
  const of: Manifest = { kind: 'ConfigMap', text: '', object: null, read: new Date().toISOString(), kubectl: 'kubectl create -f FILE' }
  return (
    <>
      <Title above={<Link to="metrics">Metrics</Link>} note="Graphs of queries, kept on the hub as a ConfigMap, as Grafana finds its own">
        New dashboard
      </Title>
      <Boards />
      <Form began={began} manifest={of} />
    </>
  )
}

/** A dashboard that is changed. */
export function EditBoard({ namespace, name }: { namespace: string; name: string }) {
  const manifest = useQuery({
    queryKey: ['manifest', 'configmaps', namespace, name],
    queryFn: ({ signal }) => read('/api/manifests/{resource}', { resource: 'configmaps' }, new URLSearchParams({ namespace, name }), signal),
    staleTime: Infinity,
    gcTime: 0,
  })
  const [drop, setDrop] = useState(0)
  const map = manifest.data?.object as ConfigMap | undefined
  const inside = useMemo(() => (map ? modelIn(map) : null), [map])
  return (
    <>
      <Title above={<Link to={`metrics/${namespace}/${name}`}>{namespace + '/' + name}</Link>} twin={manifest.data && { kubectl: manifest.data.kubectl }}>
        Edit {inside?.model?.title ?? name}
      </Title>
      {manifest.isPending && <Loading rows={8} />}
      {manifest.error && <Failed error={manifest.error} retry={() => void manifest.refetch()} />}
      {inside?.why && <Failed error={new Error(inside.why)} />}
      {map && inside?.model && (
        <Form
          key={drop}
          began={boardOf(map, inside.model)}
          manifest={manifest.data!}
          onTake={(mine) => void manifest.refetch().then(() => mine || setDrop(drop + 1))}
        />
      )}
    </>
  )
}

function modelIn(map: ConfigMap): { model?: Model; why?: string } {
  const field = fieldOf(map.data)
  if (!field) return { why: 'The ConfigMap has no field that ends in .json, as a dashboard has: edit it as YAML.' }
  try {
    return { model: JSON.parse(map.data![field]!) as Model }
  } catch (e) {
    return { why: `data[${field}] is no JSON: ${String(e)}. Edit it as YAML.` }
  }
}

const named = (title: string) => title.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 60)

function Form({ began, manifest, onTake }: { began: Board; manifest: Manifest; onTake?(mine: boolean): void }) {
  const { go } = usePlace()
  const [board, setBoard] = useState(began)
  const [asked, setAsked] = useState<Record<number, string>>({})
  const isNew = !began.name
  const name = isNew ? board.name || named(board.title) : board.name
  const set = (changes: Partial<Board>) => setBoard({ ...board, ...changes })
  const change = (key: number, changes: Partial<Draft>) => set({ panels: board.panels.map((p) => (p.key === key ? { ...p, ...changes } : p)) })
  const move = (i: number, by: number) => {
    const panels = [...board.panels]
    const [one] = panels.splice(i, 1)
    panels.splice(i + by, 0, one!)
    set({ panels })
  }
  const text = useMemo(() => {
    const map: ConfigMap = (manifest.object as ConfigMap | null) ?? { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: board.namespace, labels: { grafana_dashboard: '1' } } }
    const field = fieldOf(map.data) ?? name + '.json'
    const model = modelOf(board, map.data ? (modelIn(map).model ?? {}) : {})
    return JSON.stringify({ ...map, data: { ...map.data, [field]: JSON.stringify(model, null, 2) + '\n' } }, null, 2)
  }, [board, manifest, name])
  const ready = board.title.trim() !== '' && board.panels.every((p) => (p.was && !draws(p.was)) || (p.title.trim() !== '' && p.query.trim() !== ''))
  return (
    <>
      {manifest.not && <p className="row-why row-why-wraps">You may look, and try, and not save: {manifest.not}.</p>}
      <div className="filters filters-wrap">
        <TextInput label="Title" size="xs" value={board.title} onChange={(e) => set({ title: e.currentTarget.value })} autoComplete="off" />
        {isNew && <TextInput label="Name" size="xs" value={name} onChange={(e) => set({ name: e.currentTarget.value })} autoComplete="off" spellCheck={false} />}
        {isNew && <TextInput label="Namespace" size="xs" value={board.namespace} onChange={(e) => set({ namespace: e.currentTarget.value })} autoComplete="off" spellCheck={false} />}
        <NativeSelect label="Time" size="xs" value={board.span} onChange={(e) => set({ span: e.currentTarget.value })} data={Object.keys(spans)} />
      </div>
      {board.panels.map((panel, i) => (
        <Panel
          key={panel.key}
          title={`Panel ${i + 1}`}
          right={
            <span className="panel-tools">
              <Button size="compact-xs" variant="default" disabled={i === 0} onClick={() => move(i, -1)} aria-label={`Move panel ${i + 1} up`}>
                Up
              </Button>
              <Button size="compact-xs" variant="default" disabled={i === board.panels.length - 1} onClick={() => move(i, 1)} aria-label={`Move panel ${i + 1} down`}>
                Down
              </Button>
              <Button size="compact-xs" variant="default" onClick={() => set({ panels: board.panels.filter((p) => p.key !== panel.key) })} aria-label={`Remove panel ${i + 1}`}>
                Remove
              </Button>
            </span>
          }
        >
          {panel.was && !draws(panel.was) ? (
            <p className="quiet">
              {panel.title || 'Untitled'}: a panel of type {panel.was.type ?? 'unknown'}, which Grafana shows. It stays as it is.
            </p>
          ) : (
            <>
              <div className="filters filters-wrap">
                <TextInput label="Title of the panel" size="xs" className="filters-words" value={panel.title} onChange={(e) => change(panel.key, { title: e.currentTarget.value })} autoComplete="off" />
                <NativeSelect
                  label="Values are"
                  size="xs"
                  value={panel.unit}
                  onChange={(e) => change(panel.key, { unit: e.currentTarget.value })}
                  data={[...Object.entries(grafanaUnits).map(([value, { called }]) => ({ value, label: called })), ...(grafanaUnits[panel.unit] ? [] : [{ value: panel.unit, label: panel.unit }])]}
                />
              </div>
              <div className="filters">
                <Query
                  label={`Query of panel ${i + 1}`}
                  example="PromQL, such as sum by (cluster) (umbel_pods)"
                  text={panel.query}
                  onText={(query) => change(panel.key, { query })}
                  onRun={() => setAsked({ ...asked, [panel.key]: panel.query })}
                />
                <Button variant="default" disabled={!panel.query.trim()} onClick={() => setAsked({ ...asked, [panel.key]: panel.query })} aria-label={`Draw panel ${i + 1}`}>
                  Draw
                </Button>
              </div>
              {asked[panel.key] && <Measured query={asked[panel.key]!} minutes={spans[board.span] ?? 60} unit={unitOf(panel.unit)} label={panel.title || `Panel ${i + 1}`} />}
            </>
          )}
        </Panel>
      ))}
      <Button size="xs" variant="default" onClick={() => set({ panels: [...board.panels, { key: Math.max(-1, ...board.panels.map((p) => p.key)) + 1, title: '', query: '', unit: 'short' }] })}>
        Add a panel
      </Button>
      {ready ? (
        <Review
          of={{ resource: 'configmaps', namespace: board.namespace, name: isNew ? undefined : board.name }}
          manifest={manifest}
          text={text}
          onTake={(base, mine) => onTake?.(base !== mine)}
          onSaved={(written) => {
            void queries.invalidateQueries({ queryKey: ['dashboard'] })
            go(`metrics/${board.namespace}/${written.name}`)
          }}
        />
      ) : (
        <p className="quiet">It takes a title, and of each panel a title and a query.</p>
      )}
    </>
  )
}
