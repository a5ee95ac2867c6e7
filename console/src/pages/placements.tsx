import { Button } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Foreseen } from '../parts/foreseen'
import { Title } from '../parts/frame'
import { askedFor, Filters, Listing } from '../parts/listing'
import { Empty, Warned } from '../parts/states'
import { Age, WordMark } from '../parts/status'
import { Steps } from '../parts/told'
import { Command } from '../parts/twin'
import { EditAsYaml } from '../parts/paper'
import { usePlace } from '../router'

const limit = 50

/** The placements: which clusters each means, what one of them waits for, and what another would select. */
export default function PlacementsPage() {
  const { query, set } = usePlace()
  const ask = askedFor(query, limit)
  const list = useQuery({
    queryKey: ['placements', ask.toString()],
    queryFn: ({ signal }) => read('/api/placements', {}, ask, signal),
    placeholderData: keepPreviousData,
  })
  const words = query.get('q')
  return (
    <>
      <Title note={list.data && `${list.data.total} in all`} actions={<EditAsYaml of={{ resource: 'placements.umbel.dev' }} />} twin={{ umbel: 'umbel get placements -A', kubectl: 'kubectl get placements.umbel.dev -A' }}>
        Placement
      </Title>
      <Warned warning={list.data?.hub.warning} />
      <Foreseen />
      <Filters label="Filter placements" placeholder="Name, or what it selects by" />
      <Listing
        list={list}
        limit={limit}
        columns={['Placement', 'Decided', 'Means', { name: 'Clusters', className: 'num' }, 'Age']}
        empty={() => <Empty title={words ? 'No placement matches.' : 'There is no placement yet.'}>{!words && <p>A Placement selects clusters by their labels; Packages name it.</p>}</Empty>}
      >
        {({ rows }) =>
          rows.map((row) => (
            <tr key={row.namespace + '/' + row.name}>
              <td>
                <strong>
                  <span className="quiet">{row.namespace}/</span>
                  {row.name}
                </strong>
                {row.ready.tone !== 'Good' && row.message && <div className="row-why row-why-wraps">{row.message}</div>}
                <Steps steps={row.next} />
                <Button size="compact-xs" variant="default" className="beside-name" onClick={() => set({ of: row.namespace + '/' + row.name, labels: row.labels, expression: undefined, would: undefined, tried: undefined })}>
                  Try another selector
                </Button>
                <EditAsYaml small about={row.name} of={{ resource: 'placements.umbel.dev', namespace: row.namespace, name: row.name }} />
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
          ))
        }
      </Listing>
    </>
  )
}
