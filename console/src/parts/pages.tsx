import { Button } from '@mantine/core'

/** The way through a list of which the hub sends a part. */
export function Pages({ from, limit, total, onFrom }: { from: number; limit: number; total: number; onFrom(from: number): void }) {
  if (total <= limit) return null
  return (
    <div className="pages">
      <Button size="xs" variant="default" disabled={from === 0} onClick={() => onFrom(Math.max(0, from - limit))}>
        Before
      </Button>
      <span className="quiet">
        {(from + 1).toLocaleString()}–{Math.min(total, from + limit).toLocaleString()} of {total.toLocaleString()}
      </span>
      <Button size="xs" variant="default" disabled={from + limit >= total} onClick={() => onFrom(from + limit)}>
        Next
      </Button>
    </div>
  )
}
