import { Button, NativeSelect } from '@mantine/core'
import { lazy, Suspense, useState } from 'react'
import { Link, usePlace } from '../../router'
import { reading } from '../paper'
import { Words } from '../listing'
import { Loading } from '../states'
import { Age, Mark, type Tone } from '../status'
import { Log } from './log'
import { Kept, useList, type Condition, type Named } from './list'

const Terminal = lazy(() => import('./terminal'))

interface Pod extends Named {
  spec: { nodeName?: string; containers: { name: string }[] }
  status: { phase?: string; reason?: string; message?: string; conditions?: Condition[]; containerStatuses?: { name: string; ready: boolean; restartCount: number; state?: Record<string, { reason?: string; message?: string }> }[] }
}
interface Workload extends Named {
  spec: { replicas?: number }
  status: { replicas?: number; readyReplicas?: number; numberReady?: number; desiredNumberScheduled?: number; conditions?: Condition[] }
}
const kinds: Record<string, { path: string; kubectl: string }> = {
  Pods: { path: '/api/v1/pods', kubectl: 'pods' },
  Deployments: { path: '/apis/apps/v1/deployments', kubectl: 'deployments.apps' },
  StatefulSets: { path: '/apis/apps/v1/statefulsets', kubectl: 'statefulsets.apps' },
  DaemonSets: { path: '/apis/apps/v1/daemonsets', kubectl: 'daemonsets.apps' },
}

function within(path: string, namespace: string): string {
  if (!namespace) return path
  const cut = path.lastIndexOf('/')
  return `${path.slice(0, cut)}/namespaces/${encodeURIComponent(namespace)}${path.slice(cut)}`
}

/** What runs in a member, with what containers say, and a shell in them. */
export function Workloads({ cluster }: { cluster: string }) {
  const { query, set } = usePlace()
  const kind = query.get('kind') ?? 'Pods'
  const namespace = query.get('namespace') ?? ''
  const { path, kubectl } = kinds[kind] ?? kinds.Pods!
  const list = useList<Pod & Workload>(cluster, within(path, namespace))
  const log = query.get('log')
  const shell = query.get('shell')
  const [clicked, setClicked] = useState('')
  const pods = kind === 'Pods'
  const containersOf = (of: string) => {
    const pod = list.items.find((item) => of.startsWith(`${item.metadata.namespace}/${item.metadata.name}/`))
    return pod?.spec.containers?.map((c) => c.name) ?? []
  }
  return (
    <Kept
      list={list}
      twin={{ umbel: `umbel kubectl ${cluster} -- get ${kubectl}${namespace ? ` -n ${namespace}` : ' -A'}` }}
      head={
        <>
          <NativeSelect aria-label="Kind" size="xs" value={kind} data={Object.keys(kinds)} onChange={(e) => set({ kind: e.currentTarget.value, log: undefined, shell: undefined })} />
          <Words label="Namespace" placeholder="All namespaces" param="namespace" plain />
        </>
      }
      above={
        <>
          {log && <Log key={log} cluster={cluster} of={log} onClose={() => set({ log: undefined })} />}
          {shell && (
            <Suspense fallback={<Loading rows={4} />}>
              <Terminal key={shell} cluster={cluster} of={shell} containers={containersOf(shell)} begin={clicked === shell} onClose={() => set({ shell: undefined })} />
            </Suspense>
          )}
        </>
      }
      columns={['Name', 'Status', { name: 'Ready', className: 'num' }, ...(pods ? [{ name: 'Restarts', className: 'num' }, 'Node'] : []), 'Age', ...(pods ? [''] : [])]}
      empty={`There are no ${kind.toLowerCase()}${namespace ? ` in namespace ${namespace}` : ''}.`}
    >
      {(item) => (
        <tr key={item.metadata.uid}>
          <td>
            <span className="quiet">{item.metadata.namespace}/</span>
            <Link to={reading(cluster, kubectl, item.metadata.name, item.metadata.namespace)} title="Read as YAML">
              {item.metadata.name}
            </Link>
          </td>
          {pods ? (
            <PodCells
              pod={item}
              onLog={() => set({ log: `${item.metadata.namespace}/${item.metadata.name}/${item.spec.containers[0]?.name}`, shell: undefined })}
              onShell={() => {
                const of = `${item.metadata.namespace}/${item.metadata.name}/${item.spec.containers[0]?.name}`
                setClicked(of)
                set({ shell: of, log: undefined })
              }}
            />
          ) : (
            <WorkloadCells of={item} />
          )}
        </tr>
      )}
    </Kept>
  )
}

function PodCells({ pod, onLog, onShell }: { pod: Pod; onLog(): void; onShell(): void }) {
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
      <td className="nowrap">
        <Button size="compact-xs" variant="default" onClick={onLog} aria-label={`Log of ${pod.metadata.name}`}>
          Log
        </Button>{' '}
        <Button size="compact-xs" variant="default" onClick={onShell} disabled={pod.status.phase !== 'Running'} aria-label={`Shell in ${pod.metadata.name}`}>
          Shell
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
