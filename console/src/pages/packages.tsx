import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Title } from '../parts/frame'
import { askedFor, Filters, Listing } from '../parts/listing'
import { Spread } from '../parts/spread'
import { Empty, Said, Warned } from '../parts/states'
import { Age, WordMark } from '../parts/status'
import { EditAsYaml } from '../parts/paper'
import { Link, usePlace } from '../router'

const limit = 50

/** The packages, those that need a look first. */
export default function PackagesPage() {
  const { query } = usePlace()
  const ask = askedFor(query, limit)
  const list = useQuery({
    queryKey: ['packages', ask.toString()],
    queryFn: ({ signal }) => read('/api/packages', {}, ask, signal),
    placeholderData: keepPreviousData,
  })
  const data = list.data
  return (
    <>
      <Title note={data && (data.total === data.all ? `${data.all} in all` : `${data.total} of ${data.all}`)} actions={<EditAsYaml of={{ resource: 'packages.umbel.dev' }} />} twin={{ umbel: 'umbel get packages -A', kubectl: 'kubectl get packages.umbel.dev -A' }}>
        Packages
      </Title>
      <Warned warning={data?.hub.warning} />
      <Filters label="Filter packages" placeholder="Name, repository, placement, or what is wrong" />
      <Listing
        list={list}
        limit={limit}
        columns={['Package', 'Ready', 'Clusters', { name: 'Source', className: 'narrow-out' }, { name: 'Revision', className: 'narrow-out' }]}
        empty={({ all }) => <Empty title={all === 0 ? 'There is no package yet.' : 'No package matches.'}>{all === 0 && <p>A Package names a source and a Placement, and is made here from YAML, with kubectl, or from a catalogue of your own.</p>}</Empty>}
      >
        {({ rows }) =>
          rows.map((row) => (
            <tr key={row.namespace + '/' + row.name}>
              <td>
                <Link to={`packages/${row.namespace}/${row.name}`} className="strong">
                  <span className="quiet">{row.namespace}/</span>
                  {row.name}
                </Link>
                {row.ready.tone !== 'Good' && row.message && (
                  <div className="row-why row-why-wraps">
                    <Said text={row.message} />
                  </div>
                )}
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
          ))
        }
      </Listing>
    </>
  )
}
