import { autocompletion, closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { bracketMatching, syntaxHighlighting } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { PromQLExtension } from '@prometheus-io/codemirror-promql'
import { useEffect, useRef } from 'react'
import { inks, looks, typesOver } from './editor'
import type { Written } from './query'

/** For how long before now names of metrics and labels are offered. */
const lookback = 12 * 60 * 60 * 1000

/** What of the hub's metrics somebody may see, as Prometheus offers its own. What cannot be read is not offered: the query itself says why. */
function promql() {
  return new PromQLExtension().setComplete({
    remote: { apiPrefix: '/console/api/metrics', httpMethod: 'GET', lookbackInterval: lookback, httpErrorHandler: () => {}, cache: { maxAge: 60_000 } },
  })
}

/** The text of a query with its completion. Enter runs it, Shift-Enter begins a line, Escape closes what is offered, and Tab leaves. */
export default function PromQL({ text, label, example, focused, onText, onRun }: Written & { focused: boolean }) {
  const box = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(null)
  const said = useRef({ onText, onRun })
  said.current = { onText, onRun }
  const begin = useRef({ text, focused })
  useEffect(() => {
    const language = promql()
    const run = () => {
      said.current.onRun()
      return true
    }
    const editor = new EditorView({
      parent: box.current!,
      doc: begin.current.text,
      selection: { anchor: begin.current.text.length },
      extensions: [
        history(),
        typesOver,
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false, aboveCursor: false }),
        language.asExtension(),
        syntaxHighlighting(inks),
        looks,
        placeholder(example),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label, autocapitalize: 'off' }),
        EditorView.updateListener.of((update) => update.docChanged && said.current.onText(update.state.doc.toString())),
        keymap.of([{ key: 'Enter', run }, { key: 'Mod-Enter', run }, ...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap]), // after what is offered, which takes Enter first
        EditorState.tabSize.of(2),
      ],
    })
    view.current = editor
    if (begin.current.focused) editor.focus()
    return () => {
      editor.destroy()
      language.destroy()
    }
  }, [label, example])
  useEffect(() => {
    const editor = view.current
    if (editor && text !== editor.state.doc.toString()) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } })
  }, [text])
  return <div ref={box} className="promql" />
}
