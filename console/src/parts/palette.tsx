import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef, useState } from 'react'
import { read } from '../api/client'
import { usePlace } from '../router'
import { doors } from './frame'

interface Choice {
  to: string
  name: string
  note: string
}

/** The palette of commands: pages by their names, and clusters and packages by what they are called. */
export function Palette({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const place = usePlace()
  const [words, setWords] = useState('')
  const [at, setAt] = useState(0)
  useEffect(() => {
    if (open) {
      setWords('')
      setAt(0)
      dialog.current?.showModal()
    } else dialog.current?.close()
  }, [open])
  const found = useQuery({
    queryKey: ['search', words],
    queryFn: ({ signal }) => read('/api/search', {}, new URLSearchParams({ q: words }), signal),
    enabled: open && words.trim() !== '',
  })
  const choices: Choice[] = [
    ...doors.filter((d) => d.name.toLowerCase().includes(words.trim().toLowerCase())).map((d) => ({ to: d.to, name: d.name, note: `Page · g ${d.key}` })),
    ...(words.trim() && found.data ? found.data.map((hit) => ({ to: hit.path, name: hit.name, note: [hit.kind, hit.note].filter(Boolean).join(' · ') })) : []),
  ]
  const chosen = Math.min(at, choices.length - 1)
  const go = (choice?: Choice) => {
    if (!choice) return
    onClose()
    place.go(choice.to)
  }
  return (
    <dialog ref={dialog} className="palette" aria-label="Search, or go to a page" onClose={onClose} onClick={(e) => e.target === dialog.current && onClose()}>
      <input
        className="palette-input"
        autoFocus
        value={words}
        onChange={(e) => {
          setWords(e.target.value)
          setAt(0)
        }}
        placeholder="A cluster, a package, a label, a page"
        aria-label="Search"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-choices"
        aria-activedescendant={chosen >= 0 ? 'choice-' + chosen : undefined}
        onKeyDown={(e) => {
          if (e.key === 'ArrowDown') setAt(Math.min(chosen + 1, choices.length - 1))
          else if (e.key === 'ArrowUp') setAt(Math.max(chosen - 1, 0))
          else if (e.key === 'Enter') go(choices[chosen])
          else return
          e.preventDefault()
        }}
      />
      <ul id="palette-choices" role="listbox" aria-label="What was found">
        {choices.map((choice, i) => (
          <li key={choice.to + choice.note} id={'choice-' + i} role="option" aria-selected={i === chosen} onMouseDown={(e) => e.preventDefault()} onClick={() => go(choice)}>
            <span>{choice.name}</span>
            <span className="palette-note">{choice.note}</span>
          </li>
        ))}
      </ul>
      {choices.length === 0 && !found.isFetching && <p className="palette-none">Nothing is called so.</p>}
    </dialog>
  )
}
