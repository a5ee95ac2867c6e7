import { Tooltip } from '@mantine/core'
import type { Health, State, Word } from '../api/types'
import { useNow } from '../live'
import { Sign, type Shape } from './icons'

export type Tone = 'Good' | 'Bad' | 'Doubtful' | 'Plain' | 'Moving'

const shapeOf: Record<Tone, Shape> = { Good: 'good', Bad: 'bad', Doubtful: 'doubtful', Plain: 'waiting', Moving: 'moving' }

/** A status: a colour, a shape and a word, so that it can be told without the colour. */
export function Mark({ tone, text, shape }: { tone: Tone; text: string; shape?: Shape }) {
  return (
    <span className={'mark tone-' + tone}>
      <Sign shape={shape ?? shapeOf[tone]} size={14} />
      <span>{text}</span>
    </span>
  )
}

/** What the hub thinks of a status. */
export const WordMark = ({ word, good, bad }: { word: Word; good?: string; bad?: string }) => {
  const text = word.text === 'True' ? (good ?? 'True') : word.text === 'False' ? (bad ?? 'False') : word.text
  return <Mark tone={word.tone as Tone} text={text} />
}

export const healths: Record<Health, { tone: Tone; shape: Shape; text: string }> = {
  NotReady: { tone: 'Bad', shape: 'bad', text: 'Not ready' },
  Unknown: { tone: 'Doubtful', shape: 'doubtful', text: 'Unknown' },
  Awaited: { tone: 'Plain', shape: 'waiting', text: 'Awaited' },
  Hibernated: { tone: 'Plain', shape: 'asleep', text: 'Hibernated' },
  Ready: { tone: 'Good', shape: 'good', text: 'Ready' },
}

export const HealthMark = ({ health }: { health: Health }) => <Mark {...healths[health]} />

export const states: Record<State, { tone: Tone; shape: Shape }> = {
  Failing: { tone: 'Bad', shape: 'bad' },
  Unknown: { tone: 'Doubtful', shape: 'doubtful' },
  Progressing: { tone: 'Moving', shape: 'moving' },
  Removing: { tone: 'Moving', shape: 'moving' },
  Ready: { tone: 'Good', shape: 'good' },
}

export const StateMark = ({ state }: { state: State }) => <Mark {...states[state]} text={state} />

/** How long something is ago, in few words. */
export function span(milliseconds: number): string {
  const s = Math.max(0, Math.floor(milliseconds / 1000))
  if (s < 120) return s + ' s'
  if (s < 2 * 3600) return Math.floor(s / 60) + ' min'
  if (s < 48 * 3600) return Math.floor(s / 3600) + ' h'
  return Math.floor(s / 86400) + ' d'
}

/** The age of something: "3 min ago", and when that was. */
export function Age({ of, before, after = ' ago' }: { of?: string | null; before?: string; after?: string }) {
  const now = useNow()
  if (!of) return null
  const then = new Date(of)
  return (
    <Tooltip label={then.toLocaleString()} openDelay={300}>
      <time className="age" dateTime={of}>
        {before}
        {span(now - then.getTime())}
        {after}
      </time>
    </Tooltip>
  )
}
