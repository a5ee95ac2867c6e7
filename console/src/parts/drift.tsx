import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Link, usePlace } from '../router'
import { askedFor, Listing, Words } from './listing'
import { Empty } from './states'
import { Age, Mark } from './status'
import { AsCommand } from './twin'

const limit = 50

const modes: Record<string, string> = { Repair: 'What others change is put back.', Report: 'What others change is only reported, and left as they made it.' }

/** What somebody else changed or deleted of a package, and what was done about it. */
export default function Drift({ namespace, name, mode }: { namespace: string; name: string; mode: string }) {
  const { query } = usePlace()
  const ask = askedFor(query, limit)
  const list = useQuery({
    queryKey: ['package', namespace, name, 'drift', ask.toString()],
    queryFn: ({ signal }) => read('/api/packages/{namespace}/{name}/drift', { namespace, name }, ask, signal),
    placeholderData: keepPreviousData,
  })
  const n = namespace === 'default' ? '' : ` -n ${namespace}`
  return (
    <div className="tab">
      <div className="tab-head">
        <Words label="Filter drift" placeholder="Object, cluster, or who" plain />
        <AsCommand twin={{ umbel: `umbel drift ${name}${n}` }} />
        <span className="quiet">
          {modes[mode] ?? mode}
          {!!list.data?.left && ` On ${list.data.left.toLocaleString()} clusters objects are left as others made them.`}
          {!!list.data?.away && ` ${list.data.away.toLocaleString()} clusters are not connected, so what is shown of them may be old.`}
        </span>
      </div>
      <Listing
        list={list}
        limit={limit}
        columns={['When', 'Cluster', 'Object', 'What', 'By', 'Done about it']}
        empty={() => (query.get('q') ? <Empty title="Nothing of that drifted." /> : <Empty title="Nothing drifted, as far as the agents know since they started.">
            <p>What they wrote down before is asked of them by a command.</p>
          </Empty>)}
      >
        {({ rows }) =>
          rows.map(({ cluster, drift }) => (
            <tr key={[cluster, drift.object, drift.time, drift.by].join('|')}>
              <td className="nowrap">
                <Age of={drift.time} /> {(drift.count ?? 1) > 1 && <span className="quiet">×{drift.count}</span>}
              </td>
              <td>
                <Link to={'clusters/' + cluster}>{cluster}</Link>
              </td>
              <td className="breaks">{drift.object}</td>
              <td className="breaks">{drift.deleted ? 'deleted' : drift.fields?.length ? <code className="small">{drift.fields.join(', ')}</code> : 'changed'}</td>
              <td className="breaks">
                {drift.user && <div>{drift.user}</div>}
                {drift.by && <span className="quiet">{drift.by}</span>}
              </td>
              <td>
                <Mark tone={drift.action === 'Repaired' ? 'Good' : 'Doubtful'} text={drift.action} />
              </td>
            </tr>
          ))
        }
      </Listing>
    </div>
  )
}
