import { Events } from './events'
import { Nodes } from './nodes'
import { Workloads } from './workloads'

/** What is in a member, asked of its own API as the person who looks. */
export default function Member({ cluster, what }: { cluster: string; what: string }) {
  if (what === 'nodes') return <Nodes cluster={cluster} />
  if (what === 'events') return <Events cluster={cluster} />
  return <Workloads cluster={cluster} />
}
