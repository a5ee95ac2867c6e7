import { Button, TextInput } from '@mantine/core'
import type { UseQueryResult } from '@tanstack/react-query'
import { useEffect, useRef, useState, type ReactNode } from 'react'
import type { Facet } from '../api/types'
import { usePlace } from '../router'
import { Sign } from './icons'
import { Pages } from './pages'
import { Failed, Loading } from './states'

/** What is asked of the hub for a part of a list: words, values of facets, and where the part begins, as the address has them. */
export function askedFor(query: URLSearchParams, limit: number): URLSearchParams {
  const of = new URLSearchParams({ limit: String(limit) })
  for (const [name, value] of query) if (name === 'q' || name === 'from' || name === 'sort' || name.startsWith('f.')) of.append(name, value)
  return of
}

/** Words that somebody types, which stand in the address once they have stopped for a moment. `resets` is where the part begins of what they change. */
export function Words({ label, placeholder, param = 'q', resets = 'from', plain = false, autoFocus }: { label: string; placeholder: string; param?: string; resets?: string; plain?: boolean; autoFocus?: boolean }) {
  const { query, set } = usePlace()
  const value = query.get(param) ?? ''
  const [text, setText] = useState(value)
  const said = useRef(value)
  useEffect(() => {
    if (value === said.current) return
    said.current = value // another has changed it, such as a button that clears it
    setText(value)
  }, [value])
  useEffect(() => {
    const timer = window.setTimeout(() => {
      if (text === said.current) return
      said.current = text
      set({ [param]: text, [resets]: undefined })
    }, 200)
    return () => window.clearTimeout(timer)
  }, [text, param, resets, set])
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      autoFocus={autoFocus}
      size={plain ? 'xs' : undefined}
      leftSection={plain ? undefined : <Sign shape="search" size={14} />}
      value={text}
      onChange={(e) => setText(e.currentTarget.value)}
      className={plain ? undefined : 'filters-words'}
    />
  )
}

/** The words of a list, and on a telephone what opens its facets; `facets` when it has some. */
export function Filters({ label, placeholder, facets }: { label: string; placeholder: string; facets?: { open: boolean; toggle(): void } }) {
  const { query, set } = usePlace()
  const filters = [...query.keys()].filter((k) => k.startsWith('f.'))
  const chosen = filters.length
  return (
    <div className="filters">
      <Words label={label} placeholder={placeholder} />
      {facets && (
        <Button variant="default" className="facets-toggle" aria-expanded={facets.open} onClick={facets.toggle}>
          Filters{chosen > 0 ? ` (${chosen})` : ''}
        </Button>
      )}
      {(chosen > 0 || query.get('q')) && (
        <Button variant="subtle" color="gray" onClick={() => set(Object.fromEntries(['q', 'from', ...filters].map((k) => [k, undefined])))}>
          Clear
        </Button>
      )}
    </div>
  )
}

/** By what the rows of a list differ, beside the list. */
export function Facets({ facets, open, title, text }: { facets: Facet[]; open: boolean; title(facet: string): string; text?(facet: string, value: string): string }) {
  const { query, set } = usePlace()
  return (
    <div className={'facets' + (open ? ' facets-open' : '')} role="group" aria-label="Filters">
      {facets
        .filter((facet) => facet.values.length > 0)
        .map((facet) => {
          const name = 'f.' + facet.name
          const chosen = query.getAll(name)
          return (
            <fieldset key={facet.name} className="facet">
              <legend>{title(facet.name)}</legend>
              {facet.values.map((v) => (
                <label key={v.value} className="facet-value">
                  <input
                    type="checkbox"
                    checked={chosen.includes(v.value)}
                    onChange={(e) => set({ [name]: e.currentTarget.checked ? [...chosen, v.value] : chosen.filter((c) => c !== v.value), from: undefined })}
                  />
                  <span className="facet-name">{text?.(facet.name, v.value) ?? v.value}</span>
                  <span className="facet-count">{v.count.toLocaleString()}</span>
                </label>
              ))}
              {!!facet.more && <p className="quiet">and {facet.more} more</p>}
            </fieldset>
          )
        })}
    </div>
  )
}

/** A part of a list as a table: what it has instead while it is read, when it cannot be, and when nothing is there. */
export function Listing<T extends { from: number; total: number }>({ list, limit, columns, empty, stacks, children }: { list: UseQueryResult<T>; limit: number; stacks?: boolean; columns: (string | { name: string; className: string })[]; empty(data: T): ReactNode; children(data: T): ReactNode }) {
  const { set } = usePlace()
  const { data } = list
  return (
    <>
      {list.isPending && <Loading rows={10} />}
      {list.error && <Failed error={list.error} retry={() => void list.refetch()} />}
      {data && data.total === 0 && empty(data)}
      {data && data.total > 0 && <Sheet columns={columns} stacks={stacks}>{children(data)}</Sheet>}
      {data && <Pages from={data.from} limit={limit} total={data.total} onFrom={(from) => set({ from: from ? String(from) : undefined })} />}
    </>
  )
}

/** A table that is reached, and moved, by keyboard where it is wider than its window. One that stacks has the cells of a row below each other on a telephone. */
export function Sheet({ columns, children, plain, stacks }: { stacks?: boolean; columns: (string | { name: string; className: string })[]; children: ReactNode; plain?: boolean }) {
  return (
    <div className={'grid-scroll' + (plain ? ' grid-scroll-plain' : '')} tabIndex={0} role="group" aria-label="Table">
      <table className={'plain' + (stacks ? ' stacks' : '')}>
        <thead>
          <tr>
            {columns.map((c, i) => (typeof c === 'string' ? <th key={c + i}>{c}</th> : <th key={c.name + i} className={c.className}>{c.name}</th>))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
