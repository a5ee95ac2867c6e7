import { Button } from '@mantine/core'
import { useEffect, useRef, useState } from 'react'
import { hub, Refused } from '../api/client'
import type { Deed } from '../api/types'
import { queries, readAgain } from '../live'
import { Sign, type Shape } from './icons'
import { Failed, Said } from './states'
import { Twins } from './twin'

const shapes: Record<string, Shape> = { pause: 'pause', resume: 'play', back: 'back', refresh: 'moving', approve: 'good', save: 'good' }

/** What can be done now. Each asks first, and says what becomes of it and how a terminal does the same. */
export function Deeds({ deeds, of, onDone }: { deeds: Deed[]; of: string; onDone?(deed: Deed): void }) {
  const [asked, setAsked] = useState<Deed | null>(null)
  const [done, setDone] = useState('')
  return (
    <>
      {deeds.map((deed) => (
        <Button
          key={deed.name}
          size="xs"
          variant={deed.name === 'approve' ? 'filled' : 'default'}
          leftSection={shapes[deed.name] && <Sign shape={shapes[deed.name]!} size={14} />}
          onClick={() => {
            setDone('')
            setAsked(deed)
          }}
        >
          {deed.title}
        </Button>
      ))}
      <span className="done" role="status">
        {done && (
          <>
            <Sign shape="good" size={14} /> {done}
          </>
        )}
      </span>
      {asked && <Ask deed={deeds.find((d) => d.name === asked.name) ?? asked} of={of} onClose={() => setAsked(null)} onDone={(name) => {
            setDone(`${of}: ${asked.done}${name ? ' as ' + name : ''}`)
            onDone?.(asked)
          }} />}
    </>
  )
}

function Ask({ deed, of, onClose, onDone }: { deed: Deed; of: string; onClose(): void; onDone(name: string): void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => dialog.current?.showModal(), [])
  const latest = useRef(deed)
  latest.current = deed
  /** Says it of the object as it is now: who changed its status meanwhile does not matter, and whoever changed what it is to be has it asked for anew. */
  const say = async (again: number, version?: string): Promise<string> => {
    const { path, patch, generation, creates, deletes } = latest.current
    if (deletes) {
      await hub(path, { method: 'DELETE', body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: deletes } } })
      return ''
    }
    if (creates) return (await hub<{ metadata: { name: string } }>(path, { method: 'POST', body: creates })).metadata.name
    const body = JSON.parse(patch ?? '{}') as { metadata?: Record<string, unknown> }
    if (version) body.metadata = { ...body.metadata, resourceVersion: version }
    try {
      await hub(path, { method: 'PATCH', type: 'application/merge-patch+json', body })
      return ''
    } catch (e) {
      if (!(e instanceof Refused && e.code === 409) || again === 0) throw e
      const now = await hub<{ metadata: { generation: number; resourceVersion: string } }>(path)
      if (now.metadata.generation === generation) return say(again - 1, now.metadata.resourceVersion)
      await queries.refetchQueries({ type: 'active' })
      await new Promise((drawn) => window.setTimeout(drawn, 100))
      return say(again - 1)
    }
  }
  const act = () => {
    setBusy(true)
    setError(null)
    say(20).then(
      (name) => {
        if (!latest.current.deletes) readAgain() // what is gone is not read again
        onDone(name)
        dialog.current?.close()
      },
      (e: unknown) => {
        setBusy(false)
        setError(e)
      },
    )
  }
  return (
    <dialog ref={dialog} className="ask-dialog" aria-labelledby="ask-title" onClose={onClose}>
      <h2 id="ask-title">
        {deed.title} {deed.name.startsWith('approve-') ? 'of ' : ''}
        {of}?
      </h2>
      <p>
        <Said text={deed.means} />
      </p>
      {deed.details && (
        <ul className="ask-details" tabIndex={0} aria-label="What it is about">
          {deed.details.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
      {deed.not && <p className="row-why row-why-wraps">You may not do this: {deed.not}.</p>}
      <h3>The same in a terminal</h3>
      <Twins twin={deed} />
      {error !== null && <Failed error={error} />}
      <div className="ask-buttons">
        <Button variant="default" onClick={() => dialog.current?.close()}>
          Leave it
        </Button>
        <Button onClick={act} loading={busy} disabled={!!deed.not} autoFocus>
          {deed.title}
        </Button>
      </div>
    </dialog>
  )
}
