import { Button, NativeSelect, TextInput } from '@mantine/core'
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useEffect, useRef, useState } from 'react'
import { member } from '../api/client'
import { usePlace } from '../router'
import { Empty, Failed, Loading } from './states'
import { Age, Mark, type Tone } from './status'
import { AsCommand } from './twin'

interface Meta {
  name: string
  namespace?: string
  uid: string
  creationTimestamp: string
}
interface Named {
  metadata: Meta
}
interface List<T> {
  metadata: { continue?: string; remainingItemCount?: number }
  items: T[]
}
interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
  lastTransitionTime?: string
}
interface Node extends Named {
  spec: { unschedulable?: boolean; taints?: { key: string; effect: string }[] }
  status: { conditions?: Condition[]; capacity?: Record<string, string>; nodeInfo?: { kubeletVersion: string; osImage: string; containerRuntimeVersion: string } }
}
interface Pod extends Named {
  spec: { nodeName?: string; containers: { name: string }[] }
  status: { phase?: string; reason?: string; message?: string; conditions?: Condition[]; containerStatuses?: { name: string; ready: boolean; restartCount: number; state?: Record<string, { reason?: string; message?: string }> }[] }
}
interface Workload extends Named {
  spec: { replicas?: number }
  status: { replicas?: number; readyReplicas?: number; numberReady?: number; desiredNumberScheduled?: number; conditions?: Condition[] }
}
interface Event extends Named {
  type?: string
  reason?: string
  message?: string
  count?: number
  lastTimestamp?: string
  eventTime?: string
  involvedObject: { kind: string; namespace?: string; name: string }
}

/** What is in a member, asked of its own API as the person who looks. */
export default function Member({ cluster, what }: { cluster: string; what: string }) {
  if (what === 'nodes') return <Nodes cluster={cluster} />
  if (what === 'events') return <Events cluster={cluster} />
  return <Workloads cluster={cluster} />
}

/** A list of a member, a page at a time, as its API server gives it. */
function useList<T>(cluster: string, path: string, every = 15_000) {
  return useInfiniteQuery({
    queryKey: ['member', cluster, path],
    queryFn: async ({ pageParam, signal }) => {
      const query = new URLSearchParams({ limit: '100' })
      if (pageParam) query.set('continue', pageParam)
      return (await member(cluster, `${path}${path.includes('?') ? '&' : '?'}${query}`, { signal })).json() as Promise<List<T>>
    },
    initialPageParam: '',
    getNextPageParam: (last) => last.metadata.continue || undefined,
    refetchInterval: every,
    placeholderData: keepPreviousData,
  })
}

function More({ list }: { list: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage(): unknown } }) {
  if (!list.hasNextPage) return null
  return (
    <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
      Show more
    </Button>
  )
}

