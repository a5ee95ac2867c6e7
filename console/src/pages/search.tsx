import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { OnClusters } from '../parts/found'
import { Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Words } from '../parts/listing'
import { Empty, Failed } from '../parts/states'
import { Link, usePlace } from '../router'

/** What is called so: clusters by name, label, version or what is wrong, packages by name or repository, and objects on the clusters. */
export default function SearchPage() {
  const { query } = usePlace()
  const q = query.get('q') ?? ''
  const found = useQuery({
    queryKey: ['search', q],
    queryFn: ({ signal }) => read('/api/search', {}, new URLSearchParams({ q }), signal),
    enabled: q.trim() !== '',
    placeholderData: keepPreviousData,
  })
  return (
    <>
      <Title note="Clusters and packages by any words of theirs, and objects of any kind on the clusters by their name">Search</Title>
      <div className="filters">
        <Words label="Search" placeholder="eu env=prod v1.36" autoFocus />
      </div>
      {found.error && <Failed error={found.error} retry={() => void found.refetch()} />}
      {q.trim() === '' && !query.get('kind') && <Empty title="Type a name, a label such as env=prod, a version, or a part of what is wrong." />}
      {q.trim() !== '' && found.data?.length === 0 && <Empty title="Nothing is called so, of what you may list." />}
      {q.trim() !== '' && found.data && found.data.length > 0 && (
        <ul className="hits">
          {found.data.map((hit) => (
            <li key={hit.kind + hit.name}>
              <Sign shape={hit.kind === 'Cluster' ? 'clusters' : 'packages'} />
              <Link to={hit.path} className="strong">
                {hit.name}
              </Link>
              <span className="quiet">
                {hit.kind}
                {hit.note && ' · ' + hit.note}
              </span>
            </li>
          ))}
        </ul>
      )}
      <OnClusters />
    </>
  )
}
