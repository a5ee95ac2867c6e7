import { autocompletion, closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { PromQLExtension } from '@prometheus-io/codemirror-promql'
import { useEffect, useRef } from 'react'
import type { Written } from '../pages/metrics'

/** For how long before now names of metrics and labels are offered. */
const lookback = 12 * 60 * 60 * 1000

/** Ink by variables of the page, which are others in the dark. */
const inks = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--moving)' },
  { tag: tags.function(tags.variableName), color: 'var(--accent)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--good)' },
  { tag: tags.number, color: 'var(--doubtful)' },
  { tag: tags.labelName, color: 'var(--ink-2)' },
  { tag: tags.comment, color: 'var(--ink-2)', fontStyle: 'italic' },
  { tag: tags.invalid, color: 'var(--bad)' },
])

const looks = EditorView.theme({
  '&': { border: '1px solid var(--line)', borderRadius: '6px', backgroundColor: 'var(--surface)', color: 'var(--ink)', fontSize: '14px' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
  '.cm-scroller': { fontFamily: 'var(--mantine-font-family-monospace)', lineHeight: '1.5' },
  '.cm-content': { padding: '6px 0', minHeight: '34px', boxSizing: 'border-box', caretColor: 'var(--ink)' },
  '.cm-line': { padding: '0 10px' },
  '.cm-placeholder': { color: 'var(--ink-2)' },
  '.cm-tooltip': { border: '1px solid var(--line)', borderRadius: '6px', backgroundColor: 'var(--raised)', color: 'var(--ink)', overflow: 'hidden' },
  '.cm-tooltip-autocomplete': { marginTop: '8px' }, // below the text and the frame around it
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: '13px', maxWidth: 'min(560px, calc(100vw - 24px))' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '3px 10px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent-ground)', color: 'var(--ink)' },
  '.cm-completionDetail': { color: 'var(--ink-2)', fontStyle: 'normal' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--bad)' },
})

/** What of the hub's metrics somebody may see, as Prometheus offers its own. What cannot be read is not offered: the query itself says why. */
function promql() {
  return new PromQLExtension().setComplete({
    remote: { apiPrefix: '/console/api/metrics', httpMethod: 'GET', lookbackInterval: lookback, httpErrorHandler: () => {}, cache: { maxAge: 60_000 } },
  })
}

/**
 * Types over what is selected by a change of the text. A browser would keep the style of what it takes away, as an attribute of a span, which the policy
 * of the page forbids and logs.
 */
const typesOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main
    const text = event.data
    if (empty || text === null || event.inputType !== 'insertText' || event.isComposing) return false
    const typed = () => view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true })
    if (!view.state.facet(EditorView.inputHandler).some((handles) => handles(view, from, to, text, typed))) view.dispatch(typed())
    return true
  },
})

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
