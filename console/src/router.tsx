import { createContext, useContext, useEffect, useMemo, useState, type AnchorHTMLAttributes, type ReactNode } from 'react'

const base = '/console/'

/** Where somebody is: the parts of the path below /console/, and the query. All that a page shows is in it, so an address is all it takes to show it again. */
export interface Place {
  parts: string[]
  query: URLSearchParams
  go(to: string): void
  /** Changes some parameters; an empty value takes one away. It makes no step of the history. */
  set(changes: Record<string, string | string[] | undefined>): void
}

const Here = createContext<Place | null>(null)

const here = () => window.location.pathname.slice(base.length - 1) + window.location.search

export function Router({ children }: { children: ReactNode }) {
  const [at, setAt] = useState(here)
  useEffect(() => {
    const moved = () => setAt(here())
    window.addEventListener('popstate', moved)
    return () => window.removeEventListener('popstate', moved)
  }, [])
  const place = useMemo<Place>(() => {
    const [path = '', search = ''] = at.split('?', 2)
    return {
      parts: path.split('/').filter(Boolean).map(decodeURIComponent),
      query: new URLSearchParams(search),
      go(to) {
        window.history.pushState(null, '', href(to))
        setAt(here())
        window.scrollTo(0, 0)
      },
      set(changes) {
        const query = new URLSearchParams(window.location.search)
        for (const [name, value] of Object.entries(changes)) {
          query.delete(name)
          for (const one of Array.isArray(value) ? value : value ? [value] : []) query.append(name, one)
        }
        const search = query.toString()
        window.history.replaceState(null, '', window.location.pathname + (search ? '?' + search : ''))
        setAt(here())
      },
    }
  }, [at])
  return <Here.Provider value={place}>{children}</Here.Provider>
}

export function usePlace(): Place {
  const place = useContext(Here)
  if (!place) throw new Error('no router')
  return place
}

export const href = (to: string) => base + to.replace(/^\//, '')

/** A link to another page of the console. */
export function Link({ to, ...rest }: { to: string } & Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'>) {
  const place = usePlace()
  return (
    <a
      {...rest}
      href={href(to)}
      onClick={(event) => {
        rest.onClick?.(event)
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
        event.preventDefault()
        place.go(to)
      }}
    />
  )
}
