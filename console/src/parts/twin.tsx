import { Button, CopyButton, Popover } from '@mantine/core'
import { Sign } from './icons'

/** What does the same as a page or an action, in a terminal. */
export interface Twin {
  umbel?: string
  kubectl?: string
}

export function Command({ text }: { text: string }) {
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <button type="button" className="copy-line" onClick={copy} aria-label={`Copy ${text}`}>
          <code>{text}</code>
          <span className="copy-said" aria-live="polite">
            {copied ? 'Copied' : <Sign shape="copy" size={14} />}
          </span>
        </button>
      )}
    </CopyButton>
  )
}

export function Twins({ twin }: { twin: Twin }) {
  return (
    <div className="twins">
      {twin.umbel && <Command text={twin.umbel} />}
      {twin.kubectl && <Command text={twin.kubectl} />}
    </div>
  )
}

/** "Copy as command": how a terminal shows what this page shows. */
export function AsCommand({ twin }: { twin: Twin }) {
  return (
    <Popover position="bottom-end" withArrow shadow="md" trapFocus returnFocus>
      <Popover.Target>
        <Button variant="default" size="xs" leftSection={<Sign shape="terminal" size={14} />}>
          Copy as command
        </Button>
      </Popover.Target>
      <Popover.Dropdown className="twin-dropdown">
        <Twins twin={twin} />
      </Popover.Dropdown>
    </Popover>
  )
}
