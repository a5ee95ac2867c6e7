import { Button, NativeSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask } from '../api/client'
import { Title } from '../parts/frame'
import { Sheet, Words } from '../parts/listing'
import { Empty, Failed, Loading } from '../parts/states'
import { Age, Mark } from '../parts/status'
import { Link, usePlace } from '../router'

interface Event {
  auditID: string
  stage: string
  stageTimestamp: string
  verb: string
  requestURI?: string
  user: { username: string }
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string }
  responseStatus?: { code?: number; message?: string }
  annotations?: Record<string, string>
}

/** The last line: whether all could be read, and how many events are older than those that came. */
interface End {
  kind: 'Status'
  status: string
  message?: string
  earlier?: number
}
const isEnd = (line: Event | End): line is End => 'kind' in line && line.kind === 'Status'

const spans: Record<string, number> = { 'the last 15 minutes': 15, 'the last hour': 60, 'the last day': 24 * 60 }
const most = 500

/** Who did what, on which cluster: the hub's audit log, read as far as somebody may. */
export default function AuditPage() {
  const { query, set } = usePlace()
  const cluster = query.get('cluster') ?? ''
  const user = query.get('user') ?? ''
  const verb = query.get('verb') ?? ''
  const span = query.get('since') ?? 'the last hour'
  const [shown, setShown] = useState(100)
  const log = useQuery({
    queryKey: ['audit', cluster, user, verb, span],
    queryFn: async ({ signal }) => {
      const asked = new URLSearchParams({ last: String(most), since: new Date(Date.now() - (spans[span] ?? 60) * 60_000).toISOString() })
      if (cluster) asked.set('cluster', cluster)
      if (user) asked.set('user', user)
      if (verb) asked.set('verb', verb)
      return newest(await ask('/console/api/audit?' + asked.toString(), { signal }))
    },
    refetchInterval: 30_000,
  })
  const flags = [cluster && `--cluster ${cluster}`, user && `--user '${user}'`, verb && `--verb ${verb}`].filter(Boolean).join(' ')
  return (
    <>
      <Title note={log.data && `${log.data.events.length.toLocaleString()} of ${log.data.asked.toLocaleString()}, the newest first`} twin={{ umbel: `umbel audit ${flags} --since ${spans[span] ?? 60}m`.replace('  ', ' ') }}>
        Audit
      </Title>
      <div className="filters filters-wrap">
        <Words label="Cluster" placeholder="Cluster" param="cluster" plain />
        <Words label="User" placeholder="User" param="user" plain />
        <NativeSelect aria-label="Verb" size="xs" value={verb} onChange={(e) => set({ verb: e.currentTarget.value })} data={[{ value: '', label: 'every verb' }, 'create', 'patch', 'update', 'delete', 'get', 'list', 'watch', 'hold', 'remove', 'undo', 'issue', 'refuse']} />
        <NativeSelect aria-label="Since" size="xs" value={span} onChange={(e) => set({ since: e.currentTarget.value })} data={Object.keys(spans)} />
      </div>
      {log.isPending && <Loading rows={10} />}
      {log.error && <Failed error={log.error} retry={() => void log.refetch()} />}
      {log.data?.lacks && <Failed error={new Error(log.data.lacks)} retry={() => void log.refetch()} />}
      {log.data && !log.data.lacks && log.data.events.length === 0 && <Empty title="Nothing is in the log of that.">Ask for a longer time, or for less.</Empty>}
      {log.data && log.data.events.length > 0 && (
        <Sheet columns={['When', 'Who', 'Did', 'Cluster', 'Answer']}>
              {log.data.events.slice(0, shown).map((e) => (
                <tr key={e.auditID + e.stage}>
                  <td className="nowrap">
                    <Age of={e.stageTimestamp} />
                  </td>
                  <td className="tight">{e.user.username}</td>
                  <td className="breaks">
                    <strong>{e.verb}</strong> {object(e)} {e.requestURI?.includes('dryRun=') && <span className="label">dry run</span>}
                  </td>
                  <td>{e.annotations?.['umbel.dev/cluster'] ? <Link to={'clusters/' + e.annotations['umbel.dev/cluster']}>{e.annotations['umbel.dev/cluster']}</Link> : <span className="quiet nowrap">the hub</span>}</td>
                  <td>
                    {e.responseStatus?.code ? <Mark tone={e.responseStatus.code < 400 ? 'Good' : 'Bad'} text={String(e.responseStatus.code)} /> : '–'}
                    {(e.responseStatus?.code ?? 0) >= 400 && e.responseStatus?.message && <div className="row-why row-why-wraps">{e.responseStatus.message}</div>}
                  </td>
                </tr>
              ))}
        </Sheet>
      )}
      {log.data && log.data.events.length > shown && (
        <div className="pages">
          <Button size="xs" variant="default" onClick={() => setShown(shown + 100)}>
            Show more
          </Button>
        </div>
      )}
    </>
  )
}

function object(e: Event): string {
  const o = e.objectRef
  if (!o?.resource) return e.requestURI ?? ''
  return [o.resource + (o.subresource ? '/' + o.subresource : ''), [o.namespace, o.name].filter(Boolean).join('/')].filter(Boolean).join(' ')
}

/** Reads the newest of what was asked for, which the hub chooses: their lines, and how many there were before them. */
async function newest(answer: Response): Promise<{ events: Event[]; asked: number; lacks: string }> {
  const lines = (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line) as Event | End)
  const end = lines.find(isEnd)
  const lacks = end?.status === 'Success' ? '' : (end?.message ?? 'The answer broke off: there may be more.')
  const events = lines.filter((line): line is Event => !isEnd(line))
  const last = new Map(events.map((e) => [e.auditID, e])) // of a request that lasted, what became of it
  return { events: [...last.values()].reverse(), asked: events.length + (end?.earlier ?? 0), lacks }
}
