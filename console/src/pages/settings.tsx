import { useMantineColorScheme } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import type { Me } from '../api/types'
import { doors, Panel, Title } from '../parts/frame'
import { Age } from '../parts/status'

/** This browser, this session, and the hub. */
export default function SettingsPage({ me }: { me: Me }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true })
  const ways = useQuery({ queryKey: ['ways'], queryFn: ({ signal }) => read('/api/ways', {}, undefined, signal) })
  return (
    <>
      <Title>Settings</Title>
      <div className="columns">
        <div>
          <Panel title="Colours">
            <div className="choices" role="radiogroup" aria-label="Colours">
              {(['auto', 'light', 'dark'] as const).map((value) => (
                <label key={value} className="chip">
                  <input type="radio" name="colours" checked={colorScheme === value} onChange={() => setColorScheme(value)} />
                  {{ auto: 'As the system has it', light: 'Light', dark: 'Dark' }[value]}
                </label>
              ))}
            </div>
          </Panel>
          <Panel title="Keys">
            <dl className="facts">
              <dt>
                <kbd>/</kbd> or <kbd>Ctrl</kbd> <kbd>K</kbd>
              </dt>
              <dd>Search, or go to a page</dd>
              {doors.map((d) => (
                <Key key={d.key} of={d.key} name={d.name} />
              ))}
            </dl>
          </Panel>
        </div>
        <Panel title="The hub">
          <dl className="facts">
            <dt>Version</dt>
            <dd>{me.version}</dd>
            <dt>Address</dt>
            <dd>{window.location.host}</dd>
            <dt>Sign-in</dt>
            <dd>{ways.data ? (ways.data.issuers.length ? ways.data.issuers.join(', ') : 'tokens alone: it trusts no identity provider') : '…'}</dd>
            <dt>Session</dt>
            <dd>
              <Age of={me.since} before="began " />, ends {new Date(me.ends).toLocaleTimeString()}
            </dd>
          </dl>
        </Panel>
      </div>
    </>
  )
}

function Key({ of, name }: { of: string; name: string }) {
  return (
    <>
      <dt>
        <kbd>g</kbd> <kbd>{of}</kbd>
      </dt>
      <dd>{name}</dd>
    </>
  )
}
