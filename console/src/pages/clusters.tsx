import { Button, TextInput } from '@mantine/core'
import { keepPreviousData, useQueries, useQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useLayoutEffect, useRef, useState } from 'react'
import { read } from '../api/client'
import type { ClusterRow, Facet, Health } from '../api/types'
import { Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Empty, Failed, Loading, Warned } from '../parts/states'
import { Age, HealthMark, healths } from '../parts/status'
import { Command } from '../parts/twin'
import { Link, usePlace } from '../router'

const pageSize = 100

/** What is asked of the hub: everything in the address but where somebody has scrolled to. */
function asked(query: URLSearchParams): URLSearchParams {
  const of = new URLSearchParams()
  for (const [name, value] of query) if (name === 'q' || name === 'sort' || name.startsWith('f.')) of.append(name, value)
  return of
}

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
  const { query, set } = usePlace()
  const ask = asked(query)
  const key = ask.toString()
  const first = useQuery({
    queryKey: ['clusters', key, 0],
    queryFn: ({ signal }) => page(ask, 0, signal),
    placeholderData: keepPreviousData,
  })
  const [words, setWords] = useState(query.get('q') ?? '')
  useEffect(() => {
    const timer = window.setTimeout(() => words !== (query.get('q') ?? '') && set({ q: words }), 200)
    return () => window.clearTimeout(timer)
  }, [words, query, set])
  const [facets, setFacets] = useState(false)
  const data = first.data
  const chosen = [...query.keys()].filter((k) => k.startsWith('f.')).length
  return (
    <>
      <Title note={data && (data.total === data.all ? `${data.all.toLocaleString()} in all` : `${data.total.toLocaleString()} of ${data.all.toLocaleString()}`)} twin={commands(query)}>
        Clusters
      </Title>
      <Warned warning={data?.hub.warning} />
      <div className="filters">
        <TextInput
          aria-label="Filter clusters"
          placeholder="Name, label, version, or what is wrong"
          leftSection={<Sign shape="search" size={14} />}
          value={words}
          onChange={(e) => setWords(e.currentTarget.value)}
          className="filters-words"
        />
        <Button variant="default" className="facets-toggle" aria-expanded={facets} onClick={() => setFacets(!facets)}>
          Filters{chosen > 0 ? ` (${chosen})` : ''}
        </Button>
        {(chosen > 0 || words) && (
          <Button
            variant="subtle"
            color="gray"
            onClick={() => {
              setWords('')
              set(Object.fromEntries([...query.keys()].filter((k) => k === 'q' || k.startsWith('f.')).map((k) => [k, undefined])))
            }}
          >
            Clear
          </Button>
        )}
      </div>
      {first.isPending && <Loading rows={12} />}
      {first.error && <Failed error={first.error} retry={() => void first.refetch()} />}
      {data && data.all === 0 && (
        <Empty title="No cluster has joined this hub yet.">
          <Command text="umbel join NAME --kubeconfig FILE" />
        </Empty>
      )}
      {data && data.all > 0 && (
        <div className="split">
          <div className={'facets' + (facets ? ' facets-open' : '')} role="group" aria-label="Filters">
            {data.facets.map((facet) => (
              <FacetBox key={facet.name} facet={facet} />
            ))}
          </div>
          <Table ask={ask} total={data.total} first={data.rows} />
        </div>
      )}
    </>
  )
}

const page = (ask: URLSearchParams, from: number, signal: AbortSignal) => {
  const query = new URLSearchParams(ask)
  query.set('from', String(from))
  query.set('limit', String(pageSize))
  return read('/api/clusters', {}, query, signal)
}

function FacetBox({ facet }: { facet: Facet }) {
  const { query, set } = usePlace()
  const name = 'f.' + facet.name
  const chosen = query.getAll(name)
  if (facet.values.length === 0) return null
  const title = facet.name.startsWith('label:') ? facet.name.slice(6) : { health: 'Health', kubernetes: 'Kubernetes', agent: 'Agent' }[facet.name]
  return (
    <fieldset className="facet">
      <legend>{title}</legend>
      {facet.values.map((v) => (
        <label key={v.value} className="facet-value">
          <input
            type="checkbox"
            checked={chosen.includes(v.value)}
            onChange={(e) => set({ [name]: e.currentTarget.checked ? [...chosen, v.value] : chosen.filter((c) => c !== v.value) })}
          />
          <span className="facet-name">{facet.name === 'health' ? healths[v.value as Health].text : v.value}</span>
          <span className="facet-count">{v.count.toLocaleString()}</span>
        </label>
      ))}
      {!!facet.more && <p className="quiet">and {facet.more} more</p>}
    </fieldset>
  )
}

const columns = [
  { name: 'Cluster', sort: 'name', className: 'c-name' },
  { name: 'Health', sort: 'health', className: 'c-health' },
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
