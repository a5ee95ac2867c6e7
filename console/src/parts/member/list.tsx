import { Button } from '@mantine/core'
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { member } from '../../api/client'
import { Sheet } from '../listing'
import { Empty, Failed, Loading } from '../states'
import { AsCommand, type Twin } from '../twin'

export interface Named {
  metadata: { name: string; namespace?: string; uid: string; creationTimestamp: string }
}
export interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
  lastTransitionTime?: string
}
interface Page<T> {
  metadata: { continue?: string; remainingItemCount?: number }
  items: T[]
}

/** A list of a member, a page at a time, as its API server gives it to the person who looks. */
export function useList<T>(cluster: string, path: string, limit = 100) {
  const list = useInfiniteQuery({
    queryKey: ['member', cluster, path],
    queryFn: async ({ pageParam, signal }) => {
      const query = new URLSearchParams({ limit: String(limit) })
      if (pageParam) query.set('continue', pageParam)
      return (await member(cluster, `${path}?${query}`, { signal })).json() as Promise<Page<T>>
    },
    initialPageParam: '',
    getNextPageParam: (last) => last.metadata.continue || undefined,
    refetchInterval: 15_000,
    placeholderData: keepPreviousData,
  })
  return { list, items: list.data?.pages.flatMap((p) => p.items) ?? [] }
}

/** A list of a member as a table, with what it has instead while it is read, cannot be, or is empty. */
export function Kept<T>({ list: { list, items }, twin, head, above, columns, empty, children }: { list: ReturnType<typeof useList<T>>; twin: Twin; head?: ReactNode; above?: ReactNode; columns: (string | { name: string; className: string })[]; empty: string; children(item: T): ReactNode }) {
  return (
    <div className="tab">
      <div className="tab-head">
        {head}
        <AsCommand twin={twin} />
      </div>
      {above}
      {list.isPending && <Loading />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {list.data && items.length === 0 && <Empty title={empty} />}
      {items.length > 0 && <Sheet columns={columns}>{items.map(children)}</Sheet>}
      {list.hasNextPage && (
        <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Show more
        </Button>
      )}
    </div>
  )
}
