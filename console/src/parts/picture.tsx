import { useEffect, useMemo, useRef, useState } from 'react'
import type { Group, Health } from '../api/types'
import { Link, usePlace } from '../router'
import { Sign, type Shape } from './icons'
import { healths, type Tone } from './status'

const order: Health[] = ['NotReady', 'Unknown', 'Awaited', 'Hibernated', 'Ready']
const healthAt = (group: Group, i: number): Health => order[Number(group.cells[i])] ?? 'Unknown'

/** What the five kinds of cells mean. */
export type Meanings = Record<Health, { tone: Tone; shape: Shape; text: string }>

/** A picture of the fleet: a cell for each cluster, in groups. A small fleet has its names in the cells. */
export function Picture({ groups, grouped, means = healths }: { groups: Group[]; grouped: boolean; means?: Meanings }) {
  const total = groups.reduce((n, g) => n + g.names.length, 0)
  return (
    <div className="picture">
      {groups.map((group) => (
        <div key={group.value} className="group">
          {grouped && (
            <h3 className="group-name">
              {group.value || 'without'} <span className="quiet">{group.names.length.toLocaleString()}</span>
            </h3>
          )}
          {total <= 60 ? <Tiles group={group} means={means} /> : <Cells group={group} total={total} means={means} />}
        </div>
      ))}
      <ul className="legend" aria-label="What the colours mean">
        {order.map((health) => (
          <li key={health}>
            <span className={'mark tone-' + means[health].tone}>
              <Sign shape={means[health].shape} size={12} />
            </span>
            {means[health].text}
          </li>
        ))}
      </ul>
    </div>
  )
}

function Tiles({ group, means }: { group: Group; means: Meanings }) {
  return (
    <ul className="tiles">
      {group.names.map((name, i) => {
        const { tone, shape, text } = means[healthAt(group, i)]
        return (
          <li key={name}>
            <Link to={'clusters/' + name} className={'tile tone-' + tone} aria-label={`${name}: ${text}`}>
              <Sign shape={shape} size={14} />
              <span>{name}</span>
            </Link>
          </li>
        )
      })}
    </ul>
  )
}

const sizeFor = (total: number) => (total <= 300 ? 22 : total <= 1500 ? 14 : total <= 4000 ? 10 : 8)

/** Many clusters, drawn: each shape differs, so that no colour is needed to tell them apart. */
function Cells({ group, total, means }: { group: Group; total: number; means: Meanings }) {
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const [scheme, setScheme] = useState('')
  const [at, setAt] = useState(-1)
  const place = usePlace()
  const size = sizeFor(total)
  const columns = Math.max(1, Math.floor(width / size))
  const rows = Math.ceil(group.names.length / columns)
  useEffect(() => {
    const element = box.current
    if (!element) return
    const sized = new ResizeObserver(() => setWidth(element.clientWidth))
    sized.observe(element)
    const root = document.documentElement
    const coloured = new MutationObserver(() => setScheme(root.dataset.mantineColorScheme ?? ''))
    coloured.observe(root, { attributes: true, attributeFilter: ['data-mantine-color-scheme'] })
    return () => {
      sized.disconnect()
      coloured.disconnect()
    }
  }, [])
  useEffect(() => {
    const on = canvas.current
    const pen = on?.getContext('2d')
    if (!on || !pen || !width) return
    const sharp = window.devicePixelRatio || 1
    on.width = columns * size * sharp
    on.height = rows * size * sharp
    pen.scale(sharp, sharp)
    const style = getComputedStyle(on)
    for (let i = 0; i < group.names.length; i++) draw(pen, style, healthAt(group, i), (i % columns) * size, Math.floor(i / columns) * size, size)
    if (at >= 0) {
      pen.strokeStyle = style.getPropertyValue('--ink')
      pen.lineWidth = 2
      pen.strokeRect((at % columns) * size + 0.5, Math.floor(at / columns) * size + 0.5, size - 1, size - 1)
    }
  }, [group, width, columns, rows, size, at, scheme])
  const counts = useMemo(() => {
    const of: Record<string, number> = {}
    for (let i = 0; i < group.names.length; i++) of[healthAt(group, i)] = (of[healthAt(group, i)] ?? 0) + 1
    return order.filter((h) => of[h]).map((h) => `${of[h]} ${means[h].text}`).join(', ')
  }, [group, means])
  const cellAt = (event: React.MouseEvent) => {
    const edge = canvas.current!.getBoundingClientRect()
    const column = Math.floor((event.clientX - edge.left) / size)
    const i = Math.floor((event.clientY - edge.top) / size) * columns + column
    return column < columns && i < group.names.length ? i : -1
  }
  const step = (by: number) => setAt(Math.max(0, Math.min(group.names.length - 1, at + by)))
  return (
    <div ref={box} className="cells">
      <canvas
        ref={canvas}
        style={{ width: columns * size, height: rows * size }}
        tabIndex={0}
        role="application"
        aria-label={`${group.names.length} clusters: ${counts}. Arrow keys go from one to the next, Enter opens it.`}
        onMouseMove={(e) => setAt(cellAt(e))}
        onMouseLeave={() => setAt(-1)}
        onClick={(e) => {
          const i = cellAt(e)
          if (i >= 0) place.go('clusters/' + group.names[i])
        }}
        onKeyDown={(e) => {
          if (e.key === 'ArrowRight') step(1)
          else if (e.key === 'ArrowLeft') step(-1)
          else if (e.key === 'ArrowDown') step(columns)
          else if (e.key === 'ArrowUp') step(-columns)
          else if (e.key === 'Enter' && at >= 0) place.go('clusters/' + group.names[at])
          else return
          e.preventDefault()
        }}
      />
      <p className="cell-said" aria-live="polite">
        {at >= 0 ? (
          <>
            <strong>{group.names[at]}</strong> {means[healthAt(group, at)].text}
          </>
        ) : (
          '\u00a0'
        )}
      </p>
    </div>
  )
}

function draw(pen: CanvasRenderingContext2D, style: CSSStyleDeclaration, health: Health, x: number, y: number, size: number) {
  const gap = size > 12 ? 2 : 1
  const s = size - gap
  const colour = style.getPropertyValue('--cell-' + health)
  pen.fillStyle = colour
  pen.strokeStyle = colour
  pen.lineWidth = size > 12 ? 1.5 : 1
  switch (health) {
    case 'Ready':
      pen.fillRect(x, y, s, s)
      return
    case 'NotReady':
      pen.fillRect(x, y, s, s)
      pen.strokeStyle = style.getPropertyValue('--surface')
      pen.lineWidth = size > 12 ? 2 : 1.2
      pen.beginPath()
      pen.moveTo(x + s * 0.25, y + s * 0.25)
      pen.lineTo(x + s * 0.75, y + s * 0.75)
      pen.moveTo(x + s * 0.75, y + s * 0.25)
      pen.lineTo(x + s * 0.25, y + s * 0.75)
      pen.stroke()
      return
    case 'Unknown':
      pen.strokeRect(x + 0.75, y + 0.75, s - 1.5, s - 1.5)
      pen.beginPath()
      pen.moveTo(x + 1, y + s - 1)
      pen.lineTo(x + s - 1, y + 1)
      pen.stroke()
      return
    case 'Awaited':
      pen.strokeRect(x + 0.75, y + 0.75, s - 1.5, s - 1.5)
      return
    case 'Hibernated':
      pen.strokeRect(x + 0.75, y + 0.75, s - 1.5, s - 1.5)
      pen.fillRect(x, y + s / 2, s, s / 2)
  }
}
