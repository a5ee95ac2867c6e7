import { TextInput } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { read } from '../api/client'
import { Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Pages } from '../parts/pages'
import { Spread } from '../parts/spread'
import { Empty, Failed, Loading, Said, Warned } from '../parts/states'
import { Age, WordMark } from '../parts/status'
import { Link, usePlace } from '../router'

const limit = 50

/** The packages, those that need a look first. */
export default function PackagesPage() {
  const { query, set } = usePlace()
  const ask = new URLSearchParams({ limit: String(limit), from: query.get('from') ?? '0', q: query.get('q') ?? '' })
  const list = useQuery({
    queryKey: ['packages', ask.toString()],
    queryFn: ({ signal }) => read('/api/packages', {}, ask, signal),
    placeholderData: keepPreviousData,
  })
  const [words, setWords] = useState(query.get('q') ?? '')
  useEffect(() => {
    const timer = window.setTimeout(() => words !== (query.get('q') ?? '') && set({ q: words, from: undefined }), 200)
    return () => window.clearTimeout(timer)
  }, [words, query, set])
  const data = list.data
  return (
    <>
      <Title note={data && (data.total === data.all ? `${data.all} in all` : `${data.total} of ${data.all}`)} twin={{ umbel: 'umbel get packages -A', kubectl: 'kubectl get packages.umbel.dev -A' }}>
        Packages
      </Title>
      <Warned warning={data?.hub.warning} />
      <div className="filters">
        <TextInput aria-label="Filter packages" placeholder="Name, repository, placement, or what is wrong" leftSection={<Sign shape="search" size={14} />} value={words} onChange={(e) => setWords(e.currentTarget.value)} className="filters-words" />
      </div>
      {list.isPending && <Loading rows={10} />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {data && data.total === 0 && <Empty title={data.all === 0 ? 'There is no package yet.' : 'No package matches.'}>{data.all === 0 && <p>A Package names a source and a Placement, and is made with kubectl or from a catalogue of your own.</p>}</Empty>}
      {data && data.rows.length > 0 && (
        <div className="grid-scroll" tabIndex={0} role="group" aria-label="Table">
          <table className="plain">
            <thead>
              <tr>
                <th>Package</th>
                <th>Ready</th>
                <th>Clusters</th>
                <th className="narrow-out">Source</th>
                <th className="narrow-out">Revision</th>
              </tr>
            </thead>
            <tbody>
              {data.rows.map((row) => (
                <tr key={row.namespace + '/' + row.name}>
                  <td>
                    <Link to={`packages/${row.namespace}/${row.name}`} className="strong">
                      <span className="quiet">{row.namespace}/</span>
                      {row.name}
                    </Link>
                    {row.ready.tone !== 'Good' && row.message && <div className="row-why row-why-wraps"><Said text={row.message} /></div>}
                  </td>
                  <td>
                    <WordMark word={row.ready} good="Ready" bad="Not ready" /> <Age of={row.since} before="for " after="" />
                  </td>
                  <td>
                    <Spread counts={row.clusters} />
                  </td>
                  <td className="breaks narrow-out">{row.source || 'inline'}</td>
                  <td className="narrow-out">
                    <code className="small">{row.revision || '–'}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data && <Pages from={data.from} limit={limit} total={data.total} onFrom={(from) => set({ from: from ? String(from) : undefined })} />}
    </>
  )
}
