import { ActionIcon, Menu, Tooltip, UnstyledButton, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { useEffect, useRef, useState, type ReactNode } from 'react'
import { signOut } from '../api/client'
import type { Me } from '../api/types'
import { Link, usePlace } from '../router'
import { Sign, type Shape } from './icons'
import { Palette } from './palette'
import { AsCommand, type Twin } from './twin'
import logo from '../umbel.svg'

export interface Door {
  to: string
  name: string
  key: string
  shape: Shape
}

/** The pages, with the key that follows `g`. */
export const doors: Door[] = [
  { to: '', name: 'Fleet', key: 'f', shape: 'fleet' },
  { to: 'clusters', name: 'Clusters', key: 'c', shape: 'clusters' },
  { to: 'packages', name: 'Packages', key: 'p', shape: 'packages' },
  { to: 'placements', name: 'Placement', key: 'l', shape: 'placements' },
  { to: 'search', name: 'Search', key: 's', shape: 'search' },
  { to: 'metrics', name: 'Metrics', key: 'm', shape: 'metrics' },
  { to: 'alerts', name: 'Alerts', key: 'e', shape: 'alerts' },
  { to: 'audit', name: 'Audit', key: 'a', shape: 'audit' },
  { to: 'access', name: 'Access', key: 'x', shape: 'access' },
  { to: 'settings', name: 'Settings', key: 't', shape: 'settings' },
]

function Nav({ onGone }: { onGone?: () => void }) {
  const { parts } = usePlace()
  return (
    <nav aria-label="Pages" className="nav">
      {doors.map((door) => (
        <Link key={door.name} to={door.to} className="nav-link" onClick={onGone} aria-current={(parts[0] ?? '') === door.to ? 'page' : undefined}>
          <Sign shape={door.shape} />
          <span>{door.name}</span>
        </Link>
      ))}
    </nav>
  )
}

/** Somebody who types: keys are letters then. */
const types = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))

function useKeys(open: () => void) {
  const place = usePlace()
  const began = useRef(0)
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault()
        open()
        return
      }
      if (types(event.target) || event.metaKey || event.ctrlKey || event.altKey || document.querySelector('dialog[open]')) return
      if (event.key === '/') {
        event.preventDefault()
        open()
      } else if (event.key === 'g') {
        began.current = Date.now()
      } else if (Date.now() - began.current < 1500) {
        began.current = 0
        const door = doors.find((d) => d.key === event.key)
        if (door) place.go(door.to)
      }
    }
    window.addEventListener('keydown', pressed)
    return () => window.removeEventListener('keydown', pressed)
  }, [place, open])
}

export function Frame({ me, live, onOut, children }: { me: Me; live: boolean; onOut: () => void; children: ReactNode }) {
  const { setColorScheme } = useMantineColorScheme({ keepTransitions: true })
  const scheme = useComputedColorScheme('light')
  const [drawn, setDrawn] = useState(false)
  const [asks, setAsks] = useState(false)
  const open = useRef(() => setAsks(true)).current
  useKeys(open)
  const out = (everywhere: boolean) => {
    void signOut(everywhere).finally(onOut)
  }
  return (
    <div className="frame">
      <a href="#content" className="skip">
        Skip to content
      </a>
      <header className="head">
        <ActionIcon className="head-menu" variant="subtle" color="gray" aria-label="Pages" aria-expanded={drawn} onClick={() => setDrawn(!drawn)}>
          <Sign shape="menu" />
        </ActionIcon>
        <Link to="" className="brand" aria-label="Umbel: the fleet">
          <img src={logo} alt="" width="24" height="24" />
          <span>Umbel</span>
        </Link>
        <UnstyledButton className="ask" onClick={open} title="Search, or go to a page">
          <Sign shape="search" size={14} />
          <span className="ask-text">Search clusters, packages, pages</span>
          <kbd>/</kbd>
        </UnstyledButton>
        <div className="head-right">
          {!live && (
            <span className="not-live" role="status">
              <Sign shape="doubtful" size={14} /> not live
            </span>
          )}
          <Tooltip label={scheme === 'dark' ? 'Light' : 'Dark'}>
            <ActionIcon variant="subtle" color="gray" aria-label={scheme === 'dark' ? 'Use light colours' : 'Use dark colours'} onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}>
              <Sign shape={scheme === 'dark' ? 'sun' : 'moon'} />
            </ActionIcon>
          </Tooltip>
          <Menu position="bottom-end" withArrow shadow="md">
            <Menu.Target>
              <UnstyledButton className="person" aria-label={`Signed in as ${me.user}`}>
                <Sign shape="person" />
                <span className="person-name">{me.user}</span>
              </UnstyledButton>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>{me.user}</Menu.Label>
              <Menu.Item onClick={() => out(false)}>Sign out</Menu.Item>
              <Menu.Item onClick={() => out(true)}>Sign out everywhere</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </div>
      </header>
      <aside className={'side' + (drawn ? ' side-drawn' : '')}>
        <Nav onGone={() => setDrawn(false)} />
      </aside>
      {drawn && <div className="shade" onClick={() => setDrawn(false)} />}
      <main id="content" className="content" tabIndex={-1}>
        {children}
      </main>
      <Palette open={asks} onClose={() => setAsks(false)} />
    </div>
  )
}

/** The head of a page: what it is about, and how a terminal shows the same. A note that is not known yet has its room already: what is below does not move when it comes. */
export function Title(props: { children: ReactNode; note?: ReactNode; twin?: Twin; actions?: ReactNode; above?: ReactNode }) {
  const { children, note, twin, actions, above } = props
  return (
    <div className="title">
      <div>
        {above && <p className="title-above">{above}</p>}
        <h1>{children}</h1>
        {'note' in props && <div className="title-note">{note || '\u00a0'}</div>}
      </div>
      <div className="title-actions">
        {actions}
        {twin && <AsCommand twin={twin} />}
      </div>
    </div>
  )
}

/** A part of a page, under a heading. */
export function Panel({ title, right, children, className = '' }: { title: string; right?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={'panel ' + className} aria-label={title}>
      <div className="panel-head">
        <h2>{title}</h2>
        {right}
      </div>
      {children}
    </section>
  )
}
