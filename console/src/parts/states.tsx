import { Alert, Button, Skeleton } from '@mantine/core'
import type { ReactNode } from 'react'
import { Refused } from '../api/client'

/** What is shown while something is read: as much room as it will take, so that nothing jumps. */
export function Loading({ rows = 6 }: { rows?: number }) {
  return (
    <div role="status" aria-label="Loading" className="loading">
      {Array.from({ length: rows }, (_, i) => (
        <Skeleton key={i} height={18} width={`${92 - ((i * 17) % 40)}%`} radius="sm" />
      ))}
    </div>
  )
}

/** What is shown when something could not be read: what the hub says, and what to do. */
export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const code = error instanceof Refused ? error.code : -1
  const title =
    code === 403 ? 'You may not see this' : code === 404 ? 'There is no such thing' : code === 0 ? 'The hub is not reached' : 'This could not be read'
  return (
    <Alert color={code === 403 || code === 404 ? 'gray' : 'red'} title={title} role="alert" className="failed">
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {retry && code !== 403 && code !== 404 && (
        <Button size="xs" variant="default" onClick={retry}>
          Try again
        </Button>
      )}
    </Alert>
  )
}

/** What is shown where there is nothing: why, and what to do. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children}
    </div>
  )
}

/** What a hub that is silent says of everything. */
export const Warned = ({ warning }: { warning?: string }) =>
  warning ? (
    <Alert color="yellow" title="The hub is silent" role="status" className="warned">
      <Said text={warning} />
    </Alert>
  ) : null

/** Text of the hub's, in which commands stand between backquotes. */
export function Said({ text }: { text: string }) {
  return (
    <>
      {text.split('`').map((part, i) =>
        i % 2 === 1 ? (
          <code key={i} className="command">
            {part}
          </code>
        ) : (
          part
        ),
      )}
    </>
  )
}
