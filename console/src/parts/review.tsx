import { Alert, Button } from '@mantine/core'
import { useImperativeHandle, useState, type Ref } from 'react'
import { write } from '../api/client'
import type { Manifest, Meanwhile, Problem, Written } from '../api/types'
import { readAgain } from '../live'
import { Diff } from './diff'
import { Panel } from './frame'
import { Sign } from './icons'
import { Failed } from './states'
import { Age } from './status'
import { Twins } from './twin'

/** An object of the hub by the name that kubectl knows its kind by; without a name of its own it is a new one. */
export interface Paper {
  resource: string
  namespace?: string
  name?: string
}

/** What is asked of a review from outside. */
export interface Reviewer {
  review(): void
}

/**
 * What the API would make of what somebody wrote: the difference, and then a button that keeps it; or what it does not take, and where; or what somebody
 * else has made of the object meanwhile. Nothing is kept that was not shown before.
 */
export function Review({ of, manifest, text, ref, onProblems, onTake, onSaved }: { of: Paper; manifest: Manifest; text: string; ref?: Ref<Reviewer>; onProblems?(problems: Problem[]): void; onTake(base: string, text: string): void; onSaved(written: Written): void }) {
  const [seen, setSeen] = useState<{ text: string; base: string; written: Written } | null>(null)
  const [busy, setBusy] = useState<'review' | 'save' | ''>('')
  const [error, setError] = useState<unknown>(null)
  const base = of.name ? manifest.text : ''
  const same = !!of.name && text === base
  const say = (dry: boolean) => {
    if (busy || same) return
    setBusy(dry ? 'review' : 'save')
    setError(null)
    write(of, text, { text: base, read: manifest.read }, dry).then(
      (written) => {
        setBusy('')
        onProblems?.(written.problems)
        if (!written.saved) return setSeen({ text, base, written })
        setSeen(null)
        readAgain()
        onSaved(written)
      },
      (e: unknown) => {
        setBusy('')
        setError(e)
      },
    )
  }
  useImperativeHandle(ref, () => ({ review: () => say(true) }))
  const shown = seen && seen.text === text && seen.base === base ? seen.written : null
  return (
    <>
      <div className="review-bar">
        <Button size="xs" variant={shown?.diff ? 'default' : 'filled'} onClick={() => say(true)} loading={busy === 'review'} disabled={same}>
          Review changes
        </Button>
        <span className="quiet small">{same ? 'Nothing is changed yet.' : 'The hub is asked what would become of it. Nothing is kept until you save.'}</span>
      </div>
      {error !== null && <Failed error={error} />}
      {shown && shown.problems.length > 0 && <Problems of={shown.problems} lines={!!onProblems} />}
      {shown?.meanwhile && <Changed of={shown.meanwhile} onTake={onTake} />}
      {shown && shown.problems.length === 0 && !shown.meanwhile && (
        <Panel title={shown.diff ? 'What changes' : 'Nothing changes'} className="review">
          {shown.diff ? <Diff text={shown.diff} label={shown.name || 'the new object'} /> : <p className="quiet">The hub would keep the object as it is.</p>}
          {shown.warnings.map((w) => (
            <p key={w} className="row-why row-why-wraps">
              <Sign shape="doubtful" size={14} /> {w}
            </p>
          ))}
          {shown.diff && (
            <>
              <h3 className="placing">The same in a terminal</h3>
              <Twins twin={{ kubectl: shown.kubectl }} />
              {manifest.not && <p className="row-why row-why-wraps">You may not do this: {manifest.not}.</p>}
              <div className="ask-buttons">
                <Button onClick={() => say(false)} loading={busy === 'save'} disabled={!!manifest.not}>
                  Save
                </Button>
              </div>
            </>
          )}
        </Panel>
      )}
    </>
  )
}

function Problems({ of, lines }: { of: Problem[]; lines: boolean }) {
  return (
    <Alert color="red" title="The hub does not take this" role="alert" className="failed">
      <ul className="problems">
        {of.map((p) => (
          <li key={p.line + p.field! + p.message}>
            {lines && p.line > 0 && <span className="quiet">line {p.line} </span>}
            {p.field && <code>{p.field}</code>} {p.message}
          </li>
        ))}
      </ul>
    </Alert>
  )
}

/** What somebody else did while this was written, and what can be made of both. */
function Changed({ of, onTake }: { of: Meanwhile; onTake(base: string, text: string): void }) {
  return (
    <Panel title="Somebody else has changed it" className="review">
      <p className="row-why-wraps">
        <strong>{of.who}</strong> changed it <Age of={of.time} />, since you began. Nothing of yours was kept. This is what they changed:
      </p>
      <Diff text={of.diff} label="what they changed" />
      <div className="ask-buttons">
        <Button variant="default" onClick={() => onTake(of.now, of.now)}>
          Take theirs, and drop mine
        </Button>
        <Button onClick={() => onTake(of.now, of.both)}>Put mine on top of theirs</Button>
      </div>
    </Panel>
  )
}
