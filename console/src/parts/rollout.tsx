import type { RolloutSight } from '../api/types'
import { Link } from '../router'
import { Deeds } from './deeds'
import { EditAsYaml } from './paper'
import { Picture, type Meanings } from './picture'
import { Said } from './states'
import { Age, WordMark } from './status'

const means: Meanings = {
  NotReady: { tone: 'Bad', shape: 'bad', text: 'Failed' },
  Unknown: { tone: 'Doubtful', shape: 'doubtful', text: 'Offline' },
  Awaited: { tone: 'Plain', shape: 'waiting', text: 'Waiting' },
  Hibernated: { tone: 'Moving', shape: 'moving', text: 'Moving' },
  Ready: { tone: 'Good', shape: 'good', text: 'Moved' },
}

/** A rollout as it goes: its stages in their order, each as long as it has clusters, and what it waits for. */
export function RolloutPicture({ sight }: { sight: RolloutSight }) {
  const { rollout, phase, message, counts } = sight
  const stages = rollout.status?.stages ?? []
  return (
    <div className="rollout">
      <p className="rollout-head">
        <WordMark word={phase} /> <code className="small">{rollout.spec.release}</code> <Age of={rollout.status?.began} before="began " />
      </p>
      <p>
        <Said text={message} />
      </p>
      <div className="rollout-deeds">
        <Deeds deeds={sight.deeds} of={rollout.metadata?.name ?? ''} />
        <EditAsYaml about={rollout.metadata?.name} of={{ resource: 'rollouts.umbel.dev', namespace: rollout.metadata?.namespace, name: rollout.metadata?.name }} />
      </div>
      {stages.length > 0 && (
        <ol className="stages">
          {stages.map((stage) => (
            <li key={stage.name} className={'stage stage-' + stage.step} style={{ flexGrow: Math.max(1, Math.sqrt(stage.clusters)) }}>
              <span className="stage-name">{stage.name}</span>
              <span className="stage-bar" role="img" aria-label={`${stage.done} of ${stage.clusters} clusters moved`}>
                <span style={{ width: `${stage.clusters ? (100 * stage.done) / stage.clusters : stage.step === 'Done' ? 100 : 0}%` }} />
              </span>
              <span className="stage-said">
                {stage.step} · {stage.done}/{stage.clusters}
              </span>
            </li>
          ))}
        </ol>
      )}
      {sight.picture.length > 0 && <Picture groups={sight.picture} grouped means={means} />}
      <p className="quiet">{counts}</p>
      {rollout.status?.failures && rollout.status.failures.length > 0 && (
        <ul className="lines">
          {rollout.status.failures.slice(0, 10).map((f) => (
            <li key={f.cluster}>
              <Link to={'clusters/' + f.cluster} className="line-name">
                {f.cluster}
              </Link>
              <span className="line-why">{f.message}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
