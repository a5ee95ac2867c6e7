import { TextInput } from '@mantine/core'
import { lazy, Suspense, useRef, type RefObject } from 'react'

const PromQL = lazy(() => import('./promql'))

/** A query that somebody writes. */
export interface Written {
  text: string
  label: string
  example: string
  onText(text: string): void
  onRun(): void
}

/** What a query is written in: a plain field until the editor is there, which goes on where somebody writes already. */
export function Query(written: Written) {
  const focused = useRef(false)
  const { text, label, example, onText } = written
  return (
    <div className="query">
      <Suspense
        fallback={
          <TextInput
            aria-label={label}
            placeholder={example}
            value={text}
            onChange={(e) => onText(e.currentTarget.value)}
            onFocus={() => (focused.current = true)}
            onBlur={() => (focused.current = false)}
            autoComplete="off"
            spellCheck={false}
          />
        }
      >
        <Writes {...written} focused={focused} />
      </Suspense>
    </div>
  )
}

/** The editor, told once it is there whether somebody has begun to write. */
const Writes = ({ focused, ...written }: Written & { focused: RefObject<boolean> }) => <PromQL {...written} focused={focused.current} />
