import '@xterm/xterm/css/xterm.css'
import { Button, NativeSelect, useComputedColorScheme } from '@mantine/core'
import { FitAddon } from '@xterm/addon-fit'
import { Terminal as Screen } from '@xterm/xterm'
import { useEffect, useRef, useState } from 'react'
import { usePlace } from '../../router'
import { Mark } from '../status'
import { AsCommand } from '../twin'
import './sheet'

/** The channels of a stream of exec: the first byte of each message. */
const stdin = 0
const stdout = 1
const stderr = 2
const outcome = 3
const resize = 4

/** bash where there is one, else sh. */
const command = ['sh', '-c', 'command -v bash >/dev/null 2>&1 && exec bash || exec sh']

type State = 'closed' | 'opening' | 'open' | 'over'

/** A shell in a container, through the hub as the person who looks. An address alone begins none: somebody has to ask for it. */
export default function Terminal({ cluster, of, containers, begin, onClose }: { cluster: string; of: string; containers: string[]; begin: boolean; onClose(): void }) {
  const { set } = usePlace()
  const [namespace = '', pod = '', container = ''] = of.split('/')
  const [state, setState] = useState<State>(begin ? 'opening' : 'closed')
  const [said, setSaid] = useState('')
  const box = useRef<HTMLDivElement>(null)
  const screen = useRef<Screen>(null)
  const scheme = useComputedColorScheme('light')
  const runs = state === 'opening' || state === 'open'

  useEffect(() => {
    const element = box.current
    if (!element || !runs) return
    const terminal = new Screen({ fontFamily: 'ui-monospace, monospace', fontSize: 13, cursorBlink: true, scrollback: 5000, screenReaderMode: true })
    const fit = new FitAddon()
    terminal.loadAddon(fit)
    terminal.open(element)
    fit.fit()
    screen.current = terminal
    // Shift+Escape leaves it: all other keys are the shell's, also those that have a meaning on the page.
    terminal.attachCustomKeyEventHandler((e) => !(e.key === 'Escape' && e.shiftKey))
    const keep = (e: KeyboardEvent) => {
      if (e.key === 'Escape' && e.shiftKey) document.getElementById('shell-close')?.focus()
      else e.stopPropagation()
    }
    element.addEventListener('keydown', keep)

    const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', stderr: 'true', tty: 'true' })
    for (const word of command) query.append('command', word)
    const path = ['console', 'clusters', cluster, 'k8s', 'api', 'v1', 'namespaces', namespace, 'pods', pod, 'exec'].map(encodeURIComponent).join('/')
    const socket = new WebSocket(`wss://${window.location.host}/${path}?${query}`, ['v5.channel.k8s.io', 'v4.channel.k8s.io'])
    socket.binaryType = 'arraybuffer'
    const send = (channel: number, bytes: Uint8Array) => {
      if (socket.readyState !== WebSocket.OPEN) return
      const message = new Uint8Array(bytes.length + 1)
      message[0] = channel
      message.set(bytes, 1)
      socket.send(message)
    }
    const text = new TextEncoder()
    const size = () => send(resize, text.encode(JSON.stringify({ Width: terminal.cols, Height: terminal.rows })))
    let why = ''
    socket.onopen = () => {
      setState('open')
      size()
      terminal.focus()
    }
    socket.onmessage = (event) => {
      const bytes = new Uint8Array(event.data as ArrayBuffer)
      if (bytes[0] === stdout || bytes[0] === stderr) terminal.write(bytes.subarray(1))
      else if (bytes[0] === outcome) why = told(new TextDecoder().decode(bytes.subarray(1)))
    }
    let opened = false
    socket.addEventListener('open', () => (opened = true))
    socket.onclose = () => {
      setSaid(why || (opened ? 'The connection has ended.' : 'The cluster does not let you in here, or the container is not running: the command says why.'))
      setState('over')
    }
    const typed = terminal.onData((data) => send(stdin, text.encode(data)))
    const sized = terminal.onResize(size)
    const watch = new ResizeObserver(() => fit.fit())
    watch.observe(element)
    return () => {
      element.removeEventListener('keydown', keep)
      watch.disconnect()
      typed.dispose()
      sized.dispose()
      socket.onclose = null
      socket.close()
      terminal.dispose()
      screen.current = null
    }
  }, [runs, cluster, namespace, pod, container])

  useEffect(() => {
    const element = box.current
    if (!element || !screen.current) return
    const style = getComputedStyle(element)
    const colour = (name: string) => style.getPropertyValue(name).trim()
    screen.current.options.theme = {
      background: colour('--ground'), foreground: colour('--ink'), cursor: colour('--accent'), cursorAccent: colour('--ground'), selectionBackground: colour('--line'),
      red: colour('--bad'), green: colour('--good'), yellow: colour('--doubtful'), blue: colour('--moving'),
    }
  }, [scheme, runs])

  return (
    <section className="log" aria-label={`Shell in ${pod}`}>
      <div className="panel-head">
        <h2>
          {pod} {containers.length < 2 && <span className="quiet">{container}</span>}
        </h2>
        {containers.length > 1 && (
          <NativeSelect aria-label="Container" size="xs" value={container} data={containers} onChange={(e) => set({ shell: `${namespace}/${pod}/${e.currentTarget.value}` })} />
        )}
        <span role="status">
          {state === 'opening' && <Mark tone="Moving" text="Opening" />}
          {state === 'open' && <Mark tone="Good" text="Open" />}
          {state === 'over' && <Mark tone="Plain" text="Over" />}
        </span>
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- exec -it -n ${namespace} ${pod} -c ${container} -- sh` }} />
        {!runs && (
          <Button
            size="xs"
            onClick={() => {
              setSaid('')
              setState('opening')
            }}
          >
            {state === 'over' ? 'Open again' : 'Open a shell'}
          </Button>
        )}
        <Button id="shell-close" size="xs" variant="default" onClick={onClose}>
          Close
        </Button>
      </div>
      {said && <p className="row-why row-why-wraps">{said}</p>}
      {runs ? (
        <>
          <div ref={box} className="shell" />
          <p className="quiet small">What you type is run in the container, as you. Shift+Esc leaves the terminal.</p>
        </>
      ) : (
        state === 'closed' && <p className="quiet">A shell runs in the container as soon as you open it, and stands in the audit log under your name.</p>
      )}
    </section>
  )
}

/** What became of a command, which comes as a Status of Kubernetes. */
function told(text: string): string {
  try {
    const status = JSON.parse(text) as { status?: string; message?: string }
    return status.status === 'Success' ? 'The shell has ended.' : (status.message ?? text)
  } catch {
    return text
  }
}
