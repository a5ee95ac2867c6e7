import { TextInput } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { read } from '../api/client'
import { Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Pages } from '../parts/pages'
import { Empty, Failed, Loading, Warned } from '../parts/states'
import { Age, WordMark } from '../parts/status'
import { Steps } from '../parts/told'
import { Command } from '../parts/twin'
import { usePlace } from '../router'

const limit = 50

/** The placements: which clusters each means, and what one of them waits for. */
export default function PlacementsPage() {
  const { query, set } = usePlace()
  const ask = new URLSearchParams({ limit: String(limit), from: query.get('from') ?? '0', q: query.get('q') ?? '' })
  const list = useQuery({
    queryKey: ['placements', ask.toString()],
    queryFn: ({ signal }) => read('/api/placements', {}, ask, signal),
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
      <Title note={data && `${data.total} in all`} twin={{ umbel: 'umbel get placements -A', kubectl: 'kubectl get placements.umbel.dev -A' }}>
        Placement
      </Title>
      <Warned warning={data?.hub.warning} />
      <div className="filters">
        <TextInput aria-label="Filter placements" placeholder="Name, or what it selects by" leftSection={<Sign shape="search" size={14} />} value={words} onChange={(e) => setWords(e.currentTarget.value)} className="filters-words" />
      </div>
      {list.isPending && <Loading rows={8} />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {data && data.rows.length === 0 && (
        <Empty title={words ? 'No placement matches.' : 'There is no placement yet.'}>{!words && <p>A Placement selects clusters by their labels; Packages name it.</p>}</Empty>
      )}
      {data && data.rows.length > 0 && (
        <div className="grid-scroll" tabIndex={0} role="group" aria-label="Table">
          <table className="plain">
            <thead>
              <tr>
                <th>Placement</th>
                <th>Decided</th>
                <th>Means</th>
                <th className="num">Clusters</th>
                <th>Age</th>
              </tr>
            </thead>
            <tbody>
              {data.rows.map((row) => (
                <tr key={row.namespace + '/' + row.name}>
                  <td>
                    <strong>
                      <span className="quiet">{row.namespace}/</span>
                      {row.name}
                    </strong>
                    {row.ready.tone !== 'Good' && row.message && <div className="row-why row-why-wraps">{row.message}</div>}
                    <Steps steps={row.next} />
                    <Command text={`umbel explain placement ${row.name} -n ${row.namespace}`} />
                  </td>
                  <td>
                    <WordMark word={row.ready} good="Decided" bad="Not decided" />
                  </td>
                  <td className="breaks">
                    <code className="small">{row.means}</code>
                  </td>
                  <td className="num">{row.selected.toLocaleString()}</td>
                  <td>
                    <Age of={row.created} after="" />
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
