import { QueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { Refused } from './api/client'

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 60_000,
      refetchOnWindowFocus: false,
      retry: (times, error) => times < 2 && !(error instanceof Refused && error.code >= 400 && error.code < 500),
    },
  },
})

/** What is asked of clusters, or is being written on, is read again when somebody says so. */
const dear = ['plan', 'find', 'manifest', 'object']

/** Has what is shown read again. */
export const readAgain = () => void queries.invalidateQueries({ predicate: ({ queryKey }) => !dear.includes(String(queryKey[0])) })

/** What a change of a resource makes old. */
const touches: Record<string, string[]> = {
  memberclusters: ['fleet', 'clusters', 'cluster', 'package', 'foreseen'],
  packages: ['packages', 'package'],
  rollouts: ['package'],
  releases: ['package'],
  placements: ['placements', 'package', 'foreseen'],
}

/** Follows the hub's one stream of changes, and has what is shown read again. It says whether the stream is there. */
export function useLive(onOver: () => void): boolean {
  const [live, setLive] = useState(true)
  useEffect(() => {
    let stream: EventSource | null = null
    const open = () => {
      stream = new EventSource('/console/api/stream')
      stream.onopen = () => {
        setLive(true)
        readAgain() // of what was changed in between nobody has heard
      }
      stream.onerror = () => setLive(false)
      stream.addEventListener('over', onOver)
      stream.onmessage = (event) => {
        const delta = JSON.parse(event.data as string) as Record<string, string[]>
        const old = new Set<string>()
        for (const [resource, names] of Object.entries(delta)) {
          for (const kind of touches[resource] ?? []) {
            if (kind === 'cluster') {
              for (const name of names) void queries.invalidateQueries({ queryKey: ['cluster', name] })
              if (names.length > 0) continue
            }
            old.add(kind)
          }
        }
        for (const kind of old) void queries.invalidateQueries({ queryKey: [kind] })
      }
    }
    open()
    return () => stream?.close()
  }, [onOver])
  return live
}

/** The time, every so many seconds: what shows an age is drawn again then. */
export function useNow(seconds = 5): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), seconds * 1000)
    return () => window.clearInterval(timer)
  }, [seconds])
  return now
}
