import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { yaml } from '@codemirror/lang-yaml'
import { indentUnit, syntaxHighlighting } from '@codemirror/language'
import { setDiagnostics } from '@codemirror/lint'
import { EditorState } from '@codemirror/state'
import { EditorView, keymap, lineNumbers } from '@codemirror/view'
import { useEffect, useRef } from 'react'
import type { Problem } from '../api/types'
import { inks, looks, typesOver } from './editor'

const tall = EditorView.theme({ '&': { maxHeight: '70dvh' }, '.cm-scroller': { overflow: 'auto' } })

/** An object in YAML: to be written, or with no `onText` to be read. Mod-Enter has it reviewed, and Tab leaves. */
export default function Yaml({ text, label, problems, onText, onReview }: { text: string; label: string; problems?: Problem[]; onText?(text: string): void; onReview?(): void }) {
  const box = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(null)
  const said = useRef({ onText, onReview })
  said.current = { onText, onReview }
  const begin = useRef(text)
  const reads = !onText
  useEffect(() => {
    const review = () => {
      said.current.onReview?.()
      return true
    }
    const editor = new EditorView({
      parent: box.current!,
      doc: begin.current,
      extensions: [
        history(),
        typesOver,
        lineNumbers(),
        yaml(),
        syntaxHighlighting(inks),
        looks,
        tall,
        indentUnit.of('  '),
        EditorState.readOnly.of(reads),
        EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': String(reads), tabindex: '0', autocapitalize: 'off', spellcheck: 'false' }),
        EditorView.updateListener.of((update) => update.docChanged && said.current.onText?.(update.state.doc.toString())),
        keymap.of([{ key: 'Mod-Enter', run: review }, ...historyKeymap, ...defaultKeymap]),
        EditorState.tabSize.of(2),
      ],
    })
    view.current = editor
    return () => editor.destroy()
  }, [label, reads])
  useEffect(() => {
    const editor = view.current
    if (editor && text !== editor.state.doc.toString()) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } })
  }, [text])
  useEffect(() => {
    const editor = view.current
    if (!editor) return
    const found = (problems ?? []).filter((p) => p.line > 0 && p.line <= editor.state.doc.lines)
    editor.dispatch(
      setDiagnostics(
        editor.state,
        found.map((p) => {
          const line = editor.state.doc.line(p.line)
          return { from: line.from + (line.text.length - line.text.trimStart().length), to: line.to, severity: 'error' as const, message: p.message }
        }),
      ),
    )
  }, [problems])
  return <div ref={box} className="yaml" />
}
