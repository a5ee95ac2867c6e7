import { Button, TextInput } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { brokeOff, find, Refused } from '../api/client'
import type { FoundLine, FoundPage, FoundRow } from '../api/types'
import { Link, usePlace } from '../router'
import { Panel } from './frame'
import { Sign } from './icons'
import { Sheet } from './listing'
import { reading } from './paper'
import { Empty, Failed, Said } from './states'
import { Age } from './status'
import { AsCommand, Command } from './twin'

/** Kinds that are looked for most; any other may be typed. */
const kinds = ['pods', 'deployments', 'statefulsets', 'daemonsets', 'jobs', 'cronjobs', 'services', 'ingresses', 'configmaps', 'secrets', 'persistentvolumeclaims', 'namespaces', 'nodes', 'customresourcedefinitions']

/** What has come of a search: rows stand in the order in which they came, so that what stands already does not move. */
interface Found {
  page: FoundPage
  rows: FoundRow[]
  unasked: NonNullable<FoundLine['unasked']>[]
}

const fields = [
  { name: 'kind', label: 'Kind', placeholder: 'deployments' },
  { name: 'name', label: 'Name', placeholder: 'web, shop/web or web-*' },
  { name: 'clusters', label: 'Clusters', placeholder: 'all, or env=prod' },
] as const

/** Objects of any kind on the clusters, by their name: the clusters are asked when somebody says so. */
export function OnClusters() {
  const { query, set } = usePlace()
  const asked = new URLSearchParams(fields.map((f) => [f.name, query.get(f.name) ?? '']))
  const key = asked.toString()
  const ready = !!query.get('kind') && !!query.get('name')
  const [typed, setTyped] = useState<Record<string, string>>(Object.fromEntries(asked))
  useEffect(() => setTyped(Object.fromEntries(new URLSearchParams(key))), [key])
  const kept = useQueryClient()
  const found = useQuery({
    queryKey: ['find', key],
    queryFn: async ({ signal }) => {
      let so: Found | undefined
      for await (const { page, rows = [], unasked, error } of find(asked, signal)) {
        if (error) throw new Refused(503, error)
        so = { page, rows: [...(so?.rows ?? []), ...rows], unasked: [...(so?.unasked ?? []), ...(unasked ? [unasked] : [])] }
        kept.setQueryData(['find', key], so)
      }
      if (!so) throw new Refused(0, 'The hub said nothing: ask again.')
      if (so.page.said < so.page.asked) throw new Refused(0, 'The hub stopped answering before all clusters had: ask again.')
      return so
    },
    enabled: ready,
    staleTime: Infinity, // it asks many clusters: anew when somebody says so
    retry: (times, error) => times < 2 && brokeOff(error),
  })
  return (
    <Panel title="On the clusters" right={found.data && <AsCommand twin={{ umbel: found.data.page.umbel }} />}>
      <form
        className="filters filters-wrap"
        onSubmit={(e) => {
          e.preventDefault()
          if (new URLSearchParams(typed).toString() === key) void found.refetch()
          else set(typed)
        }}
      >
        {fields.map((f) => (
          <TextInput
            key={f.name}
            label={f.label}
            placeholder={f.placeholder}
            size="xs"
            required={f.name !== 'clusters'}
            withAsterisk={false}
            value={typed[f.name] ?? ''}
            onChange={(e) => setTyped({ ...typed, [f.name]: e.currentTarget.value })}
            list={f.name === 'kind' ? 'kinds' : undefined}
            autoComplete="off"
            spellCheck={false}
          />
        ))}
        <datalist id="kinds">
          {kinds.map((kind) => (
            <option key={kind} value={kind} />
          ))}
        </datalist>
        <Button type="submit" size="xs" variant="default" className="filters-go" loading={found.isFetching} leftSection={<Sign shape="search" size={14} />}>
          Ask the clusters
        </Button>
      </form>
      {found.error && <Failed error={found.error} retry={() => void found.refetch()} />}
      {ready && found.data && <Rows found={found.data} asking={found.isFetching} />}
    </Panel>
  )
}

function Rows({ found: { page, rows, unasked }, asking }: { found: Found; asking: boolean }) {
  const known = page.asked - page.without - page.unread
  const of = (n: number) => `${n.toLocaleString()} ${n === 1 ? 'cluster' : 'clusters'}`
  return (
    <>
      <p className="plan-head quiet" role="status">
        {page.found.toLocaleString()} found. {asking && page.said < page.asked ? `${page.said.toLocaleString()} of ${of(page.asked)} have answered` : `Asked ${of(page.asked)}`}
        {page.asked < page.of && `, of ${page.of.toLocaleString()}: the command asks all`}.
      </p>
      {page.found === 0 && !asking && <Empty title={page.of === 0 ? 'No cluster that you may see has these labels.' : known > 0 ? `Nothing is called so on the ${of(known)} that answered.` : 'No cluster has said what it has.'} />}
      {rows.length > 0 && (
        <Sheet stacks columns={['Cluster', 'Object', 'It says', 'Package', 'Age', '']}>
          {rows.map((row) => (
            <tr key={[row.cluster, row.namespace, row.name].join('/')}>
              <td className="nowrap">
                <Link to={'clusters/' + row.cluster}>{row.cluster}</Link>
              </td>
              <td className="breaks">
                {row.kind} {row.namespace && <span className="quiet">{row.namespace}/</span>}
                <strong>{row.name}</strong>
              </td>
              <td>{row.says.map((said) => <div key={said} className="nowrap">{said}</div>)}</td>
              <td>{row.package && <Link to={'packages/' + row.package}>{row.package}</Link>}</td>
              <td className="nowrap">
                <Age of={row.created} after="" />
              </td>
              <td>
                <Command text={row.kubectl} />
                <Link to={reading(row.cluster, row.word, row.name, row.namespace)} className="small target">
                  Read as YAML
                </Link>
              </td>
            </tr>
          ))}
        </Sheet>
      )}
      {!asking && page.found > rows.length && <p className="quiet">and {(page.found - rows.length).toLocaleString()} more: ask fewer clusters, or let the command show all.</p>}
      {!asking && page.without + page.unread > 0 && (
        <p className="plan-head quiet">
          {page.without > 0 && `${of(page.without)} ${page.without === 1 ? 'has' : 'have'} no such kind. `}
          {page.unread > 0 && `Of ${of(page.unread)} it is not known what they have, or not of all there:`}
        </p>
      )}
      {!asking && unasked.map((u) => (
        <p key={u.cluster} className="row-why row-why-wraps">
          <Link to={'clusters/' + u.cluster}>{u.cluster}</Link>: <Said text={u.reason} />
        </p>
      ))}
      {!asking && page.unread > unasked.length && <p className="quiet">and {of(page.unread - unasked.length)} more.</p>}
    </>
  )
}
