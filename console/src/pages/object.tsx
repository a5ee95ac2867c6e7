import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { brokeOff, read } from '../api/client'
import { Title } from '../parts/frame'
import { Failed, Loading } from '../parts/states'
import { Link, usePlace } from '../router'

const Yaml = lazy(() => import('../parts/yaml'))

/** An object of a cluster as the cluster has it now, to be read. */
export default function ObjectPage({ cluster }: { cluster: string }) {
  const { query } = usePlace()
  const asked = new URLSearchParams(['kind', 'namespace', 'name'].map((n) => [n, query.get(n) ?? '']))
  const object = useQuery({
    queryKey: ['object', cluster, asked.toString()],
    queryFn: ({ signal }) => read('/api/clusters/{name}/manifest', { name: cluster }, asked, signal),
    retry: (times, error) => times < 2 && brokeOff(error),
  })
  const namespace = query.get('namespace')
  return (
    <>
      <Title above={<Link to={'clusters/' + cluster}>{cluster}</Link>} note={object.data && `${object.data.kind}, to be read: ${object.data.not}`} twin={object.data && { umbel: object.data.kubectl }}>
        {namespace && <span className="quiet">{namespace}/</span>}
        {query.get('name')}
      </Title>
      {object.isPending && <Loading rows={14} />}
      {object.error && <Failed error={object.error} retry={() => void object.refetch()} />}
      {object.data && (
        <Suspense fallback={<Loading rows={14} />}>
          <Yaml text={object.data.text} label={`${object.data.kind} in YAML`} />
        </Suspense>
      )}
    </>
  )
}
