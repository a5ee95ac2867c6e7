import { useQuery } from '@tanstack/react-query'
import { hub } from '../api/client'
import type { Said as Condition } from '../api/types'
import { Failed, Loading, Said } from './states'
import { Age, WordMark } from './status'
import { Command } from './twin'

/** What an object says of itself, each with its age, the latest change first. */
export function Conditions({ of }: { of: Condition[] }) {
  if (of.length === 0) return <p className="quiet">Nothing has been said of it yet.</p>
  return (
    <ol className="timeline">
      {[...of]
        .sort((a, b) => b.since.localeCompare(a.since))
        .map((c) => (
          <li key={c.type}>
            <span className="timeline-head">
              <strong>{c.type}</strong>
              <WordMark word={c.status} />
              <span className="quiet">{c.reason}</span>
              <Age of={c.since} before="for " after="" />
            </span>
            {c.message && <span className="timeline-text"><Said text={c.message} /></span>}
          </li>
        ))}
    </ol>
  )
}

/** What helps, with its commands to copy. */
export function Steps({ steps }: { steps: string[] }) {
  if (steps.length === 0) return null
  return (
    <ul className="steps" aria-label="What to do next">
      {steps.map((step) => (
        <li key={step}>
          <Said text={step} />
          {[...step.matchAll(/`([^`]+)`/g)]
            .map((found) => found[1]!)
            .filter((command) => /^(umbel|kubectl|git) /.test(command))
            .map((command) => (
              <Command key={command} text={command} />
            ))}
        </li>
      ))}
    </ul>
  )
}

interface EventList {
  items: { metadata: { uid: string; creationTimestamp: string }; type?: string; reason?: string; note?: string; message?: string; eventTime?: string; lastTimestamp?: string; deprecatedLastTimestamp?: string; series?: { lastObservedTime: string; count: number }; count?: number }[]
}

/** What happened to an object of the hub, by the events that are about it. */
export function Events({ of }: { of: { apiVersion: string; kind: string; name: string; namespace?: string } }) {
  const where = of.namespace ? `/namespaces/${of.namespace}` : ''
  const events = useQuery({
    queryKey: ['events', of],
    queryFn: ({ signal }) =>
      hub<EventList>(`/api/v1${where}/events?limit=200&fieldSelector=${encodeURIComponent(`involvedObject.kind=${of.kind},involvedObject.name=${of.name}`)}`, { signal }),
    refetchInterval: 20_000,
  })
  if (events.isPending) return <Loading rows={3} />
  if (events.error) return <Failed error={events.error} />
  const rows = events.data.items
    .map((e) => ({ id: e.metadata.uid, type: e.type, reason: e.reason, text: e.note ?? e.message ?? '', at: e.series?.lastObservedTime ?? e.lastTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp, count: e.series?.count ?? e.count ?? 1 }))
    .sort((a, b) => b.at.localeCompare(a.at))
    .slice(0, 30)
  if (rows.length === 0) return <p className="quiet">Nothing, as far as events tell: they are kept for an hour.</p>
  return (
    <ol className="timeline">
      {rows.map((e) => (
        <li key={e.id}>
          <span className="timeline-head">
            <strong className={e.type === 'Warning' ? 'tone-Bad ink' : ''}>{e.reason}</strong>
            {e.count > 1 && <span className="quiet">×{e.count}</span>}
            <Age of={e.at} />
          </span>
          <span className="timeline-text">{e.text}</span>
        </li>
      ))}
    </ol>
  )
}
