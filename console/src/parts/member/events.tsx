import { Age, Mark } from '../status'
import { Kept, useList, type Named } from './list'

interface Event extends Named {
  type?: string
  reason?: string
  message?: string
  count?: number
  lastTimestamp?: string
  eventTime?: string
  involvedObject: { kind: string; namespace?: string; name: string }
}

const at = (e: Event) => e.lastTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp

/** What happened in a member lately, by its events. */
export function Events({ cluster }: { cluster: string }) {
  const list = useList<Event>(cluster, '/api/v1/events', 500)
  const newest = { ...list, items: [...list.items].sort((a, b) => at(b).localeCompare(at(a))) }
  return (
    <Kept list={newest} twin={{ umbel: `umbel kubectl ${cluster} -- get events -A --sort-by .lastTimestamp` }} columns={['When', 'What', 'Object', 'Message']} empty="Nothing has happened in the last hour, as far as events tell.">
      {(e) => (
                <tr key={e.metadata.uid}>
                  <td className="nowrap">
                    <Age of={at(e)} />
                  </td>
                  <td>{e.type === 'Warning' ? <Mark tone="Bad" text={e.reason ?? ''} /> : e.reason}</td>
                  <td>
                    {e.involvedObject.kind} <span className="quiet">{e.involvedObject.namespace && e.involvedObject.namespace + '/'}</span>
                    {e.involvedObject.name}
                  </td>
                  <td>
                    {e.message} {(e.count ?? 1) > 1 && <span className="quiet">×{e.count}</span>}
                  </td>
                </tr>
      )}
    </Kept>
  )
}
