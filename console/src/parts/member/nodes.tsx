import { Link } from '../../router'
import { reading } from '../paper'
import { Age, Mark } from '../status'
import { Kept, useList, type Condition, type Named } from './list'

interface Node extends Named {
  spec: { unschedulable?: boolean; taints?: { key: string; effect: string }[] }
  status: { conditions?: Condition[]; capacity?: Record<string, string>; nodeInfo?: { kubeletVersion: string; osImage: string; containerRuntimeVersion: string } }
}
/** The nodes of a member, as it says. */
export function Nodes({ cluster }: { cluster: string }) {
  const list = useList<Node>(cluster, '/api/v1/nodes')
  return (
    <Kept
      list={list}
      twin={{ umbel: `umbel kubectl ${cluster} -- get nodes -o wide` }}
      columns={['Node', 'Ready', 'Kubelet', { name: 'CPU', className: 'num' }, { name: 'Memory', className: 'num' }, 'Age']}
      empty="The cluster has no nodes: it has a control plane only."
    >
      {(node) => {
                const ready = node.status.conditions?.find((c) => c.type === 'Ready')
                const bad = node.status.conditions?.filter((c) => c.type !== 'Ready' && c.status === 'True') ?? []
                return (
                  <tr key={node.metadata.uid}>
                    <td>
                      <Link to={reading(cluster, 'nodes', node.metadata.name)} title="Read as YAML">
                        {node.metadata.name}
                      </Link>
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
      }}
    </Kept>
  )
}

function memory(quantity?: string): string {
  const found = /^(\d+)Ki$/.exec(quantity ?? '')
  return found ? (Number(found[1]) / 1024 / 1024).toFixed(1) + ' GiB' : (quantity ?? '')
}