function Nodes({ cluster }: { cluster: string }) {
  const nodes = useList<Node>(cluster, '/api/v1/nodes')
  const items = nodes.data?.pages.flatMap((p) => p.items) ?? []
  return (
    <div className="tab">
      <div className="tab-head">
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- get nodes -o wide` }} />
      </div>
      {nodes.isPending && <Loading />}
      {nodes.error && <Failed error={nodes.error} retry={() => void nodes.refetch()} />}
      {nodes.data && items.length === 0 && <Empty title="The cluster has no nodes: it has a control plane only." />}
      {items.length > 0 && (
        <div className="grid-scroll" tabIndex={0} role="group" aria-label="Table">
          <table className="plain">
            <thead>
              <tr>
                <th>Node</th>
                <th>Ready</th>
                <th>Kubelet</th>
                <th className="num">CPU</th>
                <th className="num">Memory</th>
                <th>Age</th>
              </tr>
            </thead>
            <tbody>
              {items.map((node) => {
                const ready = node.status.conditions?.find((c) => c.type === 'Ready')
                const bad = node.status.conditions?.filter((c) => c.type !== 'Ready' && c.status === 'True') ?? []
                return (
                  <tr key={node.metadata.uid}>
                    <td>
                      {node.metadata.name}
                      {ready?.status !== 'True' && <div className="row-why row-why-wraps">{ready?.message ?? 'its kubelet has said nothing yet'}</div>}
                      {bad.map((c) => (
                        <div key={c.type} className="row-why row-why-wraps">{c.type}: {c.message}</div>
                      ))}
                    </td>
                    <td>
                      <Mark tone={ready?.status === 'True' ? 'Good' : ready?.status === 'False' ? 'Bad' : 'Doubtful'} text={ready?.status === 'True' ? 'Ready' : ready?.status === 'False' ? 'Not ready' : 'Unknown'} />
                      {node.spec.unschedulable && <Mark tone="Plain" text="Cordoned" />} <Age of={ready?.lastTransitionTime} before="for " after="" />
                    </td>
                    <td>{node.status.nodeInfo?.kubeletVersion}</td>
                    <td className="num">{node.status.capacity?.cpu}</td>
                    <td className="num">{memory(node.status.capacity?.memory)}</td>
                    <td>
                      <Age of={node.metadata.creationTimestamp} after="" />
                    </td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      )}
      <More list={nodes} />
    </div>
  )
}

function memory(quantity?: string): string {
  const found = /^(\d+)Ki$/.exec(quantity ?? '')
  return found ? (Number(found[1]) / 1024 / 1024).toFixed(1) + ' GiB' : (quantity ?? '')
}

const kinds: Record<string, { path: string; kubectl: string }> = {
  Pods: { path: '/api/v1/pods', kubectl: 'pods' },
  Deployments: { path: '/apis/apps/v1/deployments', kubectl: 'deployments' },
  StatefulSets: { path: '/apis/apps/v1/statefulsets', kubectl: 'statefulsets' },
  DaemonSets: { path: '/apis/apps/v1/daemonsets', kubectl: 'daemonsets' },
}

function within(path: string, namespace: string): string {
  if (!namespace) return path
  const cut = path.lastIndexOf('/')
  return `${path.slice(0, cut)}/namespaces/${encodeURIComponent(namespace)}${path.slice(cut)}`
}

function Workloads({ cluster }: { cluster: string }) {
  const { query, set } = usePlace()
  const kind = query.get('kind') ?? 'Pods'
  const namespace = query.get('namespace') ?? ''
  const { path, kubectl } = kinds[kind] ?? kinds.Pods!
  const list = useList<Pod & Workload>(cluster, within(path, namespace))
  const items = list.data?.pages.flatMap((p) => p.items) ?? []
  const log = query.get('log')
  return (
    <div className="tab">
      <div className="tab-head">
        <NativeSelect aria-label="Kind" size="xs" value={kind} data={Object.keys(kinds)} onChange={(e) => set({ kind: e.currentTarget.value, log: undefined })} />
        <Namespace value={namespace} onChange={(value) => set({ namespace: value, log: undefined })} />
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- get ${kubectl}${namespace ? ` -n ${namespace}` : ' -A'}` }} />
      </div>
      {log && <Log key={log} cluster={cluster} of={log} onClose={() => set({ log: undefined })} />}
      {list.isPending && <Loading />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {list.data && items.length === 0 && <Empty title={`There are no ${kind.toLowerCase()}${namespace ? ` in namespace ${namespace}` : ''}.`} />}
      {items.length > 0 && (
        <div className="grid-scroll" tabIndex={0} role="group" aria-label="Table">
          <table className="plain">
            <thead>
              <tr>
                <th>Name</th>
                <th>Status</th>
                <th className="num">Ready</th>
                {kind === 'Pods' && <th className="num">Restarts</th>}
                {kind === 'Pods' && <th>Node</th>}
                <th>Age</th>
                {kind === 'Pods' && <th />}
              </tr>
            </thead>
            <tbody>
              {items.map((item) => (
                <tr key={item.metadata.uid}>
                  <td>
                    <span className="quiet">{item.metadata.namespace}/</span>
                    {item.metadata.name}
                  </td>
                  {kind === 'Pods' ? <PodCells pod={item} onLog={() => set({ log: `${item.metadata.namespace}/${item.metadata.name}/${item.spec.containers[0]?.name}` })} /> : <WorkloadCells of={item} />}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <More list={list} />
    </div>
  )
}

function Namespace({ value, onChange }: { value: string; onChange(value: string): void }) {
  const [text, setText] = useState(value)
  useEffect(() => {
    const timer = window.setTimeout(() => text !== value && onChange(text), 300)
    return () => window.clearTimeout(timer)
  }, [text, value, onChange])
  return <TextInput aria-label="Namespace" placeholder="All namespaces" size="xs" value={text} onChange={(e) => setText(e.currentTarget.value)} />
}

function PodCells({ pod, onLog }: { pod: Pod; onLog(): void }) {
  const of = pod.status.containerStatuses ?? []
  const waits = of.map((c) => c.state?.waiting ?? (c.state?.terminated?.reason === 'Error' ? c.state.terminated : undefined)).find(Boolean)
  const ready = of.filter((c) => c.ready).length
  const phase = waits?.reason ?? pod.status.reason ?? pod.status.phase ?? 'Unknown'
  const tone: Tone = phase === 'Running' || phase === 'Succeeded' ? (ready === of.length || phase === 'Succeeded' ? 'Good' : 'Moving') : phase === 'Pending' || phase === 'ContainerCreating' ? 'Moving' : phase === 'Unknown' ? 'Doubtful' : 'Bad'
  const why = waits?.message ?? pod.status.message ?? pod.status.conditions?.find((c) => c.status === 'False' && c.message)?.message
  return (
    <>
      <td>
        <Mark tone={tone} text={phase} />
        {tone !== 'Good' && why && <div className="row-why row-why-wraps">{why}</div>}
      </td>
      <td className="num">
        {ready}/{pod.spec.containers.length}
      </td>
      <td className="num">{of.reduce((n, c) => n + c.restartCount, 0)}</td>
      <td>{pod.spec.nodeName ?? '–'}</td>
      <td>
        <Age of={pod.metadata.creationTimestamp} after="" />
      </td>
      <td>
        <Button size="compact-xs" variant="default" onClick={onLog} aria-label={`Log of ${pod.metadata.name}`}>
          Log
        </Button>
      </td>
    </>
  )
}

function WorkloadCells({ of }: { of: Workload }) {
  const wanted = of.spec.replicas ?? of.status.desiredNumberScheduled ?? 0
  const ready = of.status.readyReplicas ?? of.status.numberReady ?? 0
  const why = of.status.conditions?.find((c) => c.status === 'False' && c.message)?.message
  return (
    <>
      <td>
        <Mark tone={ready >= wanted ? 'Good' : 'Moving'} text={ready >= wanted ? 'Ready' : 'Progressing'} />
        {ready < wanted && why && <div className="row-why row-why-wraps">{why}</div>}
      </td>
      <td className="num">
        {ready}/{wanted}
      </td>
      <td>
        <Age of={of.metadata.creationTimestamp} after="" />
      </td>
    </>
  )
}

/** The end of a container's log, and what is added to it. */
function Log({ cluster, of, onClose }: { cluster: string; of: string; onClose(): void }) {
  const [namespace = '', pod = '', container = ''] = of.split('/')
  const [lines, setLines] = useState<string[]>([])
  const [error, setError] = useState<unknown>(null)
  const [over, setOver] = useState(false)
  const end = useRef<HTMLPreElement>(null)
  useEffect(() => {
    const stop = new AbortController()
    const follow = async () => {
      const answer = await member(cluster, `/api/v1/namespaces/${namespace}/pods/${pod}/log?container=${container}&follow=true&tailLines=500`, { signal: stop.signal })
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        const parts = (rest + value).split('\n')
        rest = parts.pop()!
        setLines((was) => [...was, ...parts].slice(-2000))
      }
      setOver(true)
    }
    follow().catch((e: unknown) => !stop.signal.aborted && setError(e))
    return () => stop.abort()
  }, [cluster, namespace, pod, container])
  useEffect(() => {
    const on = end.current
    if (on && on.scrollHeight - on.scrollTop - on.clientHeight < 200) on.scrollTop = on.scrollHeight
  }, [lines])
  return (
    <section className="log" aria-label={`Log of ${pod}`}>
      <div className="panel-head">
        <h2>
          {pod} <span className="quiet">{container}</span>
        </h2>
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- logs -n ${namespace} ${pod} -c ${container} -f` }} />
        <Button size="xs" variant="default" onClick={onClose}>
          Close
        </Button>
      </div>
      {error ? <Failed error={error} /> : <pre ref={end} tabIndex={0}>{lines.length ? lines.join('\n') : over ? 'It has said nothing.' : 'Waiting for what it says …'}</pre>}
    </section>
  )
}

function Events({ cluster }: { cluster: string }) {
  const list = useQuery({
    queryKey: ['member', cluster, 'events'],
    queryFn: async ({ signal }) => (await member(cluster, '/api/v1/events?limit=500', { signal })).json() as Promise<List<Event>>,
    refetchInterval: 15_000,
  })
  const at = (e: Event) => e.lastTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp
  const items = [...(list.data?.items ?? [])].sort((a, b) => at(b).localeCompare(at(a))).slice(0, 200)
  return (
    <div className="tab">
      <div className="tab-head">
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- get events -A --sort-by .lastTimestamp` }} />
      </div>
      {list.isPending && <Loading />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {list.data && items.length === 0 && <Empty title="Nothing has happened in the last hour, as far as events tell." />}
      {items.length > 0 && (
        <div className="grid-scroll" tabIndex={0} role="group" aria-label="Table">
          <table className="plain">
            <thead>
              <tr>
                <th>When</th>
                <th>What</th>
                <th>Object</th>
                <th>Message</th>
              </tr>
            </thead>
            <tbody>
              {items.map((e) => (
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
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}
