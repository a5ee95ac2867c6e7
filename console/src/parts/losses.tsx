import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import { Link, usePlace } from '../router'
import { Deeds } from './deeds'
import { askedFor, Listing } from './listing'
import { Empty } from './states'
import { Age, Mark, type Tone } from './status'
import { AsCommand } from './twin'

const limit = 50

const tones: Record<string, Tone> = { Undone: 'Good', Undoing: 'Moving', Lost: 'Bad', Kept: 'Plain' }
const because: Record<string, string> = { Budget: 'within the budget', Approved: 'approved', Removed: 'the package was removed' }

/** What clusters lost of a package, and what brings it back. */
export default function Losses({ namespace, name }: { namespace: string; name: string }) {
  const { query } = usePlace()
  const ask = askedFor(query, limit)
  const list = useQuery({
    queryKey: ['package', namespace, name, 'losses', ask.toString()],
    queryFn: ({ signal }) => read('/api/packages/{namespace}/{name}/losses', { namespace, name }, ask, signal),
    placeholderData: keepPreviousData,
  })
  const n = namespace === 'default' ? '' : ` -n ${namespace}`
  return (
    <div className="tab">
      <div className="tab-head">
        <AsCommand twin={{ umbel: `umbel undo --list ${name}${n}` }} />
        <span className="quiet">Agents keep what was deleted for thirty days. What comes back stays until somebody approves that it goes.</span>
      </div>
      <Listing list={list} limit={limit} columns={['When', 'Cluster', 'What', 'Because', 'State', '']} empty={() => <Empty title="Nothing was deleted, as far as the clusters know." />}>
        {({ rows }) =>
          rows.map(({ cluster, deletion, deeds }) => (
            <tr key={cluster + deletion.id}>
              <td className="nowrap">
                <Age of={deletion.time} />
              </td>
              <td className="nowrap">
                <Link to={'clusters/' + cluster}>{cluster}</Link>
              </td>
              <td className="breaks">
                {deletion.names?.join(', ')}
                {deletion.objects > (deletion.names?.length ?? 0) && ` and ${deletion.objects - (deletion.names?.length ?? 0)} more`}
                <div className="quiet small">{deletion.id}</div>
              </td>
              <td>
                {because[deletion.cause] ?? deletion.cause} <code className="small">{deletion.release}</code>
              </td>
              <td>
                <Mark tone={tones[deletion.state] ?? 'Plain'} text={deletion.state} />
                {deletion.message && <div className="row-why row-why-wraps">{deletion.message}</div>}
              </td>
              <td className="nowrap">
                <Deeds deeds={deeds} of={`${deletion.objects} ${deletion.objects === 1 ? 'object' : 'objects'} on ${cluster}`} />
              </td>
            </tr>
          ))
        }
      </Listing>
    </div>
  )
}
