import type { ClusterCounts, State } from '../api/types'
import { Sign } from './icons'
import { states } from './status'

const order: { state: State; of: (c: ClusterCounts) => number }[] = [
  { state: 'Ready', of: (c) => c.ready },
  { state: 'Progressing', of: (c) => c.progressing },
  { state: 'Failing', of: (c) => c.failing },
  { state: 'Unknown', of: (c) => c.unknown },
]

/** How many clusters of a package are how far: a bar, and the same in figures. */
export function Spread({ counts }: { counts: ClusterCounts }) {
  const total = Math.max(counts.selected, 1)
  const shown = order.filter(({ of }) => of(counts) > 0)
  return (
    <div className="spread">
      <div className="spread-bar" aria-hidden="true">
        {shown.map(({ state, of }) => (
          <span key={state} className={'spread-' + state} style={{ width: `${(100 * of(counts)) / total}%` }} />
        ))}
      </div>
      <div className="spread-said">
        {counts.selected === 0 && <span className="quiet">no cluster is selected</span>}
        {shown.map(({ state, of }) => (
          <span key={state} className={'mark tone-' + states[state].tone} title={state}>
            <Sign shape={states[state].shape} size={12} />
            <span>
              {of(counts).toLocaleString()} <span className="spread-word">{state.toLowerCase()}</span>
            </span>
          </span>
        ))}
      </div>
    </div>
  )
}
