import { keepPreviousData, useQueries, useQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useLayoutEffect, useRef, useState } from 'react'
import { read } from '../api/client'
import type { ClusterRow, Health } from '../api/types'
import { Title } from '../parts/frame'
import { askedFor, Facets, Filters } from '../parts/listing'
import { Empty, Failed, Loading, Warned } from '../parts/states'
import { Age, HealthMark, healths } from '../parts/status'
import { Command } from '../parts/twin'
import { Link, usePlace } from '../router'

const pageSize = 100

/** The command that lists what is shown, as far as a selector can say it. */
function commands(query: URLSearchParams) {
  const labels = [...new Set([...query.keys()].filter((k) => k.startsWith('f.label:')))]
  const selector = labels
    .map((k) => {
      const values = query.getAll(k)
      const key = k.slice('f.label:'.length)
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(',')})`
    })
    .join(',')
  const l = selector ? ` -l '${selector}'` : ''
  return { umbel: 'umbel get clusters' + l, kubectl: 'kubectl get memberclusters.umbel.dev' + l }
}

export default function ClustersPage() {
  const { query } = usePlace()
  const ask = askedFor(query, pageSize)
  const key = ask.toString()
  const first = useQuery({
    queryKey: ['clusters', key, 0],
    queryFn: ({ signal }) => page(ask, 0, signal),
    placeholderData: keepPreviousData,
  })
  const [facets, setFacets] = useState(false)
  const data = first.data
  return (
    <>
      <Title note={data && (data.total === data.all ? `${data.all.toLocaleString()} in all` : `${data.total.toLocaleString()} of ${data.all.toLocaleString()}`)} twin={commands(query)}>
        Clusters
      </Title>
      <Warned warning={data?.hub.warning} />
      <Filters label="Filter clusters" placeholder="Name, label, version, or what is wrong" facets={{ open: facets, toggle: () => setFacets(!facets) }} />
      {first.isPending && <Loading rows={12} />}
      {first.error && <Failed error={first.error} retry={() => void first.refetch()} />}
      {data && data.all === 0 && (
        <Empty title="No cluster has joined this hub yet.">
          <Command text="umbel join NAME --kubeconfig FILE" />
        </Empty>
      )}
      {data && data.all > 0 && (
        <div className="split">
          <Facets
            facets={data.facets}
            open={facets}
            title={(facet) => (facet.startsWith('label:') ? facet.slice(6) : (titles[facet] ?? facet))}
            text={(facet, value) => (facet === 'health' ? healths[value as Health].text : value)}
          />
          <Table ask={ask} total={data.total} first={data.rows} />
        </div>
      )}
    </>
  )
}

const titles: Record<string, string> = { health: 'Health', level: 'Level', kubernetes: 'Kubernetes', agent: 'Agent' }

const page = (ask: URLSearchParams, from: number, signal: AbortSignal) => {
  const query = new URLSearchParams(ask)
  query.set('from', String(from))
  return read('/api/clusters', {}, query, signal)
}

const columns = [
  { name: 'Cluster', sort: 'name', className: 'c-name' },
  { name: 'Health', sort: 'health', className: 'c-health' },
  { name: 'Level', sort: 'level', className: 'c-level' },
  { name: 'Kubernetes', sort: 'kubernetes', className: 'c-version' },
  { name: 'Agent', sort: 'agent', className: 'c-agent' },
  { name: 'Packages', sort: '', className: 'c-packages' },
  { name: 'Labels', sort: '', className: 'c-labels' },
]

/** The rows that are in sight, of however many there are: the hub sends a page at a time. */
function Table({ ask, total, first }: { ask: URLSearchParams; total: number; first: ClusterRow[] }) {
  const { query, set } = usePlace()
  const body = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  useLayoutEffect(() => setTop(body.current?.getBoundingClientRect().top ?? 0), [])
  const rows = useVirtualizer({ count: total, getScrollElement: () => body.current, estimateSize: () => 52, overscan: 8 })
  const shown = rows.getVirtualItems()
  const key = ask.toString()
  const pages = [...new Set(shown.map((item) => Math.floor(item.index / pageSize)))].filter((n) => n > 0)
  const further = useQueries({
    queries: pages.map((n) => ({ queryKey: ['clusters', key, n], queryFn: ({ signal }: { signal: AbortSignal }) => page(ask, n * pageSize, signal) })),
  })
  const rowAt = (i: number): ClusterRow | undefined => {
    const n = Math.floor(i / pageSize)
    return n === 0 ? first[i] : further[pages.indexOf(n)]?.data?.rows[i % pageSize]
  }
  const sort = query.get('sort') ?? 'health'
  if (total === 0) return <Empty title="No cluster matches.">Take a filter away, or search for less.</Empty>
  return (
    <div className="table" role="table" aria-label="Clusters" aria-rowcount={total + 1}>
      <div className="row row-head" role="row" aria-rowindex={1}>
        {columns.map((c) => (
          <div key={c.name} role="columnheader" className={c.className} aria-sort={!c.sort ? undefined : sort === c.sort ? 'ascending' : sort === '-' + c.sort ? 'descending' : 'none'}>
            {c.sort ? (
              <button type="button" className="sort" onClick={() => set({ sort: sort === c.sort ? '-' + c.sort : c.sort })}>
                {c.name}
                <span aria-hidden="true">{sort === c.sort ? ' ↑' : sort === '-' + c.sort ? ' ↓' : ''}</span>
              </button>
            ) : (
              c.name
            )}
          </div>
        ))}
      </div>
      <div ref={body} className="table-body" role="rowgroup" tabIndex={0} aria-label="Rows" style={{ height: `min(${rows.getTotalSize()}px, max(320px, calc(100dvh - ${Math.round(top) + 24}px)))` }}>
        <div role="presentation" style={{ height: rows.getTotalSize(), position: 'relative' }}>
          {shown.map((item) => (
            <Row key={item.index} row={rowAt(item.index)} index={item.index} start={item.start} height={item.size} />
          ))}
        </div>
      </div>
    </div>
  )
}

function Row({ row, index, start, height }: { row?: ClusterRow; index: number; start: number; height: number }) {
  const style = { transform: `translateY(${start}px)`, height }
  if (!row) return <div className="row row-empty" role="row" aria-rowindex={index + 2} style={style} />
  const unknown = row.health === 'Unknown'
  return (
    <div className="row" role="row" aria-rowindex={index + 2} style={style}>
      <div role="cell" className="c-name">
        <Link to={'clusters/' + row.name}>{row.name}</Link>
        {row.health !== 'Ready' && row.why && <span className="row-why" title={row.why}>{row.why}</span>}
      </div>
      <div role="cell" className="c-health">
        <HealthMark health={row.health} />
        <Age of={unknown ? (row.lastSeen ?? row.since) : row.since} before={unknown && row.lastSeen ? 'last seen ' : 'for '} after={unknown && row.lastSeen ? ' ago' : ''} />
      </div>
      <div role="cell" className="c-level">{row.level}</div>
      <div role="cell" className="c-version">{row.kubernetes ?? '–'}</div>
      <div role="cell" className="c-agent">{row.agent ?? '–'}</div>
      <div role="cell" className="c-packages">{row.packages}</div>
      <div role="cell" className="c-labels">
        {Object.entries(row.labels ?? {}).slice(0, 4).map(([k, v]) => (
          <span key={k} className="label" title={`${k}=${v}`}>{k}={v}</span>
        ))}
      </div>
    </div>
  )
}
