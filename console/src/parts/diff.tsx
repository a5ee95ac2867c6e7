import { useMemo } from 'react'

interface Line {
  kind: 'add' | 'take' | 'same' | 'at'
  was?: number
  is?: number
  text: string
}

/** The lines of a unified diff, with their numbers in what there is and in what there would be. */
function linesOf(text: string): Line[] {
  let was = 0
  let is = 0
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('\\'))
    .map((line): Line => {
      const at = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line)
      if (at) {
        was = Number(at[1])
        is = Number(at[2])
        return { kind: 'at', text: line }
      }
      const rest = line.slice(1)
      if (line[0] === '+') return { kind: 'add', is: is++, text: rest }
      if (line[0] === '-') return { kind: 'take', was: was++, text: rest }
      return { kind: 'same', was: was++, is: is++, text: rest }
    })
}

const signs = { add: '+', take: '−', same: ' ', at: ' ' }

/** A difference, line by line. What is added and taken differs in its sign, not by colour alone. */
export function Diff({ text, label }: { text: string; label: string }) {
  const lines = useMemo(() => linesOf(text), [text])
  return (
    <div className="diff" role="group" tabIndex={0} aria-label={`What changes of ${label}`}>
      <table>
        <tbody>
          {lines.map((line, i) => (
            <tr key={i} className={'diff-' + line.kind}>
              <td className="diff-number" data-line={line.was ?? ''} />
              <td className="diff-number" data-line={line.is ?? ''} />
              <td className="diff-sign">{signs[line.kind]}</td>
              <td className="diff-text">{line.kind === 'at' ? '…' : line.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
